from __future__ import annotations

import numpy as np
import pytest

from vaclip.data.arrays import map_array
from vaclip.data.predicted_maps import cached_guide, map_over_samples


def naive(maps, samples, starts, frames):
    """The mean over the segments of a sample, each at its token."""
    found = np.zeros((samples, *maps.shape[2:]))
    for sample in range(samples):
        own = [
            maps[n, (sample - start) * maps.shape[1] // frames]
            for n, start in enumerate(starts)
            if start <= sample < start + frames
        ]
        if own:
            found[sample] = np.mean(own, axis=0)
    return found / found.max()


@pytest.mark.parametrize(
    ("samples", "frames", "stride", "starts"),
    [(16, 8, 8, [0, 8]), (20, 8, 4, [0, 4, 8, 12]), (19, 8, 8, [0, 8]), (22, 8, 8, [0, 8, 14]),
     (5, 8, 8, [0])],
)  # fmt: skip
def test_maps_over_samples_against_a_naive_loop(samples, frames, stride, starts):
    maps = np.random.default_rng(0).random((len(starts), 4, 3, 2)).astype(np.float32)
    found = map_over_samples(maps, samples, frames, stride)
    np.testing.assert_allclose(found, naive(maps, samples, starts, frames), rtol=1e-5)


def test_a_guide_is_the_map_on_pixels_each_segment_at_its_largest(tmp_path):
    maps = np.zeros((2, 2, 2, 3), np.float32)
    maps[0, 0, 0, 1], maps[0, 1, 1, 2] = 0.8, 0.2
    maps[1, 1, 0, 0] = 0.05  # a segment that is spread more still guides fully
    shape = (2, 4, 6)
    shown = map_array(cached_guide(maps, 8, 4, 4, shape, tmp_path)).numpy()
    assert shown.shape == (2, 8, 4, 6)
    expected = np.zeros((8, 4, 6))
    expected[:2, :2, 2:4], expected[2:4, 2:, 4:], expected[6:, :2, :2] = 255, 64, 255
    np.testing.assert_allclose(shown, [expected, expected], atol=0.51)
