"""``kind = gaze``: where an annotator looked, as fixations in a JSON file.

::

    {"size": [480, 640], "sigma": 38.5,
     "fixations": [[0.00, 0.31, 322.0, 240.5], [0.35, 0.80, 100.0, 88.0]]}

A fixation is begin and end in seconds from the first frame of the video, and x, y in pixels of a
picture of ``size`` (height, width). ``sigma`` is the standard deviation of a fixation's Gaussian
in the same pixels; null takes that of joints (`Grid.keypoint_sigma`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaclip.errors import VaclipError
from vaclip.files import inside_folder
from vaclip.maps.source import (
    AnnotatedClip,
    Drawer,
    FileMap,
    Grid,
    Timing,
    is_number,
    read_annotation,
)

_NARROWEST = 0.1  # pixels
MOST_FIXATIONS = 1_000_000
_AT_ONCE = 1024  # fixations that are drawn, which bounds memory


@dataclass(frozen=True)
class Gaze:
    """What one annotator looked at in one video.

    Attributes:
        size: (height, width) in pixels of the picture that x and y refer to.
        fixations: (N, 4): begin and end in seconds from the first frame, x, y.
        sigma: Standard deviation of a fixation's Gaussian in pixels; None for that of joints.
    """

    size: tuple[int, int]
    fixations: NDArray[np.float64]
    sigma: float | None = None


class GazeMap(FileMap):
    """Draws fixations as Gaussians.

    A sample's map is the sum over fixations of Gaussians whose height is the share of the sample
    that the fixation lasted, so that a map never exceeds 1 and says how long was looked where.
    A sample without a fixation is dark.
    """

    def look_at(self, path: Path, value: str) -> None:
        load_gaze(path, value)

    def timing(self, value: str, clip: AnnotatedClip) -> Timing | None:
        ends = load_gaze(inside_folder(clip.root, value), value).fixations[:, 1]
        return Timing("second", ends_s=float(ends.max())) if len(ends) else None

    def render(self, value: str, clip: AnnotatedClip, grid: Grid) -> NDArray[np.float32]:
        return self.drawer(value, clip)(grid)

    def drawer(self, value: str, clip: AnnotatedClip) -> Drawer:
        gaze = load_gaze(inside_folder(clip.root, value), value)
        return lambda grid: draw_fixations(gaze, grid)


def draw_fixations(gaze: Gaze, grid: Grid) -> NDArray[np.float32]:
    """Returns (S, H, W) in [0, 1], see `GazeMap`."""
    height, width = gaze.size
    sigma = gaze.sigma or grid.keypoint_sigma * height
    rows = (np.arange(grid.size[0]) + 0.5) * height / grid.size[0]
    columns = (np.arange(grid.size[1]) + 0.5) * width / grid.size[1]
    begin, end, x, y = gaze.fixations.T
    drawn = np.zeros((len(grid.time_s), *grid.size), np.float32)
    for number, time in enumerate(grid.time_s):
        seconds = np.minimum(end, time + grid.sample_s) - np.maximum(begin, time)
        seen = np.flatnonzero(seconds > 0)
        for first in range(0, len(seen), _AT_ONCE):
            some = seen[first : first + _AT_ONCE]
            down = np.exp(-0.5 * ((rows[:, None] - y[some]) / sigma) ** 2)  # (H, some)
            right = np.exp(-0.5 * ((columns[:, None] - x[some]) / sigma) ** 2)  # (W, some)
            drawn[number] += (down * seconds[some] / grid.sample_s) @ right.T
    return np.minimum(drawn, 1.0, out=drawn)


def load_gaze(path: Path, name: str) -> Gaze:
    """Reads a file of fixations.

    Args:
        path: The file.
        name: What to call it in messages.

    Raises:
        VaclipError: If it is no such file.
    """
    return read_annotation(path, f"gaze '{name}'", parse_gaze)


def parse_gaze(content: Any) -> Gaze:
    """Turns what `gaze_json` gives into fixations.

    Raises:
        VaclipError: Naming the first thing that is wrong.
    """
    if not isinstance(content, dict):
        raise VaclipError("expected an object with 'size', 'sigma' and 'fixations'")
    size, sigma, rows = (content.get(name) for name in ("size", "sigma", "fixations"))
    if not (
        isinstance(size, list) and len(size) == 2 and all(is_number(v) and v >= 1 for v in size)
    ):
        raise VaclipError("'size' must be [height, width] in pixels")
    if sigma is not None and not (is_number(sigma) and sigma >= _NARROWEST):
        raise VaclipError(f"'sigma' must be a width in pixels of at least {_NARROWEST}, or null")
    if not isinstance(rows, list):
        raise VaclipError("'fixations' must list [begin_s, end_s, x, y]")
    if len(rows) > MOST_FIXATIONS:
        raise VaclipError(f"'fixations' must list at most {MOST_FIXATIONS}")
    for number, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != 4 or not all(map(is_number, row)):
            raise VaclipError(f"fixations[{number}] must be four numbers [begin_s, end_s, x, y]")
        if row[1] <= row[0]:
            raise VaclipError(f"fixations[{number}] ends before it begins")
    return Gaze((size[0], size[1]), np.array(rows, float).reshape(-1, 4), sigma)


def gaze_json(gaze: Gaze) -> dict[str, Any]:
    """Returns the content of a file that `load_gaze` reads; times to 0.1 ms, places to 0.01 px."""
    rows = [[round(b, 4), round(e, 4), round(x, 2), round(y, 2)] for b, e, x, y in gaze.fixations]
    return {"size": list(gaze.size), "sigma": gaze.sigma, "fixations": rows}
