"""How CVAT moves an outline from one key frame to the next: the frames that a backup leaves out.

Facts from CVAT's dataset_manager/annotation.py, which makes the frames of its XML exports: corners
are matched by their share of the outline's length, each to the nearest one of the other outline; a
polygon is closed first. Matched corners move in a straight line. Where several corners have moved
to one, those that lie nearer together than half of their mean distance in the key frame are left
out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Corners: TypeAlias = NDArray[np.float64]


def outlines_between(
    before: Corners, after: Corners, shares: Sequence[float], *, closed: bool
) -> Iterator[Corners]:
    """Yields the outline at each moment between two key frames.

    Args:
        before: (N, 2): the corners of the first key frame.
        after: (M, 2): those of the next one.
        shares: Moments, 0 at the first key frame and 1 at the next one.
        closed: Whether it is a polygon.
    """
    if closed:
        before, after = (np.concatenate([one, one[:1]]) for one in (before, after))
    pairs = _matched(_shares(before), _shares(after))
    groups = _groups(pairs, before, after)
    start, way = before[pairs[:, 0]], after[pairs[:, 1]] - before[pairs[:, 0]]
    least = 3 if closed else 1
    for share in shares:
        moved = start + share * way
        kept = np.concatenate([_thinned(moved[a:b], apart) for a, b, apart in groups])
        kept = kept[:-1] if closed else kept
        yield kept if len(kept) >= least else moved


def _shares(corners: Corners) -> NDArray[np.float64]:
    """Returns what share of the outline's length lies before each corner."""
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(corners, axis=0).T))])
    return along / (along[-1] or 1.0)


def _matched(before: NDArray[np.float64], after: NDArray[np.float64]) -> NDArray[np.intp]:
    """Returns (P, 2): which corner of the one outline becomes which of the other, in order."""
    nearest = _nearest(before, after)
    alone = np.setdiff1d(np.arange(len(after)), nearest)
    pairs = np.concatenate([
        np.stack([np.arange(len(before)), nearest], axis=1),
        np.stack([_nearest(after[alone], before), alone], axis=1),
    ])  # fmt: skip
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def _nearest(values: NDArray[np.float64], among: NDArray[np.float64]) -> NDArray[np.intp]:
    """Returns the place of the nearest of ascending numbers, of equally near ones the first."""
    right = np.clip(np.searchsorted(among, values), 1, max(1, len(among) - 1))
    left = right - 1
    right = np.minimum(right, len(among) - 1)
    chosen = np.where(values - among[left] <= among[right] - values, left, right)
    return np.searchsorted(among, among[chosen])


def _groups(
    pairs: NDArray[np.intp], before: Corners, after: Corners
) -> list[tuple[int, int, float]]:
    """Returns runs of pairs with a common corner: begin, end, and how near is too near."""
    count = np.bincount(pairs[:, 0])

    def common(place: int) -> tuple[bool, int]:
        several = bool(count[pairs[place, 0]] > 1)
        return several, int(pairs[place, 0 if several else 1])

    groups = []
    for (several, _), places in groupby(range(len(pairs)), key=common):
        run = list(places)
        corners = (after if several else before)[
            pairs[run[0], int(several)] : pairs[run[-1], int(several)] + 1
        ]
        length = float(np.hypot(*np.diff(corners, axis=0).T).sum())
        groups.append((run[0], run[-1] + 1, length / (2 * len(corners))))
    return groups


def _thinned(corners: Corners, apart: float) -> Corners:
    """Leaves out corners too near to the last one; the first and the last stay, or their mean."""
    if len(corners) == 1:
        return corners
    kept = [corners[0]]
    for corner in corners[1:-1]:
        if np.hypot(*(corner - kept[-1])) >= apart:
            kept.append(corner)
    kept.append(corners[-1])
    if len(kept) == 2 and np.hypot(*(kept[1] - kept[0])) < apart:
        return np.mean(kept, axis=0, keepdims=True)
    return np.array(kept)
