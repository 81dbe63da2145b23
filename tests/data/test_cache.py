from __future__ import annotations

import errno
import json
import logging
import multiprocessing
import os
import shutil
import signal
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import vaclip.data.cache as cache_module
from conftest import FRAMES, read_rows, write_rows, write_tiny_study, write_video
from vaclip.data.cache import SampleSettings, cache_clip, cache_study, map_identities
from vaclip.data.video import decode_clip
from vaclip.errors import VaclipError
from vaclip.files import remove_folder
from vaclip.maps.source import Annotation, Region
from vaclip.study.load import load_study
from vaclip.study.study import Clip, Study

SETTINGS = SampleSettings(fps=10, size=(16, 16), annotators=("ann", "bob"))


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    return write_tiny_study(tmp_path_factory.mktemp("template") / "study", patients_per_class=1)


@pytest.fixture
def root(template, tmp_path):
    return shutil.copytree(template, tmp_path / "study")


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def fill(root, cache, settings=SETTINGS, **options):
    return cache_study(load_study(root), settings, cache, **{"workers": 1, **options})


def entries(cache, kind="*"):
    return {path.parent for path in cache.glob(f"{kind}/*/*/meta.json")}


def content(cached):
    return [
        (np.load(one.frames), None if one.attn is None else np.load(one.attn)) for one in cached
    ]


def assert_same(one, other):
    for (frames, attn), (other_frames, other_attn) in zip(one, other, strict=True):
        np.testing.assert_array_equal(frames, other_frames)
        np.testing.assert_array_equal(attn, other_attn)


def test_settings_are_those_of_a_run_or_of_its_checkpoint():
    data = {"fps": 8.0, "size": [16, 24], "combine": "stack", "keypoint_sigma": 0.1, "stride": 4}
    settings = SampleSettings.from_settings(data, ("ann",))
    assert settings == SampleSettings(8.0, (16, 24), ("ann",), "stack", 0.1)


# --- what lies in it -----------------------------------------------------------------------------


def test_entries_equal_a_direct_decode(root, cache):
    study = load_study(root)
    cached = fill(root, cache)
    assert [one.clip for one in cached] == list(study.clips)
    for one in cached:
        frames = np.load(one.frames)
        direct = decode_clip(one.clip.video, fps=10, size=(16, 16))
        np.testing.assert_array_equal(frames, direct.frames)
        assert frames.dtype == np.uint8
        assert one.samples == FRAMES
        assert np.load(one.attn).shape == (1, FRAMES, 16, 16)


def test_boxes_of_two_annotators_equal_the_closed_form(root, cache):
    rows = read_rows(root / "attention.csv")[:2]
    for row, value in zip(rows, ("trunk", "ground"), strict=True):
        row["value"] = value
    write_rows(root / "attention.csv", rows)
    trunk = np.zeros((16, 16))
    trunk[4:10, 4:12] = 255  # box 0.25, 0.25, 0.75, 0.625
    ground = np.zeros((16, 16))
    ground[12:] = 255
    wanted = {
        "mean": [np.rint((trunk + ground) / 2)],
        "max": [np.maximum(trunk, ground)],
        "stack": [trunk, ground],
    }
    for how, channels in wanted.items():
        attn = np.load(fill(root, cache, replace(SETTINGS, combine=how))[0].attn)
        assert attn.dtype == np.uint8
        np.testing.assert_array_equal(attn, np.stack(channels)[:, None].repeat(FRAMES, axis=1))
    swapped = replace(SETTINGS, combine="stack", annotators=("bob", "ann"))
    np.testing.assert_array_equal(
        np.load(fill(root, cache, swapped)[0].attn)[:, 0], np.stack([ground, trunk])
    )


def test_span_of_a_clip(root, cache):
    rows = read_rows(root / "clips.csv")
    for row in rows:
        row |= {"start_s": "0.5", "end_s": "1.0"}
    write_rows(root / "clips.csv", rows)
    (one, *_) = fill(root, cache)
    whole = decode_clip(one.clip.video, fps=10, size=(16, 16)).frames
    np.testing.assert_array_equal(np.load(one.frames), whole[5:10])
    assert np.load(one.attn).shape[1] == 5


def test_clip_that_no_chosen_annotator_annotated_has_no_map(root, cache):
    rows = read_rows(root / "attention.csv")
    write_rows(root / "attention.csv", [row for row in rows if row["clip_id"] != "limping-0-0"])
    assert [one.attn is None for one in fill(root, cache)] == [False, True, False]
    nobody = fill(root, cache, replace(SETTINGS, annotators=()))
    assert all(one.attn is None for one in nobody)


# --- made once -----------------------------------------------------------------------------------


def test_second_call_decodes_and_draws_nothing(root, cache, monkeypatch):
    first = fill(root, cache)

    def fail(*_, **__):
        raise AssertionError("made twice")

    monkeypatch.setattr(cache_module, "decode_spans", fail)
    monkeypatch.setattr(cache_module, "draw_map", fail)
    assert fill(root, cache) == first


def test_same_video_under_another_name_is_decoded_once(root, cache):
    fill(root, cache)
    (root / "videos/steady-0-0.mkv").rename(root / "videos/renamed.mkv")
    rows = read_rows(root / "clips.csv")
    rows[0]["video"] = "videos/renamed.mkv"
    write_rows(root / "clips.csv", rows)
    before = entries(cache)
    fill(root, cache)
    assert entries(cache) == before


def spans_of_one_video(root, spans):
    rows = read_rows(root / "clips.csv")
    first = {name: rows[0][name] for name in ("video", "keypoints")}
    clips = [
        {"clip_id": row["clip_id"], **first, "patient_id": row["patient_id"], "label": row["label"]}
        | {"start_s": start_s, "end_s": end_s}
        for row, (start_s, end_s) in zip(rows, spans, strict=True)
    ]
    write_rows(root / "clips.csv", clips)


def test_clips_of_one_video_are_decoded_in_one_pass(root, cache, monkeypatch):
    spans_of_one_video(root, [("1.0", "1.5"), ("0.2", ""), ("1.0", "1.5")])
    asked = []
    real = cache_module.decode_spans
    monkeypatch.setattr(
        cache_module,
        "decode_spans",
        lambda path, spans, **how: (asked.append((path.name, spans)), real(path, spans, **how))[1],
    )
    cached = fill(root, cache)
    assert asked == [("steady-0-0.mkv", [(1.0, 1.5), (0.2, None)])]  # equal spans are one entry
    whole = decode_clip(cached[0].clip.video, fps=10, size=(16, 16)).frames
    for one, part in zip(cached, (slice(10, 15), slice(2, 20), slice(10, 15)), strict=True):
        np.testing.assert_array_equal(np.load(one.frames), whole[part])
        assert np.load(one.attn).shape[1] == one.samples == len(whole[part])


def test_a_clip_that_cannot_be_decoded_spares_the_others_of_its_video(root, cache):
    spans_of_one_video(root, [("1.0", "1.5"), ("5", "6"), ("0.2", "")])
    with pytest.raises(VaclipError) as caught:
        fill(root, cache)
    assert str(caught.value).startswith("1 clip(s) of tiny cannot be used:")
    assert "clips.csv:3: clip 'limping-0-0': steady-0-0.mkv: 20 frames, none of them between 5" in (
        str(caught.value)
    )
    assert len(entries(cache, "clips")) == 2


def test_decoding_for_too_long_is_told_of_the_clip(root, cache):
    with pytest.raises(VaclipError, match=r"clip 'steady-0-0': .*longer than 1e-09 s"):
        fill(root, cache, limit_s=1e-9)


def test_progress_counts_every_clip(root, cache):
    calls = []
    fill(root, cache, progress=lambda *call: calls.append(call))
    assert calls == [(1, 3), (2, 3), (3, 3)]


def new_entries(root, cache, settings=SETTINGS):
    """Returns how many clips and maps a further call makes anew."""
    before = entries(cache)
    fill(root, cache, settings)
    added = entries(cache) - before
    return tuple(
        sum(path.parent.parent.name == kind for path in added) for kind in ("clips", "maps")
    )


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"fps": 5}, (3, 3)),
        ({"size": (16, 24)}, (3, 3)),
        ({"annotators": ("ann",)}, (0, 3)),
        ({"annotators": ("bob", "ann"), "combine": "stack"}, (0, 3)),
        ({"combine": "max"}, (0, 3)),
        ({"keypoint_sigma": 0.1}, (0, 3)),
        ({}, (0, 0)),
    ],
)
def test_changed_setting_makes_new_entries(root, cache, change, wanted):
    fill(root, cache)
    assert new_entries(root, cache, replace(SETTINGS, **change)) == wanted


def test_changed_video_makes_new_entries(root, cache):
    fill(root, cache)
    white = np.full((FRAMES, 32, 32, 3), 255, np.uint8)
    write_video(root / "videos/steady-0-0.mkv", white)
    assert new_entries(root, cache) == (1, 1)
    assert np.load(fill(root, cache)[0].frames).min() == 255


def move_joints(root):
    path = root / "keypoints/steady-0-0.npz"
    loaded = dict(np.load(path))
    np.savez(path, keypoints=loaded["keypoints"] * 0 + 16, scores=loaded["scores"])


def test_changed_keypoints_make_a_new_map(root, cache):
    fill(root, cache)
    move_joints(root)
    assert new_entries(root, cache) == (0, 1)


def test_changed_keypoints_are_drawn(root, cache):
    only_ann = replace(SETTINGS, annotators=("ann",))
    fill(root, cache, only_ann)
    move_joints(root)
    attn = np.load(fill(root, cache, only_ann)[0].attn)[0]
    for sample in attn:  # the joints of the region now meet in the middle
        row, column = np.unravel_index(sample.argmax(), sample.shape)
        assert {row, column} <= {7, 8}


def test_changed_region_or_annotation_makes_a_new_map(root, cache):
    fill(root, cache)
    rows = read_rows(root / "attention.csv")
    rows[0]["value"] = "knees"
    write_rows(root / "attention.csv", rows)
    assert new_entries(root, cache) == (0, 1)
    head = (root / "study.yaml").read_text()
    (root / "study.yaml").write_text(head.replace("- 0.625", "- 0.75"))
    assert new_entries(root, cache)[1] >= 1


def with_drawn_maps(root, values):
    rows = read_rows(root / "attention.csv")[:2]
    for row, value in zip(rows, values, strict=True):
        row |= {"kind": "map", "value": value}
    write_rows(root / "attention.csv", rows)


@pytest.mark.parametrize(
    "combine",
    [
        "mean",
        "stack",
    ],
)
def test_map_files_that_change_places(root, cache, combine):
    black, white = np.zeros((8, 8)), np.ones((8, 8))
    settings = replace(SETTINGS, combine=combine)
    with_drawn_maps(root, ["a.npy", "b.npy"])
    for first, second in ((black, white), (white, black)):
        np.save(root / "a.npy", first)
        np.save(root / "b.npy", second)
        levels = np.load(fill(root, cache, settings)[0].attn)[:, 0, 0, 0].tolist()
        assert levels == ([128] if combine == "mean" else [255 * first[0, 0], 255 * second[0, 0]])


# --- interrupted, damaged, at once ---------------------------------------------------------------


@pytest.mark.parametrize("failing", [1, 2, 3])
def test_interrupted_write_leaves_nothing_and_the_next_call_succeeds(
    root, cache, monkeypatch, failing
):
    study = load_study(root)
    save, calls = np.save, []

    def interrupted(path, array):
        calls.append(path)
        if len(calls) == failing:  # frames, frame_index, map
            Path(path).write_bytes(b"half")
            raise KeyboardInterrupt
        save(path, array)

    monkeypatch.setattr(cache_module.np, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        cache_clip(study, study.clips[0], SETTINGS, cache)
    monkeypatch.undo()
    assert len(entries(cache)) == (1 if failing == 3 else 0)
    assert not list(cache.rglob(".tmp-*"))
    cached = cache_clip(study, study.clips[0], SETTINGS, cache)
    assert len(np.load(cached.frames)) == FRAMES
    assert np.load(cached.attn).shape == (1, FRAMES, 16, 16)


@pytest.mark.parametrize("name", ["frames.npy", "frame_index.npy", "map.npy", "meta.json"])
@pytest.mark.parametrize("keep", [0.0, 0.5, None])
@pytest.mark.parametrize("earlier", [False, True])
def test_damaged_entry_is_made_anew_with_a_warning(root, cache, caplog, name, keep, earlier):
    wanted = content(fill(root, cache))
    for notes in cache.glob("*/*/*/meta.json") if earlier else ():  # which had no lengths
        kept = json.loads(notes.read_text())
        assert kept.pop("bytes")
        notes.write_text(json.dumps(kept))
    path = next(cache.glob(f"*/*/*/{name}"))
    if path.name == "meta.json":
        path = next(cache.glob(f"clips/*/*/{name}"))
    if keep is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    with caplog.at_level(logging.WARNING):
        again = fill(root, cache)
    assert_same(content(again), wanted)
    warnings = [record.getMessage() for record in caplog.records]
    assert any("damaged cache entry" in w and path.parent.name in w for w in warnings)


def _fill_at_once(root, cache, barrier, answers):
    barrier.wait()
    try:
        answers.put([str(one.frames) for one in fill(root, cache)])
    except BaseException as error:  # noqa: BLE001 - reported by the test
        answers.put(repr(error))


@pytest.mark.skipif(os.name != "posix", reason="needs fork")
def test_two_processes_fill_the_same_cache(root, cache):
    context = multiprocessing.get_context("fork")
    barrier, answers = context.Barrier(2), context.Queue()
    processes = [
        context.Process(target=_fill_at_once, args=(root, cache, barrier, answers))
        for _ in range(2)
    ]
    for process in processes:
        process.start()
    one, other = answers.get(timeout=60), answers.get(timeout=60)
    for process in processes:
        process.join(timeout=60)
    assert isinstance(one, list)
    assert one == other
    assert len(entries(cache, "clips")) == len(entries(cache, "maps")) == 3
    assert not list(cache.rglob(".tmp-*"))
    for path in one:
        assert len(np.load(path)) == FRAMES


@pytest.mark.skipif(os.name != "posix", reason="needs fork")
def test_a_killed_process_leaves_no_half_entry_and_no_lock(root, cache, monkeypatch):
    """As by SIGKILL: nothing is tidied up."""
    wanted = content(fill(root, cache.with_name("other")))
    real = np.save

    def save(file, array):
        real(file, array)
        if file.name == "frames.npy" and len(entries(cache, "clips")) == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(np, "save", save)
    process = multiprocessing.get_context("fork").Process(target=fill, args=(root, cache))
    process.start()
    process.join(timeout=60)
    assert process.exitcode == -signal.SIGKILL
    assert len(list(cache.rglob("frames.npy"))) == 2  # the half one, under a name of its own
    monkeypatch.setattr(np, "save", real)
    assert_same(content(fill(root, cache)), wanted)


def test_a_damaged_entry_that_another_process_made_anew_stays(root, cache, monkeypatch):
    before = content(fill(root, cache))
    path = next(cache.rglob("map.npy"))
    whole = shutil.copytree(path.parent, cache / "whole")
    path.write_bytes(path.read_bytes()[:-1])
    os.utime(path.parent, (1, 1))
    real = remove_folder

    def late(entry, judged):
        real(entry)
        whole.rename(entry)  # as the other process does
        (entry / "theirs").touch()
        real(entry, judged)

    monkeypatch.setattr("vaclip.data.entries.remove_folder", late)
    assert_same(content(fill(root, cache)), before)
    assert (path.parent / "theirs").exists()


def test_a_disk_that_fails_does_not_make_an_entry_damaged(root, cache, monkeypatch):
    before = content(fill(root, cache))
    real = Path.read_text

    def fail(path, *arguments, **options):
        if path.name == "meta.json":
            raise OSError(errno.EIO, "Input/output error", str(path))
        return real(path, *arguments, **options)

    monkeypatch.setattr(Path, "read_text", fail)
    with pytest.raises(OSError, match="Input/output error"):
        fill(root, cache)
    monkeypatch.setattr(Path, "read_text", real)
    assert len(entries(cache)) == 6
    assert_same(content(fill(root, cache)), before)


@pytest.mark.skipif(os.name != "posix", reason="needs fork")
def test_what_is_removed_while_it_is_filled_is_missing_and_never_wrong(root, cache):
    wanted = content(fill(root, cache))
    stop = multiprocessing.get_context("fork").Event()

    def remove():
        while not stop.is_set():
            for entry in entries(cache):
                remove_folder(entry)

    process = multiprocessing.get_context("fork").Process(target=remove)
    process.start()
    try:
        for _ in range(30):
            with suppress(FileNotFoundError):
                assert_same(content(fill(root, cache)), wanted)
    finally:
        stop.set()
        process.join(timeout=60)
    assert process.exitcode == 0
    assert_same(content(fill(root, cache)), wanted)
    assert not list(cache.rglob(".tmp-*"))


# --- errors --------------------------------------------------------------------------------------


def test_all_unreadable_clips_are_named_at_once(root, cache):
    (root / "videos/steady-0-0.mkv").write_text("no video")
    np.save(root / "bad.npy", np.full((FRAMES, 4, 4), 7.0))
    rows = read_rows(root / "attention.csv")
    rows[-1] |= {"kind": "map", "value": "bad.npy"}  # of the third clip
    write_rows(root / "attention.csv", rows)
    with pytest.raises(VaclipError) as caught:
        fill(root, cache)
    text = str(caught.value)
    assert text.startswith("2 clip(s) of tiny cannot be used")
    assert "clips.csv:2: clip 'steady-0-0': steady-0-0.mkv: cannot be decoded" in text
    assert "clips.csv:4: clip 'shuffling-0-0': map 'bad.npy' ranges from 7 to 7" in text
    assert "limping" not in text


def test_video_that_vanished_is_named(root, cache):
    study = load_study(root)
    study.clips[1].video.unlink()
    with pytest.raises(VaclipError, match=r"clip 'limping-0-0': limping-0-0\.mkv: cannot be read"):
        cache_study(study, SETTINGS, cache, workers=1)


def test_video_without_read_permission_is_named(root, cache, monkeypatch):
    opened = Path.open

    def refuse(path, *arguments, **options):
        if path.suffix == ".mkv":
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)  # as root, permissions refuse nothing
    with pytest.raises(VaclipError, match=r"steady-0-0\.mkv"):
        fill(root, cache)


# --- identities ----------------------------------------------------------------------------------


def identities_of(folder, *clips, combine="mean", annotators=("ann", "bob")):
    """Each clip is given as (annotator, kind, value) triples."""
    names = [f"c{number}" for number in range(len(clips))]
    study = Study(
        folder,
        "s",
        ("x", "y"),
        {"hip": Region(box=(0, 0, 1, 1)), "knee": Region(box=(0, 0, 1, 1))},
        (),
        tuple(Clip(name, folder / "v.mkv", "p", "x") for name in names),
        {n: tuple(Annotation(*m) for m in ms) for n, ms in zip(names, clips, strict=True) if ms},
    )
    settings = SampleSettings(10, (8, 8), annotators, combine)
    found = map_identities(study, settings, folder / "cache")
    return [found.get(name) for name in names]


def region(annotator, name):
    return annotator, "region", name


@pytest.mark.parametrize("combine", ["mean", "max", "stack"])
def test_equal_annotations_have_one_identity(tmp_path, combine):
    hip, knee = region("ann", "hip"), region("ann", "knee")
    one, again, other, both, turned = identities_of(
        tmp_path, [hip], [hip], [knee], [hip, knee], [knee, hip], combine=combine
    )
    assert one == again
    assert both == turned  # the order of rows says nothing
    assert len({one, other, both}) == 3


def test_who_said_it_matters_only_in_channels(tmp_path):
    clips = (
        [region("ann", "hip"), region("bob", "knee")],
        [region("ann", "knee"), region("bob", "hip")],
    )
    for combine in ("mean", "max"):
        one, swapped = identities_of(tmp_path, *clips, combine=combine)
        assert one == swapped
    one, swapped = identities_of(tmp_path, *clips, combine="stack")
    assert one != swapped


def test_two_annotations_of_one_are_not_one_annotation_of_two(tmp_path):
    one, two = identities_of(
        tmp_path,
        [region("ann", "hip"), region("ann", "knee")],
        [region("ann", "hip"), region("bob", "knee")],
    )
    assert one != two


def test_two_who_agree_are_not_one(tmp_path):
    one, two = identities_of(
        tmp_path, [region("ann", "hip")], [region("ann", "hip"), region("bob", "hip")]
    )
    assert one != two


def test_only_chosen_annotators_count(tmp_path):
    clips = (
        [region("ann", "hip"), region("bob", "knee")],
        [region("ann", "hip")],
        [],
        [region("bob", "hip")],
    )
    one, other, none, unchosen = identities_of(tmp_path, *clips, annotators=("ann",))
    assert one == other is not None
    assert none is None
    assert unchosen is None


def test_map_files_count_by_content(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((2, 2)))
    np.save(tmp_path / "copy.npy", np.zeros((2, 2)))
    np.save(tmp_path / "b.npy", np.ones((2, 2)))
    one, copy, other, named = identities_of(
        tmp_path,
        [("ann", "map", "a.npy")],
        [("ann", "map", "copy.npy")],
        [("ann", "map", "b.npy")],
        [region("ann", "a.npy")],
    )
    assert one == copy
    assert len({one, other, named}) == 3
