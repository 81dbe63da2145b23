"""Draws boxes, ellipses, polygons, lines, points and masks at the size of a map."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from vaclip.maps.regions import draw_box
from vaclip.maps.source import Grid

_SHORT = 0.1  # of the Gaussian's width: the error moves no pixel by half a grey level
_AT_ONCE = 1 << 15  # pairs of a place and a segment whose distance is computed
_SMALLEST = 16  # places that are not halved any more
_FINER = 4  # outlines are filled on a grid this much finer, then averaged

Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Key:
    """A shape at one moment.

    Attributes:
        at: A frame number from 0, or seconds from the first frame, as the file of shapes says.
        points: (x, y) in pixels of the annotated picture. ``box``: two opposite corners;
            ``ellipse``: the centre, and the two radii; ``mask``: two opposite corners of the
            rectangle that the mask fills, in whole pixels.
        turn: Of box and ellipse about their centre, in degrees, clockwise as one sees it.
        runs: Of a mask: lengths of runs in its rectangle row by row, alternating, the first one
            background.
        outside: The shape is not there, from here on.
    """

    at: float
    points: Points = ()
    turn: float = 0.0
    runs: tuple[int, ...] = ()
    outside: bool = False


def draw_shape(kind: str, key: Key, size: tuple[int, int], grid: Grid) -> NDArray[np.float32]:
    """Draws one shape at one moment.

    Args:
        kind: One of `vaclip.maps.shapes.TYPES`.
        key: Where it is.
        size: (height, width) of the picture that its points refer to.
        grid: Where to draw.

    Returns:
        (H, W) in [0, 1].
    """
    if kind == "mask":
        return _shrunk(Image.fromarray(_mask_picture(key, size)), grid.size)
    if kind in ("points", "polyline"):
        return _strokes(np.asarray(key.points), kind == "polyline", size, grid)
    if kind == "box" and key.turn == 0:
        xs, ys = (sorted(values) for values in zip(*key.points, strict=True))
        box = (xs[0] / size[1], ys[0] / size[0], xs[1] / size[1], ys[1] / size[0])
        return draw_box(box, grid.size)
    scale = np.array([grid.size[1] / size[1], grid.size[0] / size[0]])
    outline = np.asarray(_outline(kind, key)) * scale * _FINER - 0.5
    canvas = Image.new("L", (grid.size[1] * _FINER, grid.size[0] * _FINER))
    ImageDraw.Draw(canvas).polygon([tuple(point) for point in outline.tolist()], fill=255)
    return _shrunk(canvas, grid.size)


def _outline(kind: str, key: Key) -> NDArray[np.float64]:
    """Returns (N, 2) corners."""
    points = np.asarray(key.points, float)
    if kind == "polygon":
        return points
    if kind == "box":
        (x0, y0), (x1, y1) = points
        corners = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
        centre = points.mean(axis=0)
    else:
        centre, radii = points
        angles = np.linspace(0, 2 * np.pi, 72, endpoint=False)
        corners = centre + radii * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    turn = math.radians(key.turn)
    # In a picture y points down, so that this turns clockwise as one sees it.
    matrix = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    return (corners - centre) @ matrix.T + centre


def _strokes(
    points: NDArray[np.float64], joined: bool, size: tuple[int, int], grid: Grid
) -> NDArray[np.float32]:
    """Returns Gaussians of the distance to the nearest point, or to a line through them."""
    height, width = grid.size
    y = (np.arange(height) + 0.5)[:, None] * size[0] / height
    x = (np.arange(width) + 0.5)[None, :] * size[1] / width
    sigma = grid.keypoint_sigma * size[0]
    if not joined or len(points) == 1:
        nearest = _nearest_short(y, x, points, np.zeros_like(points))
    else:
        along = np.diff(points, axis=0)
        short = np.hypot(*along.T) <= _SHORT * sigma
        nearest = np.minimum(
            _nearest_short(y, x, points[:-1][short], along[short]),
            _nearest_long(y, x, np.hstack([points[:-1], along])[~short]),
        )
    return np.exp(-0.5 * nearest / sigma**2).astype(np.float32)


def _nearest_short(
    y: NDArray[np.float64],
    x: NDArray[np.float64],
    starts: NDArray[np.float64],
    along: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Returns what `_nearest_long` does, of a segment with the nearest end.

    It is too large by at most the square of half a segment.
    """
    from scipy.spatial import KDTree  # here, so that reading a study does not wait for it

    if not len(starts):
        return np.full((y.size, x.size), np.inf)
    places = np.stack(np.broadcast_arrays(x, y), axis=-1).reshape(-1, 2)
    _, which = KDTree(np.concatenate([starts, starts + along])).query(places)
    segments = np.hstack([starts, along])[which % len(starts)]
    return _squared(places[:, 1], places[:, 0], segments).reshape(y.size, x.size)


def _nearest_long(
    y: NDArray[np.float64], x: NDArray[np.float64], segments: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Returns (H, W), the squared distance of each place to the nearest segment.

    Halves of the picture are looked at by themselves: what is far from its middle, next to the
    segment that is nearest there, is nearest nowhere in it.

    Args:
        y: (H, 1).
        x: (1, W).
        segments: (N, 4): x and y of the start, and from there to the end.
    """
    places = y.size * x.size
    if not len(segments):
        return np.full((y.size, x.size), np.inf)
    if places * len(segments) <= _AT_ONCE or places <= _SMALLEST:
        return _squared(y[..., None], x[..., None], segments).min(axis=2)
    middle = (y[0, 0] + y[-1, 0]) / 2, (x[0, 0] + x[0, -1]) / 2
    across = math.hypot(y[-1, 0] - y[0, 0], x[0, -1] - x[0, 0])
    distance = np.sqrt(_squared(*middle, segments))
    segments = segments[distance <= distance.min() + across * (1 + 1e-9)]
    if y.size >= x.size:
        half = y.size // 2
        parts = [_nearest_long(part, x, segments) for part in (y[:half], y[half:])]
        return np.vstack(parts)
    half = x.size // 2
    return np.hstack([_nearest_long(y, p, segments) for p in (x[:, :half], x[:, half:])])


def _squared(y: Any, x: Any, segments: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the squared distance of places to segments, along the last axis."""
    x0, y0, along_x, along_y = segments.T
    length = along_x**2 + along_y**2
    dx, dy = x - x0, y - y0
    share = np.clip((dx * along_x + dy * along_y) / np.where(length, length, 1.0), 0, 1)
    return (dx - share * along_x) ** 2 + (dy - share * along_y) ** 2


def _mask_picture(key: Key, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Returns (H, W), 255 where the mask is."""
    (left, top), (right, bottom) = ((round(x), round(y)) for x, y in key.points)
    values = np.arange(len(key.runs)) % 2 * 255
    mask = np.repeat(values.astype(np.uint8), key.runs).reshape(bottom - top, right - left)
    picture = np.zeros(size, np.uint8)
    picture[top:bottom, left:right] = mask
    return picture


def _shrunk(picture: Image.Image, size: tuple[int, int]) -> NDArray[np.float32]:
    resized = picture.resize((size[1], size[0]), Image.Resampling.BOX)
    return np.asarray(resized).astype(np.float32) / 255
