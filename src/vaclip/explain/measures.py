"""How far a map of a model agrees with the clinicians', on one grid.

See Bylinskii et al., "What do different evaluation metrics tell us about saliency models?", TPAMI
2019; the information gain is that of Kümmerer et al., PNAS 2015. Letters: N segments, G cells of
a grid of any shape. All take maps of shape (N, ...), not negative, of any scale, and return (N,);
what is undefined is NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Maps: TypeAlias = NDArray[Any]
Scores: TypeAlias = NDArray[np.float64]

EVERYWHERE: Final = 0.01
"""Share of a map that is laid over the whole grid before a logarithm is taken: a place that a map
leaves out costs no more than log(G / EVERYWHERE)."""
_CORE = 0.5
_FLAT = 1e-6  # relative to the largest value; softmaxes of equal scores differ by rounding


def correlation(looked: Maps, clinicians: Maps) -> Scores:
    """CC: Pearson correlation over the cells, in [-1, 1]; NaN where a map is constant."""
    one, other = (_rows(maps) for maps in (looked, clinicians))
    flat = _constant(one) | _constant(other)
    one, other = (rows - rows.mean(axis=1, keepdims=True) for rows in (one, other))
    norms = np.sqrt((one**2).sum(axis=1) * (other**2).sum(axis=1))
    return _ratio((one * other).sum(axis=1), norms, ~flat)


def intersection(looked: Maps, clinicians: Maps) -> Scores:
    """SIM: sum of the smaller of two maps that each sum to 1, in [0, 1]; NaN where one is empty."""
    return np.minimum(density(looked), density(clinicians)).sum(axis=1)


def divergence(looked: Maps, clinicians: Maps) -> Scores:
    """KL(clinicians || model) in nats, 0 or more: less is better; NaN where a map is empty.

    The model's map is laid over the grid by the share `EVERYWHERE`, so a map that equals the
    clinicians' has up to 0.01.
    """
    m, a = density(clinicians), _spread(looked)
    return np.where(m > 0, m * np.log(np.where(m > 0, m, 1.0) / a), m).sum(axis=1)


def information_gain(looked: Maps, clinicians: Maps, prior: Maps) -> Scores:
    """Bits by which the model's map tells better than a prior map where clinicians look.

    The mean of log2(model / prior) over the clinicians' map, both laid over the grid by the share
    `EVERYWHERE`; 0 for a map that is as good as the prior, below 0 for a worse one.
    """
    bits = np.log2(_spread(looked)) - np.log2(_spread(prior))
    return (density(clinicians) * bits).sum(axis=1)


def scanpath_saliency(looked: Maps, clinicians: Maps) -> Scores:
    """NSS: mean of the standardised map over the `core`; 0 is chance; NaN for a constant map."""
    rows, marked = _rows(looked), core(clinicians)
    defined = ~_constant(rows) & marked.any(axis=1)
    centred = rows - rows.mean(axis=1, keepdims=True)
    at_core = _ratio((centred * marked).sum(axis=1), marked.sum(axis=1), defined)
    return _ratio(at_core, rows.std(axis=1), defined)


def energy_inside(looked: Maps, clinicians: Maps) -> Scores:
    """Share of the model's map that lies in the clinicians' `core`; NaN where a map is empty."""
    marked = core(clinicians)
    inside = (density(looked) * marked).sum(axis=1)
    return np.where(marked.any(axis=1), inside, np.nan)


def auc_judd(looked: Maps, clinicians: Maps) -> Scores:
    """Share of pairs of a cell of the `core` and one outside that the map ranks rightly.

    A tie counts half; chance is 0.5. NaN where the core is empty.
    """
    marked = core(clinicians)
    return _auc(_rows(looked), marked.astype(float), (~marked).astype(float))


def auc_shuffled(looked: Maps, clinicians: Maps, others: Maps) -> Scores:
    """As `auc_judd`, against places where clinicians look in other patients.

    A place that is looked at in everyone stands on both sides, so a map of the places where all
    look has 0.5.

    Args:
        looked: Maps of the model.
        clinicians: Maps of the clinicians.
        others: (N, ...), for each segment how often a cell is in the core of other patients' maps.
    """
    return _auc(_rows(looked), core(clinicians).astype(float), _rows(others))


def core(clinicians: Maps) -> NDArray[np.bool_]:
    """Returns (N, G): the cells with at least half of the largest value of a map.

    Some measures are defined for places that were looked at, and not for maps. A constant map has
    none.
    """
    rows = _rows(clinicians)
    return (rows >= _CORE * rows.max(axis=1, keepdims=True)) & ~_constant(rows)[:, None]


def density(maps: Maps) -> NDArray[np.float64]:
    """Returns (N, G), each row summing to 1; NaN where a map is empty."""
    rows = _rows(maps)
    total = rows.sum(axis=1, keepdims=True)
    return _ratio(rows, total, total > 0)


def _spread(maps: Maps) -> NDArray[np.float64]:
    own = density(maps)
    return (1 - EVERYWHERE) * own + EVERYWHERE / own.shape[1]


def _auc(score: Maps, positive: Maps, negative: Maps) -> Scores:
    """Weighted share of (positive, negative) pairs in the right order, row by row."""
    found = np.full(len(score), np.nan)
    for row, (own, chosen, against) in enumerate(zip(score, positive, negative, strict=True)):
        pairs = chosen.sum() * against.sum()
        if pairs > 0:
            rank = np.unique(own, return_inverse=True)[1]
            at, below = (np.bincount(rank, weights) for weights in (chosen, against))
            found[row] = (at * (below.cumsum() - below / 2)).sum() / pairs
    return found


def _rows(maps: Maps) -> NDArray[np.float64]:
    return np.asarray(maps, np.float64).reshape(len(maps), -1)


def _constant(rows: Maps) -> NDArray[np.bool_]:
    return np.ptp(rows, axis=1) <= _FLAT * np.abs(rows).max(axis=1)


def _ratio(above: Maps, below: Maps, defined: Maps) -> NDArray[np.float64]:
    result = np.full(np.broadcast_shapes(above.shape, below.shape), np.nan)
    return np.divide(above, below, out=result, where=defined)


OF_TWO_MAPS: Final[dict[str, Callable[[Maps, Maps], Scores]]] = {
    "cc": correlation,
    "sim": intersection,
    "kl": divergence,
    "nss": scanpath_saliency,
    "auc_judd": auc_judd,
    "energy": energy_inside,
}


def agreement(looked: Maps, clinicians: Maps, prior: Maps, others: Maps) -> dict[str, Scores]:
    """Returns every one of `keys.LOOK_AGREEMENT`.

    Args:
        looked: Maps of the model.
        clinicians: Maps of the clinicians.
        prior: See `information_gain`.
        others: See `auc_shuffled`.
    """
    found = {name: measure(looked, clinicians) for name, measure in OF_TWO_MAPS.items()}
    found["auc_shuffled"] = auc_shuffled(looked, clinicians, others)
    found["information_gain"] = information_gain(looked, clinicians, prior)
    return found
