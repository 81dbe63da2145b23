"""From the screen to the video's pixels, and from degrees to pixels."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np

from vaclip.errors import VaclipError
from vaclip.importers.gaze.fixations import Fixations, Presentation, sift


@dataclass(frozen=True)
class Rect:
    """Where a video lay on a screen, in its pixels."""

    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True)
class Setup:
    """How the videos were shown, as the user tells.

    Attributes:
        rect: Where they lay: a `Rect`, or in a word: ``screen`` (they filled it), ``fit`` (as
            large as their aspect allows, in the middle), ``centre`` (in their own size, in the
            middle); None where only the file can say it.
        screen: (width, height) in pixels.
        screen_cm: Width in centimetres.
        distance_cm: From the eye to the screen.
        pixels_per_degree: Of the screen, or of the video where nothing is known of a screen.
        sigma: (number, ``px`` of the video or ``deg``); None for that of joints.
    """

    rect: Rect | str | None = None
    screen: tuple[float, float] | None = None
    screen_cm: float | None = None
    distance_cm: float | None = None
    pixels_per_degree: float | None = None
    sigma: tuple[float, str] | None = None

    def place(self, shown: Presentation, size: tuple[int, int]) -> Rect | None:
        """Returns where a video of ``size`` (height, width) lay; None if nothing is known.

        Raises:
            VaclipError: If the size of the screen is needed and not known.
        """
        height, width = size
        if self.rect is None:
            return Rect(*shown.corner, *(shown.extent or (width, height))) if shown.corner else None
        if isinstance(self.rect, Rect):
            return self.rect
        across, down = self.screen_of(shown, fraction=self.rect == "screen")
        if self.rect == "screen":
            return Rect(0, 0, across, down)
        scale = min(across / width, down / height) if self.rect == "fit" else 1.0
        wide, high = width * scale, height * scale
        return Rect((across - wide) / 2, (down - high) / 2, wide, high)

    def screen_of(self, shown: Presentation, *, fraction: bool = False) -> tuple[float, float]:
        """Returns (width, height) of the screen; 1, 1 will do for fractions of it."""
        if screen := self.screen or shown.screen:
            return screen
        if fraction and shown.unit == "screen-fraction":
            return 1.0, 1.0
        raise VaclipError(f"{shown.where}: say how many pixels the screen had: --screen 1920x1080")

    def sigma_px(
        self, shown: Presentation, rect: Rect | None, size: tuple[int, int]
    ) -> float | None:
        """Returns a Gaussian's width in the video's pixels; None for that of joints.

        A degree has width_px / width_cm * 2 * distance_cm * tan(0.5 degrees) pixels of the
        screen, near its middle, and the video's pixels are as many times larger or smaller as it
        was shown smaller or larger than it is.

        Raises:
            VaclipError: If the size of a degree is not known.
        """
        if self.sigma is None or self.sigma[1] == "px":
            return self.sigma and self.sigma[0]
        per_degree = self.pixels_per_degree
        if per_degree is None:
            if self.screen_cm is None or self.distance_cm is None or rect is None:
                raise VaclipError(
                    "--sigma in degrees needs --pixels-per-degree, or --screen-cm, --distance-cm, "
                    "--screen and --video-rect"
                )
            per_cm = self.screen_of(shown)[0] / self.screen_cm
            per_degree = per_cm * 2 * self.distance_cm * math.tan(math.radians(0.5))
        if rect is None:
            return self.sigma[0] * per_degree
        if rect.width <= 1 >= rect.height:
            rect = Rect(0, 0, *self.screen_of(shown))
        scale = math.sqrt(size[1] / rect.width * size[0] / rect.height)
        return self.sigma[0] * per_degree * scale


def in_picture(
    fixations: Fixations,
    shown: Presentation,
    setup: Setup,
    rect: Rect | None,
    size: tuple[int, int],
    dropped: Counter[str],
) -> Fixations:
    """Moves fixations into the pixels of a video; those off its picture are dropped and counted.

    Args:
        fixations: In the unit of the presentation.
        shown: The presentation.
        setup: How it was shown.
        rect: Where, from `Setup.place`.
        size: (height, width) of the video.
        dropped: What was left out, by reason.

    Raises:
        VaclipError: If it is not known where the video lay.
    """
    height, width = size
    x, y = fixations[:, 2], fixations[:, 3]
    if shown.unit == "video-fraction":
        x, y = x * width, y * height
    elif shown.unit != "video":
        if rect is None:
            raise VaclipError(
                f"{shown.where}: gaze on the screen, but where did the video lie? Say --video-rect "
                "X,Y,WIDTH,HEIGHT in pixels of the screen, or screen, fit or centre"
            )
        if shown.unit == "screen-fraction":
            across, down = setup.screen_of(shown, fraction=setup.rect == "screen")
            x, y = x * across, y * down
        x, y = (x - rect.left) * width / rect.width, (y - rect.top) * height / rect.height
    inside = (x >= 0) & (x <= width) & (y >= 0) & (y <= height)
    good = sift(dropped, {"off the picture": ~inside})
    return np.column_stack([fixations[good, :2], x[good], y[good]])
