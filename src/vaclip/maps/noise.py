"""Noise of attention maps at test: how wrong may a map be before the diagnosis suffers?"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.uint8]


@dataclass(frozen=True)
class MapNoise:
    """One kind of noise at one strength.

    Attributes:
        kind: One of `NOISE`.
        strength: What it means depends on the kind, see `NOISE_NEUTRAL`.
        seed: Of what is drawn. A clip's noise depends on seed and clip alone, so that the
            same clips move the same way at every strength.
    """

    kind: str
    strength: float
    seed: int = 0

    def __call__(self, attn: Map, clip: int) -> Map:
        """Returns the noisy map.

        Args:
            attn: (C, T, H, W) in 0 to 255.
            clip: Number of the clip.
        """
        rng = np.random.default_rng([self.seed, clip])
        return NOISE[self.kind](attn, self.strength, rng)


def _displacement(attn: Map, strength: float, rng: np.random.Generator) -> Map:
    angle = rng.uniform(0, 2 * math.pi)
    height, width = attn.shape[-2:]
    down = round(strength * height * math.sin(angle))
    right = round(strength * width * math.cos(angle))
    moved = np.zeros_like(attn)
    there = _overlap(height, down), _overlap(width, right)
    here = _overlap(height, -down), _overlap(width, -right)
    moved[..., *there] = attn[..., *here]
    return moved


def _overlap(side: int, shift: int) -> slice:
    """The part of a side that something moved by ``shift`` covers."""
    return slice(min(max(shift, 0), side), max(side + min(shift, 0), 0))


def _blur(attn: Map, strength: float, rng: np.random.Generator) -> Map:
    from scipy.ndimage import gaussian_filter  # here, so that reading a study does not wait for it

    height, width = attn.shape[-2:]
    widths = (0, 0, strength * height, strength * width)
    blurred = gaussian_filter(attn.astype(np.float32), widths, mode="constant")
    return np.rint(blurred).astype(np.uint8)


def _gain(attn: Map, strength: float, rng: np.random.Generator) -> Map:
    return np.rint(np.minimum(attn * np.float32(strength), 255)).astype(np.uint8)


def _dropout(attn: Map, strength: float, rng: np.random.Generator) -> Map:
    return np.zeros_like(attn) if rng.random() < strength else attn


NOISE: dict[str, Callable[[Map, float, np.random.Generator], Map]] = {
    "displacement": _displacement,
    "blur": _blur,
    "gain": _gain,
    "dropout": _dropout,
}
"""``displacement``: moved by ``strength`` picture sides in a direction of the clip's own, with
nothing moving in; ``blur``: a Gaussian of standard deviation ``strength`` picture sides;
``gain``: times ``strength``, cut off at the top; ``dropout``: a clip loses its map with
probability ``strength``."""
NOISE_NEUTRAL = {"displacement": 0.0, "blur": 0.0, "gain": 1.0, "dropout": 0.0}
"""The strength at which a kind changes nothing."""
