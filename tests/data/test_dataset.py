from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vaclip import keys
from vaclip.data.batches import SpreadBatches
from vaclip.data.cache import CachedClip
from vaclip.data.datamodule import FoldData, clip_items, fold_datasets
from vaclip.data.dataset import SegmentDataset, collate, segments_of
from vaclip.data.items import ClipItem
from vaclip.data.sampling import plan_segments
from vaclip.data.transforms import Augmentation
from vaclip.errors import VaclipError
from vaclip.study.study import Clip, Study

LENGTHS = (13, 8, 5)  # with segments of 8 every 4: starts 0 and 4 (+1 left); 0; 0 (held)
HEIGHT, WIDTH = 12, 16


def make_items(folder, lengths=LENGTHS, channels=1, without_map=()):
    """Writes random clips; returns (items, frames, maps)."""
    random = np.random.default_rng(0)
    items, frames, maps = [], [], []
    for row, length in enumerate(lengths):
        frames.append(random.integers(0, 256, (length, HEIGHT, WIDTH, 3), np.uint8))
        maps.append(random.integers(1, 256, (channels, length, HEIGHT, WIDTH), np.uint8))
        np.save(folder / f"f{row}.npy", frames[-1])
        np.save(folder / f"m{row}.npy", maps[-1])
        clip = Clip(f"c{row}", Path("v.mkv"), f"p{row}", "x")
        attn = None if row in without_map else folder / f"m{row}.npy"
        cached = CachedClip(clip, folder / f"f{row}.npy", length, attn)
        items.append(ClipItem(cached, row + 10, row % 2, row + 20, row + 30, row + 40))
    return items, frames, maps


def dataset_of(items, **options):
    return SegmentDataset(items, **{"frames": 8, "stride": 4, **options})


AUGMENTED = {"augmentation": Augmentation(crop=0.5, flip=True), "seed": 3}


# --- segments ------------------------------------------------------------------------------------


def test_segments_hold_the_planned_samples(tmp_path):
    items, frames, maps = make_items(tmp_path)
    dataset = dataset_of(items)
    wanted = [
        (0, 0, range(8)),
        (0, 1, range(4, 12)),
        (1, 0, range(8)),
        (2, 0, [0, 1, 2, 3, 4, 4, 4, 4]),
    ]
    assert len(dataset) == len(wanted)
    for index, (clip, number, samples) in enumerate(wanted):
        segment = dataset[index]
        np.testing.assert_array_equal(
            segment[keys.VIDEO], frames[clip][list(samples)].transpose(3, 0, 1, 2)
        )
        np.testing.assert_array_equal(segment[keys.ATTN_MAP], maps[clip][:, list(samples)])
        assert segment[keys.SEGMENT] == number
        assert segment[keys.CLIP_ROW] == clip + 10
        assert segment[keys.LABEL] == clip % 2
        assert segment[keys.PATIENT] == clip + 20
        assert segment[keys.SESSION] == clip + 40
        assert segment[keys.MAP_ID] == clip + 30
        assert segment[keys.ATTN_VALID]


def test_batch_has_the_shapes_and_types_of_the_keys(tmp_path):
    items, frames, _ = make_items(tmp_path, channels=2)
    dataset = dataset_of(items, channels=2)
    batch = collate([dataset[index] for index in range(4)])
    assert batch[keys.VIDEO].shape == (4, 3, 8, HEIGHT, WIDTH)
    assert batch[keys.ATTN_MAP].shape == (4, 2, 8, HEIGHT, WIDTH)
    assert batch[keys.VIDEO].dtype == batch[keys.ATTN_MAP].dtype == torch.uint8
    assert batch[keys.ATTN_VALID].dtype == torch.bool
    for name in (keys.LABEL, keys.PATIENT, keys.CLIP_ROW, keys.SEGMENT, keys.MAP_ID):
        assert batch[name].dtype == torch.int64
        assert batch[name].shape == (4,)
    assert batch[keys.ATTN_VALID].shape == (4,)
    assert batch[keys.VIDEO].is_contiguous(memory_format=torch.channels_last_3d)
    np.testing.assert_array_equal(batch[keys.VIDEO][2], frames[1].transpose(3, 0, 1, 2))


def test_clip_without_map(tmp_path):
    items, _, _ = make_items(tmp_path, channels=2, without_map=(1,))
    segment = dataset_of(items, channels=2)[2]
    assert not segment[keys.ATTN_VALID]
    assert segment[keys.ATTN_MAP].shape == (2, 8, HEIGHT, WIDTH)
    assert segment[keys.ATTN_MAP].dtype == torch.uint8
    assert not segment[keys.ATTN_MAP].any()


def test_empty_stretch_of_a_map_is_not_valid(tmp_path):
    items, _, maps = make_items(tmp_path)
    maps[0][:, :8] = 0
    np.save(tmp_path / "m0.npy", maps[0])
    dataset = dataset_of(items)
    assert not dataset[0][keys.ATTN_VALID]
    assert dataset[1][keys.ATTN_VALID]


# --- augmentation --------------------------------------------------------------------------------


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def test_crop_depends_on_seed_epoch_and_number_alone(tmp_path):
    items, _, _ = make_items(tmp_path)
    dataset = dataset_of(items, **AUGMENTED)
    reference = dataset[1, 2]
    torch.manual_seed(99)
    for index in (0, 3):
        dataset[1, index]
    assert same(dataset[1, 2], reference)
    assert same(dataset_of(items, **AUGMENTED)[1, 2], reference)
    others = [dataset[2, 2], dataset_of(items, **{**AUGMENTED, "seed": 4})[1, 2]]
    assert not any(torch.equal(other[keys.VIDEO], reference[keys.VIDEO]) for other in others)


def test_segments_of_one_epoch_are_cropped_differently(tmp_path):
    items, _, _ = make_items(tmp_path, lengths=(8,) * 6)
    for row in range(6):  # the same picture in every clip
        np.save(tmp_path / f"f{row}.npy", np.load(tmp_path / "f0.npy"))
    dataset = dataset_of(items, **AUGMENTED)
    assert len({dataset[0, index][keys.VIDEO].numpy().tobytes() for index in range(6)}) > 3


def test_augmented_map_moves_with_the_video(tmp_path):
    items, frames, _ = make_items(tmp_path)
    for row, picture in enumerate(frames):  # the map repeats the red channel
        np.save(tmp_path / f"m{row}.npy", picture[None, ..., 0])
    dataset = dataset_of(items, **AUGMENTED)
    moved = 0
    for epoch in range(5):
        for index in range(4):
            segment = dataset[epoch, index]
            assert torch.equal(segment[keys.ATTN_MAP][0], segment[keys.VIDEO][0])
            moved += not torch.equal(segment[keys.VIDEO], dataset[index][keys.VIDEO])
    assert moved > 15


def test_nothing_is_augmented_without_an_epoch_or_without_augmentation(tmp_path):
    items, frames, _ = make_items(tmp_path)
    plain = frames[1].transpose(3, 0, 1, 2)
    np.testing.assert_array_equal(dataset_of(items, **AUGMENTED)[2][keys.VIDEO], plain)
    np.testing.assert_array_equal(dataset_of(items)[5, 2][keys.VIDEO], plain)


# --- loaders -------------------------------------------------------------------------------------

FOLD = {"train": ("p0", "p1", "p2"), "val": ("p3",), "test": ("p4",)}


def fold_of(folder, **options):
    items, frames, _ = make_items(folder, lengths=(13, 8, 5, 8, 12))
    datasets = fold_datasets(
        items, FOLD, frames=8, stride=4, channels=1, **{**AUGMENTED, **options}
    )
    return datasets, frames


def test_clips_go_where_their_patient_goes(tmp_path):
    datasets, _ = fold_of(tmp_path)
    found = {
        name: [item.cached.clip.patient_id for item in dataset.items]
        for name, dataset in datasets.items()
    }
    assert found == {"train": ["p0", "p1", "p2"], "val": ["p3"], "test": ["p4"]}


def test_unknown_patient_and_empty_split_are_named(tmp_path):
    items, _, _ = make_items(tmp_path)
    options = {"frames": 8, "stride": 4, "channels": 1}
    with pytest.raises(VaclipError, match=r"knows nothing of patient\(s\) p1, p2"):
        fold_datasets(items, {"train": ("p0",), "val": ("a",), "test": ("b",)}, **options)
    with pytest.raises(VaclipError, match="the val split has no clip"):
        fold_datasets(items, {"train": ("p0", "p1"), "val": ("a",), "test": ("p2",)}, **options)


def test_evaluation_is_in_order_and_not_augmented(tmp_path):
    datasets, frames = fold_of(tmp_path)
    data = FoldData(datasets, batch_size=2, seed=0)
    (val,) = data.val_dataloader()
    np.testing.assert_array_equal(val[keys.VIDEO][0], frames[3].transpose(3, 0, 1, 2))
    (test,) = data.test_dataloader()
    assert test[keys.SEGMENT].tolist() == [0, 1]
    np.testing.assert_array_equal(test[keys.VIDEO][1], frames[4][4:12].transpose(3, 0, 1, 2))
    for name in ("val", "test"):  # even where somebody says an epoch
        assert same(datasets[name][3, 0], datasets[name][0])
    assert not same(datasets["train"][3, 0], datasets["train"][0])


def test_worker_processes_give_the_same_batches(tmp_path):
    datasets, _ = fold_of(tmp_path)
    datasets["train"][0]  # an opened file must not travel to the workers
    loaders = [
        FoldData(datasets, batch_size=2, seed=7, num_workers=workers).train_dataloader()
        for workers in (0, 2)
    ]
    seen = []
    for epoch in (0, 1):
        batches = []
        for loader in loaders:
            loader.batch_sampler.set_epoch(epoch)
            batches.append(list(loader))
        assert len(batches[0]) == len(batches[1]) == 2
        assert all(same(one, other) for one, other in zip(*batches, strict=True))
        seen.append(torch.cat([batch[keys.VIDEO] for batch in batches[0]]))
    assert not torch.equal(*seen)


def large_fold(folder):
    """Training patients of 6, 1, 3, 2, 9, 1 and 2 segments; of val and test, odd numbers."""
    items, *_ = make_items(folder, lengths=(28, 8, 16, 12, 40, 5, 12, 16, 24))
    fold = {"train": tuple(f"p{n}" for n in range(7)), "val": ("p7",), "test": ("p8",)}
    return fold_datasets(items, fold, frames=8, stride=4, channels=1, **AUGMENTED)


def loaded(datasets, split, *, world=1, epoch=0, batch_size=4):
    """For each process, the batches of a split."""
    shares = []
    for rank in range(world):
        data = FoldData(datasets, batch_size=batch_size, seed=7)
        if world > 1:
            data.trainer = SimpleNamespace(world_size=world, global_rank=rank)
        loader = getattr(data, f"{split}_dataloader")()
        if split == "train":
            assert isinstance(loader.batch_sampler, SpreadBatches)
            loader.batch_sampler.set_epoch(epoch)
        shares.append(list(loader))
    return shares


def identities(batches):
    return [
        pair
        for batch in batches
        for pair in zip(batch[keys.CLIP_ROW].tolist(), batch[keys.SEGMENT].tolist(), strict=True)
    ]


def every_segment(dataset):
    return sorted((dataset.items[position].row, n) for position, n, _ in dataset.segments)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_training_batches_spread_the_patients_over_steps(tmp_path, world):
    datasets = large_fold(tmp_path)
    in_all = Counter({20: 6, 21: 1, 22: 3, 23: 2, 24: 9, 25: 1, 26: 2})
    assert len(datasets["train"]) == in_all.total()
    shares = loaded(datasets, "train", world=world)
    seen = [pair for share in shares for pair in identities(share)]
    assert sorted(seen) == every_segment(datasets["train"])
    steps = list(zip(*shares, strict=True))
    assert len(steps) == -(-24 // (4 * world))
    for step in steps:
        here = Counter(patient for batch in step for patient in batch[keys.PATIENT].tolist())
        assert all(abs(here[one] - n / len(steps)) < 1 for one, n in in_all.items())


def test_training_batches_spread_the_classes_over_steps(tmp_path):
    shares = loaded(large_fold(tmp_path), "train")
    for batch in shares[0]:
        in_all = 6 + 3 + 9 + 2  # segments of the even patients, whose class is 0
        assert abs((batch[keys.LABEL] == 0).sum() - in_all / 6) < 1


def test_training_is_augmented_by_epoch(tmp_path):
    datasets = large_fold(tmp_path)
    for epoch in (0, 2):
        (batches,) = loaded(datasets, "train", epoch=epoch)
        numbers = {
            (datasets["train"].items[position].row, n): index
            for index, (position, n, _) in enumerate(datasets["train"].segments)
        }
        for row, pair in enumerate(identities(batches[:1])):
            expected = datasets["train"][epoch, numbers[pair]][keys.VIDEO]
            assert torch.equal(batches[0][keys.VIDEO][row], expected)


@pytest.mark.parametrize("split", ["val", "test"])
@pytest.mark.parametrize("world", [1, 2, 4])
def test_evaluation_is_shared_out_with_padding_only(tmp_path, split, world):
    datasets = large_fold(tmp_path)
    shares = [identities(share) for share in loaded(datasets, split, world=world, batch_size=2)]
    wanted = every_segment(datasets[split])
    assert len(wanted) in (3, 5)
    assert {len(share) for share in shares} == {-(-len(wanted) // world)}
    counts = Counter(pair for share in shares for pair in share)
    assert sorted(counts) == wanted
    assert counts.total() - len(wanted) == -len(wanted) % world


# --- numbers of clips ----------------------------------------------------------------------------


def test_clip_items_number_classes_patients_and_maps(tmp_path):
    rows = [("c0", "zoe", "b"), ("c1", "adam", "a"), ("c2", "zoe", "b"), ("c3", "mia", "a")]
    clips = tuple(Clip(clip, tmp_path, patient, label) for clip, patient, label in rows)
    study = Study(tmp_path, "s", ("b", "a"), {}, (), clips, {})
    cached = [CachedClip(clip, tmp_path / "f.npy", 5, None) for clip in clips]
    said = {"c0": (("", "hip"),), "c1": (("", "knee"),), "c2": (("", "hip"),)}
    items = clip_items(study, cached, said)
    assert [item.cached for item in items] == cached
    assert [item.row for item in items] == [0, 1, 2, 3]
    assert [item.label for item in items] == [0, 1, 0, 1]
    assert [item.patient for item in items] == [2, 0, 2, 1]  # among the sorted patients
    ids = [item.map_id for item in items]
    assert ids[0] == ids[2] != ids[1]
    assert sorted({ids[0], ids[1]}) == [0, 1]
    assert ids[3] == -1


def test_augmented_video_and_map_show_the_same_place(tmp_path):
    """The map is a copy of the red channel; it stays one in every epoch."""
    frames = np.random.default_rng(0).integers(0, 256, (6, 20, 24, 3), np.uint8)
    np.save(tmp_path / "frames.npy", frames)
    np.save(tmp_path / "map.npy", frames[None, ..., 0])
    clip = Clip("c", tmp_path / "c.mp4", "p", "a")
    cached = CachedClip(clip, tmp_path / "frames.npy", 6, tmp_path / "map.npy")
    item = ClipItem(cached, 0, 0, 0, 0, 0)
    segments = SegmentDataset([item], 4, 4, augmentation=Augmentation(crop=0.6, flip=True))
    whole = segments[0]
    assert whole[keys.VIDEO].shape == (3, 4, 20, 24)
    drawn = [segments[(epoch, 0)] for epoch in range(20)]
    for segment in (whole, *drawn):
        assert torch.equal(segment[keys.VIDEO][0], segment[keys.ATTN_MAP][0])
    assert all(segment[keys.VIDEO].shape == (3, 4, 12, 14) for segment in drawn)
    assert len({segment[keys.VIDEO].sum().item() for segment in drawn}) > 10


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts open files under /proc")
def test_reading_keeps_no_file_open(tmp_path):
    items, *_ = make_items(tmp_path, lengths=(8,) * 20)
    segments = SegmentDataset(items, 8, 8)
    before = len(list(Path("/proc/self/fd").iterdir()))
    kept = [segments[number] for number in range(len(segments))]
    assert len(kept) == 20
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 1


@settings(max_examples=40)
@given(st.lists(st.integers(1, 60), max_size=8), st.integers(1, 20), st.integers(1, 20))
def test_segments_are_those_that_are_planned_clip_by_clip(samples, frames, stride):
    wanted = [
        [position, number, start]
        for position, length in enumerate(samples)
        for number, start in enumerate(plan_segments(length, frames, stride))
    ]
    assert segments_of(np.array(samples, np.int64), frames, stride).tolist() == wanted
