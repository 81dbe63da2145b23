"""Closure: how much of what a map at hand gains is gained without one.

(taught - baseline) / (method - baseline): 0 where the arm that predicts its map is no better than
the video alone, 1 where it is as good as the arm that is shown the clinician's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from scipy import stats

from vaclip.evaluation.compare import HEADLINE, Contrast, compare
from vaclip.evaluation.inference import LEVEL, UNDEFINED, Interval
from vaclip.evaluation.predictions import Predictions
from vaclip.evaluation.roles import Pair, Roles


@dataclass(frozen=True)
class Closure:
    """A share of a gain.

    Attributes:
        taught: The arm whose share it is.
        baseline: What both gains are over.
        method: The arm whose gain is the whole.
        value: NaN where the whole gain is not clearly above 0.
        interval: Of the training procedures, as of `Contrast.interval`.
    """

    taught: str
    baseline: str
    method: str
    value: float
    interval: Interval

    def __str__(self) -> str:
        if not math.isfinite(self.value):
            return (
                f"What share of {self.method}'s gain it has cannot be told: {self.method} is not "
                f"clearly better than {self.baseline}."
            )
        return (
            f"Of the way from {self.baseline} to {self.method}, which is shown the map, "
            f"{self.taught} goes {self.value:.2f} ({LEVEL:.0%} interval {self.interval.low:.2f} to "
            f"{self.interval.high:.2f})."
        )


def closure(part: Contrast, whole: Contrast, apart: Contrast) -> Closure:
    """Returns the ratio of two differences, with Fieller's interval.

    All ratios r that a t-test of part - r whole does not reject (Fieller 1954). The covariance of
    the two differences follows from the error of their difference.

    Args:
        part: Taught - baseline.
        whole: Method - baseline.
        apart: Taught - method.

    Returns:
        Undefined where the whole difference is not clearly above 0 (the interval would have no
        ends), or the three do not rest on the same jobs.
    """
    three = (part, whole, apart)
    unknown = Closure(part.first, part.second, whole.first, math.nan, UNDEFINED)
    if any(one.jobs < one.jobs_of_either for one in three):
        return unknown
    t = float(stats.t.ppf((1 + LEVEL) / 2, min(one.error.df for one in three)))
    variance_part, variance_whole, variance_apart = (one.error.value**2 for one in three)
    covariance = (variance_part + variance_whole - variance_apart) / 2
    # The ends are the roots of a r^2 - 2 b r + c.
    a = whole.difference**2 - t**2 * variance_whole
    b = part.difference * whole.difference - t**2 * covariance
    c = part.difference**2 - t**2 * variance_part
    if not (whole.difference > 0 and a > 0):
        return unknown
    half = math.sqrt(max(b**2 - a * c, 0.0))
    value = part.difference / whole.difference
    return Closure(
        part.first, part.second, whole.first, value, Interval((b - half) / a, (b + half) / a)
    )


def closure_of(
    predictions: Predictions, roles: Roles, contrasts: Mapping[Pair, Contrast]
) -> Closure | None:
    """How much of the method's gain the taught arm has; None where an arm is missing."""
    if roles.taught is None or not {roles.taught, roles.method} <= set(predictions.jobs):
        return None
    gains = [contrasts.get((arm, roles.baseline)) for arm in (roles.taught, roles.method)]
    if gains[0] is None or gains[1] is None:
        return None
    apart = compare(
        predictions, roles.taught, roles.method, HEADLINE, n_resamples=1, n_permutations=0
    )
    return closure(gains[0], gains[1], apart)
