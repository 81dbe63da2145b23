from __future__ import annotations

import shutil

import numpy as np
import pytest

from conftest import FRAMES, read_rows, write_rows, write_tiny_study
from vaclip.data.check import check_study


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    return write_tiny_study(tmp_path_factory.mktemp("template") / "study", patients_per_class=1)


@pytest.fixture
def root(template, tmp_path):
    return shutil.copytree(template, tmp_path / "study")


def found(root, **options):
    problems, _ = check_study(root, workers=1, **options)
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
    problems, clips = check_study(root, workers=1, progress=lambda *call: calls.append(call))
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
    problems, clips = check_study(tmp_path, workers=1)
    assert clips == 0
    assert "study.yaml" in str(problems[0])
