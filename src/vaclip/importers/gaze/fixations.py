"""Gaze of every tracker in one form: when somebody looked where, in the video's pixels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaclip.errors import VaclipError

Fixations = NDArray[np.float64]
"""(N, 4): begin and end in seconds, x, y; a fixation or a sample a row."""

UNITS = ("video", "video-fraction", "screen", "screen-fraction")
"""What x and y count from the upper left corner: pixels, or fractions of width and height."""

_LONGEST_SAMPLE_S = 0.1
_LONGEST_S = 86_400.0
_DECIMALS = 4  # of seconds, as `gaze_json` writes them
MOST_PRESENTATIONS = 10_000  # of a file


@dataclass(frozen=True)
class Presentation:
    """What one person looked at while a video was shown once.

    Attributes:
        video: Its name in the file.
        annotator: Who; empty where the file is silent.
        where: The place in the export, for messages.
        eyes: Fixations from the video's first frame, of each that the file parts: the left eye, the
            right one, both already averaged.
        unit: One of `UNITS`.
        rows: How many there were in the file.
        dropped: How many of them were left out, by the reason.
        corner: (x, y) of the video's upper left corner on the screen, where the file says it.
        extent: (width, height) of the video there; None for its own.
        screen: (width, height) in pixels, where the file says it.
    """

    video: str
    annotator: str
    where: str
    eyes: tuple[Fixations, ...]
    unit: str
    rows: int
    dropped: Counter[str]
    corner: tuple[float, float] | None = None
    extent: tuple[float, float] | None = None
    screen: tuple[float, float] | None = None


@dataclass(frozen=True)
class Rows:
    """What a file holds, on its own clock.

    Attributes:
        fixations: In any order; of samples the end is NaN, because each lasts until the next one.
        bad: Which rows cannot be used, by the reason.
        unit: One of `UNITS`.
        eyes: (N,) ``left``, ``right`` or empty; None where the file does not part them.
    """

    fixations: Fixations
    bad: dict[str, NDArray[np.bool_]]
    unit: str
    eyes: NDArray[np.object_] | None = None

    def shown(
        self,
        part: slice | NDArray[Any],
        *,
        video: str,
        annotator: str,
        where: str,
        span_s: tuple[float, float],
        corner: tuple[float, float] | None = None,
        extent: tuple[float, float] | None = None,
        screen: tuple[float, float] | None = None,
    ) -> Presentation:
        """Returns the presentation that some of the rows are.

        Args:
            part: Which rows.
            video: As of `Presentation`, like the others that are not explained here.
            annotator: Who.
            where: The place.
            span_s: When the video was shown, on the file's clock.
            corner: On the screen.
            extent: On the screen.
            screen: Its size.
        """
        fixations = self.fixations[part] - [span_s[0], span_s[0], 0, 0]
        dropped: Counter[str] = Counter()
        good = sift(dropped, {reason: mask[part] for reason, mask in self.bad.items()})
        eyes = np.full(len(fixations), "") if self.eyes is None else self.eyes[part]
        sides = []
        for side in np.unique(eyes[good]):
            of_side = np.flatnonzero(eyes == side)
            order = of_side[np.argsort(fixations[of_side, 0], kind="stable")]
            order = order[np.isfinite(fixations[order, 0])]
            mine, fine = fixations[order], good[order]
            if np.isnan(mine[:, 1]).all():
                mine[:, 1] = until_next(mine[:, 0])
            fine = fine & (mine[:, 1] > mine[:, 0])
            sides.append(_within(mine[fine], span_s[1] - span_s[0], dropped, where))
        return Presentation(
            video,
            annotator,
            where,
            tuple(sides),
            self.unit,
            len(fixations),
            dropped,
            corner,
            extent,
            screen,
        )


def sift(dropped: Counter[str], bad: dict[str, NDArray[np.bool_]]) -> NDArray[np.bool_]:
    """Returns which rows are good; a bad one counts for the first reason that hits it."""
    good = np.ones(len(next(iter(bad.values()))), bool)
    for reason, mask in bad.items():
        dropped[reason] += int((good & mask).sum())
        good &= ~mask
    return good


def until_next(time_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns when each sample ends: when the next one begins, and at most 100 ms later.

    The last one lasts as long as is usual in this recording.

    Args:
        time_s: (N,) begins, not falling.
    """
    steps = np.diff(time_s)
    usual = float(np.median(steps[steps > 0])) if (steps > 0).any() else _LONGEST_SAMPLE_S
    return time_s + np.minimum(np.append(steps, usual), _LONGEST_SAMPLE_S)


def _within(fixations: Fixations, last_s: float, dropped: Counter[str], where: str) -> Fixations:
    """Returns what lies between the video's first frame and ``last_s``, cut at both.

    Times are rounded as they are written, so that edges of both eyes that are nearly the same meet,
    and what rounds to nothing is dropped here and not met by who reads it.
    """
    outside = (fixations[:, 1] <= 0) | (fixations[:, 0] >= last_s)
    kept = fixations[sift(dropped, {"before or after the video": outside})]
    if len(kept) and kept[:, 0].max() > _LONGEST_S:
        raise VaclipError(
            f"{where}: gaze {kept[:, 0].max():.0f} s after the video's begin; say when it began "
            "(--start, --start-event), or the right --time-unit"
        )
    kept[:, :2] = np.clip(kept[:, :2], 0, last_s).round(_DECIMALS)
    return kept[sift(dropped, {"lasts less than 0.1 ms": kept[:, 0] == kept[:, 1]})]


def both_eyes(*eyes: Fixations) -> Fixations:
    """Returns the average of the eyes that look, at any time at which one does.

    Args:
        *eyes: Fixations of the left, the right, or both; those of one do not overlap and are
            sorted.
    """
    edges = np.unique(np.concatenate([eye[:, :2].ravel() for eye in eyes]))
    begin, end = edges[:-1], edges[1:]
    places = np.stack([_place_at((begin + end) / 2, eye) for eye in eyes])
    seen = np.isfinite(places[:, :, 0])
    some = seen.any(axis=0)
    mean = np.nansum(places[:, some], axis=0) / seen[:, some].sum(axis=0)[:, None]
    return np.column_stack([begin[some], end[some], mean])


def _place_at(time_s: NDArray[np.float64], fixations: Fixations) -> NDArray[np.float64]:
    """Returns (N, 2) where an eye looked; NaN where it did not."""
    if not len(fixations):
        return np.full((len(time_s), 2), np.nan)
    last = np.searchsorted(fixations[:, 0], time_s, side="right") - 1
    during = (last >= 0) & (time_s < fixations[last, 1])
    return np.where(during[:, None], fixations[last, 2:], np.nan)


def merged(fixations: Fixations) -> Fixations:
    """Joins fixations that follow each other at the same pixel; their places are averaged."""
    if not len(fixations):
        return fixations
    pixel = np.round(fixations[:, 2:])
    follows = np.append(False, np.abs(fixations[1:, 0] - fixations[:-1, 1]) < 1e-6)
    follows[1:] &= (pixel[1:] == pixel[:-1]).all(axis=1)
    first = np.flatnonzero(~follows)
    last = np.append(first[1:], len(fixations)) - 1
    seconds = fixations[:, 1] - fixations[:, 0]
    place = np.add.reduceat(fixations[:, 2:] * seconds[:, None], first)
    place /= np.add.reduceat(seconds, first)[:, None]
    return np.column_stack([fixations[first, 0], fixations[last, 1], place])


def told(name: str, dropped: Counter[str], rows: int) -> Iterable[str]:
    """Yields a line for each reason for which rows of a file were left out."""
    for reason, count in dropped.items():
        if count:
            yield f"{name}: {count} of {rows} rows ({100 * count / rows:.1f} %): {reason}"
