"""A value with its intervals, from cases: fractions, and numbers without bounds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vaclip.evaluation import inference as stats
from vaclip.evaluation import scores
from vaclip.evaluation.cases import Cases
from vaclip.evaluation.compare import HEADLINE
from vaclip.evaluation.inference import UNDEFINED, Interval
from vaclip.evaluation.spread import standard_errors, value_interval
from vaclip.metrics.functional import FloatArray


@dataclass(frozen=True)
class Estimate:
    """A value with its two intervals, as of `vaclip.evaluation.compare.Score`."""

    value: float
    interval: Interval
    """Of the training procedure."""
    trained: Interval
    """Of these trained models."""


NOTHING: Final = Estimate(math.nan, UNDEFINED, UNDEFINED)


def valued(cases: Cases, value: FloatArray | NDArray[np.bool_]) -> Cases:
    """Cases of which `scores.VALUE` is the mean of a value (N,)."""
    return replace(cases, probs=np.repeat(value[:, None].astype(float), cases.probs.shape[1], 1))


def fraction(cases: Cases, metric: str, ratio: float) -> Estimate:
    """A metric in [0, 1] with intervals of Wilson's form.

    Args:
        cases: Of one arm.
        metric: As `scores.resampled_metrics` takes it.
        ratio: Patients tested to patients trained on, of a model.
    """
    if not cases.patients:
        return NOTHING
    value, *errors = _value_and_errors([cases], metric, ratio)
    interval, trained = (value_interval(HEADLINE, value, error, cases) for error in errors)
    return Estimate(value, interval, trained)


def plain_number(arms: Sequence[Cases], metric: str, ratio: float) -> Estimate:
    """A number without bounds, or the difference between that of two arms: Student's t."""
    if not (patients := arms[0].patients):
        return NOTHING
    value, *errors = _value_and_errors(arms, metric, ratio)
    interval, trained = (
        stats.difference_interval(value, error, patients, math.inf) for error in errors
    )
    return Estimate(value, interval, trained)


def _value_and_errors(
    arms: Sequence[Cases], metric: str, ratio: float
) -> tuple[float, stats.StandardError, stats.StandardError]:
    """The value, then its standard error of the procedure, and of the trained models."""
    everyone = np.ones((1, arms[0].patients))
    values = [scores.resampled_metrics(cases, everyone, [metric])[metric][0] for cases in arms]
    errors = standard_errors(arms, [metric], ratio)[metric]
    return float(values[0] - sum(values[1:])), errors.procedure, errors.trained
