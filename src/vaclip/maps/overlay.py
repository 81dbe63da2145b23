"""Maps over pictures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_RED = np.array([255, 38, 0], np.float32)


def overlay(pictures: NDArray[np.uint8], attn: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Blends red over pictures, by at most 45 %.

    Args:
        pictures: (..., H, W, 3) RGB.
        attn: (..., H, W) in [0, 1].
    """
    share = 0.45 * attn[..., None]
    return np.rint(pictures * (1 - share) + _RED * share).astype(np.uint8)
