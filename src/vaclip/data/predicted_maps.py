"""Predicted maps of segments, laid over the samples of their clip."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vaclip.data.cache import cache_map
from vaclip.data.sampling import plan_segments
from vaclip.files import json_digest


def map_over_samples(
    maps: NDArray[np.float32], samples: int, frames: int, stride: int
) -> NDArray[np.float32]:
    """Lays the maps of a clip's segments over its samples.

    Args:
        maps: (N, T', H', W'), a segment each.
        samples: S.
        frames: Length of a segment in samples.
        stride: Distance between the starts of segments in samples.

    Returns:
        (S, H', W'), 1 at the largest value: the mean of the segments that hold a sample, each at
        the token that does; 0 on samples that no segment holds, and where all maps are 0.
    """
    total = np.zeros((samples, *maps.shape[2:]), np.float32)
    count = np.zeros((samples, 1, 1), np.float32)
    for own, start in zip(maps, plan_segments(samples, frames, stride), strict=True):
        held = np.arange(start, min(start + frames, samples))
        total[held] += own[(held - start) * len(own) // frames]
        count[held] += 1
    mean = total / np.maximum(count, 1)
    return mean / (mean.max() or 1)


def cached_guide(
    maps: NDArray[np.float32],
    samples: int,
    frames: int,
    stride: int,
    shape: tuple[int, int, int],
    root: Path,
) -> Path:
    """Returns the cache entry of predicted maps in the form of a clinician's map.

    Args:
        maps: See `map_over_samples`; each segment is scaled to 1 at its largest value first.
        samples: S.
        frames: Length of a segment in samples.
        stride: Distance between the starts of segments in samples.
        shape: (C, H, W) of the map.
        root: Of the cache.
    """
    channels, height, width = shape
    source = {"guide": json_digest(maps.tolist()), "samples": samples, "shape": shape,
              "frames": frames, "stride": stride}  # fmt: skip

    def draw() -> NDArray[np.uint8]:
        scaled = maps / maps.max(axis=(1, 2, 3), keepdims=True)
        own = map_over_samples(scaled, samples, frames, stride)
        rows = np.arange(height) * own.shape[1] // height
        columns = np.arange(width) * own.shape[2] // width
        pixels = np.rint(255 * own[:, rows][:, :, columns]).astype(np.uint8)
        return np.repeat(pixels[None], channels, axis=0)

    return cache_map(root, source, draw)
