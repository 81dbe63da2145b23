"""Points on the axes of a study: what varies, and the curves over it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from vaclip import keys
from vaclip.errors import VaclipError
from vaclip.evaluation.compare import ArmScores

Points: TypeAlias = Mapping[tuple[str, str], ArmScores]
"""By (arm, value)."""
Axes: TypeAlias = Mapping[str, Points]
"""By axis."""
Curves: TypeAlias = Mapping[str, list[tuple[float, ArmScores]]]
"""By arm: (value on the axis, headline) in order of the values."""

_AS_TRAINED = {keys.AXIS_TRAIN_FRACTION: 1.0, keys.AXIS_NOISE_PREFIX + "gain": 1.0}


def by_axis(points: Mapping[str, ArmScores]) -> Axes:
    """Sorts the scores of variants by what they vary."""
    found: dict[str, dict[tuple[str, str], ArmScores]] = {}
    for name, scored in points.items():
        arm, axis, value = keys.split_variant(name)
        found.setdefault(str(axis), {})[arm, str(value)] = scored
    return dict(sorted(found.items()))


def noise_curves(axes: Axes, arms: Mapping[str, ArmScores]) -> dict[str, Curves]:
    """Returns the curves over the strength of each kind of noise."""
    return {
        axis.removeprefix(keys.AXIS_NOISE_PREFIX): curves(axis, found, arms)
        for axis, found in axes.items()
        if axis.startswith(keys.AXIS_NOISE_PREFIX)
    }


def curves(axis: str, points: Points, arms: Mapping[str, ArmScores]) -> Curves:
    """Returns the points of an axis by arm; the arm itself lies at `_AS_TRAINED`, else at 0."""
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


def annotator_table(points: Points) -> dict[str, dict[tuple[str, str], ArmScores]]:
    """Returns by arm the scores of each (annotator trained with, annotator tested with)."""
    found: dict[str, dict[tuple[str, str], ArmScores]] = {}
    for (arm, value), scored in sorted(points.items()):
        trained, _, tested = value.partition(">")
        found.setdefault(arm, {})[trained, tested] = scored
    return found
