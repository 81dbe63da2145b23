"""Draws boxes, ellipses, polygons, lines, points and masks at the size of a map."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from vaclip.maps.regions import draw_box
from vaclip.maps.source import Grid

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
    pairs = list(pairwise(points)) if joined and len(points) > 1 else [(p, p) for p in points]
    nearest = np.full(grid.size, np.inf)
    for start, end in pairs:
        along = end - start
        length = float(along @ along)
        share = ((x - start[0]) * along[0] + (y - start[1]) * along[1]) / (length or 1.0)
        share = np.clip(share, 0, 1)
        squared = (x - start[0] - share * along[0]) ** 2 + (y - start[1] - share * along[1]) ** 2
        np.minimum(nearest, squared, out=nearest)
    return np.exp(-0.5 * nearest / (grid.keypoint_sigma * size[0]) ** 2).astype(np.float32)


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
