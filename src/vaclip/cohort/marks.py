"""Coloured marks on a walking patient: which class it is shows at one place of several."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

MARKS = {"red_mark": (225, 40, 40), "green_mark": (40, 190, 70), "blue_mark": (50, 80, 235)}
"""The colour of each class; every patient bears all of them, once each."""
JOINTS = {
    "head": ("nose", "right_ear"),
    "shoulder": ("right_shoulder",),
    "lumbar_pelvis": ("right_hip",),
    "knee": ("right_knee",),
    "foot": ("right_ankle",),
}
"""Where a mark can be: the region, and the joints between which it lies."""
_RADIUS = 0.042  # of a mark, in body heights
_RING = (0.062, 0.085)  # inner and outer radius of the ring around the mark that decides
_PALE = (255, 250, 225)


@dataclass(frozen=True)
class Mark:
    """A coloured disc on the body.

    Attributes:
        place: one of `JOINTS`.
        colour: RGB.
        opacity: of the disc, in [0, 1].
        ring: opacity of the pale ring around it, in [0, 1].
    """

    place: str
    colour: tuple[int, int, int]
    opacity: float
    ring: float = 0.0


def draw_marks(
    rng: np.random.Generator, label: str, place: str, opacity: float, ring: float
) -> tuple[Mark, ...]:
    """Draws the marks of a patient: that of the class at a place, the others at others.

    Args:
        rng: decides where the others are, and the order of painting.
        label: one of `MARKS`.
        place: where the class shows; its mark has the ring.
        opacity: of the discs, in [0, 1].
        ring: opacity of the ring, in [0, 1].
    """
    decoys = [name for name in MARKS if name != label]
    free = [name for name in JOINTS if name != place]
    elsewhere = [free[i] for i in rng.permutation(len(free))[: len(decoys)]]
    marks = [Mark(place, MARKS[label], opacity, ring)]
    marks += [Mark(p, MARKS[d], opacity) for p, d in zip(elsewhere, decoys, strict=True)]
    return tuple(marks[i] for i in rng.permutation(len(marks)))


def paint_mark(image: Image.Image, mark: Mark, centre: np.ndarray, unit: float) -> None:
    """Paints a mark onto a picture, in place.

    Args:
        image: RGB.
        mark: what to paint.
        centre: (2,) x and y in pixels.
        unit: the body's height in pixels.
    """
    _paint(image, mark.colour, mark.opacity, centre, 0.0, _RADIUS * unit)
    _paint(image, _PALE, mark.ring, centre, *(radius * unit for radius in _RING))


def _paint(
    image: Image.Image,
    colour: tuple[int, int, int],
    opacity: float,
    centre: np.ndarray,
    inner: float,
    outer: float,
) -> None:
    if opacity == 0:
        return
    mask = Image.new("L", image.size)
    for radius, value in ((outer, round(255 * opacity)), (inner, 0)):
        if radius:
            ImageDraw.Draw(mask).ellipse([*(centre - radius), *(centre + radius)], fill=value)
    image.paste(colour, mask=mask)
