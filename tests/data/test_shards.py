"""Shards: what is written is what is read, whole or not at all, and WebDataset's form."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
from itertools import islice

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import webdataset

from shard_files import CLASSES, FACTS, draw_study
from vaclip.data import write_shards as writer
from vaclip.data.arrays import map_array
from vaclip.data.dataset import SegmentDataset
from vaclip.data.items import columns_of
from vaclip.data.shard_batches import ShardBatches
from vaclip.data.shards import INDEX_COLUMNS, open_shards
from vaclip.data.write_shards import write_shards
from vaclip.errors import VaclipError
from vaclip.files import content_digest
from vaclip.store import FolderStore
from vaclip.study.clip_table import clip_column, distinct_facts


@pytest.fixture
def drawn(tmp_path):
    return draw_study(tmp_path / "cache")


@pytest.fixture
def shards(drawn, tmp_path):
    return drawn.shards(tmp_path / "shards")


def samples_of(tar):
    """What a reader of WebDataset sees: members that share a name up to its first point."""
    found = {}
    for member in tar:
        key, _, kind = member.name.partition(".")
        found.setdefault(key, {})[kind] = tar.extractfile(member).read()
    return found


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# --- the format ----------------------------------------------------------------------------------


def test_a_tar_reader_finds_what_was_cached(drawn, shards, tmp_path):
    seen = {}
    for file in sorted((tmp_path / "shards").glob("*.tar")):
        with tarfile.open(file, "r:") as tar:
            seen |= samples_of(tar)
    assert [*sorted(seen)] == [f"{row:09}" for row in range(len(drawn.items))]
    for item in drawn.items:
        found, clip = seen[f"{item.row:09}"], item.cached.clip
        told = json.loads(found["json"])
        assert (told["clip_id"], told["patient_id"]) == (clip.clip_id, clip.patient_id)
        assert (told["label"], told["session"], told["site"]) == (
            clip.label, clip.session, clip.site
        )  # fmt: skip
        assert (told["map_id"], told["samples"]) == (item.map_id, item.cached.samples)
        tokens = np.load(io.BytesIO(found["tokens.npy"]))
        np.testing.assert_array_equal(tokens, np.load(item.cached.tokens.path))
        assert ("attn.npy" in found) == (item.cached.attn is not None)
        if item.cached.attn is not None:
            attn = np.load(io.BytesIO(found["attn.npy"]))
            np.testing.assert_array_equal(attn, np.load(item.cached.attn))


def test_webdataset_reads_them(drawn, shards, tmp_path):
    files = [str(tmp_path / "shards" / name) for name, _ in shards.facts.shards]
    seen = {
        one["__key__"]: one
        for one in webdataset.WebDataset(files, shardshuffle=False, empty_check=False).decode()
    }
    assert len(seen) == len(drawn.items)
    for item in drawn.items:
        found = seen[f"{item.row:09}"]
        assert found["json"]["clip_id"] == item.cached.clip.clip_id
        np.testing.assert_array_equal(found["tokens.npy"], np.load(item.cached.tokens.path))
        assert ("attn.npy" in found) == (item.cached.attn is not None)


def test_the_index_says_where_each_clip_is(drawn, shards, tmp_path):
    table = pq.read_table(tmp_path / "shards/index.parquet").to_pandas()
    assert tuple(table) == INDEX_COLUMNS
    assert table.clip_id.tolist() == [clip.clip_id for clip in drawn.study.clips]
    assert table.groupby("patient_id").shard.nunique().max() == 1
    assert table.shard.nunique() == len(shards.facts.shards) > 2
    for name, digest in shards.facts.shards:
        assert content_digest(tmp_path / "shards" / name) == digest
    row = table.iloc[3]
    with (tmp_path / "shards" / shards.facts.shards[row.shard][0]).open("rb") as file:
        file.seek(row.tokens_at)
        tokens = np.load(drawn.items[3].cached.tokens.path)
        assert file.read(tokens.nbytes) == tokens.tobytes()


def test_a_shard_is_closed_at_its_size(drawn, tmp_path):
    one = drawn.shards(tmp_path / "one", shard_bytes=10**9)
    assert len(one.facts.shards) == 1
    each = drawn.shards(tmp_path / "each", shard_bytes=1)
    assert len(each.facts.shards) == len(drawn.study.patients)


def test_shards_mix_patients_whatever_the_order_of_the_table(tmp_path):
    drawn = draw_study(tmp_path / "cache", patients=40, most_clips=1)
    drawn.items.sort(key=lambda item: item.cached.clip.label)
    columns = columns_of(drawn.shards(tmp_path / "shards", shard_bytes=600).items)
    whole = [set(columns.label[columns.shard == n]) for n in range(columns.shard.max() + 1)]
    assert sum(len(labels) == 2 for labels in whole) > len(whole) / 2


# --- reading -------------------------------------------------------------------------------------


def test_the_study_and_its_items_are_those_that_were_written(drawn, shards):
    study = shards.study
    assert (study.name, study.classes, study.patients) == ("drawn", CLASSES, drawn.study.patients)
    for own, clip in zip(study.clips, drawn.study.clips, strict=True):
        for name in ("clip_id", "patient_id", "label", "session", "site"):
            assert getattr(own, name) == getattr(clip, name)
    assert len(shards.items) == len(drawn.items)
    for own, item in zip(shards.items, drawn.items, strict=True):
        for name in ("row", "label", "patient", "session", "map_id", "map_label"):
            assert getattr(own, name) == getattr(item, name)
        assert own.cached.samples == item.cached.samples
        pairs = [(own.cached.tokens.path, item.cached.tokens.path)]
        assert (own.cached.attn is None) == (item.cached.attn is None)
        pairs += [(own.cached.attn, item.cached.attn)] if item.cached.attn else []
        for one, other in pairs:
            assert torch.equal(map_array(one), map_array(other))


@pytest.mark.parametrize("chosen", [None, [5, 2, 7]])
def test_columns_are_those_of_the_items(drawn, shards, chosen):
    mine, theirs = shards.items, drawn.items
    if chosen:
        mine, theirs = mine.take(chosen), [theirs[position] for position in chosen]
    for name, own, other in zip(
        columns_of(mine)._fields, columns_of(mine), columns_of(theirs), strict=True
    ):
        if name == "shard":
            assert list(own) == columns_of(list(mine)).shard.tolist()
            assert (other == -1).all()
        else:
            assert list(own) == list(other)
    assert [item.row for item in mine] == [item.row for item in theirs]


def test_columns_of_clips_are_those_of_a_list(drawn, shards):
    for clips in (shards.study.clips, drawn.study.clips):
        ids = clip_column(clips, "clip_id")
        assert (ids[3], ids[-1], len(ids)) == (
            drawn.study.clips[3].clip_id, drawn.study.clips[-1].clip_id, len(clips)
        )  # fmt: skip
        pairs = distinct_facts(clips, "patient_id", "site")
        assert sorted(pairs) == sorted({(c.patient_id, c.site) for c in drawn.study.clips})
    with pytest.raises(IndexError):
        shards.study.clips[len(ids)]
    assert [clip.clip_id for clip in shards.study.clips[1:3]] == list(ids[1:3])


def test_segments_of_shards_are_those_of_files(drawn, shards):
    for own in (shards.items, pickle.loads(pickle.dumps(shards.items))):
        found, wanted = (SegmentDataset(items, 4, 4, jitter=1) for items in (own, drawn.items))
        assert len(found) == len(wanted)
        for index in range(len(wanted)):
            one, other = found[index], wanted[index]
            assert one.keys() == other.keys()
            assert all(torch.equal(one[name], other[name]) for name in other)


def test_there_are_no_pictures_in_shards(shards):
    with pytest.raises(VaclipError, match="no pictures"):
        SegmentDataset(shards.items, 4, 4).video(0)


def test_what_is_open_stays_bounded(shards, monkeypatch):
    monkeypatch.setattr("vaclip.data.arrays._MOST_OPEN", 2)
    for item in shards.items:
        map_array(item.cached.tokens.path)
        files = item.cached.tokens.path.files
    assert len(files._open) == 2


def test_a_process_opens_the_shards_of_its_window_alone(shards, tmp_path, monkeypatch):
    dataset = SegmentDataset(shards.items, 4, 4)
    facts, clip = columns_of(shards.items), dataset.segments[:, 0]
    columns = facts.patient[clip], facts.label[clip], facts.shard[clip]
    fetched = []
    fetch = FolderStore.fetch

    def spied(store, name, sha256):
        fetched.append(int(name.removesuffix(".tar")))
        return fetch(store, name, sha256)

    monkeypatch.setattr(FolderStore, "fetch", spied)
    for rank in range(2):
        batches = ShardBatches(*columns, 4, window=1, epochs=1, processes=2, rank=rank)
        for number, window in enumerate(batches.shards(0)):
            fetched.clear()
            begin, steps = sum(batches._steps(0)[:number]), batches._steps(0)[number]
            for batch in islice(batches.batches(0, begin), steps):
                [dataset[number] for _, number in batch]
            assert set(fetched) <= set(window[rank])


def test_a_damaged_shard_is_refused(shards, tmp_path):
    name = shards.facts.shards[0][0]
    (tmp_path / "shards" / name).write_bytes(b"x" * 10)
    damaged = [item for item in shards.items if item.cached.tokens.path.shard == 0]
    with pytest.raises(VaclipError, match=name):
        map_array(damaged[0].cached.tokens.path)


@pytest.mark.parametrize(
    ("content", "said"),
    [("", "is damaged"), ("[]", "is damaged"), ("{}", "format None"), ('{"format": 1}', "damaged")],
)
def test_a_damaged_index_is_refused(shards, tmp_path, content, said):
    (tmp_path / "shards/index.json").write_text(content)
    with pytest.raises(VaclipError, match=said):
        open_shards(str(tmp_path / "shards"))


def test_where_there_are_no_shards_one_is_told_how_to_write_them(tmp_path):
    with pytest.raises(VaclipError, match="vaclip features --shards"):
        open_shards(str(tmp_path))


# --- writing, stopped and gone on ----------------------------------------------------------------


def test_what_was_stopped_goes_on_and_ends_the_same(drawn, shards, tmp_path, monkeypatch):
    goal, written, folder = writer._written, [], tmp_path / "other"

    def stopped(store, shard):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(shard.name)
        return goal(store, shard)

    monkeypatch.setattr(writer, "_written", stopped)
    with pytest.raises(KeyboardInterrupt):
        drawn.shards(folder)
    with pytest.raises(VaclipError, match="no shards"):
        open_shards(str(folder))
    before = {name: (folder / name).stat().st_mtime_ns for name in written}
    monkeypatch.setattr(writer, "_written", goal)
    drawn.shards(folder)
    assert before == {name: (folder / name).stat().st_mtime_ns for name in written}
    assert content(folder) == content(tmp_path / "shards")


def test_shards_that_are_there_stay(drawn, shards, tmp_path):
    before = content(tmp_path / "shards")
    drawn.shards(tmp_path / "shards")
    assert content(tmp_path / "shards") == before


def test_other_shards_are_not_written_over(drawn, shards, tmp_path):
    with pytest.raises(VaclipError, match="holds the shards of other clips"):
        write_shards(str(tmp_path / "shards"), drawn.items[1:], FACTS, shard_bytes=1000)
