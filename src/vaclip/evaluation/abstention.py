"""Which diagnoses to withhold: risk over coverage, by several scores of how sure a model is.

A model that may say "I do not know" answers the cases that it is most sure of. Of each share that
it answers (**coverage**) the share of wrong answers among them (**risk**) makes a curve, whose area
(AURC, Geifman & El-Yaniv 2017) is small where wrong diagnoses are the unsure ones. Every score is
held against the plainest, the probability of the diagnosis.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vaclip import keys
from vaclip.evaluation.cases import CASE, Cases, Job, Unit, cases_of
from vaclip.evaluation.estimates import NOTHING, Estimate, fraction, plain_number, valued
from vaclip.evaluation.predictions import Predictions
from vaclip.evaluation.scores import AURC, VALUE
from vaclip.evaluation.spread import subset
from vaclip.metrics.functional import FloatArray

CONFIDENCE: Final = "confidence"
ENTROPY: Final = "entropy"
AGREEMENT: Final = "agreement"
MAP_INFORMATION: Final = "map_information"
OF_ONE_MODEL: Final = (CONFIDENCE, ENTROPY, MAP_INFORMATION)
"""Scores that a model gives of itself, and for which validation can choose a threshold."""
COVERAGE: Final = 0.8
"""Of the validation patients, at which the table's thresholds are chosen."""
COVERAGES: Final = np.linspace(0.05, 1, 20)
"""Where the curve is read."""


@dataclass(frozen=True)
class Curve:
    """What answering the surest cases gives, a row for each threshold, from the surest on."""

    threshold: FloatArray
    """(M,) descending; answered is what is at least as sure."""
    coverage: FloatArray
    """(M,) share of the cases that are answered."""
    risk: FloatArray
    """(M,) share of wrong diagnoses among them."""

    def at_coverage(self, least: float) -> int:
        """Returns the row of the highest threshold that answers at least this share."""
        return int(np.argmax(self.coverage >= min(least, self.coverage[-1]) - 1e-9))

    def at_risk(self, most: float) -> int | None:
        """Returns the row that answers most at no more than this risk; None where none does."""
        rows = np.flatnonzero(self.risk <= most + 1e-9)
        return int(rows[-1]) if len(rows) else None


@dataclass(frozen=True)
class Selective:
    """How well a score tells which diagnoses are wrong."""

    aurc: Estimate
    """Smaller is better; the risk of all where the score tells nothing."""
    gain: Estimate
    """The area less that of plain confidence; below 0 is better. Undefined for confidence."""
    risk: FloatArray
    """(len(COVERAGES),) mean over models."""
    coverage: float
    """Share of the test cases that is answered, with each model's threshold from validation, where
    `COVERAGE` of its validation cases are; NaN for a score without."""
    answered: Estimate
    """Risk of these."""

    @property
    def verdict(self) -> str:
        """Whether it is better than plain confidence, in words; empty where there is no interval.

        By the interval of the training procedure; of a single model by its own.
        """
        intervals = (self.gain.interval, self.gain.trained)
        found = next((one for one in intervals if math.isfinite(one.low)), None)
        if found is None:
            return ""
        if found.high < 0:
            return "better"
        return "worse" if found.low > 0 else "not shown to be better"


@dataclass(frozen=True)
class Abstention:
    """What an arm gains by withholding diagnoses."""

    risk: Estimate
    """Share of wrong diagnoses where all are given."""
    scores: Mapping[str, Selective]
    """By name; those that the predictions allow."""

    @property
    def estimates(self) -> dict[str, Estimate]:
        """All that has an interval, by a name for `Evaluation.frame`."""
        found = {"risk": self.risk}
        for name, own in self.scores.items():
            found[f"aurc by {name}"] = own.aurc
            if name != CONFIDENCE:
                found[f"aurc by {name} less confidence"] = own.gain
            if name in OF_ONE_MODEL:
                found[f"risk at {COVERAGE:g} by {name}"] = own.answered
        return found


def risk_coverage(sureness: FloatArray, wrong: NDArray[np.bool_]) -> Curve:
    """Returns the risk-coverage curve of N cases; those that are equally sure go together."""
    order = np.argsort(-sureness, kind="stable")
    ends = np.flatnonzero(np.diff(sureness[order], append=-np.inf))
    count = ends + 1
    risk = np.cumsum(wrong[order])[ends] / count
    return Curve(sureness[order][ends], count / len(order), risk)


def sureness_of(probs: FloatArray) -> dict[str, FloatArray]:
    """How sure class probabilities (N, K) are, (N,) by score; greater is surer."""
    logs = np.log(np.maximum(probs, np.finfo(float).tiny))
    return {CONFIDENCE: probs.max(axis=1), ENTROPY: (probs * logs).sum(axis=1)}


def case_sureness(
    predictions: Predictions, arm: str, split: str, unit: Unit = "patient"
) -> tuple[Cases, dict[str, FloatArray]]:
    """Returns an arm's cases, or clips, of a split, and how sure its models are, by score."""
    frame = predictions.frame
    rows = frame[(frame[keys.PRED_ARM] == arm) & (frame[keys.PRED_SPLIT] == split)]
    number = {name: k for k, name in enumerate(predictions.classes)}
    # Cases average one column beside the probabilities: it takes the map information.
    rows = rows.assign(**{
        keys.PRED_LABEL: rows[keys.PRED_LABEL].map(number).astype(int),
        keys.PRED_SIM: rows[keys.PRED_MAP_INFORMATION],
    })  # fmt: skip
    clips = rows.groupby([*CASE, keys.PRED_SESSION, keys.PRED_CLIP], as_index=False)
    cases = cases_of(clips[[*predictions.probs, keys.PRED_SIM]].mean(), predictions.classes, unit)
    found = sureness_of(cases.probs)
    for name, value in ((AGREEMENT, _agreement(cases)), (MAP_INFORMATION, cases.similarity)):
        if len(value) and np.isfinite(value).all():
            found[name] = value
    return cases, found


def _agreement(cases: Cases) -> FloatArray:
    """Share of the other seeds whose model makes the same diagnosis, (N,); NaN without others."""
    rows = pd.DataFrame(
        {"patient": cases.patient, "seed": cases.seed, "said": cases.probs.argmax(axis=1)}
    )
    rows["case"] = rows.groupby(["patient", "seed"]).cumcount()
    same = rows.groupby(["patient", "case", "said"])["seed"].transform("size") - 1
    others = rows.groupby(["patient", "case"])["seed"].transform("size") - 1
    return (same / others.where(others > 0)).to_numpy(np.float64)


def validation_curves(predictions: Predictions, arm: str) -> dict[str, Curve]:
    """Returns the curves of a model's validation clips, by score, from which thresholds are chosen.

    Args:
        predictions: Of one fold and seed.
        arm: Its arm.
    """
    cases, sureness = case_sureness(predictions, arm, "val", "clip")
    wrong = cases.probs.argmax(axis=1) != cases.label
    names = (name for name in OF_ONE_MODEL if name in sureness and len(wrong))
    return {name: risk_coverage(sureness[name], wrong) for name in names}


def abstention(predictions: Predictions, arm: str, ratio: float) -> Abstention:
    """Measures what an arm gains by withholding diagnoses.

    Args:
        predictions: The table.
        arm: One of its arms.
        ratio: Patients tested to patients trained on, of a model.
    """
    cases, sureness = case_sureness(predictions, arm, "test")
    wrong = cases.probs.argmax(axis=1) != cases.label
    ranked = {name: _ranked(cases, own, wrong) for name, own in sureness.items()}
    validated = _validated(predictions, arm)
    found = {}
    for name, own in sureness.items():
        both = [ranked[name], ranked[CONFIDENCE]]
        answered = _answered(cases, own, validated[name]) if name in validated else None
        found[name] = Selective(
            aurc=fraction(ranked[name], AURC, ratio),
            gain=NOTHING if name == CONFIDENCE else plain_number(both, AURC, ratio),
            risk=_mean_risk(cases, own, wrong),
            coverage=math.nan if answered is None else float(answered.mean()),
            answered=NOTHING if answered is None else _risk(cases, wrong, answered, ratio),
        )
    return Abstention(_risk(cases, wrong, np.ones(len(wrong), bool), ratio), found)


def _ranked(cases: Cases, sureness: FloatArray, wrong: NDArray[np.bool_]) -> Cases:
    """Cases as `AURC` reads them."""
    columns = np.zeros_like(cases.probs)
    columns[:, 0], columns[:, 1] = sureness, wrong
    return replace(cases, probs=columns)


def _risk(
    cases: Cases, wrong: NDArray[np.bool_], rows: NDArray[np.bool_], ratio: float
) -> Estimate:
    return fraction(valued(subset(cases, rows), wrong[rows]), VALUE, ratio)


def _mean_risk(cases: Cases, sureness: FloatArray, wrong: NDArray[np.bool_]) -> FloatArray:
    curves = []
    for fold, seed in cases.models():
        own = (cases.fold == fold) & (cases.seed == seed)
        curve = risk_coverage(sureness[own], wrong[own])
        curves.append([curve.risk[curve.at_coverage(share)] for share in COVERAGES])
    return np.mean(curves, axis=0)


def _validated(predictions: Predictions, arm: str) -> dict[str, dict[Job, float]]:
    """By score, then job: the threshold that answers `COVERAGE` of its validation cases."""
    cases, sureness = case_sureness(predictions, arm, "val")
    wrong = cases.probs.argmax(axis=1) != cases.label
    found: dict[str, dict[Job, float]] = {}
    for name in (name for name in OF_ONE_MODEL if name in sureness and len(wrong)):
        for fold, seed in cases.models():
            own = (cases.fold == fold) & (cases.seed == seed)
            curve = risk_coverage(sureness[name][own], wrong[own])
            row = curve.at_coverage(COVERAGE)
            found.setdefault(name, {})[int(fold), int(seed)] = float(curve.threshold[row])
    return found


def _answered(
    cases: Cases, sureness: FloatArray, thresholds: dict[Job, float]
) -> NDArray[np.bool_]:
    """Which cases their model answers; one without a threshold answers all."""
    jobs = zip(cases.fold.tolist(), cases.seed.tolist(), strict=True)
    return sureness >= np.array([thresholds.get(job, -math.inf) for job in jobs])
