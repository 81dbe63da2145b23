"""Segments of frozen tokens: the steps that belong to their samples, and the map of the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from vaclip import keys
from vaclip.data.cache import CachedClip, CachedTokens
from vaclip.data.dataset import SegmentDataset, collate
from vaclip.data.items import ClipItem
from vaclip.data.transforms import Augmentation, model_inputs, prepare_batch
from vaclip.study.study import Clip

LENGTHS = (13, 8, 5)
HEIGHT, WIDTH, CHANNELS, GRID = 6, 8, 5, (2, 3)


@pytest.fixture
def make_items(tmp_path):
    """Returns ``make(step)`` of clips whose maps tell the sample, and tokens the step."""

    def make(step):
        items, tokens = [], []
        for row, length in enumerate(LENGTHS):
            sample = np.arange(1, length + 1, dtype=np.uint8)
            shape = (length, HEIGHT, WIDTH)
            pictures = np.broadcast_to(sample[:, None, None], shape)
            np.save(tmp_path / f"m{row}.npy", pictures[None])
            np.save(tmp_path / f"f{row}.npy", pictures[..., None].repeat(3, axis=-1))
            steps = -(-length // step)
            random = np.random.default_rng(row).normal(size=(steps, *GRID, CHANNELS))
            tokens.append(random.astype(np.float16))
            np.save(tmp_path / f"t{row}.npy", tokens[-1])
            cached = CachedClip(
                Clip(f"c{row}", Path("v.mkv"), f"p{row}", "x"),
                tmp_path / f"f{row}.npy",
                length,
                tmp_path / f"m{row}.npy",
                CachedTokens(tmp_path / f"t{row}.npy", steps, step),
            )
            items.append(ClipItem(cached, row, 0, row, row, row))
        return items, tokens

    return make


def samples_of(segment):
    return (segment[keys.ATTN_MAP][0, :, 0, 0] - 1).tolist()


@pytest.mark.parametrize(
    ("step", "starts"),
    [(1, [0, 3, 5, 0, 0]), (2, [0, 2, 4, 0, 0]), (4, [0, 0, 4, 0, 0])],
)
def test_steps_and_map_are_of_the_same_samples(make_items, step, starts):
    items, tokens = make_items(step)
    dataset = SegmentDataset(items, frames=8, stride=3)
    assert [clip for clip, _, _ in dataset.segments] == [0, 0, 0, 1, 2]
    for index, (clip, start) in enumerate(zip([0, 0, 0, 1, 2], starts, strict=True)):
        segment = dataset[index]
        last = LENGTHS[clip] - 1
        assert samples_of(segment) == [min(start + k, last) for k in range(8)]
        wanted = [min(start // step + k, len(tokens[clip]) - 1) for k in range(8 // step)]
        np.testing.assert_array_equal(
            segment[keys.VIDEO_TOKENS], tokens[clip][wanted].transpose(3, 0, 1, 2)
        )
        assert keys.VIDEO not in segment
        video = dataset.video(index)
        assert (video[0, :, 0, 0] - 1).tolist() == samples_of(segment)


def test_jitter_moves_tokens_and_map_together_and_repeats(make_items):
    step = 2
    items, tokens = make_items(step)
    dataset = SegmentDataset(items, 8, 8, augmentation=Augmentation(), seed=1, jitter=2)
    plain = SegmentDataset(items, 8, 8, augmentation=Augmentation(), seed=1)
    starts = []
    for epoch in range(40):
        segment = dataset[epoch, 0]
        start = samples_of(segment)[0]
        starts.append(start)
        assert samples_of(segment) == list(range(start, start + 8))
        np.testing.assert_array_equal(
            segment[keys.VIDEO_TOKENS],
            tokens[0][start // step : start // step + 4].transpose(3, 0, 1, 2),
        )
        assert torch.equal(dataset[epoch, 0][keys.VIDEO_TOKENS], segment[keys.VIDEO_TOKENS])
        assert samples_of(plain[epoch, 0])[0] == 0
    assert set(starts) == {0, 2, 4}  # not before the clip, and not beyond its 13 samples
    assert samples_of(dataset[0])[0] == 0  # not where it is not augmented
    assert {samples_of(dataset[epoch, 2])[0] for epoch in range(20)} == {0}  # as long as its clip


def test_the_map_is_whole_whatever_crops_say(make_items):
    items, _ = make_items(1)
    cropped = SegmentDataset(items, 8, 8, augmentation=Augmentation(crop=0.5))
    assert cropped[0, 0][keys.ATTN_MAP].shape == (1, 8, HEIGHT, WIDTH)


def test_a_clip_without_a_map(make_items):
    items, _ = make_items(1)
    items = [replace(item, cached=replace(item.cached, attn=None)) for item in items]
    segment = SegmentDataset(items, 8, 8, channels=2)[0]
    assert segment[keys.ATTN_MAP].shape == (2, 8, HEIGHT, WIDTH)
    assert not segment[keys.ATTN_VALID]


def test_a_batch_of_tokens_is_what_the_model_is_called_with(make_items):
    items, _ = make_items(1)
    dataset = SegmentDataset(items, 8, 8)
    batch = collate([dataset[0], dataset[1]])
    tokens = batch[keys.VIDEO_TOKENS]
    assert tokens.dtype == torch.float16
    assert tokens.is_contiguous(memory_format=torch.channels_last_3d)
    assert torch.equal(tokens, torch.stack([dataset[n][keys.VIDEO_TOKENS] for n in (0, 1)]))
    prepared = prepare_batch(batch, Augmentation(), torch.Generator())
    seen, attn_map, valid = model_inputs(prepared)
    assert torch.equal(seen, tokens.float())
    assert torch.equal(attn_map, batch[keys.ATTN_MAP].float() * (1 / 255))
    assert valid.all()
