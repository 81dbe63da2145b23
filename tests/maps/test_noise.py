"""Noise of maps, against what each kind must do by its definition."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import center_of_mass

from vaclip.maps import NOISE, NOISE_NEUTRAL, MapNoise


def blob(height: int = 40, width: int = 60, row: int = 20, column: int = 30) -> np.ndarray:
    """A map of two frames with one bright square, (1, 2, H, W)."""
    attn = np.zeros((1, 2, height, width), np.uint8)
    attn[..., row - 2 : row + 3, column - 2 : column + 3] = 200
    return attn


def test_every_kind_has_a_neutral_strength():
    assert NOISE.keys() == NOISE_NEUTRAL.keys()


@pytest.mark.parametrize("kind", NOISE)
def test_the_neutral_strength_changes_nothing(kind):
    attn = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 9), np.uint8)
    np.testing.assert_array_equal(MapNoise(kind, NOISE_NEUTRAL[kind])(attn, 3), attn)


@pytest.mark.parametrize("kind", NOISE)
def test_noise_depends_on_seed_and_clip_alone_and_leaves_its_input(kind):
    attn, before = blob(), blob()
    noise = MapNoise(kind, 0.3, seed=1)
    np.testing.assert_array_equal(noise(attn, 5), noise(attn, 5))
    np.testing.assert_array_equal(attn, before)
    assert noise(attn, 5).dtype == np.uint8
    assert noise(attn, 5).shape == attn.shape


@pytest.mark.parametrize("strength", [0.1, 0.2])
def test_displacement_moves_all_frames_alike_by_its_strength(strength):
    for clip in range(20):
        moved = MapNoise("displacement", strength)(blob(), clip)
        np.testing.assert_array_equal(moved[0, 0], moved[0, 1])
        down, right = np.subtract(center_of_mass(moved[0, 0]), (20, 30)) / (40, 60)
        # Rounded to whole pixels in each direction.
        assert np.hypot(down, right) == pytest.approx(strength, abs=0.5 / 40 + 0.5 / 60)
        assert moved.sum() == blob().sum()  # nothing left the picture


def test_displacement_goes_the_same_way_at_every_strength():
    def way(strength):
        moved = MapNoise("displacement", strength, seed=2)(blob(400, 400, 200, 200), 7)
        down, right = np.subtract(center_of_mass(moved[0, 0]), (200, 200))
        return np.arctan2(down, right)

    assert way(0.1) == pytest.approx(way(0.3), abs=0.05)


def test_clips_are_displaced_in_different_directions():
    moved = {MapNoise("displacement", 0.2)(blob(), clip).tobytes() for clip in range(10)}
    assert len(moved) > 5


@pytest.mark.parametrize("strength", [1.0, 1.5])
def test_what_is_displaced_out_of_the_picture_is_gone(strength):
    attn = np.full((1, 1, 10, 10), 9, np.uint8)
    for clip in range(10):
        moved = MapNoise("displacement", strength)(attn, clip)
        assert moved.sum() < attn.sum()


def test_blur_has_the_width_it_says():
    attn = np.zeros((1, 1, 101, 101), np.uint8)
    attn[..., 40:61, 40:61] = 255
    blurred = MapNoise("blur", 0.05)(attn, 0)[0, 0].astype(float)
    across = blurred.sum(axis=0)
    variance = np.average((np.arange(101) - 50) ** 2, weights=across)
    # A box of 21 and a Gaussian: their variances add up.
    assert variance == pytest.approx((21**2 - 1) / 12 + 5.05**2, rel=0.03)


def test_gain_multiplies_and_saturates():
    attn = np.array([0, 10, 100, 200], np.uint8).reshape(1, 1, 1, 4)
    assert MapNoise("gain", 2.0)(attn, 0).ravel().tolist() == [0, 20, 200, 255]
    assert MapNoise("gain", 0.5)(attn, 0).ravel().tolist() == [0, 5, 50, 100]


def test_dropout_takes_whole_maps_and_more_of_them_at_a_higher_strength():
    def kept(strength):
        noise = MapNoise("dropout", strength, seed=4)
        sums = np.array([noise(blob(), clip).sum() for clip in range(400)])
        assert set(sums) <= {0, blob().sum()}
        return sums > 0

    assert kept(0.25).mean() == pytest.approx(0.75, abs=0.08)
    assert not (kept(0.5) & ~kept(0.25)).any()  # nested
    assert not kept(1.0).any()
