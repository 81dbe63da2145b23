"""All numbers of an ablation: each arm scored once, each pair compared once."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, TypeAlias

import numpy as np
import pandas as pd

from vaclip import keys
from vaclip.errors import VaclipError
from vaclip.evaluation.axes import Axes, Curves, annotator_table, by_axis, curves, noise_curves
from vaclip.evaluation.cases import UNITS, Unit
from vaclip.evaluation.clinical import (
    PREVALENCES,
    ClinicalUse,
    Estimate,
    benefit_gains,
    clinical_use,
)
from vaclip.evaluation.closure import closure_of
from vaclip.evaluation.compare import (
    HEADLINE,
    N_PERMUTATIONS,
    N_RESAMPLES,
    ArmScores,
    Contrast,
    compare,
    compare_families,
    score_arm,
)
from vaclip.evaluation.follow import Following, follow_rate
from vaclip.evaluation.fusion import with_late_fusion
from vaclip.evaluation.learning import (
    Needed,
    Projection,
    extrapolate,
    patients_needed,
    points_of,
)
from vaclip.evaluation.look import Looks, judge_looks
from vaclip.evaluation.predictions import Predictions
from vaclip.evaluation.roles import Roles
from vaclip.evaluation.scores import METRICS
from vaclip.evaluation.sites import Sites, by_site
from vaclip.evaluation.thresholds import at_thresholds
from vaclip.evaluation.verdict import Evidence, Verdict, verdict, with_needed
from vaclip.keys import NOT_RECORDED, Blinding

Progress: TypeAlias = Callable[[int, int], None]
"""Called with how many steps are done and how many there are."""

_NO_DRAWS: Final = {"n_resamples": 1, "n_permutations": 0}  # the verdict reads neither


@dataclass(frozen=True)
class Retrieved:
    """A retrieval metric of an arm over its models that have it."""

    mean: float
    low: float
    high: float
    jobs: int


@dataclass(frozen=True, repr=False)
class Evaluation:
    """What is known of an ablation after its predictions were judged."""

    predictions: Predictions
    """Of the arms, the late fusion, and the points of axes."""
    roles: Roles | None
    scores: dict[Unit, dict[str, ArmScores]]
    """By unit, then arm in the order of the ablation."""
    families: dict[str, list[Contrast]]
    verdict: Verdict
    learning: Curves
    """Over the share of the training patients."""
    noise: dict[str, Curves]
    """By kind of noise, over its strength."""
    annotators: dict[str, dict[tuple[str, str], ArmScores]]
    """By arm, then (annotator trained with, annotator tested with)."""
    retrieval: dict[str, dict[str, Retrieved]]
    """By arm, then name as of `retrieval_metrics`."""
    shown: tuple[str, ...]
    """The baseline and the method, as far as they have scores; without roles the first two arms."""
    clinical: dict[str, ClinicalUse]
    """By arm, those of ``shown`` first; they alone have curves and net benefit."""
    benefit_gains: dict[str, tuple[Estimate, ...]]
    """By class the net benefit of the method less that of the baseline; empty without both."""
    sites: Sites | None
    """The arms, and the contrasts that the verdict rests on, by site; None without sites."""
    extrapolated: dict[str, dict[float, Projection]]
    """Learning curves by arm, read at `vaclip.evaluation.learning.GROWTH` times the patients."""
    needed: list[Needed]
    """Of the primary contrasts of undecided questions."""
    following: Following | None
    """Whether the method follows another patient's map; None where it was not tested with one."""
    looks: Looks | None = None
    """Where the models look; None without a look audit."""

    def __repr__(self) -> str:
        return f"Evaluation of {self.predictions!r}: {self.verdict.sentences[0]}"

    def _repr_html_(self) -> str:
        said = "".join(f"<p>{html.escape(text)}</p>" for text in self.verdict.sentences)
        return said + self.frame.to_html(max_rows=20)

    def _all_scores(self) -> Iterator[ArmScores]:
        for own in self.scores.values():
            yield from own.values()
        curves = [self.learning, *self.noise.values()]
        points = [found for curve in curves for own in curve.values() for _, found in own]
        points += [found for cells in self.annotators.values() for found in cells.values()]
        yield from (found for found in points if found.arm not in self.scores["patient"])

    @cached_property
    def frame(self) -> pd.DataFrame:
        """All scores in long form, a row an arm, unit and metric; undefined values are NaN."""
        columns = (
            "arm", "unit", "metric", "mean", "sd_over_seeds", "low", "high", "trained_low",
            "trained_high", "bootstrap_low", "bootstrap_high", "patients", "jobs",
        )  # fmt: skip
        nothing = [math.nan] * 6
        rows = []
        for found in self._all_scores():
            size = (found.patients, found.jobs)
            for name in (name for name in METRICS if name in found.scores):
                score = found.scores[name]
                intervals = (score.interval, score.trained, score.percentile)
                ends = (end for own in intervals for end in (own.low, own.high))
                values = (score.mean, score.sd, *ends)
                rows.append((found.arm, found.unit, name, *values, *size))
            if found.arm in self.scores["patient"]:
                for name, pair in found.alignment.items():
                    rows.append((found.arm, found.unit, name, *pair, *nothing, *size))
        for arm, use in self.clinical.items():
            for name, one in use.estimates.items():
                ends = (end for own in (one.interval, one.trained) for end in (own.low, own.high))
                size = (use.patients, use.models)
                values = (one.value, math.nan, *ends, math.nan, math.nan)
                rows.append((arm, "patient", name, *values, *size))
        return pd.DataFrame(rows, columns=columns)


def evaluate(
    predictions: Predictions,
    *,
    baseline: str | None = None,
    method: str | None = None,
    roles: Roles | None = None,
    arms: Sequence[str] = (),
    blinding: Blinding = NOT_RECORDED,
    look: pd.DataFrame | None = None,
    prevalences: Sequence[float] = PREVALENCES,
    n_resamples: int = N_RESAMPLES,
    n_permutations: int = N_PERMUTATIONS,
    progress: Progress = lambda done, total: None,
) -> Evaluation:
    """Scores and compares everything that a prediction table holds.

    Args:
        predictions: The table.
        baseline: The arm that everything is measured against; with ``method``, in place of
            ``roles``.
        method: The arm that is put forward.
        roles: Which arm plays which part; without them there are scores and no verdict.
        arms: The order in which to show the arms; others follow.
        blinding: What the annotators of the maps knew.
        look: The look table of these models, see `keys.LOOK_COLUMNS`.
        prevalences: Of each class, for predictive values beside those at the cohort's own.
        n_resamples: Draws of the bootstrap.
        n_permutations: Of the paired permutation test.
        progress: Told of each step.

    Raises:
        VaclipError: If there is no arm itself, an arm is not there, or a point of an axis is no
            number.

    Examples:
        >>> import pandas as pd
        >>> arms = ("net", "gaze")
        >>> rows = [(f"p{n}", "ab"[n % 2], arm, n % 2) for n in range(8) for arm in arms]
        >>> frame = pd.DataFrame(rows, columns=["pid", "dx", "arm", "b"])
        >>> frame["a"] = 1 - frame["b"]
        >>> table = Predictions.from_frame(
        ...     frame, patient="pid", label="dx", arm="arm", probs={"a": "a", "b": "b"}
        ... )
        >>> evaluate(table, baseline="net", method="gaze").scores["patient"]["gaze"].patients
        8
    """
    roles = _roles(predictions, baseline, method) or roles
    if roles and roles.map_only and {roles.baseline, roles.map_only} <= set(predictions.jobs):
        predictions = with_late_fusion(predictions, roles.baseline, roles.map_only)
    own = predictions.without_points()
    order = [arm for arm in dict.fromkeys((*arms, *own.jobs)) if arm in own.jobs]
    points = [name for name in predictions.jobs if name not in own.jobs]
    shown = _shown(roles, order)
    step = _Steps((len(UNITS) + 1) * len(order) + len(points) + 1, progress)
    clinical = _clinical(own, shown, order, prevalences, step)
    scores, axes = _score_all(predictions, order, points, n_resamples, step)
    families = compare_families(own, roles, n_resamples=n_resamples, n_permutations=n_permutations)
    families["baseline"].sort(key=lambda contrast: order.index(contrast.first))
    step()
    patients = scores["patient"]
    following = follow_rate(own, roles.method, roles.swapped) if roles and roles.swapped else None
    looks = None if look is None else judge_looks(look)
    said = reach_verdict(own, roles, families, patients, blinding, following, looks)
    sizes = axes.get(keys.AXIS_TRAIN_FRACTION, {})
    learning = curves(keys.AXIS_TRAIN_FRACTION, sizes, patients)
    needed = _needed(predictions, said, learning, roles, tests=len(families["primary"]))
    return Evaluation(
        predictions=predictions,
        roles=roles,
        scores=scores,
        families=families,
        verdict=with_needed(said, needed),
        learning=learning,
        noise=noise_curves(axes, patients),
        annotators=annotator_table(axes.get(keys.AXIS_ANNOTATORS, {})),
        retrieval={arm: found for arm in order if (found := _retrieval(own, arm))},
        shown=shown,
        clinical=clinical,
        benefit_gains=benefit_gains(own, *shown[::-1]) if roles and len(shown) == 2 else {},
        sites=by_site(own, order, families["primary"]),
        extrapolated={
            arm: extrapolate(points_of(predictions, curve)) for arm, curve in learning.items()
        },
        needed=needed,
        following=following,
        looks=looks,
    )


class _Steps:
    """Tells of each step that is done."""

    def __init__(self, total: int, progress: Progress) -> None:
        self.total, self.done, self._progress = total, 0, progress

    def __call__(self) -> None:
        self.done += 1
        self._progress(self.done, self.total)


def _clinical(
    own: Predictions,
    shown: Sequence[str],
    order: Sequence[str],
    prevalences: Sequence[float],
    step: _Steps,
) -> dict[str, ClinicalUse]:
    """By arm, those that are shown first, which alone have curves."""
    clinical = {}
    for arm in dict.fromkeys((*shown, *order)):
        clinical[arm] = clinical_use(own, arm, prevalences=prevalences, whole=arm in shown)
        step()
    return clinical


def _score_all(
    predictions: Predictions,
    order: Sequence[str],
    points: Sequence[str],
    n_resamples: int,
    step: _Steps,
) -> tuple[dict[Unit, dict[str, ArmScores]], Axes]:
    """Returns the scores of the arms by unit, and those of the points by axis."""

    def scored(arm: str, unit: Unit = "patient", metrics: Sequence[str] = METRICS) -> ArmScores:
        found = score_arm(predictions, arm, unit, metrics=metrics, n_resamples=n_resamples)
        step()
        return found

    scores = {unit: {arm: scored(arm, unit) for arm in order} for unit in UNITS}
    return scores, by_axis({name: scored(name, metrics=(HEADLINE,)) for name in points})


def _roles(predictions: Predictions, baseline: str | None, method: str | None) -> Roles | None:
    """The roles of two arms that were named; None where none was."""
    if (baseline is None) != (method is None):
        raise VaclipError("baseline and method belong together: give both, or none")
    if baseline is None or method is None:
        return None
    if unknown := [arm for arm in (baseline, method) if arm not in predictions.jobs]:
        raise VaclipError(f"no arm {unknown[0]!r} in the predictions: {[*predictions.jobs]}")
    return Roles(baseline, method)


def _needed(
    predictions: Predictions, said: Verdict, learning: Curves, roles: Roles | None, *, tests: int
) -> list[Needed]:
    """About how many patients would settle each question that more patients can settle."""
    if roles is None:
        return []
    return [
        patients_needed(predictions, question.contrast, learning, tests=tests, margin=roles.margin)
        for question in said.questions
        if question.contrast and question.needs_patients
    ]


def _shown(roles: Roles | None, order: Sequence[str]) -> tuple[str, ...]:
    named = [arm for arm in (roles.baseline, roles.method) if arm in order] if roles else []
    return tuple(named or order[:2])


def reach_verdict(
    predictions: Predictions,
    roles: Roles | None,
    families: Mapping[str, Sequence[Contrast]],
    scores: Mapping[str, ArmScores],
    blinding: Blinding = NOT_RECORDED,
    following: Following | None = None,
    looks: Looks | None = None,
) -> Verdict:
    """Gathers what the rules of the verdict read, and applies them.

    Args:
        predictions: Of the arms, with the late fusion.
        roles: Which arm plays which part.
        families: From `compare_families`.
        scores: By arm, per patient.
        blinding: What the annotators knew.
        following: Whether the method follows another patient's map.
        looks: Where the models look.
    """
    chance = 1 / len(predictions.classes)
    if roles is None:
        return verdict({}, None, Evidence(chance))
    alone, permuted = (
        scores[arm].scores[HEADLINE] if arm and arm in scores else None
        for arm in (roles.map_only, roles.permuted)
    )
    auroc = cut = None
    if {roles.method, roles.baseline} <= set(predictions.jobs):
        auroc = compare(predictions, roles.method, roles.baseline, "auroc_macro", **_NO_DRAWS)
        cut = at_thresholds(predictions, roles.method, roles.baseline)
    same = _same_maps(predictions, roles.method, roles.shuffled) if roles.shuffled else math.nan
    contrasts = {(c.first, c.second): c for family in families.values() for c in family}
    closed = closure_of(predictions, roles, contrasts)
    gain = looks.gain(roles.taught) if looks else None
    evidence = Evidence(
        chance, alone, auroc, same, blinding, cut, following, closed, gain, permuted
    )
    return verdict(contrasts, roles, evidence)


def _same_maps(predictions: Predictions, method: str, shuffled: str) -> float:
    """Share of the test clips that two arms were shown with the very same annotation."""
    job = [keys.PRED_FOLD, keys.PRED_SEED, keys.PRED_CLIP]
    shown = [
        predictions.test[predictions.test[keys.PRED_ARM] == arm]
        .drop_duplicates(job)
        .set_index(job)[keys.PRED_MAP_ID]
        for arm in (method, shuffled)
    ]
    ids = pd.concat(shown, axis=1, join="inner", keys=("own", "other"))
    ids = ids[(ids >= 0).all(axis=1)]
    return float((ids["own"] == ids["other"]).mean())


def _retrieval(predictions: Predictions, arm: str) -> dict[str, Retrieved]:
    """The retrieval metrics of an arm, over the models whose embeddings are there."""
    values: dict[str, list[float]] = {}
    for fold, seed in sorted(predictions.jobs[arm]):
        if (arm, fold, seed) in predictions.embeddings:
            for name, value in predictions.model_clips(arm, fold, seed).retrieval().items():
                if math.isfinite(value):
                    values.setdefault(name, []).append(value)
    return {
        name: Retrieved(float(np.mean(v)), min(v), max(v), len(v)) for name, v in values.items()
    }
