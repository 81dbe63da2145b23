"""The video rectangles of Label Studio: the clock of their key frames, and how they move.

Spans of a timeline, which have no clock of their own, are counted by the same one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, TypeAlias

from vaclip.errors import VaclipError
from vaclip.importers.base import MOST_FRAMES
from vaclip.maps.shapes import Key, Points

Row: TypeAlias = Mapping[str, Any]

_FINEST_TURN = 5.0  # degrees between two keys of a box that turns about its corner
_ROUNDED_S = 0.0051  # the time of an interpolated key has two decimals
MOVING = ("videorectangle", "videovector")
"""Types of results with key frames, without the "labels" that may follow."""
_STAMP_S = 0.001  # time stamps of pictures are rounded: a key counts a little earlier


def video_clock(results: Sequence[Any], rate: float | None, where: str) -> tuple[float, int | None]:
    """Returns the rate by which the frames of an annotation were counted, and their number.

    Args:
        results: Of one annotation.
        rate: As the user says; None to take the one of the key frames.
        where: For messages.

    Raises:
        VaclipError: If nothing says the rate, or several are said.
    """
    values = [
        result["value"]
        for result in results
        if isinstance(result, dict)
        and str(result.get("type")).removesuffix("labels") in MOVING
        and isinstance(result.get("value"), dict)
        and isinstance(result["value"].get("sequence"), list)
    ]
    if rate is None:
        keys = [
            key
            for value in values
            for key in value["sequence"]
            if isinstance(key, dict) and key.get("time") is not None and key.get("frame") != 0
        ]
        if not keys:
            raise VaclipError(
                f"{where}: it has no key frames with 'time'; say --frame-rate FPS, the frameRate "
                "of the tag Video (24 unless it says another one)"
            )
        rate = _rate(keys, where)
    if not 0.01 <= rate <= 1000:
        raise VaclipError(f"{where}: a frame rate of {rate:g}; say --frame-rate FPS")
    match [value.get("framesCount") for value in values]:
        case [int(frames), *_] if 0 < frames <= MOST_FRAMES:
            return rate, frames
        case _:
            return rate, None


def _rate(keys: Sequence[Mapping[str, Any]], where: str) -> float:
    """Returns the rate that key frames were counted at, by their numbers and times.

    Those that were drawn have exact times; where there are none, the rate is a whole one if some
    fits the rounded times, else the middle of those that fit.
    """
    drawn = [key for key in keys if key.get("auto") is not True]
    told = drawn or keys
    pairs = [(number_of(key, "frame", where), number_of(key, "time", where)) for key in told]
    if any(time_s == 0 for _, time_s in pairs):
        raise VaclipError(
            f"{where}: a key frame other than number 0 is at 0 s, so that 'time' is not frame / "
            "rate; say --frame-rate FPS"
        )
    least = max(frame / max(time_s + _ROUNDED_S, 1e-9) for frame, time_s in pairs)
    most = min(frame / max(time_s - _ROUNDED_S, 1e-9) for frame, time_s in pairs)
    if least > most:
        rates = [frame / time_s for frame, time_s in pairs]
        raise VaclipError(
            f"{where}: its shapes are of pictures of different rate ({min(rates):.4g} and "
            f"{max(rates):.4g} a second by 'frame' and 'time'); say --frame-rate FPS"
        )
    if drawn:
        frame, time_s = max(pairs)
        return frame / time_s
    whole = round((least + most) / 2)
    return float(whole) if least <= whole <= most else (least + most) / 2


def number_of(values: Mapping[str, Any], name: str, where: str) -> float:
    """Returns a number that can be drawn; raises a VaclipError for another value."""
    value = values.get(name)
    if not isinstance(value, int | float) or not -1e6 <= value <= 1e6:
        raise VaclipError(f"{where}: '{name}' is {value!s:.40}; expected a number")
    return float(value)


def moving_box(
    sequence: Sequence[Any], size: tuple[int, int], rate: float, where: str
) -> tuple[Key, ...]:
    """Returns the keys of a box in seconds.

    Args:
        sequence: Key frames, in any order.
        size: (height, width) in pixels of the picture that the box is a percentage of.
        rate: At which frames were counted.
        where: For messages.

    Raises:
        VaclipError: If a key frame is none, or there are two of one frame.
    """
    rows = [_row(row, f"{where}, key frame {i}") for i, row in enumerate(sequence)]
    return moving(rows, lambda row: _box(row, size, rate), _turning, rate, where)


def moving(
    rows: Sequence[Row],
    key_of: Callable[[Row], Key],
    between: Callable[[Row, Row], Iterable[Row]],
    rate: float,
    where: str,
) -> tuple[Key, ...]:
    """Returns the keys of a shape in seconds, which comes and goes with ``enabled``.

    Args:
        rows: Key frames with ``frame`` and ``enabled``, in any order.
        key_of: Returns where the shape is.
        between: Returns further rows between two key frames.
        rate: At which frames were counted.
        where: For messages.

    Raises:
        VaclipError: If there are two key frames of one frame.
    """
    rows = sorted(rows, key=lambda row: row["frame"])
    if any(one["frame"] == other["frame"] for one, other in pairwise(rows)):
        raise VaclipError(f"{where}: two key frames are of the same frame")
    keys: list[Key] = []
    for number, row in enumerate(rows):
        before = rows[number - 1] if number else None
        after = rows[number + 1] if number + 1 < len(rows) else None
        if before and not before["enabled"] and not row["enabled"]:
            continue  # nothing begins here
        if before and before["enabled"]:
            keys += map(key_of, between(before, row))
        keys.append(key_of(row))
        end = row["frame"] + 1
        if not row["enabled"] and not (after and after["enabled"] and after["frame"] <= end):
            keys.append(Key(seconds(end, rate), outside=True))
    return tuple(keys)


def _row(row: Any, where: str) -> dict[str, float]:
    if not isinstance(row, dict):
        raise VaclipError(f"{where}: expected an object with 'frame', 'x', 'y' and so on")
    row = {"rotation": 0.0} | row
    names = ("frame", "x", "y", "width", "height", "rotation")
    if not isinstance(shown := row.get("enabled", True), bool):
        raise VaclipError(f"{where}: 'enabled' is {shown!s:.40}; expected true or false")
    return {name: number_of(row, name, where) for name in names} | {"enabled": float(shown)}


def _turning(one: Row, other: Row) -> Iterator[Row]:
    """Yields steps of a rectangle that turns about its corner: its centre goes along an arc."""
    arc = (other["rotation"] - one["rotation"] + 180) % 360 - 180
    steps = math.ceil(abs(arc) / _FINEST_TURN)
    for step in range(1, steps):
        share = step / steps
        yield {name: one[name] + share * (other[name] - one[name]) for name in one} | {
            "rotation": one["rotation"] + share * arc
        }


def seconds(frame: float, rate: float) -> float:
    """Returns when a frame, counted from 1, is shown."""
    return max(0.0, (frame - 1) / rate - _STAMP_S)


def _box(row: Mapping[str, float], size: tuple[int, int], rate: float) -> Key:
    points, turn = rectangle(row, size)
    return Key(seconds(row["frame"], rate), points, turn)


def rectangle(row: Mapping[str, float], size: tuple[int, int]) -> tuple[Points, float]:
    """Returns the corners of a rectangle that is turned about its centre, and the angle."""
    x, y, width, height = (
        row[name] * whole / 100
        for name, whole in zip(("x", "y", "width", "height"), (size[1], size[0]) * 2, strict=True)
    )
    angle = math.radians(row["rotation"])
    cos, sin = math.cos(angle), math.sin(angle)
    centre_x = x + (cos * width - sin * height) / 2
    centre_y = y + (sin * width + cos * height) / 2
    return (
        (centre_x - width / 2, centre_y - height / 2),
        (centre_x + width / 2, centre_y + height / 2),
    ), row["rotation"]


def spans(value: Mapping[str, Any], rate: float, where: str) -> list[tuple[float, float]]:
    """Returns when the spans of a timeline begin and are over, in seconds.

    Args:
        value: Of a result, with ``ranges`` from a first to a last frame, both shown.
        rate: At which frames were counted.
        where: For messages.

    Raises:
        VaclipError: If a range is none.
    """
    found = []
    for part in value["ranges"]:
        if not isinstance(part, dict):
            raise VaclipError(f"{where}: expected 'ranges' with 'start' and 'end'")
        first, last = number_of(part, "start", where), number_of(part, "end", where)
        if not 0 <= first <= last:
            raise VaclipError(f"{where}: a span from frame {first:g} to {last:g}")
        found.append((seconds(first, rate), seconds(last + 1, rate)))
    return found
