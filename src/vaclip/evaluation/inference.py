"""Intervals and tests over patients, on plain arrays.

Patients are the unit: all that belongs to one moves together. Letters: P patients, D draws.
What cannot be estimated is NaN. ``benchmarks/inference.py`` shows how often these intervals cover
and these tests err with really trained models.

Intervals come from what a value is without each patient and each trained model (jackknife);
`vaclip.evaluation.spread` puts the parts together. The percentile bootstrap over patients, which
covers less often with 30 to 60 patients, is given beside them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.multitest import multipletests

from vaclip.metrics.functional import FloatArray, IntArray

LEVEL: Final = 0.95
ALPHA: Final = 0.05
SHARED: Final = 1.25  # see `with_overlap`
_PRIOR_DF = 2.0  # weight of the pooled variance in each stratum's, in degrees of freedom
_TIE = 1e-9  # statistics that differ by rounding alone are equal
_CHUNK = 1024


Permuted: TypeAlias = Callable[[NDArray[np.bool_]], FloatArray]
"""From swaps (D, P), true where a patient's two arms change places, to differences (D,)."""


@dataclass(frozen=True)
class Interval:
    """A confidence interval at `LEVEL`."""

    low: float
    high: float

    def __str__(self) -> str:
        if not math.isfinite(self.low):
            return f"{LEVEL:.0%} interval -"
        return f"{LEVEL:.0%} interval {self.low:.3f} to {self.high:.3f}"


UNDEFINED: Final = Interval(math.nan, math.nan)


@dataclass(frozen=True)
class StandardError:
    """The standard error of a value, and its degrees of freedom."""

    value: float
    df: float


UNKNOWN: Final = StandardError(math.nan, math.nan)


@dataclass(frozen=True)
class ResampledT:
    """The corrected resampled t-test over folds and seeds."""

    t: float
    df: int
    p: float


def bootstrap_weights(strata: IntArray, n_resamples: int, rng: np.random.Generator) -> FloatArray:
    """Draws patients with replacement within each stratum.

    Args:
        strata: (P,) stratum of each patient.
        n_resamples: D.
        rng: Source of the draws.

    Returns:
        (D, P): how often each patient was drawn.
    """
    weights = np.zeros((n_resamples, len(strata)))
    for stratum in np.unique(strata):
        own = np.flatnonzero(strata == stratum)
        weights[:, own] = rng.multinomial(len(own), np.full(len(own), 1 / len(own)), n_resamples)
    return weights


def percentile_interval(values: FloatArray) -> Interval:
    """Percentile interval of bootstrap values (D,); undefined where any value is."""
    if not len(values) or not np.isfinite(values).all():
        return UNDEFINED
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))


def jackknife_variance(jackknifed: FloatArray, strata: IntArray) -> tuple[float, float]:
    """Variance of a value from what it is without each unit (Shao & Tu 1995, ch. 6.2).

    V = sum_h (n_h - 1) / n_h sum_i (left_out_hi - mean_h)^2 over strata h of n_h units. An
    undefined value is left out; a stratum of one unit says nothing.

    Args:
        jackknifed: (U,) the value without each unit.
        strata: (U,) stratum of each unit.

    Returns:
        V and its degrees of freedom, sum_h (n_h - 1); NaN and 0 if no stratum says anything.
    """
    defined = np.isfinite(jackknifed)
    groups = [jackknifed[defined & (strata == stratum)] for stratum in np.unique(strata)]
    groups = [group for group in groups if len(group) > 1]
    if not groups:
        return math.nan, 0.0
    terms = [(len(group) - 1) * float(np.var(group)) for group in groups]
    return sum(terms), float(sum(len(group) - 1 for group in groups))


def patient_error(jackknifed: FloatArray, strata: IntArray, share: FloatArray) -> StandardError:
    """Standard error of a value over patients, from what it is without each of them.

    The stratified jackknife: with c_h the share that stratum h has in the value and n_h its
    patients, V = sum_h c_h^2 s_h^2 / n_h, which for a mean of class means is the textbook
    formula exactly. A stratum's s_h^2 is moderated towards the pooled one, which counts as
    two more degrees of freedom (Smyth 2004, with a fixed prior), so that a class of three
    patients who are all right does not pass for certain. The degrees of freedom are Welch and
    Satterthwaite's, at most those of the pooled variance.

    Args:
        jackknifed: (P,) the value without each patient; it may be NaN for a stratum's only one.
        strata: (P,) stratum of each patient.
        share: (P,) what each patient weighs in the value, summing to 1.
    """
    names = np.unique(strata)
    n = np.array([np.sum(strata == stratum) for stratum in names], float)
    c = np.array([share[strata == stratum].sum() for stratum in names])
    variance = [jackknife_variance(jackknifed[strata == s], strata[strata == s])[0] for s in names]
    own = np.where(n > 1, variance * n / c**2, 0.0)
    total = float((n - 1).sum())
    if not total or not np.isfinite(own).all():
        return UNKNOWN
    pooled = ((n - 1) * own).sum() / total
    df = n - 1 + _PRIOR_DF
    terms = ((n - 1) * own + _PRIOR_DF * pooled) / df * c**2 / n
    if terms.sum() < _TIE**2:
        return StandardError(0.0, total)
    welch = float(terms.sum() ** 2 / (terms**2 / df).sum())
    return StandardError(math.sqrt(terms.sum()), min(welch, total))


def with_training(patients: StandardError, models: float, df: float, cells: float) -> StandardError:
    """Adds the chance of training to a standard error over patients.

    A trained model that is better or worse than its like moves all that it tests. Two-way
    clustering (Cameron, Gelbach & Miller 2011): V = V_patients + max(V_models - V_cells, 0),
    where V_cells is what V_models would be if models were all alike. Satterthwaite's degrees
    of freedom, with those of V_models for the term that is added.

    Args:
        patients: The standard error over patients.
        models: Jackknife variance over models (training sets); NaN if there is but one, and
            then nothing is added.
        df: Its degrees of freedom.
        cells: Jackknife variance over pairs of patient and model.
    """
    extra = models - cells
    if not extra > _TIE**2 or not math.isfinite(patients.value):
        return patients
    variance = patients.value**2 + extra
    freedom = variance**2 / (patients.value**4 / patients.df + models**2 / df)
    return StandardError(math.sqrt(variance), freedom)


def with_overlap(error: StandardError, one_seed: float, seeds: int, ratio: float) -> StandardError:
    """Adds what folds and seeds share: their models come from one cohort.

    More seeds average out the chance of a split and of a training, V = A + (V(one seed) - A) / S;
    what they cannot average out, A, is the chance of this cohort's patients as they are tested.
    They were trained on as well, by every model, which no model without them tells: V' = V +
    `SHARED` A. With a single seed A is unknown, and V' = V + n_test / n_train V, after Nadeau
    and Bengio (2003). No unbiased estimator exists (Bengio & Grandvalet 2004): both were chosen by
    ``benchmarks/inference.py``.

    Args:
        error: Over patients and models, as if training sets shared nobody.
        one_seed: Mean over seeds of V of that seed alone.
        seeds: S.
        ratio: n_test / n_train of a model.
    """
    variance = error.value**2
    if seeds > 1:
        added = SHARED * max((seeds * variance - one_seed) / (seeds - 1), 0.0)
    else:
        added = ratio * variance
    if not math.isfinite(variance + added):
        return UNKNOWN
    return StandardError(math.sqrt(variance + added), error.df)


def fraction_interval(value: float, error: StandardError, patients: int, rows: int) -> Interval:
    """Interval of a value in [0, 1], of Wilson's form.

    Wilson (1927) with the effective sample size value (1 - value) / error^2, as for complex
    surveys (Korn & Graubard 1998), and a t quantile. It is at most the number of rows; where
    all patients agree, such as all right, it is the number of patients.
    """
    if not math.isfinite(value) or not math.isfinite(error.value) or patients < 2:
        return UNDEFINED
    size = float(patients)
    if error.value > 0 and 0 < value < 1:
        size = min(value * (1 - value) / error.value**2, float(rows))
    t = _quantile(error.df)
    middle = value + t**2 / (2 * size)
    half = t * math.sqrt(max(value * (1 - value) / size + t**2 / (4 * size**2), 0.0))
    scale = 1 + t**2 / size
    low, high = (middle - half) / scale, (middle + half) / scale
    # It holds the value, but for rounding where that is 0 or 1.
    return Interval(max(min(low, value), 0.0), min(max(high, value), 1.0))


def difference_interval(
    difference: float,
    error: StandardError,
    patients: int,
    limit: float = 1.0,
    *,
    level: float = LEVEL,
) -> Interval:
    """Student's t interval of a difference in [-limit, limit].

    Where no patient differs from another, the error is 0 and says nothing; the interval is
    then widened by what Wilson's form leaves open after none of P.
    """
    if not math.isfinite(difference) or not math.isfinite(error.value) or patients < 2:
        return UNDEFINED
    t = _quantile(error.df, level)
    half = t * error.value if error.value > 0 else t**2 / (patients + t**2)
    return Interval(max(difference - half, -limit), min(difference + half, limit))


def positive_interval(value: float, error: StandardError) -> Interval:
    """Student's t interval of a value without an upper bound, on its logarithm."""
    if not value > 0 or not math.isfinite(error.value):
        return UNDEFINED
    factor = math.exp(_quantile(error.df) * error.value / value)
    return Interval(value / factor, value * factor)


def t_p(difference: float, error: StandardError) -> float:
    """Two-sided p of Student's t-test of a difference; 1 where nothing differs."""
    if not math.isfinite(difference) or not math.isfinite(error.value):
        return math.nan
    if error.value == 0:
        return 1.0
    return float(2 * stats.t.sf(abs(difference) / error.value, error.df))


def _quantile(df: float, level: float = LEVEL) -> float:
    return float(stats.t.ppf((1 + level) / 2, df))


def permutation_p(
    statistic: Permuted,
    patients: int,
    n_permutations: int,
    rng: np.random.Generator,
) -> float:
    """Two-sided p of a paired permutation test: are a patient's two arms exchangeable?

    All 2^P swaps are tried where they are no more than m; else p is (b + 1) / (m + 1) with b of
    m random swaps at least as extreme (Phipson & Smyth 2010), never 0.

    Args:
        statistic: The difference between the arms after swaps.
        patients: P.
        n_permutations: m.
        rng: Source of the swaps.

    Returns:
        p in (0, 1], NaN where the difference is undefined or there is one patient.
    """
    observed = abs(float(statistic(np.zeros((1, patients), bool))[0])) if patients > 1 else math.nan
    if not math.isfinite(observed):
        return math.nan
    exact = 2**patients <= n_permutations
    total = 2**patients if exact else n_permutations
    extreme = 0
    for start in range(0, total, _CHUNK):
        count = min(_CHUNK, total - start)
        if exact:
            swaps = (np.arange(start, start + count)[:, None] >> np.arange(patients)) & 1 > 0
        else:
            swaps = rng.random((count, patients)) < 0.5
        extreme += int(np.sum(~(np.abs(statistic(swaps)) < observed - _TIE)))
    return extreme / total if exact else (extreme + 1) / (total + 1)


def holm(p: Sequence[float]) -> list[float]:
    """Holm's correction of a family; undefined p stay NaN and do not count."""
    values = np.array(p, float)
    defined = np.isfinite(values)
    if defined.any():
        values[defined] = multipletests(values[defined], method="holm")[1]
    return [float(value) for value in values]


def corrected_resampled_t(differences: Sequence[float], ratio: float) -> ResampledT:
    """The corrected resampled t-test of Nadeau & Bengio (2003, section 4).

    t = mean / sqrt((1 / J + n_test / n_train) s^2) with J - 1 degrees of freedom: training
    sets overlap, so the J differences vary less than they should.

    Args:
        differences: (J,) difference of two arms in each fold and seed; NaN is left out.
        ratio: Patients tested to patients trained on; NaN where it is not known.
    """
    values = np.asarray(differences, float)
    values = values[np.isfinite(values)]
    df = len(values) - 1
    if df < 1 or not math.isfinite(ratio) or not np.var(values) > _TIE**2:
        return ResampledT(math.nan, max(df, 0), math.nan)
    t = float(values.mean() / math.sqrt((1 / len(values) + ratio) * values.var(ddof=1)))
    return ResampledT(t, df, float(2 * stats.t.sf(abs(t), df)))
