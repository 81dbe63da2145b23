"""Copies of a study: the same pictures at the same times, and every annotation still on them."""

from __future__ import annotations

import dataclasses
import json
import shutil
from fractions import Fraction

import av
import numpy as np
import pytest
import yaml

from annotation_files import write_shapes
from conftest import (
    grey_pictures,
    read_rows,
    turned_by_a_quarter,
    write_rows,
    write_tiny_study,
    write_video,
)
from vaclip.audit import reencode
from vaclip.audit.check import check
from vaclip.audit.inspect import VideoFacts, inspect_video
from vaclip.audit.reencode import reencode_study, video_rate
from vaclip.commands.main import main
from vaclip.data.video import decode_clip
from vaclip.errors import VaclipError
from vaclip.maps.keypoints import load_keypoints
from vaclip.maps.shapes import Key, Shapes, Track, load_shapes
from vaclip.maps.source import annotator_drawer
from vaclip.study.load import load_study

TIMES = [0, 0.1, 0.2, 0.7, 0.75, 1.2]  # of pictures whose grey level tells which they are
LEVELS = [20, 60, 100, 140, 180, 220]
# At 20 a second, one over the shortest distance; the last picture is shown for 0.1 s.
SHOWS = [0, 0, 1, 1] + [2] * 10 + [3] + [4] * 9 + [5] * 2


@pytest.fixture
def root(tmp_path):
    """A study of two clips of one video whose rate varies, and every kind of annotation."""
    root = tmp_path / "study"
    write_video(root / "videos/a.mkv", grey_pictures(LEVELS), times_s=TIMES)
    write_video(root / "videos/b.avi", grey_pictures(range(0, 200, 10)))
    head = {
        "name": "own",
        "classes": ["x", "y"],
        "regions": {"nose": {"keypoints": ["nose"]}, "box": {"box": [0, 0, 0.5, 0.5]}},
    }
    (root / "study.yaml").write_text(yaml.safe_dump(head))
    clip = {"video": "videos/a.mkv", "patient_id": "p", "label": "x", "start_s": "", "end_s": ""}
    clip |= {"keypoints": "joints.npy", "frames": "6", "site": "Kyoto, main"}
    rows = [
        {"clip_id": "whole", **clip},
        {"clip_id": "part", **clip, "start_s": "0.3", "end_s": "0.9"},
        {"clip_id": "even", **clip, "video": "videos/b.avi", "patient_id": "q", "label": "y"}
        | {"keypoints": "", "frames": ""},
    ]
    write_rows(root / "clips.csv", rows)
    joints = np.zeros((6, 17, 3), np.float32)
    joints[..., 0] = np.array(LEVELS)[:, None] / 20
    joints[..., 2] = np.arange(1, 7)[:, None] / 8
    np.save(root / "joints.npy", joints)
    # The map is as bright as the picture that it belongs to.
    np.save(root / "map.npy", np.broadcast_to(np.uint8(LEVELS)[:, None, None], (6, 4, 4)))
    np.save(root / "still.npy", np.full((4, 4), 0.5))
    keys = tuple(Key(n, ((0, 0), (2 * n + 2, 16))) for n in range(6))
    write_shapes(root / "s.json", Shapes((16, 16), (Track("t", "box", keys),), frames=6))
    gaze = {"size": [16, 16], "sigma": 2.0, "fixations": [[0.0, 0.5, 8.0, 8.0]]}
    (root / "gaze.json").write_text(json.dumps(gaze))
    annotations = [
        ("whole", "ann", "map", "map.npy"),
        ("part", "ann", "map", "map.npy"),
        ("whole", "bob", "map", "still.npy"),
        ("whole", "joint", "region", "nose"),
        ("whole", "shape", "shapes", "s.json"),
        ("whole", "eye", "gaze", "gaze.json"),
    ]
    columns = ("clip_id", "annotator", "kind", "value")
    write_rows(
        root / "attention.csv",
        [dict(zip(columns, annotation, strict=True)) for annotation in annotations],
    )
    assert check_errors(root) == []
    return root


def check_errors(root):
    problems = list(check(root, workers=1).found)
    return [str(problem) for problem in problems if problem.severity == "error"]


def drawn(study, clip_id, annotator, fps=20):
    """Returns the pictures' grey levels and one annotator's map of a clip."""
    (clip,) = (clip for clip in study.clips if clip.clip_id == clip_id)
    decoded = decode_clip(
        clip.video, fps=fps, size=(16, 16), start_s=clip.start_s, end_s=clip.end_s
    )
    own = [
        annotation for annotation in study.annotations[clip_id] if annotation.annotator == annotator
    ]
    attn = annotator_drawer(own, study.annotated(clip))(decoded.grid((16, 16)))
    return decoded.frames[:, 4, 4, 0].astype(int), attn


@pytest.fixture
def copied(root, tmp_path):
    calls = []
    count = reencode_study(root, tmp_path / "new", progress=lambda *call: calls.append(call))
    assert (count, calls) == (2, [(1, 2), (2, 2)])
    return tmp_path / "new"


def test_the_pictures_are_shown_at_the_same_times(root, copied):
    facts = inspect_video(copied / "videos/a.mp4")
    assert (facts.codec, facts.pixel_format, facts.rate) == ("h264", "yuv420p", 20)
    assert not facts.variable_rate
    assert facts.frames == len(SHOWS)
    levels = decode_clip(copied / "videos/a.mp4", fps=20, size=(16, 16)).frames[:, 8, 8, 0]
    assert np.abs(levels - np.take(LEVELS, SHOWS)).max() <= 3
    even = decode_clip(copied / "videos/b.mp4", fps=10, size=(16, 16))
    assert even.frame_index.tolist() == list(range(20))
    assert np.abs(even.frames[:, 8, 8, 0].astype(int) - np.arange(0, 200, 10)).max() <= 3


def test_every_second_seeks(copied):
    assert inspect_video(copied / "videos/a.mp4").key_distance_s <= 12 / 20 + 1e-6


@pytest.mark.parametrize("clip_id", ["whole", "part"])
def test_a_map_stays_on_its_picture(root, copied, clip_id):
    for folder, tolerance in ((root, 0), (copied, 3)):
        levels, attn = drawn(load_study(folder), clip_id, "ann")
        assert np.abs(levels - attn[:, 8, 8] * 255).max() <= tolerance + 0.01


@pytest.mark.parametrize("annotator", ["ann", "bob", "joint", "shape", "eye"])
def test_every_kind_draws_what_it_drew(root, copied, annotator):
    before, after = (drawn(load_study(folder), "whole", annotator)[1] for folder in (root, copied))
    moves = len({picture.tobytes() for picture in before}) > 1
    assert moves is (annotator != "bob")
    np.testing.assert_allclose(after, before, atol=1e-6)


def test_keypoints_follow_the_frames(copied):
    points = load_keypoints(copied / "joints.npz")
    np.testing.assert_allclose(points[:, 3, 0], np.take(LEVELS, SHOWS) / 20)
    np.testing.assert_allclose(points[:, 3, 2], (np.array(SHOWS) + 1) / 8)


def test_tables(root, copied):
    before, after = (read_rows(folder / "clips.csv") for folder in (root, copied))
    assert list(before[0]) == list(after[0])
    assert [row["frames"] for row in after] == [str(len(SHOWS)), str(len(SHOWS)), ""]
    assert [row["keypoints"] for row in after] == ["joints.npz", "joints.npz", ""]
    for name in ("clip_id", "patient_id", "label", "start_s", "end_s", "site"):
        assert [row[name] for row in after] == [row[name] for row in before]
    assert [row["value"] for row in read_rows(copied / "attention.csv")] == [
        "map.npz", "map.npz", "still.npy", "nose", "s.json", "gaze.json"
    ]  # fmt: skip
    for name in ("study.yaml", "still.npy", "gaze.json"):
        assert (copied / name).read_bytes() == (root / name).read_bytes()
    assert check_errors(copied) == []


def test_shapes_that_follow_another_copy_already(root, tmp_path):
    """A copy of a copy: frame k shows g(f(k))."""
    shapes = load_shapes(root / "s.json", "s.json")
    write_shapes(root / "s.json", dataclasses.replace(shapes, source_frames=(9, 8, 7, 6, 5, 4)))
    reencode_study(root, tmp_path / "new")
    found = load_shapes(tmp_path / "new/s.json", "s.json")
    assert found.source_frames == tuple(9 - frame for frame in SHOWS)
    assert found.tracks == shapes.tracks


def test_a_rate_of_ones_own(root, tmp_path):
    reencode_study(root, tmp_path / "new", fps=5)
    levels = decode_clip(tmp_path / "new/videos/a.mp4", fps=5, size=(16, 16)).frames[:, 8, 8, 0]
    # Shown at 0, 0.2, ... 1.2 s.
    assert np.abs(levels - np.take(LEVELS, [0, 2, 2, 2, 4, 4, 5])).max() <= 3
    assert check_errors(tmp_path / "new") == []
    levels, attn = drawn(load_study(tmp_path / "new"), "whole", "ann", fps=5)
    assert np.abs(levels - attn[:, 8, 8] * 255).max() <= 3


def test_rotation_and_odd_sizes(root, tmp_path):
    pictures = grey_pictures([0] * 20, height=32, width=64)
    pictures[:, :, :32] = 200
    path = write_video(root / "videos/phone.mp4", pictures, codec="libx264")
    turned_by_a_quarter(path)
    write_video(root / "videos/odd.mkv", grey_pictures(range(20), height=15, width=17))
    joints = np.full((20, 17, 3), 5.0)
    np.save(root / "twenty.npy", joints)
    rows = read_rows(root / "clips.csv")
    for row, name in zip(rows, ("phone.mp4", "odd.mkv", "b.avi"), strict=True):
        row |= {"video": f"videos/{name}", "keypoints": "twenty.npy", "frames": "20"}
        row |= {"start_s": "", "end_s": ""}
    write_rows(root / "clips.csv", rows)
    (root / "attention.csv").unlink()
    reencode_study(root, tmp_path / "new")
    phone = inspect_video(tmp_path / "new/videos/phone.mp4")
    assert (phone.size, phone.rotation) == ((64, 32), 0)
    halves = decode_clip(tmp_path / "new/videos/phone.mp4", fps=10, size=(16, 16)).frames[0]
    assert halves[:7].min() > 150
    assert halves[9:].max() < 50
    assert inspect_video(tmp_path / "new/videos/odd.mp4").size == (16, 18)
    points = [load_keypoints(clip.keypoints) for clip in load_study(tmp_path / "new").clips]
    np.testing.assert_allclose(points[0], joints.astype(np.float32) / [1, 1, 5])
    np.testing.assert_allclose(points[1][0, 0, :2], [5 * 18 / 17, 5 * 16 / 15], rtol=1e-6)


def test_files_of_one_name_stay_apart(root, tmp_path):
    shutil.copy(root / "videos/b.avi", root / "videos/a.avi")
    rows = read_rows(root / "clips.csv")
    rows[2]["video"] = "videos/a.avi"
    write_rows(root / "clips.csv", rows)
    reencode_study(root, tmp_path / "new")
    names = [row["video"] for row in read_rows(tmp_path / "new/clips.csv")]
    assert names == ["videos/a.mp4", "videos/a.mp4", "videos/a-2.mp4"]
    assert inspect_video(tmp_path / "new/videos/a-2.mp4").frames == 20


def test_one_map_of_two_videos_is_put_into_two_orders(root, tmp_path):
    write_video(root / "videos/six.mkv", grey_pictures(LEVELS))
    rows = read_rows(root / "clips.csv")
    rows[2]["video"] = "videos/six.mkv"
    write_rows(root / "clips.csv", rows)
    annotations = read_rows(root / "attention.csv")
    write_rows(root / "attention.csv", [*annotations, {**annotations[0], "clip_id": "even"}])
    reencode_study(root, tmp_path / "new")
    for clip_id, fps in (("whole", 20), ("even", 10)):
        levels, attn = drawn(load_study(tmp_path / "new"), clip_id, "ann", fps)
        assert np.abs(levels - attn[:, 8, 8] * 255).max() <= 3


# --- stopping, refusing --------------------------------------------------------------------------


def test_finished_videos_are_kept(root, tmp_path, monkeypatch):
    encoded = []
    encode = reencode.encode

    def stop_at_the_second(video, *args, **how):
        encoded.append(video.name)
        if len(encoded) == 2:
            raise KeyboardInterrupt
        return encode(video, *args, **how)

    monkeypatch.setattr(reencode, "encode", stop_at_the_second)
    new = tmp_path / "new"
    with pytest.raises(KeyboardInterrupt):
        reencode_study(root, new)
    assert sorted(path.name for path in new.iterdir()) == [".reencode", "videos"]
    assert [path.name for path in (new / "videos").iterdir()] == ["a.mp4"]
    reencode_study(root, new)
    assert encoded == ["a.mkv", "b.avi", "b.avi"]
    reencode_study(root, new)
    assert len(encoded) == 3
    write_video(root / "videos/b.avi", grey_pictures(range(0, 100, 10)))
    reencode_study(root, new)
    assert encoded[3:] == ["b.avi"]
    reencode_study(root, new, fps=5)
    assert encoded[4:] == ["a.mkv", "b.avi"]


def test_tables_that_the_study_lost_are_not_kept(root, tmp_path):
    new = tmp_path / "new"
    write_rows(root / "excluded.csv", [{"clip_id": "even", "reason": "blurred"}])
    reencode_study(root, new)
    assert {clip.clip_id for clip in load_study(new).clips} == {"whole", "part"}
    assert set(load_study(new).annotations) == {"whole", "part"}
    (root / "excluded.csv").unlink()
    (root / "attention.csv").unlink()
    reencode_study(root, new)
    assert {clip.clip_id for clip in load_study(new).clips} == {"whole", "part", "even"}
    assert not any(load_study(new).annotations.values())


def test_an_earlier_copy_with_half_of_the_new_annotations_is_no_study(root, tmp_path):
    reencode_study(root, tmp_path / "new")
    np.save(root / "map.npy", np.zeros((7, 4, 4)))
    with pytest.raises(VaclipError, match="has 7 frames"):
        reencode_study(root, tmp_path / "new")
    assert not (tmp_path / "new/study.yaml").exists()


def test_all_videos_that_break_off_are_named(root, tmp_path):
    for name in ("a.mkv", "b.avi"):
        (root / "videos" / name).write_text("no video")
    with pytest.raises(VaclipError) as caught:
        reencode_study(root, tmp_path / "new")
    assert "2 video(s) cannot be re-encoded" in str(caught.value)
    assert "a.mkv: cannot be decoded" in str(caught.value)
    assert "b.avi: cannot be decoded" in str(caught.value)
    assert "--quarantine" in str(caught.value)
    assert not (tmp_path / "new/study.yaml").exists()


def test_excluded_clips_go_along_without_their_video(root, tmp_path):
    (root / "videos/b.avi").write_text("no video")
    write_rows(root / "excluded.csv", [{"clip_id": "even", "reason": "broken"}])
    reencode_study(root, tmp_path / "new")
    study = load_study(tmp_path / "new")
    assert [row.clip_id for row in study.excluded] == ["even"]
    assert [clip.clip_id for clip in study.clips] == ["whole", "part"]


def test_an_annotation_of_another_length_is_refused(root, tmp_path):
    """It would fit the copy by accident, were it put into the new order."""
    np.save(root / "map.npy", np.zeros((7, 4, 4)))
    with pytest.raises(
        VaclipError, match=r"clip 'whole': map 'map\.npy' has 7 frames, but the vid"
    ):
        reencode_study(root, tmp_path / "new")


def test_places_that_are_taken(root, tmp_path):
    other = write_tiny_study(tmp_path / "other", patients_per_class=1)
    for into, why in [
        (root, "outside of the study"),
        (root / "new", "outside of the study"),
        (tmp_path, "outside of the study"),
        (other, "holds something else"),
    ]:
        with pytest.raises(VaclipError, match=why):
            reencode_study(root, into)


@pytest.mark.parametrize("fps", [0.0, -1.0, float("nan"), 1e9])
def test_rates_that_there_are_not(root, tmp_path, fps):
    with pytest.raises(VaclipError, match=r"give frames a second, from 0\.1 to 240"):
        reencode_study(root, tmp_path / "new", fps=fps)


def test_a_copy_without_end_is_refused(root, tmp_path):
    path = write_video(root / "videos/a.mkv", grey_pictures(range(6)), times_s=[*TIMES[:5], 80_000])
    assert path.exists()
    with pytest.raises(
        VaclipError, match=r"a\.mkv: lasts 80000 s, which gives more than 1000000 f"
    ):
        reencode_study(root, tmp_path / "new")


def test_the_command(root, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["data", "reencode", str(root), "--into", str(tmp_path / "new"), "--fps", "10"])
    assert stopped.value.code == 0
    assert "2 video(s)" in capsys.readouterr().out
    assert inspect_video(tmp_path / "new/videos/a.mp4").rate == 10


def test_sound_and_names_stay_behind(root, copied):
    """Only pictures go along: no sound, no title, no place."""
    with av.open(str(copied / "videos/a.mp4")) as container:
        assert len(container.streams) == 1
        assert "title" not in container.metadata


# --- the rate of a copy --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("times", "last_s", "stated", "expected"),
    [
        (np.arange(9) / 25, 1 / 25, 25, 25),
        (np.arange(9) * 1001 / 30_000, 1001 / 30_000, 30_000 / 1001, 30_000 / 1001),
        (np.arange(99) / 50, 1 / 50, 25, 50),  # even, but not as stated
        (np.arange(99) / 50, 1 / 50, None, 50),
        (np.array([0, 0.1, 0.5]), 0.1, 25, 10),  # one over the shortest distance
        (np.array([0, 0.001, 0.5]), 0.1, 25, 60),  # but no more than 60
        (np.array([0.0]), 0.2, None, 5),
    ],
)
def test_rate_of_a_copy(times, last_s, stated, expected):
    ends = np.append(times[1:], times[-1] + last_s)
    rate = None if stated is None else reencode.Fraction(stated).limit_denominator(1001)
    facts = VideoFacts(times_s=times, ends_s=ends, rate=rate)
    assert float(video_rate(facts)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("times", "stated", "expected"),
    [
        (np.arange(100) * 0.02, Fraction(5000, 101), 50),  # the container is off by a picture
        (np.round(np.arange(90) / 30, 3), Fraction(30), 30),  # stamps of whole milliseconds
        (np.arange(50) / 25, None, 25),
        (np.zeros(1), Fraction(10), 10),
    ],
)
def test_the_rate_is_that_of_the_time_stamps(times, stated, expected):
    ends = np.append(times[1:], times[-1] + 1 / expected)
    assert float(video_rate(VideoFacts(times_s=times, ends_s=ends, rate=stated))) == expected
