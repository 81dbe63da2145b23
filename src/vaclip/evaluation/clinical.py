"""What a model would do in use: errors, predictive values, calibration and net benefit by class.

Each class against the rest, per patient. Each patient is decided on by the model that tested
them; the folds of a seed then go together and the seeds are averaged, as for balanced accuracy.
Letters: N cases, K classes, T risks at which one would act.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vaclip.errors import VaclipError
from vaclip.evaluation import scores
from vaclip.evaluation.abstention import Abstention, abstention
from vaclip.evaluation.calibration import SmoothedCurve, smoothed_curve
from vaclip.evaluation.cases import Cases
from vaclip.evaluation.compare import HEADLINE, size_ratio
from vaclip.evaluation.estimates import NOTHING, Estimate, fraction, plain_number, valued
from vaclip.evaluation.inference import UNDEFINED, Interval
from vaclip.evaluation.predictions import Predictions
from vaclip.evaluation.spread import subset
from vaclip.evaluation.thresholds import diagnosed, thresholds_of, validation_thresholds
from vaclip.metrics.functional import FloatArray

PREVALENCES: Final = (0.05, 0.2)
RISKS: Final = (0.1, 0.2, 0.3, 0.5)
"""Where the table of net benefit looks."""
RISK_CURVE: Final = np.linspace(0.01, 0.99, 99)
"""Where its figure looks, (T,)."""


@dataclass(frozen=True)
class OperatingPoint:
    """How often a class is called where it is, and is not called where it is not."""

    sensitivity: Estimate
    specificity: Estimate
    models: int
    """How many decided: those that have a threshold."""


@dataclass(frozen=True)
class PredictiveValues:
    """How often a call, or none, is right where the class has a prevalence."""

    prevalence: float
    positive: Estimate
    negative: Estimate


@dataclass(frozen=True)
class NetBenefit:
    """Net benefit (Vickers & Elkin 2006): true calls, less false ones in units of true ones.

    Attributes:
        at: At `RISKS`, of which each is called that has at least this probability.
        all_at: At `RISKS`, where everybody is called.
        curve: At `RISK_CURVE`, (T,).
        all_curve: At `RISK_CURVE`, (T,), where everybody is called.
    """

    at: tuple[Estimate, ...]
    all_at: tuple[float, ...]
    curve: FloatArray
    all_curve: FloatArray


@dataclass(frozen=True)
class OneAgainstRest:
    """A class against the rest.

    Attributes:
        greatest: Called where the class has the greatest probability.
        validated: Called at the threshold that each model chose on its validation patients.
        thresholds: The least and the greatest of these; NaN for none.
        predictive: At ``greatest``: for the cohort's own prevalence, then the stated ones.
        intercept: See `vaclip.evaluation.calibration.calibration_intercept`.
        slope: See `vaclip.evaluation.calibration.calibration_slope`.
        curve: Of all seeds; None where the probability does not vary, or nobody asked.
        benefit: Of acting on the probability; None where nobody asked.
    """

    greatest: OperatingPoint
    validated: OperatingPoint
    thresholds: tuple[float, float]
    predictive: tuple[PredictiveValues, ...]
    intercept: Estimate
    slope: Estimate
    curve: SmoothedCurve | None
    benefit: NetBenefit | None


@dataclass(frozen=True)
class ClinicalUse:
    """What an arm would do in use, by class."""

    patients: int
    models: int
    balanced: Estimate
    """Balanced accuracy at thresholds from validation, of the models that have one of each class;
    see `vaclip.evaluation.thresholds.diagnosed`."""
    balanced_models: int
    abstention: Abstention
    classes: dict[str, OneAgainstRest]

    @property
    def estimates(self) -> dict[str, Estimate]:
        """All that has an interval, by a name for `Evaluation.frame`."""
        found = {"acc_macro at validation": self.balanced, **self.abstention.estimates}
        for label, own in self.classes.items():
            named = {
                "sensitivity": own.greatest.sensitivity,
                "specificity": own.greatest.specificity,
                "sensitivity at validation": own.validated.sensitivity,
                "specificity at validation": own.validated.specificity,
                "calibration_intercept": own.intercept,
                "calibration_slope": own.slope,
            }
            for at in own.predictive:
                named |= {f"ppv at {at.prevalence:.3g}": at.positive}
                named |= {f"npv at {at.prevalence:.3g}": at.negative}
            if own.benefit is not None:
                for risk, value in zip(RISKS, own.benefit.at, strict=True):
                    named[f"net_benefit at {risk:g}"] = value
            found |= {f"{name} of {label}": value for name, value in named.items()}
        return found


def clinical_use(
    predictions: Predictions,
    arm: str,
    *,
    prevalences: Sequence[float] = PREVALENCES,
    whole: bool = True,
    seed: int = 0,
) -> ClinicalUse:
    """Measures what an arm would do in use.

    Args:
        predictions: The table.
        arm: One of its arms.
        prevalences: For predictive values, beside the cohort's own.
        whole: Whether to smooth calibration curves and to compute net benefit, too, which takes
            twice as long.
        seed: Of the draws of the curves' bands.

    Raises:
        VaclipError: If there is no such arm, or a prevalence is not between 0 and 1.
    """
    if wrong := [at for at in prevalences if not 0 < at < 1]:
        raise VaclipError(f"a prevalence lies between 0 and 1, not at {wrong[0]:g}")
    cases = predictions.cases(arm)
    ratio = size_ratio(predictions, cases, [arm])
    cuts = thresholds_of(cases, validation_thresholds(predictions, arm))
    there = np.isfinite(cuts.sum(axis=1))  # NaN where a threshold is
    decided = diagnosed(subset(cases, there), cuts[there])
    classes = {}
    for k, name in enumerate(predictions.classes):
        found = _against_rest(cases, k, cuts[:, k], ratio, prevalences)
        if whole:
            curve = _smoothed(cases, k, np.random.default_rng([seed, k]))
            found = replace(found, curve=curve, benefit=_net_benefit(cases, k, ratio))
        classes[name] = found
    return ClinicalUse(
        patients=cases.patients,
        models=len(cases.models()),
        balanced=fraction(decided, HEADLINE, ratio),
        balanced_models=len(decided.models()),
        abstention=abstention(predictions, arm, ratio),
        classes=classes,
    )


def benefit_gains(
    predictions: Predictions, first: str, second: str
) -> dict[str, tuple[Estimate, ...]]:
    """By class the net benefit of an arm less that of another at `RISKS`, on what both have."""
    both = predictions.paired(first, second)
    ratio = size_ratio(predictions, both[0], [first, second])
    return {
        name: tuple(
            plain_number([_worth_at(cases, k, risk) for cases in both], scores.VALUE, ratio)
            for risk in RISKS
        )
        for k, name in enumerate(predictions.classes)
    }


def _against_rest(
    cases: Cases, k: int, cuts: FloatArray, ratio: float, prevalences: Sequence[float]
) -> OneAgainstRest:
    own, positive = cases.probs[:, k], cases.label == k
    share = float(positive.mean())
    there = np.isfinite(cuts)
    greatest = _point(cases, k, cases.probs.argmax(axis=1) == k, ratio)
    binary = replace(cases, label=positive.astype(int), probs=np.stack([1 - own, own], axis=1))
    intercept, slope = (plain_number([binary], name, ratio) for name in scores.RECALIBRATION)
    return OneAgainstRest(
        greatest=greatest,
        validated=_point(cases.of(there), k, (own >= cuts)[there], ratio),
        thresholds=(float(cuts[there].min()), float(cuts[there].max()))
        if there.any()
        else (math.nan, math.nan),
        predictive=tuple(predictive_values(greatest, at) for at in (share, *prevalences)),
        intercept=intercept,
        slope=slope,
        curve=None,
        benefit=None,
    )


def _point(cases: Cases, k: int, called: NDArray[np.bool_], ratio: float) -> OperatingPoint:
    ill = cases.label == k
    sensitivity, specificity = (
        fraction(valued(subset(cases, rows), value[rows]), scores.VALUE, ratio)
        for rows, value in ((ill, called), (~ill, ~called))
    )
    return OperatingPoint(sensitivity, specificity, len(cases.models()))


def _smoothed(cases: Cases, k: int, rng: np.random.Generator) -> SmoothedCurve | None:
    own = cases.probs[:, k]
    if not np.ptp(own) > 0:
        return None
    return smoothed_curve(own, cases.label == k, cases.patient, cases.strata(), rng)


def _net_benefit(cases: Cases, k: int, ratio: float) -> NetBenefit:
    positive = cases.label == k
    everybody = np.ones((len(positive), 1), bool)
    return NetBenefit(
        at=tuple(plain_number([_worth_at(cases, k, risk)], scores.VALUE, ratio) for risk in RISKS),
        all_at=tuple(worth(positive, everybody, np.array(RISKS)).mean(axis=0).tolist()),
        curve=worth(positive, cases.probs[:, [k]] >= RISK_CURVE, RISK_CURVE).mean(axis=0),
        all_curve=worth(positive, everybody, RISK_CURVE).mean(axis=0),
    )


def worth(positive: NDArray[np.bool_], called: NDArray[np.bool_], risk: FloatArray) -> FloatArray:
    """What each decision is worth, whose mean is the net benefit.

    1 for a true call, -risk / (1 - risk) for a false one, 0 for none: who acts at a risk takes that
    many false calls for a true one.

    Args:
        positive: (N,) whether the class is there.
        called: (N, T), or (N, 1) if the same at every risk.
        risk: (T,) in (0, 1).

    Returns:
        (N, T).
    """
    return called * np.where(positive[:, None], 1.0, -risk / (1 - risk))


def _worth_at(cases: Cases, k: int, risk: float) -> Cases:
    value = worth(cases.label == k, cases.probs[:, [k]] >= risk, np.array([risk]))
    return valued(cases, value[:, 0])


def predictive_values(point: OperatingPoint, prevalence: float) -> PredictiveValues:
    """By Bayes' rule; the intervals are those of a ratio of two estimates, see `_share`."""
    sensitivity, specificity = point.sensitivity, point.specificity
    if not math.isfinite(sensitivity.value + specificity.value):
        return PredictiveValues(prevalence, NOTHING, NOTHING)
    odds = prevalence / (1 - prevalence)
    return PredictiveValues(
        prevalence,
        _share(sensitivity, _complement(specificity), odds),
        _share(specificity, _complement(sensitivity), 1 / odds),
    )


def _complement(found: Estimate) -> Estimate:
    interval, trained = (Interval(1 - i.high, 1 - i.low) for i in (found.interval, found.trained))
    return Estimate(1 - found.value, interval, trained)


def _share(part: Estimate, other: Estimate, odds: float) -> Estimate:
    """The share of part * odds in part * odds + other, two fractions that vary independently.

    The interval is that of the ratio of the two from the interval of each (MOVER-R, Donner & Zou
    2012), which stays right where a fraction is 0 or 1.
    """
    total = part.value * odds + other.value
    if not total > 0:
        return NOTHING
    interval, trained = (
        _share_interval(part.value, one, other.value, two, odds)
        for one, two in ((part.interval, other.interval), (part.trained, other.trained))
    )
    return Estimate(part.value * odds / total, interval, trained)


def _share_interval(
    part: float, of_part: Interval, other: float, of_other: Interval, odds: float
) -> Interval:
    if not math.isfinite(of_part.low + of_other.low):
        return UNDEFINED
    product = part * other

    def ends(numerator: float, denominator: float) -> tuple[float, float, float]:
        """The two squares of MOVER-R, l (2 x - l), and the root of its discriminant."""
        one, two = numerator * (2 * part - numerator), denominator * (2 * other - denominator)
        return one, two, math.sqrt(max(product**2 - one * two, 0.0))

    one, _, root = ends(of_part.low, of_other.high)
    low = odds * one / (product + root) if one > 0 else 0.0
    _, two, root = ends(of_part.high, of_other.low)
    high = odds * (product + root) / two if two > 0 else math.inf
    return Interval(low / (1 + low), high / (1 + high) if math.isfinite(high) else 1.0)
