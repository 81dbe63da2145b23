from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import laplace

from vaclip.maps import CONTROLS, SHUFFLED, draw_control

SHAPE = (2, 16, 24, 32)
DRAWN = [kind for kind in CONTROLS if kind not in (*SHUFFLED, "prior")]


@pytest.mark.parametrize("kind", DRAWN)
def test_shape_type_and_repeatability(kind):
    drawn = draw_control(kind, SHAPE, 8.0, 3)
    assert drawn.shape == SHAPE
    assert drawn.dtype == np.uint8
    assert drawn.any()
    np.testing.assert_array_equal(drawn, draw_control(kind, SHAPE, 8.0, 3))


def test_uniform_is_constant():
    assert np.ptp(draw_control("uniform", SHAPE, 8.0, 0)) == 0


def test_centre_is_a_gaussian_in_the_middle():
    drawn = draw_control("centre", (1, 3, 50, 100), 8.0, 0)
    rows, columns = np.indices((50, 100)) + 0.5
    distance = ((rows / 50 - 0.5) ** 2 + (columns / 100 - 0.5) ** 2) / 0.2**2
    expected = 255 * np.exp(-0.5 * distance)
    np.testing.assert_allclose(drawn[0, 1], expected, atol=0.51)
    assert (drawn == drawn[:, :1]).all()


def test_random_is_smooth_uses_the_whole_range_and_differs_by_seed():
    first, second = (draw_control("random", SHAPE, 8.0, seed).astype(float) for seed in (0, 1))
    assert first.min() == 0
    assert first.max() == 255
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.5
    noise = np.random.default_rng(0).uniform(0, 255, SHAPE)
    roughness = [np.abs(laplace(picture)).mean() for picture in (first[0, 0], noise[0, 0])]
    assert roughness[0] < 0.1 * roughness[1]
    assert np.abs(np.diff(first, axis=1)).mean() < 0.2 * first.std()


@pytest.mark.parametrize("kind", SHUFFLED)
def test_shuffled_is_not_drawn(kind):
    with pytest.raises(ValueError, match="shuffled"):
        draw_control(kind, SHAPE, 8.0, 0)
