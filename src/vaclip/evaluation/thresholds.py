"""Cuts that each model chose on its own validation patients, and what is left of a gain at them.

At the greatest probability a model that leans to a class calls it too often, though it may rank
the patients as well as another. A cut chosen on patients that the model is not tested on takes
that out. Letters: N cases, K classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vaclip import keys
from vaclip.evaluation import inference as stats
from vaclip.evaluation import scores
from vaclip.evaluation.cases import CASE, Cases, Job, cases_of
from vaclip.evaluation.compare import HEADLINE, size_ratio
from vaclip.evaluation.inference import ALPHA, Interval
from vaclip.evaluation.predictions import Predictions
from vaclip.evaluation.spread import difference_interval, standard_errors, subset
from vaclip.metrics.functional import FloatArray

_EQUAL: Final = 1e-9


@dataclass(frozen=True)
class AtThresholds:
    """A gain in balanced accuracy per patient, where thresholds are chosen on validation."""

    first: float
    second: float
    difference: float
    interval: Interval
    """Of the training procedures."""
    p: float
    lost: float
    """By how much the gain at the greatest probability is larger."""
    p_lost: float

    @property
    def gone(self) -> bool:
        """Whether the gain is shown to shrink, and what is left is not shown to be one."""
        shrinks = self.lost > 0 and self.p_lost < ALPHA
        return shrinks and not (self.difference > 0 and self.p < ALPHA)


def best_threshold(probs: FloatArray, positive: NDArray[np.bool_]) -> float:
    """The threshold of greatest sensitivity + specificity - 1 (Youden 1950).

    Thresholds lie halfway between two neighbouring probabilities; of several that are equally good
    it is the middle one. Where all probabilities are the same it is these.

    Args:
        probs: (N,) of the class.
        positive: (N,) whether it is there.

    Returns:
        Called is what has at least this probability. NaN where all are of the class, or none.

    Examples:
        >>> round(best_threshold(np.array([0.1, 0.4, 0.2, 0.8]), np.array([0, 1, 0, 1]) > 0), 6)
        0.3
    """
    if positive.all() or not positive.any():
        return math.nan
    levels = np.unique(probs)
    cuts = (levels[1:] + levels[:-1]) / 2 if len(levels) > 1 else levels
    called = probs >= cuts[:, None]
    youden = called[:, positive].mean(axis=1) - called[:, ~positive].mean(axis=1)
    best = np.flatnonzero(youden > youden.max() - _EQUAL)
    return float(cuts[best[(len(best) - 1) // 2]])


def validation_cases(predictions: Predictions, arm: str) -> Cases:
    """Returns an arm's cases of the validation split, as `Predictions.cases` those of the test."""
    frame = predictions.frame
    rows = frame[(frame[keys.PRED_ARM] == arm) & (frame[keys.PRED_SPLIT] == "val")]
    number = {name: k for k, name in enumerate(predictions.classes)}
    rows = rows.assign(**{keys.PRED_LABEL: rows[keys.PRED_LABEL].map(number).astype(int)})
    clips = rows.groupby([*CASE, keys.PRED_SESSION, keys.PRED_CLIP], as_index=False)
    return cases_of(clips[[*predictions.probs, keys.PRED_SIM]].mean(), predictions.classes)


def validation_thresholds(predictions: Predictions, arm: str) -> dict[Job, FloatArray]:
    """Chooses each model's thresholds, a class against the rest, on its validation patients.

    Returns:
        By job the thresholds (K,); NaN for a class that validation lacks, or has alone. Jobs
        without validation rows are not among them.
    """
    cases = validation_cases(predictions, arm)
    found = {}
    for fold, seed in cases.models():
        own = cases.of((cases.fold == fold) & (cases.seed == seed))
        found[int(fold), int(seed)] = np.array(
            [best_threshold(column, own.label == k) for k, column in enumerate(own.probs.T)]
        )
    return found


def thresholds_of(cases: Cases, thresholds: dict[Job, FloatArray]) -> FloatArray:
    """The thresholds of the model behind each case, (N, K); NaN where it has none."""
    nothing = np.full(cases.probs.shape[1], np.nan)
    jobs = zip(cases.fold.tolist(), cases.seed.tolist(), strict=True)
    return np.array([thresholds.get(job, nothing) for job in jobs]).reshape(cases.probs.shape)


def diagnosed(cases: Cases, thresholds: FloatArray) -> Cases:
    """The class whose probability is greatest in units of its threshold, as certain.

    Of two classes that is the one whose threshold is reached.

    Args:
        cases: Of one arm.
        thresholds: (N, K), defined.
    """
    chosen = (cases.probs / np.maximum(thresholds, np.finfo(float).tiny)).argmax(axis=1)
    return replace(cases, probs=np.eye(cases.probs.shape[1])[chosen])


def at_thresholds(predictions: Predictions, first: str, second: str) -> AtThresholds | None:
    """Compares two arms again where each model's thresholds were chosen on its validation patients.

    Returns:
        None where no model of both has thresholds for all classes.
    """
    plain = list(predictions.paired(first, second))
    own = [
        thresholds_of(cases, validation_thresholds(predictions, arm))
        for cases, arm in zip(plain, (first, second), strict=True)
    ]
    defined = np.isfinite(np.hstack(own).sum(axis=1))  # NaN where a threshold is
    if not defined.any():
        return None
    plain = [subset(cases, defined) for cases in plain]
    moved = [diagnosed(cases, cut[defined]) for cases, cut in zip(plain, own, strict=True)]
    ratio = size_ratio(predictions, plain[0], [first, second])
    everyone = np.ones((1, plain[0].patients))
    values = [
        float(scores.resampled_metrics(cases, everyone, [HEADLINE])[HEADLINE][0])
        for cases in (*moved, *plain)
    ]
    difference, gain = values[0] - values[1], values[2] - values[3]
    error = standard_errors(moved, [HEADLINE], ratio)[HEADLINE].procedure
    of_loss = standard_errors([*plain, *moved], [HEADLINE], ratio)[HEADLINE].procedure
    return AtThresholds(
        first=values[0],
        second=values[1],
        difference=difference,
        interval=difference_interval(HEADLINE, difference, error, plain[0]),
        p=stats.t_p(difference, error),
        lost=gain - difference,
        p_lost=stats.t_p(gain - difference, of_loss),
    )
