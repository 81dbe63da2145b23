"""All numbers of a report: each arm scored once, each pair compared once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pandas as pd

from vaclip import keys
from vaclip.errors import VaclipError
from vaclip.evaluation.compare import HEADLINE, ArmScores, Contrast, compare_families, score_arm
from vaclip.evaluation.predictions import UNITS, Unit
from vaclip.evaluation.scores import METRICS
from vaclip.evaluation.verdict import Verdict, verdict
from vaclip.reports.gather import Study

Progress: TypeAlias = Callable[[int, int], None]
"""Called with how many steps are done and how many there are."""
Curves: TypeAlias = Mapping[str, list[tuple[float, ArmScores]]]
"""By arm: (value on the axis, headline) in order of the values."""

_AS_TRAINED = {keys.AXIS_TRAIN_FRACTION: 1.0, keys.AXIS_NOISE_PREFIX + "gain": 1.0}


@dataclass(frozen=True)
class Retrieved:
    """A retrieval metric of an arm over its jobs that have it."""

    mean: float
    low: float
    high: float
    jobs: int


@dataclass(frozen=True)
class Results:
    """What the sections of a report show."""

    scores: dict[Unit, dict[str, ArmScores]]
    """By unit, then arm in study order."""
    families: dict[str, list[Contrast]]
    verdict: Verdict
    learning: Curves
    """Over the share of the training patients."""
    noise: dict[str, Curves]
    """By kind of noise, over its strength."""
    annotators: dict[str, dict[tuple[str, str], ArmScores]]
    """By arm, then (annotator trained with, annotator tested with)."""
    retrieval: dict[str, dict[str, Retrieved]]
    """By arm, then logged name."""


def assess(
    study: Study, *, draws: int, swaps: int, progress: Progress = lambda done, total: None
) -> Results:
    """Scores and compares everything that a study folder holds.

    Args:
        study: As read.
        draws: Of the bootstrap.
        swaps: Of the permutation test.
        progress: Told of each step.
    """
    points = [name for name in study.everything.jobs if name not in study.predictions.jobs]
    steps = len(UNITS) * len(study.scored) + len(points) + 1
    done = 0

    def step(arm: str, unit: Unit = "patient", metrics: Sequence[str] = METRICS) -> ArmScores:
        nonlocal done
        found = score_arm(study.everything, arm, unit, metrics=metrics, draws=draws)
        done += 1
        progress(done, steps)
        return found

    scores = {unit: {arm: step(arm, unit) for arm in study.scored} for unit in UNITS}
    by_axis = _by_axis({name: step(name, metrics=(HEADLINE,)) for name in points})
    families = compare_families(study.predictions, draws=draws, swaps=swaps)
    place = {arm: n for n, arm in enumerate(study.scored)}
    families["baseline"].sort(key=lambda contrast: place[contrast.first])
    progress(steps, steps)
    contrasts = {(c.first, c.second): c for family in families.values() for c in family}
    patients = scores["patient"]
    noise = {
        axis.removeprefix(keys.AXIS_NOISE_PREFIX): _curves(axis, own, patients)
        for axis, own in by_axis.items()
        if axis.startswith(keys.AXIS_NOISE_PREFIX)
    }
    return Results(
        scores=scores,
        families=families,
        verdict=verdict(contrasts),
        learning=_curves(
            keys.AXIS_TRAIN_FRACTION, by_axis.get(keys.AXIS_TRAIN_FRACTION, {}), patients
        ),
        noise=noise,
        annotators=_annotators(by_axis.get(keys.AXIS_ANNOTATORS, {})),
        retrieval=_retrieval(study.retrieval),
    )


def _by_axis(points: dict[str, ArmScores]) -> dict[str, dict[tuple[str, str], ArmScores]]:
    """From variants to axis, then (arm, value)."""
    found: dict[str, dict[tuple[str, str], ArmScores]] = {}
    for name, scored in points.items():
        arm, axis, value = keys.split_variant(name)
        found.setdefault(str(axis), {})[arm, str(value)] = scored
    return dict(sorted(found.items()))


def _curves(
    axis: str, points: dict[tuple[str, str], ArmScores], arms: dict[str, ArmScores]
) -> Curves:
    """The points of an axis by arm; the arm itself lies at `_AS_TRAINED`, else at 0."""
    found: dict[str, list[tuple[float, ArmScores]]] = {}
    for arm in arms:
        own = [(_number(axis, v), scored) for (a, v), scored in points.items() if a == arm]
        if own:
            own.append((_AS_TRAINED.get(axis, 0.0), arms[arm]))
            found[arm] = sorted(own, key=lambda point: point[0])
    return found


def _number(axis: str, value: str) -> float:
    try:
        return float(value)
    except ValueError as error:
        raise VaclipError(f"an arm has {axis}={value}, which is no number") from error


def _annotators(
    points: dict[tuple[str, str], ArmScores],
) -> dict[str, dict[tuple[str, str], ArmScores]]:
    found: dict[str, dict[tuple[str, str], ArmScores]] = {}
    for (arm, value), scored in sorted(points.items()):
        trained, _, tested = value.partition(">")
        found.setdefault(arm, {})[trained, tested] = scored
    return found


def _retrieval(table: pd.DataFrame | None) -> dict[str, dict[str, Retrieved]]:
    if table is None:
        return {}
    values: dict[str, dict[str, list[float]]] = {}
    defined = table.dropna(subset=["value"])
    for arm, name, value in defined[["arm", "name", "value"]].to_numpy():
        values.setdefault(arm, {}).setdefault(name, []).append(float(value))
    return {
        arm: {name: Retrieved(float(np.mean(v)), min(v), max(v), len(v)) for name, v in own.items()}
        for arm, own in values.items()
    }
