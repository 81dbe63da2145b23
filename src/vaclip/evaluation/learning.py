"""How a score grows with the patients that are trained on, and how many would settle a question.

A learning curve is an inverse power law, y(n) = a - b n^-c with a in [0, 1], b >= 0 and c > 0
(Figueroa et al. 2012, doi:10.1186/1472-6947-12-8), fitted to the points of the low-data axis by
their standard errors. Its uncertainty: the points are redrawn within their errors and fitted again.
Letters: D redrawn sets of points, S sizes, G growth factors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import stats as distributions

from vaclip import keys
from vaclip.evaluation.compare import HEADLINE, ArmScores, Contrast, compare
from vaclip.evaluation.inference import (
    ALPHA,
    LEVEL,
    UNDEFINED,
    Interval,
    StandardError,
    percentile_interval,
)
from vaclip.evaluation.predictions import Predictions
from vaclip.metrics.functional import FloatArray

GROWTH: Final = (2.0, 4.0)
"""How many times as many patients a curve is read at."""
POWER: Final = 0.8
"""Chance with which a question shall be settled."""
_EXPONENTS = np.geomspace(0.1, 3, 60)
_DRAWS = 1000
_LEAST_SIZES = 3
_WIDEST = 0.5  # an interval of a score that says nothing
_MISFIT = 0.01  # chance of points that lie as far from a curve as that


@dataclass(frozen=True)
class Projection:
    """A number with its interval, or why there is none."""

    value: float
    interval: Interval
    why_not: str = ""


def about(patients: float) -> str:
    """Writes a number of patients to two digits.

    Examples:
        >>> about(3677.0)
        '3,700'
    """
    return f"{float(f'{patients:.2g}'):,.0f}"


@dataclass(frozen=True)
class Needed:
    """About how many patients the study would need to settle a contrast that is undecided."""

    contrast: Contrast
    patients: int
    """That it has."""
    held: Projection
    """If the difference stays as it is."""
    extrapolated: Projection
    """If the difference changes as the learning curves say."""


@dataclass(frozen=True)
class Points:
    """The points of an arm's learning curve, fewest patients first."""

    arms: tuple[str, ...]
    """Names of the points."""
    patients: FloatArray
    """(S,) trained on."""
    values: FloatArray
    """(S,)."""
    errors: FloatArray
    """(S,) standard errors of the training procedure."""
    df: FloatArray
    """(S,) of the errors."""

    @property
    def why_not(self) -> str:
        """Why no curve can be fitted; empty where one can."""
        if len(np.unique(self.patients)) < _LEAST_SIZES:
            return f"fewer than {_LEAST_SIZES} sizes of the training set (study.train_fraction)"
        if not self.patients.min() > 0:
            return "it is not known how many patients were trained on"
        if not np.isfinite(self.errors).all() or not (self.errors > 0).all():
            return "a point of the learning curve has no interval"
        misfit = float(fit_power_law(self.patients, self.values[None], self.errors).misfit[0])
        # All that is free where the curve is flat, so that only a clear misfit counts.
        if distributions.chi2.sf(misfit, len(self.patients) - 1) < _MISFIT:
            return "the points of the learning curve lie on no such curve"
        return ""


@dataclass(frozen=True)
class PowerLaw:
    """Fits to D sets of points."""

    limit: FloatArray
    """(D,) a."""
    scale: FloatArray
    """(D,) b, of patients as a share of the largest size."""
    exponent: FloatArray
    """(D,) c."""
    misfit: FloatArray
    """(D,) weighted sum of squares."""
    largest: float

    def at(self, patients: FloatArray) -> FloatArray:
        """The values at G sizes, (D, G)."""
        share = np.asarray(patients)[None] / self.largest
        return self.limit[:, None] - self.scale[:, None] * share ** -self.exponent[:, None]


def fit_power_law(patients: FloatArray, values: FloatArray, errors: FloatArray) -> PowerLaw:
    """Fits y = a - b n^-c by weighted least squares, a in [0, 1] and b >= 0.

    For each exponent of a grid the best a and b are known exactly; the best exponent is taken.

    Args:
        patients: (S,) n.
        values: (D, S) y.
        errors: (S,) standard errors of y.
    """
    weight = 1 / errors**2
    x = (patients / patients.max()) ** -_EXPONENTS[:, None]  # (C, S)
    middle = (x * weight).sum(axis=1, keepdims=True) / weight.sum()
    mean = (values * weight).sum(axis=1) / weight.sum()
    slope = ((x - middle) * weight) @ (values - mean[:, None]).T
    scale = np.maximum(-slope / (weight * (x - middle) ** 2).sum(axis=1, keepdims=True), 0)
    limit = np.maximum(mean + scale * middle, 0)
    edge = (x * weight) @ (1 - values).T / (weight * x**2).sum(axis=1, keepdims=True)
    scale = np.where(limit > 1, np.maximum(edge, 0), scale)
    limit = np.minimum(limit, 1)
    fitted = limit[..., None] - scale[..., None] * x[:, None]
    misfit = (weight * (values - fitted) ** 2).sum(axis=-1)  # (C, D)
    best, every = misfit.argmin(axis=0), np.arange(len(values))
    return PowerLaw(
        limit[best, every],
        scale[best, every],
        _EXPONENTS[best],
        misfit[best, every],
        float(patients.max()),
    )


def points_of(predictions: Predictions, curve: Sequence[tuple[float, ArmScores]]) -> Points:
    """Returns the points of an arm's learning curve, as (share of the patients, scores)."""
    scores = [found.scores[HEADLINE] for _, found in curve]
    trained = [
        share * float(np.mean([predictions.sizes[job][1] for job in predictions.jobs[found.arm]]))
        for share, found in curve
    ]
    return Points(
        arms=tuple(found.arm for _, found in curve),
        patients=np.array(trained, float),
        values=np.array([score.mean for score in scores], float),
        errors=np.array([score.error.value for score in scores], float),
        df=np.array([score.error.df for score in scores], float),
    )


def extrapolate(points: Points, seed: int = 0) -> dict[float, Projection]:
    """Reads an arm's learning curve at `GROWTH` times the patients that it has."""
    if why_not := points.why_not:
        return dict.fromkeys(GROWTH, Projection(math.nan, UNDEFINED, why_not))
    redrawn = points.values + points.errors * _deviates(points.df, np.random.default_rng(seed))
    ahead = points.patients.max() * np.array(GROWTH)
    values = fit_power_law(points.patients, redrawn, points.errors).at(ahead)
    best = fit_power_law(points.patients, points.values[None], points.errors).at(ahead)[0]
    return {
        factor: _useful(float(best[k]), percentile_interval(values[:, k]))
        for k, factor in enumerate(GROWTH)
    }


def _useful(value: float, interval: Interval) -> Projection:
    if interval.high - interval.low > _WIDEST:
        return Projection(math.nan, UNDEFINED, f"the interval is wider than {_WIDEST:g}")
    return Projection(value, Interval(min(interval.low, value), max(interval.high, value)))


def _deviates(df: FloatArray, rng: np.random.Generator) -> FloatArray:
    return rng.standard_t(df, (_DRAWS, len(df)))


def patients_needed(
    predictions: Predictions,
    contrast: Contrast,
    curves: Mapping[str, Sequence[tuple[float, ArmScores]]],
    *,
    tests: int,
    margin: float,
) -> Needed:
    """Tells how many patients would settle a contrast, its standard error shrinking as 1 / sqrt(n).

    Settled is what is shown with a chance of `POWER`: that the two differ, at `ALPHA` over the
    number of tests, or that they differ by less than the margin (Chow, Shao & Wang 2008, ch. 3.2).
    The lower end of the interval is where that holds for some difference in the 95 % interval, the
    upper end from where on it holds for all of them.

    Args:
        predictions: With the points of axes.
        contrast: Undecided, and defined.
        curves: Learning curves by arm, as (share of the patients, scores).
        tests: How many primary contrasts share `ALPHA`.
        margin: A difference that is no difference, above 0.
    """
    if not contrast.error.value > 0:
        nothing = Projection(math.nan, UNDEFINED, "no patient differs")
        return Needed(contrast, contrast.patients, nothing, nothing)
    everyone = predictions.patients or predictions.frame[keys.PRED_PATIENT].nunique()
    rule = _Settled(contrast.error, tests, margin)
    steady = np.ones(len(rule.growth))
    held = rule.estimate(
        contrast.difference * steady,
        contrast.interval.low * steady,
        contrast.interval.high * steady,
        everyone,
    )
    pair = (contrast.first, contrast.second)
    extrapolated = Projection(math.nan, UNDEFINED, _no_curve(pair, curves))
    if not extrapolated.why_not:
        one, two = (points_of(predictions, curves[arm]) for arm in pair)
        why_not = one.why_not or two.why_not or _unpaired(one, two)
        extrapolated = (
            Projection(math.nan, UNDEFINED, why_not)
            if why_not
            else rule.estimate(
                *curve_gap(one, two, _paired_errors(predictions, one, two), rule.growth), everyone
            )
        )
    return Needed(contrast, everyone, held, extrapolated)


def _no_curve(pair: tuple[str, str], curves: Mapping[str, object]) -> str:
    lost = [arm for arm in pair if arm not in curves]
    return f"no learning curve of {' and '.join(lost)} (study.train_fraction_arms)" if lost else ""


def _paired_errors(predictions: Predictions, one: Points, two: Points) -> FloatArray:
    pairs = zip(one.arms, two.arms, strict=True)
    found = [compare(predictions, *pair, n_resamples=1, n_permutations=0) for pair in pairs]
    return np.array([contrast.error.value for contrast in found])


def _unpaired(one: Points, two: Points) -> str:
    same = np.array_equal(one.patients, two.patients)
    return "" if same else "the two learning curves have different sizes"


def curve_gap(
    one: Points, two: Points, errors: FloatArray, growth: FloatArray, seed: int = 0
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The difference of two arms' learning curves further out, with its 95 % interval.

    Both arms are tested on the same patients, so their points are drawn together: what they share
    is what the error of their difference lacks.

    Args:
        one: Points that a curve can be fitted to.
        two: The same sizes.
        errors: (S,) standard errors of the difference at each size.
        growth: (G,) how many times as many patients.
        seed: Of the draws.

    Returns:
        (G,) the difference and both ends.
    """
    rng = np.random.default_rng(seed)
    shared = (one.errors**2 + two.errors**2 - errors**2) / (2 * one.errors * two.errors)
    shared = np.clip(np.nan_to_num(shared), -1, 1)
    first, second = (_deviates(np.minimum(one.df, two.df), rng) for _ in range(2))
    second = shared * first + np.sqrt(1 - shared**2) * second
    ahead = one.patients.max() * growth
    drawn, best = [], []
    for points, deviates in ((one, first), (two, second)):
        for values, into in ((points.errors * deviates, drawn), (np.zeros((1, 1)), best)):
            fitted = fit_power_law(points.patients, points.values + values, points.errors)
            into.append(fitted.at(ahead))
    low, high = np.quantile(drawn[0] - drawn[1], [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    middle = (best[0] - best[1])[0]
    return middle, np.minimum(low, middle), np.maximum(high, middle)


class _Settled:
    """When a contrast is settled, at each of G growth factors of the patients."""

    def __init__(self, error: StandardError, tests: int, margin: float) -> None:
        quantile = distributions.t(error.df).ppf  # more patients are no more trained models
        differ = quantile(1 - ALPHA / tests / 2) + quantile(POWER)
        equal = quantile(1 - ALPHA) + quantile((1 + POWER) / 2)
        # With a little more patients than that each difference is settled as either.
        enough = ((differ + equal) * error.value / margin) ** 2
        self.growth = np.geomspace(1, 1.01 * max(enough, 1), 400)
        now = error.value / np.sqrt(self.growth)
        self._differ, self._equal = differ * now, margin - equal * now

    def estimate(
        self, middle: FloatArray, low: FloatArray, high: FloatArray, patients: int
    ) -> Projection:
        """How many patients settle differences that lie in an interval at each growth."""
        most = np.maximum(np.abs(low), np.abs(high))
        least = np.where((low < 0) & (high > 0), 0.0, np.minimum(np.abs(low), np.abs(high)))
        some = (most >= self._differ) | (least <= self._equal)
        every = (least >= self._differ) | (most <= self._equal) | (self._differ <= self._equal)
        best = (np.abs(middle) >= self._differ) | (np.abs(middle) <= self._equal)
        # An interval that widens further out unsettles what was settled.
        last = np.flatnonzero(~every)
        places = (best.argmax(), some.argmax(), last[-1] + 1 if len(last) else 0)
        value, lower, upper = (float(math.ceil(self.growth[at] * patients)) for at in places)
        return Projection(value, Interval(lower, upper))
