"""Control maps: what a study compares the clinicians' maps with. They know nothing of the clip."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SHUFFLED = ("shuffled", "shuffled_within_class")
"""They take another patient's map (`vaclip.data.control_maps`)."""
CONTROLS = (*SHUFFLED, "prior", "uniform", "centre", "random")
"""``prior`` is the mean map of the training patients (`vaclip.data.prior_map`); the others are
drawn."""
_CENTRE_WIDTH = 0.2  # standard deviation, in picture sides
_RANDOM_WIDTH = 0.12  # of the blur, in picture sides
_RANDOM_SECONDS = 1.0  # of the blur in time


def draw_control(
    kind: str, shape: tuple[int, int, int, int], fps: float, seed: int
) -> NDArray[np.uint8]:
    """Draws a control map.

    Args:
        kind: ``uniform``: a constant; ``centre``: a Gaussian in the middle of the picture, the
            centre prior of gaze research; ``random``: blurred noise, stretched to the whole
            range.
        shape: (C, S, H, W).
        fps: Samples a second.
        seed: Of ``random``.

    Returns:
        (C, S, H, W), 255 for the most attention.

    Raises:
        ValueError: If the kind is not one that is drawn.
    """
    if kind == "uniform":
        return np.full(shape, 128, np.uint8)
    if kind == "centre":
        return np.broadcast_to(_centre(*shape[2:]), shape).copy()
    if kind == "random":
        from scipy.ndimage import (
            gaussian_filter,
        )  # here, so that reading a study does not wait for it

        noise = np.random.default_rng(seed).standard_normal(shape, np.float32)
        widths = (0, _RANDOM_SECONDS * fps, _RANDOM_WIDTH * shape[2], _RANDOM_WIDTH * shape[3])
        smooth = gaussian_filter(noise, widths, mode="reflect")
        low, high = smooth.min(), smooth.max()
        return np.rint(255 * (smooth - low) / max(high - low, 1e-12)).astype(np.uint8)
    raise ValueError(f"no drawn control: {kind}")


def _centre(height: int, width: int) -> NDArray[np.uint8]:
    rows, columns = (
        np.exp(-0.5 * (((np.arange(side) + 0.5) / side - 0.5) / _CENTRE_WIDTH) ** 2)
        for side in (height, width)
    )
    return np.rint(255 * np.outer(rows, columns)).astype(np.uint8)
