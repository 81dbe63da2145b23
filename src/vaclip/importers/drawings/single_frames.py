"""Shapes that were drawn on single frames: held, or moved from one to the next.

As drawn, such a shape is there for one frame, and most samples of the clip carry no map.
``--hold`` lets it stay until a shape of its label is drawn on a later frame; ``--interpolate``
makes one shape of those of a label, which moves in a straight line from frame to frame.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vaclip.errors import VaclipError
from vaclip.importers.drawings.common import check_labels
from vaclip.maps.outlines import Points
from vaclip.maps.shapes import Key, Track

_OUTLINES = ("polygon", "polyline")


def add_single_frame_options(group: argparse._ArgumentGroup) -> None:
    """Adds ``--hold`` and ``--interpolate``."""
    group.add_argument("--hold", action="append", default=[], metavar="LABEL[=SECONDS]",
                       help="a shape of this label on a single frame stays until the next one, at "
                       "most so long; repeatable")  # fmt: skip
    group.add_argument("--interpolate", action="append", default=[], metavar="LABEL",
                       help="shapes of this label on single frames are one shape that moves from "
                       "one to the next; repeatable")  # fmt: skip


class SingleFrames:
    """Extends single-frame shapes of the labels that the user names."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._hold = dict(_hold(text) for text in options.hold)
        self._interpolate = set(options.interpolate)
        self._met: Counter[str] = Counter()
        if both := sorted(self._interpolate & set(self._hold)):
            raise VaclipError(f"--hold and --interpolate both name '{both[0]}'")

    @property
    def timed(self) -> bool:
        """Whether some shapes are held for a number of seconds."""
        return any(math.isfinite(seconds) for seconds in self._hold.values())

    def extended(
        self,
        tracks: Sequence[Track],
        labels: Sequence[Collection[str]],
        *,
        frame: float,
        second: float,
        end: float = math.inf,
        where: str,
    ) -> tuple[Track, ...]:
        """Returns the tracks of one annotator on one video, those on single frames extended.

        Args:
            tracks: As drawn.
            labels: Of each track.
            frame: How long a frame lasts, in the unit of the keys.
            second: How long a second does.
            end: Where the part ends that was annotated.
            where: For messages.

        Raises:
            VaclipError: If shapes of a label cannot be one that moves.
        """
        named = {*self._hold, *self._interpolate}
        single: dict[str, list[int]] = defaultdict(list)
        for number, (track, own) in enumerate(zip(tracks, labels, strict=True)):
            if (label := next((one for one in own if one in named), None)) is None:
                continue
            if _on_one_frame(track, frame):
                single[label].append(number)
        made = dict(enumerate(tracks))
        for label, numbers in single.items():
            self._met[label] += len(numbers)
            group = [tracks[number] for number in numbers]
            if label in self._hold:
                held = _held(group, self._hold[label] * second, end)
                made |= dict(zip(numbers, held, strict=True))
            else:
                made = {n: track for n, track in made.items() if n not in numbers}
                made[numbers[0]] = _moving(group, f"{where}: --interpolate {label}")
        return tuple(made[number] for number in sorted(made))

    def check(self, present: Collection[str]) -> None:
        """Raises a VaclipError where a label was named that no shape on a single frame has."""
        for flag, named in (("--hold", self._hold), ("--interpolate", self._interpolate)):
            check_labels(named, present, flag)
            for label in named:
                if not self._met[label]:
                    raise VaclipError(f"{flag} {label}: none of its shapes is on a single frame")


def _hold(text: str) -> tuple[str, float]:
    label, equals, seconds = text.rpartition("=")
    try:
        longest = float(seconds) if equals else math.inf
    except ValueError:
        return text, math.inf  # a label may hold the sign
    if not longest > 0:
        raise VaclipError(f"--hold {text}: expected a number of seconds above 0")
    return (label, longest) if equals else (text, math.inf)


def _on_one_frame(track: Track, frame: float) -> bool:
    match track.keys:
        case (Key(outside=False) as first, Key(outside=True) as last):
            return last.at - first.at <= 1.01 * frame
    return False


def _held(tracks: Sequence[Track], longest: float, end: float) -> list[Track]:
    """Returns tracks that stay until the next one begins, and at most so long."""
    begins = sorted({track.keys[0].at for track in tracks})
    following = dict(zip(begins, [*begins[1:], end], strict=True))
    held = []
    for track in tracks:
        first, last = track.keys
        until = min(following[first.at], max(first.at + longest, last.at))
        keys = (first,) if math.isinf(until) else (first, Key(until, outside=True))
        held.append(replace(track, keys=keys))
    return held


def _moving(tracks: Sequence[Track], where: str) -> Track:
    """Returns one track through all; it ends with the last of them."""
    ordered = sorted(tracks, key=lambda track: track.keys[0].at)
    keys = [track.keys[0] for track in ordered]
    if len({track.type for track in ordered}) > 1 or ordered[0].type == "mask":
        raise VaclipError(
            f"{where}: its shapes are {', '.join(sorted({track.type for track in ordered}))}, "
            "which cannot move from one to the next; use --hold"
        )
    if len({key.at for key in keys}) < len(keys):
        raise VaclipError(
            f"{where}: two of its shapes are on one frame, and nothing says which of them goes on "
            "as which; use --hold, or give them labels of their own"
        )
    if ordered[0].type in _OUTLINES:
        points = _matched([key.points for key in keys], closed=ordered[0].type == "polygon")
        keys = [replace(key, points=own) for key, own in zip(keys, points, strict=True)]
    return replace(ordered[0], keys=(*keys, ordered[-1].keys[1]))


def _matched(outlines: Sequence[Points], *, closed: bool) -> list[Points]:
    """Returns the same outlines with equally many points, each near to its one before.

    Points are added on the longest edges. An outline may be drawn from another corner or the other
    way round than the one before: its points are turned so that they match best.
    """
    count = max(map(len, outlines))
    matched: list[NDArray[np.float64]] = []
    for outline in outlines:
        points = _refined(np.asarray(outline, float), count, closed=closed)
        matched.append(_turned(matched[-1], points, closed=closed) if matched else points)
    return [tuple((float(x), float(y)) for x, y in points) for points in matched]


def _refined(points: NDArray[np.float64], count: int, *, closed: bool) -> NDArray[np.float64]:
    """Returns (count, 2): equal parts of the edges, so many that the longest part is short."""
    ends = np.roll(points, -1, axis=0) if closed else points[1:]
    starts = points[: len(ends)]
    length = np.hypot(*(ends - starts).T)
    parts = np.ones(len(ends), int)
    for _ in range(count - len(points)):
        parts[np.argmax(length / parts)] += 1
    made = [
        start + np.arange(n)[:, None] / n * (end - start)
        for start, end, n in zip(starts, ends, parts, strict=True)
    ]
    return np.concatenate([*made, *([] if closed else [points[-1:]])])


def _turned(
    before: NDArray[np.float64], points: NDArray[np.float64], *, closed: bool
) -> NDArray[np.float64]:
    ways = [points, points[::-1]]
    if closed:
        ways = [np.roll(way, -_best_shift(before, way), axis=0) for way in ways]
    # Where an outline lies does not matter, only how it is drawn.
    centred = before - before.mean(axis=0)
    return min(ways, key=lambda way: float(((way - way.mean(axis=0) - centred) ** 2).sum()))


def _best_shift(before: NDArray[np.float64], points: NDArray[np.float64]) -> int:
    """Returns the k for which points[i + k] are nearest to before[i], both about their centres."""
    a, b = (np.array([1, 1j]) @ (one - one.mean(axis=0)).T for one in (before, points))
    return int(np.fft.ifft(np.conj(np.fft.fft(a)) * np.fft.fft(b)).real.argmax())
