"""Standard errors of an arm's values or of two arms' differences, from their cases.

Two questions have two answers: how would *these trained models* do on new patients, and how would
*the training procedure* do on a cohort of this size? The second one knows that other patients
would have trained other models.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vaclip.evaluation import inference as stats
from vaclip.evaluation import scores
from vaclip.evaluation.cases import Cases
from vaclip.evaluation.inference import Interval, StandardError
from vaclip.metrics.functional import FloatArray, IntArray

_RANGE = {"brier": 2.0, "log_loss": math.inf}  # of the others it is 1
_SIGNS = (1, -1, -1, 1)


@dataclass(frozen=True)
class Errors:
    """Standard errors of one value."""

    trained: StandardError
    """Over patients, the trained models as they are."""
    procedure: StandardError
    """Over patients, training sets and trained models; NaN for a single model."""


def standard_errors(
    arms: Sequence[Cases], metrics: Sequence[str], ratio: float, sites: IntArray | None = None
) -> dict[str, Errors]:
    """How much metrics vary over patients, trained models and training sets.

    Args:
        arms: One, two whose difference is asked for, or four, for first - second of the former
            two against that of the latter; the same rows.
        metrics: Names in `scores.METRICS`.
        ratio: Patients tested to patients trained on, of a model.
        sites: (N,) the site of each row, in [0, G): then sites are drawn, and not patients.

    Returns:
        By name of the metric.
    """
    whole = independent_errors(arms, metrics, sites)
    if len(arms[0].models()) < 2:
        return {name: Errors(errors.trained, stats.UNKNOWN) for name, errors in whole.items()}
    seeds = np.unique(arms[0].seed)
    parts = [whole]
    if len(seeds) > 1:
        parts = [
            independent_errors(
                [of_seed(one, seed) for one in arms],
                metrics,
                None if sites is None else renumbered(sites[arms[0].seed == seed]),
            )
            for seed in seeds
        ]
    found = {}
    for name, errors in whole.items():
        alone = np.array([part[name].procedure.value for part in parts]) ** 2
        alone = alone[np.isfinite(alone)]
        one_seed = float(alone.mean()) if len(alone) else math.nan
        overlap = stats.with_overlap(errors.procedure, one_seed, len(seeds), ratio)
        found[name] = Errors(errors.trained, overlap)
    return found


def value_interval(metric: str, value: float, error: StandardError, cases: Cases) -> Interval:
    """Interval of an arm's value, in the form that suits the metric; of ``ece`` there is none."""
    if metric == "ece":
        return stats.UNDEFINED
    if metric in ("log_loss", "brier"):
        return stats.positive_interval(value, error)
    return stats.fraction_interval(value, error, cases.patients, len(cases.label))


def difference_interval(
    metric: str, difference: float, error: StandardError, cases: Cases
) -> Interval:
    """Interval of the difference between two arms of these cases."""
    limit = _RANGE.get(metric, 1.0)
    return stats.difference_interval(difference, error, cases.patients, limit)


def share(cases: Cases, metric: str) -> FloatArray:
    """What each patient weighs in a metric, (P,), summing to 1."""
    weight = np.ones(len(cases.label))
    if metric in scores.MACRO:
        counts = np.bincount(cases.label)
        weight = 1 / (counts[cases.label] * np.count_nonzero(counts))
    return np.bincount(cases.patient, weight) / weight.sum()


def independent_errors(
    arms: Sequence[Cases], metrics: Sequence[str], sites: IntArray | None = None
) -> dict[str, Errors]:
    """Errors as if training sets shared no patient; see `standard_errors`."""
    cases = arms[0]
    training, seed = cases.training_sets()
    if sites is None:
        unit, strata = cases.patient, cases.strata()
    else:
        unit, strata = sites, np.zeros(sites.max() + 1, np.int64)
    cells, cell = np.unique(np.stack([unit, training]), axis=1, return_inverse=True)
    of_cell = np.stack([strata[cells[0]], seed[cells[1]]])
    cell_strata = np.unique(of_cell, axis=1, return_inverse=True)[1].reshape(-1)
    over_units = _left_out(arms, unit, metrics, strata)
    over_models = _left_out(arms, training, metrics, seed)
    over_cells = _left_out(arms, cell.reshape(-1), metrics, cell_strata)
    found = {}
    for name in metrics:
        weight = share(replace(cases, patient=unit), name)
        units = stats.patient_error(over_units[name], strata, weight)
        models, df = stats.jackknife_variance(over_models[name], seed)
        alike = stats.jackknife_variance(over_cells[name], cell_strata)[0]
        found[name] = Errors(units, stats.with_training(units, models, df, alike))
    return found


def of_seed(cases: Cases, seed: int) -> Cases:
    """The rows of a seed, its patients numbered anew."""
    return subset(cases, cases.seed == seed)


def subset(cases: Cases, rows: NDArray[np.bool_]) -> Cases:
    """Some rows, their patients numbered anew."""
    own = cases.of(rows)
    return replace(own, patient=renumbered(own.patient))


def renumbered(numbers: IntArray) -> IntArray:
    """The same numbers without gaps, from 0."""
    return np.unique(numbers, return_inverse=True)[1]


def _left_out(
    arms: Sequence[Cases], unit: IntArray, metrics: Sequence[str], strata: IntArray
) -> dict[str, FloatArray]:
    """The metrics, or their differences, without each unit."""
    found = [scores.jackknife_metrics(one, unit, metrics, strata) for one in arms]
    signs = np.array(_SIGNS[: len(arms)])
    return {name: signs @ np.stack([one[name] for one in found]) for name in metrics}
