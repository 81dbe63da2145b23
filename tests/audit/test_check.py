from __future__ import annotations

import shutil

import numpy as np
import pytest

from annotation_files import write_gaze, write_shapes
from conftest import (
    FRAMES,
    grey_pictures,
    read_rows,
    write_rows,
    write_tiny_study,
    write_video,
)
from vaclip.audit.check import check, write_facts
from vaclip.data.video import timed_frames
from vaclip.maps.gaze import Gaze
from vaclip.maps.shapes import Key, Shapes, Track


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    return write_tiny_study(tmp_path_factory.mktemp("template") / "study", patients_per_class=1)


@pytest.fixture
def root(template, tmp_path):
    return shutil.copytree(template, tmp_path / "study")


def found(root, **options):
    problems = list(check(root, workers=1, **options).found)
    return [str(problem) for problem in problems]


def edit_row(root, table, row, **cells):
    rows = read_rows(root / table)
    rows[row - 2].update(cells)
    write_rows(root / table, rows)


def use_map(root, frames):
    np.save(root / "m.npy", frames)
    edit_row(root, "attention.csv", 2, kind="map", value="m.npy")


def test_valid_study_has_no_problem(root):
    calls = []
    found = check(root, workers=1, progress=lambda *call: calls.append(call))
    problems, clips = list(found.found), len(found.study.clips)
    assert problems == []
    assert clips == 3
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_file_that_cannot_be_decoded(root):
    (root / "videos/limping-0-0.mkv").write_text("no video")
    (what,) = found(root)
    assert what.startswith("error: clips.csv:3:video: limping-0-0.mkv: cannot be decoded after 0")


def test_wrong_number_of_frames_in_the_column(root):
    edit_row(root, "clips.csv", 4, frames="21")
    assert found(root) == [
        f"error: clips.csv:4:frames: states 21 frames, but {FRAMES} can be decoded"
    ]


def test_clip_of_a_part_may_state_the_frames_of_the_whole(root):
    rows = [{**row, "end_s": "1"} for row in read_rows(root / "clips.csv")]
    write_rows(root / "clips.csv", rows)
    assert found(root) == []


def test_wrong_number_of_frames_written_as_a_float(root):
    edit_row(root, "clips.csv", 4, frames="21.0")
    assert any("21" in what for what in found(root))


def test_odd_digit_in_the_column(root):
    edit_row(root, "clips.csv", 4, frames="²")
    assert any("states ² frames" in what for what in found(root))


def test_wrong_number_of_keypoints(root):
    np.savez(root / "keypoints/steady-0-0.npz", keypoints=np.zeros((FRAMES - 1, 17, 2)))
    (what,) = found(root)
    assert what.startswith("error: clips.csv:2:keypoints: steady-0-0.npz has 19 frames, but")


def test_keypoints_that_cannot_be_read(root):
    (root / "keypoints/steady-0-0.npz").write_bytes(b"PK\3\4 no archive")
    (what,) = found(root)
    assert what.startswith(
        "error: clips.csv:2:keypoints: steady-0-0.npz: cannot be read as an array"
    )


@pytest.mark.parametrize(
    ("value", "message"), [(np.nan, "not finite"), (1.5, "ranges from 0 to 1.5")]
)
def test_bad_value_in_a_map(root, value, message):
    frames = np.zeros((FRAMES, 8, 8))
    frames[10, 3, 3] = value  # is sampled at one picture a second
    use_map(root, frames)
    (what,) = found(root)
    assert what.startswith("error: attention.csv: clip 'steady-0-0', ann: map 'm.npy' ")
    assert message in what


def test_bad_value_in_a_frame_between_the_samples(root):
    frames = np.zeros((FRAMES, 8, 8))
    frames[7, 3, 3] = np.nan
    use_map(root, frames)
    assert len(found(root)) == 1


def test_map_of_another_length(root):
    use_map(root, np.zeros((FRAMES + 2, 8, 8)))
    (what,) = found(root)
    assert "map 'm.npy' has 22 frames, but the video gives 20" in what


def test_problems_of_reading_and_decoding_are_reported_together(root):
    edit_row(root, "clips.csv", 2, label="steddy")
    (root / "videos/steady-0-0.mkv").unlink()
    (root / "videos/shuffling-0-0.mkv").write_text("no video")
    labels = [what.split(": ")[1] for what in found(root) if what.startswith("error")]
    assert labels == ["clips.csv:2:label", "clips.csv:2:video", "clips.csv:4:video"]


def test_folder_that_is_no_study(tmp_path):
    found = check(tmp_path, workers=1)
    problems, clips = list(found.found), 0 if found.study is None else len(found.study.clips)
    assert clips == 0
    assert "study.yaml" in str(problems[0])


# --- videos as they are --------------------------------------------------------------------------


def one_clip(root, video, **cells):
    """Lets the first clip show another video, without keypoints and frame count."""
    edit_row(root, "clips.csv", 2, video=video, keypoints="", frames="", **cells)
    edit_row(root, "attention.csv", 2, value="trunk")


def add_column(root, name, value):
    write_rows(root / "clips.csv", [{**row, name: value} for row in read_rows(root / "clips.csv")])


def test_what_a_video_may_mislead_with_is_a_warning(root):
    noise = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), np.uint8)
    path = write_video(root / "videos/cut.mkv", noise)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    one_clip(root, "videos/cut.mkv")
    (what,) = found(root)
    assert what.startswith("warning: clips.csv:2:video: the container states 4.00 s, but")


def test_a_clip_that_breaks_off_is_an_error_unless_it_ends_before(root):
    noise = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), np.uint8)
    path = write_video(root / "videos/cut.avi", noise)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    one_clip(root, "videos/cut.avi")
    (what,) = found(root)
    assert what.startswith("error: clips.csv:2:video: cut.avi: cannot be decoded after")
    add_column(root, "end_s", "1")
    (what,) = found(root)
    assert what.startswith("warning: clips.csv:2:video: breaks off after the end of the clip:")


def test_a_span_that_does_not_fit_the_video(root):
    add_column(root, "end_s", "2.5")
    problems = found(root)
    assert len(problems) == 3
    assert problems[0] == (
        "warning: clips.csv:2:video: end_s is 2.5 s, but the video ends at 2.00 s"
    )
    add_column(root, "start_s", "2")
    assert found(root)[0].startswith(
        "error: clips.csv:2:video: steady-0-0.mkv: 20 frames, none of them between 2 s and 2.5 s"
    )


@pytest.mark.parametrize(("start_s", "end_s", "frames"), [("1.6", "", 4), ("0", "0.1", 1)])
def test_a_clip_of_few_pictures(root, start_s, end_s, frames):
    add_column(root, "start_s", start_s)
    add_column(root, "end_s", end_s)
    assert all(f"the clip has {frames} picture(s) in 0." in what for what in found(root))
    assert len(found(root)) == 3


def test_clips_of_one_video_are_checked_by_themselves(root):
    rows = read_rows(root / "clips.csv")
    for row, end_s in zip(rows, ("1", "2.5", "1.5"), strict=True):
        row |= {"video": rows[0]["video"], "end_s": end_s}
    write_rows(root / "clips.csv", rows)
    found = check(root, workers=1)
    assert [checked.clip.clip_id for checked in found.clips] == [row["clip_id"] for row in rows]
    (problem,) = found.found
    assert (problem.clip_id, problem.severity) == ("limping-0-0", "warning")


def test_a_video_is_decoded_once(root, monkeypatch):
    rows = read_rows(root / "clips.csv")
    write_rows(root / "clips.csv", [{**row, "video": rows[0]["video"]} for row in rows])
    decoded = []
    monkeypatch.setattr(
        "vaclip.audit.inspect.timed_frames",
        lambda path, limit_s: (decoded.append(path.name), timed_frames(path, limit_s))[1],
    )
    check(root, workers=1)
    assert decoded == ["steady-0-0.mkv"]


def jumping_video(root):
    """20 frames at 10 a second, of which those from 10 on come 0.5 s late."""
    times = [number / 10 + (0.5 if number >= 10 else 0) for number in range(FRAMES)]
    write_video(root / "videos/jump.mkv", grey_pictures(range(FRAMES)), times_s=times)


def test_frame_numbers_that_miss_the_time(root):
    jumping_video(root)
    edit_row(root, "clips.csv", 2, video="videos/jump.mkv")
    (what,) = found(root)
    assert what.startswith(
        "warning: clips.csv:2:video: frame numbers and time disagree from frame 10 on: counted at "
    )
    assert "it is shown 0.50 s" in what
    assert "later" in what


def test_frame_numbers_do_not_matter_where_nothing_counts_frames(root):
    jumping_video(root)
    one_clip(root, "videos/jump.mkv")
    assert found(root) == []


def test_frame_numbers_behind_the_end_of_the_clip_do_not_matter(root):
    jumping_video(root)
    edit_row(root, "clips.csv", 2, video="videos/jump.mkv")
    add_column(root, "end_s", "0.9")
    assert found(root) == []


def annotation_first(root, kind, name):
    edit_row(root, "clips.csv", 2, keypoints="")
    edit_row(root, "attention.csv", 2, kind=kind, value=name)


@pytest.mark.parametrize(("frames", "warned"), [(10, False), (11, False), (20, True)])
def test_frames_that_a_tool_counted_at_its_own_rate_are_compared_by_length(root, frames, warned):
    """At 5 a second, whatever the video's rate: its 2 s are 10 frames."""
    track = Track("a", "box", (Key(0, ((0, 0), (9, 9))),))
    write_shapes(root / "s.json", Shapes((32, 32), (track,), "second", frames, 5.0))
    annotation_first(root, "shapes", "s.json")
    said = found(root)
    assert bool(said) == warned
    if warned:
        assert "20 frames were annotated at 5 a second, which is 4.00 s, but the vid" in said[0]


@pytest.mark.parametrize(
    ("begin", "end", "said"),
    [
        (0.5, 1.9, []),
        (0.5, 2.1, []),  # of 2 s
        (0.5, 1000.0, ["gaze ends at 1e+03 s, but the video lasts 2.00 s"]),  # ms taken for s
        (0.0, 0.003, ["gaze ends at 0.003 s, but the video lasts 2.00 s"]),
        (20.0, 22.0, ["the annotation shows nowhere in the clip", "gaze ends at 22 s"]),
    ],
)
def test_gaze_that_does_not_fit_the_video_is_told(root, begin, end, said):
    write_gaze(root / "g.json", Gaze((32, 32), np.array([(begin, end, 9.0, 9.0)])))
    annotation_first(root, "gaze", "g.json")
    got = found(root)
    assert len(got) == len(said)
    assert all(one in what for one, what in zip(said, got, strict=True))


def test_a_annotation_outside_the_picture_is_told(root):
    track = Track("a", "box", (Key(0, ((-20, -20), (-9, -9))),))
    write_shapes(root / "s.json", Shapes((32, 32), (track,)))
    annotation_first(root, "shapes", "s.json")
    assert ["the annotation shows nowhere" in what for what in found(root)] == [True]


def test_how_frame_numbers_are_read_is_said_once(root):
    edit_row(root, "clips.csv", 3, keypoints="")
    edit_row(root, "attention.csv", 4, value="ground")
    use_map(root, np.zeros((1, 8, 8)))  # one picture for all frames counts none
    notes = check(root, workers=1).notes
    assert len(notes) == 1
    assert notes[0].startswith("2 clip(s) are annotated by frame numbers: number i, from 0,")


def test_patients_of_several_classes_are_counted(root):
    edit_row(root, "clips.csv", 3, patient_id="steady-0")
    note = check(root, workers=1).notes[-1]
    assert note.startswith("1 patient with clips of several classes: each of these clips is scored")


def test_sites_are_said_and_one_that_tells_the_class_is_a_warning(tiny_study):
    root = tiny_study(3)
    rows = read_rows(root / "clips.csv")
    write_rows(root / "clips.csv", [row | {"site": f"of {row['label']}"} for row in rows])
    checked = check(root, workers=1)
    assert checked.notes[-1] == (
        "3 sites: of limping (3 patients), of shuffling (3 patients), of steady (3 patients)"
    )
    told = [problem for problem in checked.found if problem.where == "clips.csv:site"]
    assert [problem.severity for problem in told] == ["warning"] * 3
    assert "site of limping: 3 patients, all of class 'limping'" in told[0].what


def test_table(root, tmp_path):
    write_video(root / "videos/a.mp4", grey_pictures(range(10), 32, 48), codec="libx264")
    edit_row(root, "clips.csv", 3, video="videos/a.mp4", keypoints="", frames="9")
    edit_row(root, "attention.csv", 4, value="ground")
    (root / "videos/shuffling-0-0.mkv").write_text("no video")
    write_facts(tmp_path / "t.csv", check(root, workers=1).clips)
    first, second, third = read_rows(tmp_path / "t.csv")
    assert first == {
        "clip_id": "steady-0-0",
        "container": "matroska,webm",
        "codec": "ffv1",
        "pixel_format": "bgr0",
        "width": "32",
        "height": "32",
        "rotation": "0",
        "frames_decoded": "20",
        "frames_stated": "",
        "rate_stated": "10",
        "variable_rate": "no",
        "duration_s": "2.000",
        "interlaced": "no",
        "sound": "no",
        "key_distance_s": "1.200",  # FFmpeg's default: a key frame every 12 frames
        "under_map": "1.000",
        "problems": "",
    }
    assert (second["codec"], second["width"], second["frames_stated"]) == ("h264", "48", "10")
    assert second["problems"] == "error: states 9 frames, but 10 can be decoded"
    assert third["frames_decoded"] == "0"
    assert "cannot be decoded" in third["problems"]


def test_a_name_that_no_file_can_have_is_an_error_of_its_row(tiny_study):
    root = tiny_study(patients_per_class=1)
    text = (root / "clips.csv").read_text()
    (root / "clips.csv").write_text(text.replace("videos/steady-0-0.mkv", "v" * 5000))
    found = check(root, workers=1)
    problems, clips = list(found.found), len(found.study.clips)
    assert clips == 3
    (error,) = [problem for problem in problems if problem.severity == "error"]
    assert error.where == "clips.csv:2:video"
    assert error.clip_id == "steady-0-0"


def test_drawings_on_single_frames_are_told(root):
    """Two of 20 pictures carry a map, in one of three clips."""
    keys = [(Key(n, ((4, 4), (20, 20))), Key(n + 1, outside=True)) for n in (5, 12)]
    shapes = Shapes((32, 32), tuple(Track("lv", "box", own) for own in keys), frames=FRAMES)
    write_shapes(root / "s.json", shapes)
    clip_id = read_rows(root / "attention.csv")[0]["clip_id"]
    rows = [row for row in read_rows(root / "attention.csv") if row["clip_id"] != clip_id]
    row = {"clip_id": clip_id, "annotator": "ann", "kind": "shapes", "value": "s.json"}
    write_rows(root / "attention.csv", [row, *rows])
    checked = check(root, workers=1)
    (warning,) = checked.found
    assert warning.severity == "warning"
    assert warning.what.startswith(
        "in 1 of 3 annotated clips the annotations show on 10% of the clip"
    )
    assert "--hold LABEL or --interpolate LABEL" in warning.what
    shares = [one.under_map for one in checked.clips]
    assert sorted(shares) == [pytest.approx(2 / FRAMES), 1, 1]
    assert "10% to 100% of the pictures of an annotated clip, 70% in the mean" in checked.notes[1]


def test_without_annotations_nothing_is_said_of_maps(root):
    (root / "attention.csv").unlink()
    checked = check(root, workers=1)
    assert {one.under_map for one in checked.clips} == {None}
    assert not any("annotations show" in note for note in checked.notes)
