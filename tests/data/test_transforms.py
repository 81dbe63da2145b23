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


def bilinear(picture, crop):
    """Resizes the crop to the whole picture, one pixel after the other."""
    cut = picture[crop.top : crop.top + crop.height, crop.left : crop.left + crop.width]
    moved = np.zeros(picture.shape)
    for row, column in np.ndindex(picture.shape):
        y = max((row + 0.5) * crop.height / HEIGHT - 0.5, 0.0)
        x = max((column + 0.5) * crop.width / WIDTH - 0.5, 0.0)
        y0, x0 = math.floor(y), math.floor(x)
        y1, x1 = min(y0 + 1, crop.height - 1), min(x0 + 1, crop.width - 1)
        upper = cut[y0, x0] * (x0 + 1 - x) + cut[y0, x1] * (x - x0)
        lower = cut[y1, x0] * (x0 + 1 - x) + cut[y1, x1] * (x - x0)
        moved[row, column] = upper * (y0 + 1 - y) + lower * (y - y0)
    return moved[:, ::-1] if crop.mirrored else moved


@given(crops(), st.integers(0, 2**32 - 1))
def test_crop_equals_a_naive_bilinear_resize(crop, seed):
    random = np.random.default_rng(seed)
    frames = random.integers(0, 256, (2, HEIGHT, WIDTH, 3), np.uint8)
    attn = random.integers(0, 256, (2, 2, HEIGHT, WIDTH), np.uint8)
    moved, moved_attn = crop.apply(torch.from_numpy(frames), torch.from_numpy(attn))
    assert moved.shape == frames.shape
    assert moved_attn.shape == attn.shape
    assert moved.dtype == moved_attn.dtype == torch.uint8
    for frame in range(2):
        wanted = bilinear(frames[frame, :, :, frame].astype(float), crop)
        assert np.abs(moved[frame, :, :, frame].numpy() - wanted).max() <= 1.5
        wanted = bilinear(attn[1 - frame, frame].astype(float), crop)
        assert np.abs(moved_attn[1 - frame, frame].numpy() - wanted).max() <= 1.5


@given(crops(least=(HEIGHT // 2, WIDTH // 2)), st.data())
def test_marked_pixel_and_its_peak_stay_together(crop, data):
    row = data.draw(st.integers(crop.top, crop.top + crop.height - 1))
    column = data.draw(st.integers(crop.left, crop.left + crop.width - 1))
    frames = torch.zeros(2, HEIGHT, WIDTH, 3, dtype=torch.uint8)
    attn = torch.zeros(2, 2, HEIGHT, WIDTH, dtype=torch.uint8)
    frames[1, row, column], attn[0, 1, row, column] = 255, 255
    moved, moved_attn = crop.apply(frames, attn)
    assert not moved[0].any()
    assert not moved_attn[:, 0].any()
    assert not moved_attn[1].any()
    y = (row - crop.top + 0.5) * HEIGHT / crop.height - 0.5
    x = (column - crop.left + 0.5) * WIDTH / crop.width - 0.5
    x = WIDTH - 1 - x if crop.mirrored else x
    for picture in (moved[1, :, :, 0], moved[1, :, :, 2], moved_attn[0, 1]):
        peaks = (picture == picture.max()).nonzero().float()
        assert picture.max() > 60  # at worst it is shared by four pixels
        # The nearest pixels' centres lie at most half a pixel off.
        nearest = (peaks - torch.tensor([y, x])).abs().amax(dim=1).min()
        assert nearest <= 0.51
    assert torch.equal(moved[1, :, :, 1], moved_attn[0, 1])


def test_whole_picture_is_left_alone():
    frames = torch.randint(0, 256, (2, HEIGHT, WIDTH, 3), dtype=torch.uint8)
    attn = torch.randint(0, 256, (1, 2, HEIGHT, WIDTH), dtype=torch.uint8)
    moved, moved_attn = Crop(0, 0, HEIGHT, WIDTH).apply(frames, attn)
    assert torch.equal(moved, frames)
    assert torch.equal(moved_attn, attn)
    moved, moved_attn = Crop(0, 0, HEIGHT, WIDTH, mirrored=True).apply(frames, attn)
    assert torch.equal(moved, frames.flip(2))
    assert torch.equal(moved_attn, attn.flip(3))


# --- drawing a crop ------------------------------------------------------------------------------


@given(
    st.tuples(st.integers(20, 200), st.integers(20, 200)),
    st.floats(0.05, 1.0),
    st.integers(0, 2**62),
)
def test_random_crop_lies_in_the_picture_and_is_large_enough(size, least, seed):
    crop = random_crop(size, Augmentation(crop=least), torch.Generator().manual_seed(seed))
    assert 0 <= crop.top <= crop.top + crop.height <= size[0]
    assert 0 <= crop.left <= crop.left + crop.width <= size[1]
    assert crop.height >= max(1, least * size[0] - 0.5)
    assert crop.width >= max(1, least * size[1] - 0.5)
    assert abs(crop.height / size[0] - crop.width / size[1]) <= 0.5 / size[0] + 0.5 / size[1] + 1e-9
    assert not crop.mirrored


def test_random_crops_fill_their_range_and_half_are_mirrored():
    generator = torch.Generator().manual_seed(0)
    augmentation = Augmentation(crop=0.5, flip=True)
    drawn = [random_crop((100, 100), augmentation, generator) for _ in range(2000)]
    heights = [crop.height for crop in drawn]
    assert min(heights) <= 52
    assert max(heights) >= 98
    assert np.mean(heights) == pytest.approx(75, abs=1.5)
    assert np.mean([crop.mirrored for crop in drawn]) == pytest.approx(0.5, abs=0.05)
    tops = [crop.top / (100 - crop.height) for crop in drawn if crop.height < 80]
    assert np.mean(tops) == pytest.approx(0.5, abs=0.05)


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
