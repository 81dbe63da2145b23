"""Scores of arms and contrasts between them, from checked predictions.

Headline: balanced accuracy per patient. All draws come from a seed, so equal tables give
equal results.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vaclip import keys
from vaclip.errors import VaclipError, counted
from vaclip.evaluation import inference as stats
from vaclip.evaluation import scores
from vaclip.evaluation.cases import Cases, Job, Unit
from vaclip.evaluation.inference import Interval, ResampledT, StandardError
from vaclip.evaluation.predictions import Predictions
from vaclip.evaluation.roles import FAMILIES, Roles
from vaclip.evaluation.spread import difference_interval, standard_errors, value_interval
from vaclip.metrics.functional import FloatArray, IntArray, alignment_metrics

HEADLINE: Final = "acc_macro"
N_RESAMPLES: Final = 2000
N_PERMUTATIONS: Final = 9999


@dataclass(frozen=True, repr=False)
class Score:
    """A metric of an arm."""

    per_seed: dict[int, float]
    """Value of each seed, its folds pooled, so that every patient counts once; of
    `scores.RANKING` the mean over its folds."""
    mean: float
    """Over seeds, of which one that lacks folds weighs less; of `scores.RANKING` over models."""
    sd: float
    """Over the seeds that lack nothing; NaN for one."""
    interval: Interval
    """Of the training procedure on a cohort of this size: over patients, training sets and trained
    models. Undefined for a single model; of ``ece`` none, because its bias is not known."""
    trained: Interval
    """Of these trained models on new patients: over patients alone."""
    percentile: Interval
    """As ``trained``, from the bootstrap."""
    error: StandardError = stats.UNKNOWN
    """Of the training procedure, as ``interval``."""

    def __repr__(self) -> str:
        return f"{self.mean:.3f} ({self.interval}; of these models {_ends(self.trained)})"


@dataclass(frozen=True, repr=False)
class ArmScores:
    """All that is said of one arm per patient or per clip."""

    arm: str
    unit: Unit
    jobs: int
    patients: int
    of_several_labels: int
    """How many of them have cases of several labels: see `vaclip.evaluation.cases`."""
    scores: dict[str, Score]
    """By name in `scores.METRICS`."""
    alignment: dict[str, tuple[float, float]]
    """Mean over models and standard deviation over seeds of `alignment_metrics`."""
    confusion: IntArray
    """(K, K) counts by (label, diagnosis), summed over seeds."""
    reliability: scores.Reliability
    """Over all seeds."""

    def __repr__(self) -> str:
        found = ", ".join(f"{name} {score}" for name, score in self.scores.items())
        return f"{self.arm} per {self.unit}, {counted(self.patients, 'patient')}: {found}"


@dataclass(frozen=True, repr=False)
class Contrast:
    """The difference ``first - second`` over the cases and jobs that both arms have."""

    first: str
    second: str
    metric: str
    jobs: int
    jobs_of_either: int
    patients: int
    value_first: float
    value_second: float
    difference: float
    error: StandardError
    """Of the difference between the training procedures."""
    interval: Interval
    """Of the training procedures on a cohort of this size: over patients, training sets and trained
    models. Undefined for a single model of each."""
    p: float
    """Two-sided, of the t-test that belongs to ``interval``."""
    trained: Interval
    """Of these trained models on new patients: over patients alone."""
    percentile: Interval
    """As ``trained``, from the paired bootstrap."""
    p_patients: float
    """Two-sided, of the paired permutation test of patients, the trained models as they are."""
    p_holm: float
    """Corrected for the family that the contrast stands in; NaN outside of one."""
    resampled_t: ResampledT
    """Nadeau and Bengio's test over folds and seeds."""
    identical: bool = False
    """Whether both predict the very same for every case, as one model under two names does."""

    def __repr__(self) -> str:
        p = f"{self.p:.3g}" if math.isfinite(self.p) else "-"
        return (
            f"{self.first} - {self.second}, {self.metric}: {self.difference:+.3f} "
            f"({self.interval}), p = {p}, {counted(self.patients, 'patient')}; of these models "
            f"{_ends(self.trained)}"
        )


def _ends(interval: Interval) -> str:
    known = math.isfinite(interval.low)
    return f"{interval.low:.3f} to {interval.high:.3f}" if known else "-"


def score_arm(
    predictions: Predictions,
    arm: str,
    unit: Unit = "patient",
    *,
    metrics: Sequence[str] = scores.METRICS,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> ArmScores:
    """Scores one arm over all jobs that it has."""
    cases = predictions.cases(arm, unit)
    per_seed = scores.seed_metrics(cases, metrics)
    means = scores.resampled_metrics(cases, np.ones((1, cases.patients)), metrics)
    rows = {s: int(np.sum(cases.seed == s)) for s in per_seed}
    weights = stats.bootstrap_weights(cases.strata(), n_resamples, np.random.default_rng(seed))
    drawn = scores.resampled_metrics(cases, weights, metrics)
    errors = standard_errors([cases], metrics, size_ratio(predictions, cases, [arm]))
    found = {}
    for name in metrics:
        values = {s: value[name] for s, value in per_seed.items()}
        mean = float(means[name][0])
        found[name] = Score(
            per_seed=values,
            mean=mean,
            sd=scores.sd_over_seeds(values, rows),
            interval=value_interval(name, mean, errors[name].procedure, cases),
            trained=value_interval(name, mean, errors[name].trained, cases),
            percentile=stats.percentile_interval(drawn[name]),
            error=errors[name].procedure,
        )
    return ArmScores(
        arm=arm,
        unit=unit,
        jobs=len(predictions.jobs[arm]),
        patients=cases.patients,
        of_several_labels=cases.of_several_labels,
        scores=found,
        alignment=_alignment(cases, rows),
        confusion=scores.confusion_matrix(cases.probs, cases.label),
        reliability=scores.reliability(cases.probs, cases.label),
    )


def _alignment(cases: Cases, rows: dict[int, int]) -> dict[str, tuple[float, float]]:
    """Within a model, as `scores.RANKING`: embeddings of two models have nothing in common."""
    found = []
    for fold, seed in cases.models():
        own = cases.of((cases.fold == fold) & (cases.seed == seed) & np.isfinite(cases.similarity))
        right = own.probs.argmax(axis=1) == own.label
        found.append({"seed": int(seed), **alignment_metrics(own.similarity, right)})
    table = pd.DataFrame(found)
    per_seed = table.groupby("seed").mean()
    return {
        name: (float(table[name].mean()), scores.sd_over_seeds(per_seed[name].to_dict(), rows))
        for name in map(str, per_seed)
    }


def compare(
    predictions: Predictions,
    first: str,
    second: str,
    metric: str = HEADLINE,
    *,
    n_resamples: int = N_RESAMPLES,
    n_permutations: int = N_PERMUTATIONS,
    seed: int = 0,
) -> Contrast:
    """Compares two arms on the clips and jobs that both have.

    Args:
        predictions: The table.
        first: An arm.
        second: What is subtracted from it.
        metric: A name in `scores.METRICS`, per patient.
        n_resamples: Draws of the bootstrap over patients.
        n_permutations: Of the paired permutation test; all are tried where they are fewer.
        seed: Of the draws; equal tables and seeds give equal results.

    Raises:
        VaclipError: If there is no such arm.

    Examples:
        >>> import pandas as pd
        >>> ill = [0.9, 0.2, 0.8, 0.1, 0.4, 0.3, 0.7, 0.6]
        >>> frame = pd.DataFrame({"pid": [*"abcdefgh"], "dx": ["ill", "well"] * 4, "p1": ill})
        >>> both = pd.concat([frame.assign(arm="net"), frame.assign(arm="gaze", p1=ill[::-1])])
        >>> table = Predictions.from_frame(
        ...     both.assign(p0=1 - both.p1), patient="pid", label="dx", arm="arm",
        ...     probs={"ill": "p1", "well": "p0"},
        ... )
        >>> compare(table, "gaze", "net", n_resamples=9).difference
        -0.5
    """
    one, two = predictions.paired(first, second)
    jobs = predictions.jobs[first], predictions.jobs[second]
    common = sorted(jobs[0] & jobs[1])

    def apart(weights: FloatArray) -> FloatArray:
        a, b = (scores.resampled_metrics(part, weights, [metric])[metric] for part in (one, two))
        return a - b

    everyone = np.ones((1, one.patients))
    values = [
        float(scores.resampled_metrics(part, everyone, [metric])[metric][0]) for part in (one, two)
    ]
    difference = values[0] - values[1]
    ratio = size_ratio(predictions, one, [first, second])
    errors = standard_errors([one, two], [metric], ratio)[metric]
    drawn = stats.bootstrap_weights(one.strata(), n_resamples, np.random.default_rng(seed))
    by_patients = stats.permutation_p(
        _permuted(one, two, metric), one.patients, n_permutations, np.random.default_rng([seed, 1])
    )
    return Contrast(
        first=first,
        second=second,
        metric=metric,
        jobs=len(common),
        jobs_of_either=len(jobs[0] | jobs[1]),
        patients=one.patients,
        value_first=values[0],
        value_second=values[1],
        difference=difference,
        error=errors.procedure,
        interval=difference_interval(metric, difference, errors.procedure, one),
        p=stats.t_p(difference, errors.procedure),
        trained=difference_interval(metric, difference, errors.trained, one),
        percentile=stats.percentile_interval(apart(drawn)),
        p_patients=by_patients,
        p_holm=math.nan,
        resampled_t=_fold_test(common, one, two, metric, ratio),
        identical=one.patients > 0 and np.array_equal(one.probs, two.probs),
    )


def _permuted(one: Cases, two: Cases, metric: str) -> stats.Permuted:
    """The difference of two arms after swaps: both lie in one table, weighted 0 or 1."""
    patients = one.patients
    both = Cases(
        **{name: np.concatenate([getattr(one, name), getattr(two, name)]) for name in vars(one)}
    )
    both.patient[len(one.patient) :] += patients

    def statistic(swaps: NDArray[np.bool_]) -> FloatArray:
        swapped = swaps.astype(float)
        sides = [np.hstack([1 - swapped, swapped]), np.hstack([swapped, 1 - swapped])]
        values = [scores.resampled_metrics(both, side, [metric])[metric] for side in sides]
        return values[0] - values[1]

    return statistic


def _fold_test(
    common: Sequence[Job], one: Cases, two: Cases, metric: str, ratio: float
) -> ResampledT:
    differences, everyone = [], np.ones((1, one.patients))
    for fold, seed in common:
        own = (one.fold == fold) & (one.seed == seed)
        both = [scores.resampled_metrics(x.of(own), everyone, [metric]) for x in (one, two)]
        differences.append(float(both[0][metric][0] - both[1][metric][0]))
    return stats.corrected_resampled_t(differences, ratio)


def size_ratio(predictions: Predictions, cases: Cases, arms: Sequence[str]) -> float:
    """Patients tested to patients trained on, of the models that the cases come from."""
    sizes = [predictions.sizes[int(pair[0]), int(pair[1])] for pair in cases.models()]
    test, train = (sum(size[side] for size in sizes) for side in (0, 1))
    fraction = min(map(_train_fraction, arms))
    return test / (fraction * train) if train > 0 else math.nan


def _train_fraction(arm: str) -> float:
    """Share of the training patients that an arm learns from."""
    _, axis, value = keys.split_variant(arm)
    if axis != keys.AXIS_TRAIN_FRACTION:
        return 1.0
    try:
        return float(str(value))
    except ValueError as error:
        raise VaclipError(f"an arm has {axis}={value}, which is no number") from error


def compare_families(
    predictions: Predictions, roles: Roles | None, metric: str = HEADLINE, **options: Any
) -> dict[str, list[Contrast]]:
    """All contrasts by family (see `Roles.families`), each with its own Holm correction.

    Args:
        predictions: The table.
        roles: Which arm plays which part; without them every family is empty.
        metric: A name in `scores.METRICS`.
        **options: Of `compare`.
    """
    wanted = roles.families(predictions.jobs) if roles else {name: [] for name in FAMILIES}
    pairs = {pair for family in wanted.values() for pair in family}
    found = {pair: compare(predictions, *pair, metric, **options) for pair in sorted(pairs)}
    return {name: corrected([found[pair] for pair in family]) for name, family in wanted.items()}


def corrected(family: Sequence[Contrast]) -> list[Contrast]:
    """Fills in ``p_holm`` for contrasts that form a family."""
    adjusted = stats.holm([contrast.p for contrast in family])
    return [replace(c, p_holm=p) for c, p in zip(family, adjusted, strict=True)]
