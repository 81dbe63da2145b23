"""Metrics of cases, plainly and under many weightings at once, and how sure a model is.

Letters: N rows, D weightings, K classes, P patients. A weighting gives each patient a weight
in [0, inf): one drawn twice by a bootstrap weighs 2, one left out 0. What is undefined is NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vaclip.evaluation.calibration import calibration_intercept, calibration_slope
from vaclip.evaluation.cases import Cases
from vaclip.metrics.functional import (
    CLASSIFICATION_NAMES,
    FloatArray,
    IntArray,
    classification_metrics,
)

METRICS: Final = (*CLASSIFICATION_NAMES, "f1_micro", "ece", "brier")
"""Names of `row_metrics`."""
MACRO: Final = frozenset({"acc_macro", "f1_macro", "auroc_macro"})
"""Those to which every class contributes the same share; to the others every row does."""
AURC: Final = "aurc"
"""Area under the risk-coverage curve, of cases whose first column of ``probs`` says how sure a
diagnosis is, and whose second one is 1 where it is wrong; not among `METRICS`."""
RANKING: Final = frozenset({"auroc_macro", "auroc_micro", AURC})
"""Those that rank rows: computed within a model, then averaged over the models in
which they are defined, because models need not agree on what a probability means."""
VALUE: Final = "value"
"""The mean of the first column of ``probs``, whatever it holds: measures that are means of a number
a row. Like `RECALIBRATION` not among `METRICS`."""
RECALIBRATION: Final = ("calibration_intercept", "calibration_slope")
"""Of the second of two classes; the folds of a seed together, as all that asks what a probability
is worth."""
BINS: Final = 10
_CHUNK = 250_000  # weights held at once

Recalibration: TypeAlias = Callable[[FloatArray, NDArray[np.bool_], FloatArray], FloatArray]


@dataclass(frozen=True)
class Rows:
    """Rows of one seed."""

    probs: FloatArray
    """(N, K), summing to 1."""
    label: IntArray
    """(N,) in [0, K)."""
    patient: IntArray
    """(N,) in [0, P)."""

    def right(self) -> FloatArray:
        """1 where the diagnosis is right, (N,)."""
        return (self.probs.argmax(axis=1) == self.label).astype(float)

    def one_hot(self) -> FloatArray:
        """The labels, (N, K)."""
        return np.eye(self.probs.shape[1])[self.label]

    def total(self, weights: FloatArray, value: FloatArray) -> FloatArray:
        """Weighted sums over rows, from value (N, X) and weights (D, P) to (D, X)."""
        by_patient = np.zeros((weights.shape[1], value.shape[1]))
        np.add.at(by_patient, self.patient, value)
        return weights @ by_patient

    def mean(self, weights: FloatArray, value: FloatArray) -> FloatArray:
        """Weighted mean over rows, from value (N,) to (D,)."""
        sums = self.total(weights, np.stack([value, np.ones(len(value))], axis=1))
        return sums[:, 0] / sums[:, 1]


@dataclass(frozen=True)
class Reliability:
    """A reliability curve over `BINS` bins of equal width, each closed on the right."""

    confidence: FloatArray
    """(BINS,) mean top probability, NaN in an empty bin."""
    accuracy: FloatArray
    """(BINS,) share of right diagnoses, NaN in an empty bin."""
    count: IntArray
    """(BINS,) rows."""


def row_metrics(probs: FloatArray, labels: IntArray) -> dict[str, float]:
    """`classification_metrics`, ``f1_micro`` (equal to accuracy), ``ece`` and ``brier``.

    ``ece`` is the expected calibration error of the top label, the mean of |accuracy -
    confidence| over `BINS` bins of equal width, weighted by their rows (Guo et al. 2017,
    eq. 3); on few rows it is biased upwards. ``brier`` is the multi-class sum of squares in
    [0, 2], averaged over rows (Brier 1950).

    Args:
        probs: (N, K), rows summing to 1.
        labels: (N,) in [0, K).
    """
    values = classification_metrics(probs, labels)
    values["f1_micro"] = values["acc_micro"]
    rows = Rows(probs, labels, np.arange(len(labels)))
    extra = weighted_metrics(rows, np.ones((1, len(labels))), ("ece", "brier"))
    return values | {name: float(value[0]) for name, value in extra.items()}


def weighted_metrics(
    rows: Rows, weights: FloatArray, names: Sequence[str] = METRICS
) -> dict[str, FloatArray]:
    """Computes `row_metrics` under D weightings of the patients, all rows of one together.

    Args:
        rows: Probabilities, labels and patients.
        weights: (D, P), not negative.
        names: Which of `METRICS`.

    Returns:
        (D,) by name.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return {name: _WEIGHTED[name](rows, weights) for name in names}


def seed_metrics(cases: Cases, names: Sequence[str] = METRICS) -> dict[int, dict[str, float]]:
    """The metrics of each seed, as `resampled_metrics` takes them together."""
    everyone = np.ones((1, cases.patients))
    found = {}
    for seed in np.unique(cases.seed):
        values = resampled_metrics(cases.of(cases.seed == seed), everyone, names)
        found[int(seed)] = {name: float(value[0]) for name, value in values.items()}
    return found


def resampled_metrics(
    cases: Cases, weights: FloatArray, names: Sequence[str]
) -> dict[str, FloatArray]:
    """Means of the metrics over seeds, or over models, each patient weighted as a whole.

    The folds of a seed are pooled. A seed weighs by its rows, so one that lacks folds counts for
    less. Those of `RANKING` are means over models instead, all alike. A seed or model in which a
    metric is undefined, such as a fold without a class, is left out of its mean.

    Args:
        cases: Rows of all seeds.
        weights: (D, P) weights of the patients.
        names: Which of `METRICS`.

    Returns:
        (D,) by name.
    """
    step = max(1, _CHUNK // max(1, len(cases.label)))
    parts = [
        _mean(cases, weights[start : start + step], names)
        for start in range(0, max(len(weights), 1), step)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in names}


def jackknife_metrics(
    cases: Cases, unit: IntArray, names: Sequence[str], strata: IntArray | None = None
) -> dict[str, FloatArray]:
    """Means over seeds of the metrics, without each unit of rows.

    Args:
        cases: Rows of all seeds.
        unit: (N,) in [0, U): which rows go together, such as a patient's or a model's.
        names: Which of `METRICS`.
        strata: (U,) in [0, H): the others of a unit's stratum then weigh more, n / (n - 1), so
            that the stratum keeps its share, as the stratified jackknife asks for.

    Returns:
        (U,) by name.
    """
    units = int(unit.max(initial=-1)) + 1
    grouped, step = replace(cases, patient=unit), max(1, _CHUNK // max(1, units))
    parts = []
    for start in range(0, max(units, 1), step):
        weights = np.ones((min(step, units - start), units))
        if strata is not None:
            size = np.bincount(strata)[strata]
            mates = strata[start : start + step, None] == strata
            weights = np.where(mates, size / np.maximum(size - 1, 1), weights)
        np.fill_diagonal(weights[:, start:], 0)
        parts.append(resampled_metrics(grouped, weights, names))
    return {name: np.concatenate([part[name] for part in parts]) for name in names}


def _mean(cases: Cases, weights: FloatArray, names: Sequence[str]) -> dict[str, FloatArray]:
    total = {name: np.zeros(len(weights)) for name in names}
    defined = {name: np.zeros(len(weights)) for name in names}
    model = np.unique(np.stack([cases.seed, cases.fold]), axis=1, return_inverse=True)[1]
    for pooled, group in ((True, cases.seed), (False, model.reshape(-1))):
        wanted = [name for name in names if pooled is (name not in RANKING)]
        for own in np.unique(group) if wanted else ():
            rows = np.flatnonzero(group == own)
            part = Rows(cases.probs[rows], cases.label[rows], cases.patient[rows])
            share = len(rows) if pooled else 1
            for name, value in weighted_metrics(part, weights, wanted).items():
                total[name] += share * np.nan_to_num(value)
                defined[name] += share * np.isfinite(value)
    with np.errstate(invalid="ignore"):
        return {name: total[name] / defined[name] for name in names}


def sd_over_seeds(values: dict[int, float], rows: dict[int, int]) -> float:
    """Standard deviation (n - 1) over seeds.

    Over those that have the most rows: one that lacks folds differs for another reason. NaN for
    fewer than two.

    Args:
        values: The metric by seed.
        rows: The rows by seed.
    """
    most = max(rows.values(), default=0)
    whole = [v for seed, v in values.items() if math.isfinite(v) and rows[seed] == most]
    return float(np.std(whole, ddof=1)) if len(whole) > 1 else math.nan


def confusion_matrix(probs: FloatArray, labels: IntArray) -> IntArray:
    """Counts rows by (label, diagnosis), (K, K)."""
    counts = np.zeros((probs.shape[1], probs.shape[1]), np.int64)
    np.add.at(counts, (labels, probs.argmax(axis=1)), 1)
    return counts


def reliability(probs: FloatArray, labels: IntArray) -> Reliability:
    """The reliability curve of the top label."""
    bins = _bins(probs)
    count = np.bincount(bins, minlength=BINS)
    with np.errstate(invalid="ignore"):
        confidence = np.bincount(bins, probs.max(axis=1), BINS) / count
        accuracy = np.bincount(bins, probs.argmax(axis=1) == labels, BINS) / count
    return Reliability(confidence, accuracy, count)


def _bins(probs: FloatArray) -> IntArray:
    edges = np.linspace(0, 1, BINS + 1)[1:-1]
    return np.searchsorted(edges, probs.max(axis=1))


def _acc_micro(rows: Rows, weights: FloatArray) -> FloatArray:
    return rows.mean(weights, rows.right())


def _mean_of_present(value: FloatArray, support: FloatArray) -> FloatArray:
    present = support > 0
    return np.where(present, value, 0).sum(axis=1) / present.sum(axis=1)


def _acc_macro(rows: Rows, weights: FloatArray) -> FloatArray:
    truth = rows.one_hot()
    support = rows.total(weights, truth)
    return _mean_of_present(rows.total(weights, truth * rows.right()[:, None]) / support, support)


def _f1_macro(rows: Rows, weights: FloatArray) -> FloatArray:
    truth = rows.one_hot()
    called = np.eye(truth.shape[1])[rows.probs.argmax(axis=1)]
    support, hits = rows.total(weights, truth), rows.total(weights, truth * called)
    return _mean_of_present(2 * hits / (support + rows.total(weights, called)), support)


def _auroc(positive: FloatArray, score: FloatArray, weights: FloatArray) -> FloatArray:
    """Weight of (positive, negative) pairs in the right order, a tie counting half.

    Args:
        positive: (N,) 1 or 0.
        score: (N,).
        weights: (D, N).
    """
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.diff(score[order], prepend=-np.inf))
    ordered = weights[:, order]
    above = ordered * positive[order]
    below = ordered - above
    if len(starts) < len(order):
        above, below = (np.add.reduceat(part, starts, axis=1) for part in (above, below))
    lower = np.cumsum(below, axis=1)
    pairs = np.einsum("dn,dn->d", above, lower - below / 2)
    return pairs / (above.sum(axis=1) * lower[:, -1])


def _auroc_macro(rows: Rows, weights: FloatArray) -> FloatArray:
    own, truth = weights[:, rows.patient], rows.one_hot()
    return np.mean([_auroc(*pair, own) for pair in zip(truth.T, rows.probs.T, strict=True)], axis=0)


def _auroc_micro(rows: Rows, weights: FloatArray) -> FloatArray:
    own = weights[:, np.repeat(rows.patient, rows.probs.shape[1])]
    return _auroc(rows.one_hot().ravel(), rows.probs.ravel(), own)


def _aurc(rows: Rows, weights: FloatArray) -> FloatArray:
    """Mean, over the rows, of the risk where all at least as sure as the row are answered."""
    order = np.argsort(-rows.probs[:, 0], kind="stable")
    starts = np.flatnonzero(np.diff(rows.probs[order, 0], prepend=np.inf))
    own = weights[:, rows.patient[order]]
    size, wrong = (
        np.add.reduceat(part, starts, axis=1) for part in (own, own * rows.probs[order, 1])
    )
    answered = np.cumsum(size, axis=1)
    risk = np.where(answered > 0, np.cumsum(wrong, axis=1) / answered, 0)
    return (size * risk).sum(axis=1) / answered[:, -1]


def _log_loss(rows: Rows, weights: FloatArray) -> FloatArray:
    own = rows.probs[np.arange(len(rows.label)), rows.label]
    return rows.mean(weights, -np.log(np.maximum(own, np.finfo(np.float32).tiny)))


def _brier(rows: Rows, weights: FloatArray) -> FloatArray:
    return rows.mean(weights, ((rows.probs - rows.one_hot()) ** 2).sum(axis=1))


def _ece(rows: Rows, weights: FloatArray) -> FloatArray:
    in_bin = np.eye(BINS)[_bins(rows.probs)]
    gap = rows.total(weights, (rows.right() - rows.probs.max(axis=1))[:, None] * in_bin)
    return np.abs(gap).sum(axis=1) / rows.total(weights, in_bin).sum(axis=1)


def _recalibrated(measure: Recalibration, rows: Rows, weights: FloatArray) -> FloatArray:
    return measure(rows.probs[:, 1], rows.label == 1, weights[:, rows.patient])


_WEIGHTED: dict[str, Callable[[Rows, FloatArray], FloatArray]] = {
    "acc_micro": _acc_micro,
    "acc_macro": _acc_macro,
    "f1_macro": _f1_macro,
    "f1_micro": _acc_micro,
    "auroc_macro": _auroc_macro,
    "auroc_micro": _auroc_micro,
    "log_loss": _log_loss,
    "ece": _ece,
    "brier": _brier,
    AURC: _aurc,
    VALUE: lambda rows, weights: rows.mean(weights, rows.probs[:, 0]),
    "calibration_intercept": partial(_recalibrated, calibration_intercept),
    "calibration_slope": partial(_recalibrated, calibration_slope),
}
