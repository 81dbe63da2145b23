from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vaclip import keys
from vaclip.data.transforms import MEAN, STD, Augmentation, Crop, prepare_batch, random_crop

HEIGHT, WIDTH = 12, 16


@st.composite
def crops(draw, least=(1, 1)):
    height, width = draw(st.integers(least[0], HEIGHT)), draw(st.integers(least[1], WIDTH))
    top, left = draw(st.integers(0, HEIGHT - height)), draw(st.integers(0, WIDTH - width))
    return Crop(top, left, height, width, draw(st.booleans()))


@given(crops(), st.integers(0, 2**32 - 1))
def test_crop_equals_a_naive_loop(crop, seed):
    pictures = np.random.default_rng(seed).integers(0, 256, (3, 2, HEIGHT, WIDTH), np.uint8)
    cut = crop.apply(torch.from_numpy(pictures))
    assert cut.shape == (3, 2, crop.height, crop.width)
    assert cut.dtype == torch.uint8
    for row, column in np.ndindex(crop.height, crop.width):
        source = crop.width - 1 - column if crop.mirrored else column
        wanted = pictures[:, :, crop.top + row, crop.left + source]
        np.testing.assert_array_equal(cut[:, :, row, column], wanted)


@given(crops(), st.data())
def test_annotated_pixel_and_its_peak_stay_together(crop, data):
    row = data.draw(st.integers(crop.top, crop.top + crop.height - 1))
    column = data.draw(st.integers(crop.left, crop.left + crop.width - 1))
    video = torch.zeros(3, 2, HEIGHT, WIDTH, dtype=torch.uint8)
    attn = torch.zeros(1, 2, HEIGHT, WIDTH, dtype=torch.uint8)
    video[:, 1, row, column], attn[0, 1, row, column] = 255, 255
    moved, moved_attn = crop.apply(video), crop.apply(attn)
    assert moved_attn.sum() == 255
    assert torch.equal(moved, moved_attn.expand_as(moved))


def test_whole_picture_is_left_alone():
    video = torch.randint(0, 256, (3, 2, HEIGHT, WIDTH), dtype=torch.uint8)
    assert torch.equal(Crop(0, 0, HEIGHT, WIDTH).apply(video), video)
    assert torch.equal(Crop(0, 0, HEIGHT, WIDTH, mirrored=True).apply(video), video.flip(3))


# --- drawing a crop ------------------------------------------------------------------------------


@given(
    st.tuples(st.integers(20, 200), st.integers(20, 200)),
    st.floats(0.05, 1.0),
    st.integers(0, 2**62),
)
def test_random_crop_lies_in_the_picture_and_has_its_size(size, share, seed):
    crop = random_crop(size, Augmentation(crop=share), torch.Generator().manual_seed(seed))
    assert 0 <= crop.top <= crop.top + crop.height <= size[0]
    assert 0 <= crop.left <= crop.left + crop.width <= size[1]
    assert abs(crop.height - share * size[0]) <= 0.5
    assert abs(crop.width - share * size[1]) <= 0.5
    assert not crop.mirrored


def test_random_crops_fill_their_range_and_half_are_mirrored():
    generator = torch.Generator().manual_seed(0)
    augmentation = Augmentation(crop=0.5, flip=True)
    drawn = [random_crop((100, 100), augmentation, generator) for _ in range(2000)]
    for starts in ([crop.top for crop in drawn], [crop.left for crop in drawn]):
        assert min(starts) <= 1
        assert max(starts) >= 49
        assert np.mean(starts) == pytest.approx(25, abs=1.5)
    assert np.mean([crop.mirrored for crop in drawn]) == pytest.approx(0.5, abs=0.05)


def test_crop_of_one_is_the_whole_picture():
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        assert random_crop((9, 13), Augmentation(crop=1.0), generator) == Crop(0, 0, 9, 13)


# --- light and normalisation ---------------------------------------------------------------------


def batch(count=4):
    generator = torch.Generator().manual_seed(1)
    return {
        keys.VIDEO: torch.randint(0, 256, (count, 3, 2, 5, 6), generator=generator).byte(),
        keys.ATTN_MAP: torch.randint(0, 256, (count, 1, 2, 5, 6), generator=generator).byte(),
        keys.LABEL: torch.arange(count),
    }


def test_prepare_equals_the_formula():
    given_batch = batch()
    kept = {name: tensor.clone() for name, tensor in given_batch.items()}
    prepared = prepare_batch(given_batch)
    pixels = kept[keys.VIDEO].numpy().astype(float)
    np.testing.assert_allclose(prepared[keys.VIDEO], (pixels / 255 - 0.45) / 0.225, atol=1e-5)
    np.testing.assert_allclose(
        prepared[keys.ATTN_MAP], kept[keys.ATTN_MAP].numpy() / 255.0, atol=1e-6
    )
    assert prepared[keys.VIDEO].dtype == prepared[keys.ATTN_MAP].dtype == torch.float32
    assert torch.equal(prepared[keys.LABEL], kept[keys.LABEL])
    assert all(torch.equal(given_batch[name], kept[name]) for name in kept)  # left as it was


def light(pixels, prepared):
    """Solves (x - 1/2) * gain + 1/2 + shift for the two unknowns, by least squares."""
    x = pixels.numpy().astype(float).ravel() / 255
    y = prepared.numpy().astype(float).ravel() * STD + MEAN
    gain, offset = np.polyfit(x - 0.5, y, 1)
    np.testing.assert_allclose((x - 0.5) * gain + offset, y, atol=1e-5)  # nothing else happened
    return gain, offset - 0.5


def test_light_changes_each_segment_by_one_gain_and_one_shift():
    many = batch(200)
    augmentation = Augmentation(brightness=0.1, contrast=0.2)
    prepared = prepare_batch(many, augmentation, torch.Generator().manual_seed(0))
    found = np.array(
        [light(x, y) for x, y in zip(many[keys.VIDEO], prepared[keys.VIDEO], strict=True)]
    )
    gains, shifts = found.T
    assert gains.min() >= 0.8 - 1e-4
    assert gains.max() <= 1.2 + 1e-4
    assert np.abs(shifts).max() <= 0.1 + 1e-4
    assert gains.std() == pytest.approx(0.4 / math.sqrt(12), rel=0.15)  # uniform
    assert shifts.std() == pytest.approx(0.2 / math.sqrt(12), rel=0.15)
    assert abs(np.corrcoef(gains, shifts)[0, 1]) < 0.2
    np.testing.assert_allclose(
        prepared[keys.ATTN_MAP], many[keys.ATTN_MAP].numpy() / 255.0, atol=1e-6
    )


def test_light_depends_on_the_generator_alone():
    def prepared(seed):
        return prepare_batch(batch(), Augmentation(), torch.Generator().manual_seed(seed))

    assert torch.equal(prepared(3)[keys.VIDEO], prepared(3)[keys.VIDEO])
    assert not torch.equal(prepared(3)[keys.VIDEO], prepared(4)[keys.VIDEO])
