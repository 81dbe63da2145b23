"""excluded.csv: honoured by everything that reads a study, and written by the check."""

from __future__ import annotations

import dataclasses
import pickle
import shutil

import numpy as np
import pytest

from conftest import read_rows, write_rows, write_tiny_study
from vaclip.audit.check import check
from vaclip.commands.main import main
from vaclip.errors import VaclipError
from vaclip.study.exclusions import quarantine
from vaclip.study.load import load_study, read_study
from vaclip.study.study import Exclusion


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    return write_tiny_study(tmp_path_factory.mktemp("template") / "study", patients_per_class=2)


@pytest.fixture
def root(template, tmp_path):
    return shutil.copytree(template, tmp_path / "study")


def exclude(root, *rows):
    write_rows(root / "excluded.csv", [{"clip_id": c, "reason": why} for c, why in rows])


def messages(root):
    return [str(problem) for problem in read_study(root)[1]]


def clip_ids(root):
    return [clip.clip_id for clip in load_study(root).clips]


# --- sent ---------------------------------------------------------------------------------------


def test_what_a_worker_gets_of_a_clip_grows_with_no_other_clip(root):
    before = load_study(root)
    clip = before.clips[-1]
    size = len(pickle.dumps(before.only([clip])))
    exclude(root, *((one.clip_id, "blurred " * 99) for one in before.clips[:-1]))
    after = load_study(root)
    assert len(after.excluded) == 5
    assert len(pickle.dumps(after.only([clip]))) == size
    assert after.only([clip]).annotations == {clip.clip_id: before.annotations[clip.clip_id]}


# --- read ----------------------------------------------------------------------------------------


def test_nothing_of_an_excluded_clip_is_checked(root):
    (root / "videos/steady-0-0.mkv").unlink()
    rows = read_rows(root / "clips.csv")
    rows[0] |= {"label": "no class", "patient_id": "", "keypoints": "../outside.npz"}
    write_rows(root / "clips.csv", rows)
    annotations = read_rows(root / "attention.csv")
    annotations[0] |= {"kind": "no kind"}
    write_rows(root / "attention.csv", annotations)
    exclude(root, ("steady-0-0", "lost"))
    found = check(root, workers=1)
    assert (found.found, len(found.study.clips)) == ((), 5)
    study = load_study(root)
    assert "steady-0-0" not in clip_ids(root)
    assert set(study.annotations) == set(clip_ids(root))
    assert study.excluded == (Exclusion("steady-0-0", "lost"),)
    assert dataclasses.replace(study, clips=()).excluded == study.excluded


def test_an_excluded_clip_that_there_is_not(root):
    exclude(root, ("stedy-0-0", "lost"), ("limping-0-0", "blurred"))
    assert messages(root) == [
        "warning: excluded.csv: clips.csv has no clip 'stedy-0-0', which is excluded"
    ]
    assert load_study(root).excluded == (Exclusion("limping-0-0", "blurred"),)


def test_every_exclusion_has_a_reason(root):
    exclude(root, ("limping-0-0", ""))
    assert messages(root) == ["error: excluded.csv:2:reason: the cell is empty"]
    (root / "excluded.csv").write_text("clip_id\nlimping-0-0\n")
    assert "error: excluded.csv:1: the header lacks reason" in messages(root)[0]


def test_when_every_clip_is_excluded(root):
    exclude(root, *((clip, "lost") for clip in clip_ids(root)))
    assert messages(root) == ["error: clips.csv: every clip is excluded, by excluded.csv"]


def test_a_annotation_of_a_clip_that_was_never_there_stays_an_error(root):
    exclude(root, ("steady-0-0", "lost"))
    annotations = read_rows(root / "attention.csv")
    write_rows(root / "attention.csv", [*annotations, {**annotations[-1], "clip_id": "nobody"}])
    assert any("clips.csv has no clip 'nobody'" in what for what in messages(root))


# --- written -------------------------------------------------------------------------------------


def spoil(root):
    """Spoils three clips in different ways."""
    (root / "videos/steady-0-0.mkv").write_text("no video")
    (root / "videos/limping-1-0.mkv").unlink()
    np.savez(root / "keypoints/shuffling-0-0.npz", keypoints=np.zeros((7, 17, 2)))


def run(*words):
    with pytest.raises(SystemExit) as stopped:
        main(["data", "check", *map(str, words)])
    return stopped.value.code


def test_quarantine(root, capsys):
    spoil(root)
    before = sorted(path.relative_to(root) for path in root.rglob("*"))
    assert run(root) == 1
    assert "excluded" not in capsys.readouterr().out
    assert run(root, "--quarantine") == 0
    assert "3 clip(s) are excluded from now on" in capsys.readouterr().out
    rows = {row["clip_id"]: row["reason"] for row in read_rows(root / "excluded.csv")}
    assert set(rows) == {"steady-0-0", "limping-1-0", "shuffling-0-0"}
    assert rows["steady-0-0"].startswith("cannot be decoded after 0 frames")
    assert rows["limping-1-0"].startswith("there is no file")
    assert rows["shuffling-0-0"].startswith("has 7 frames, but the video gives 20")
    after = sorted(path.relative_to(root) for path in root.rglob("*"))
    assert set(after) - set(before) == {(root / "excluded.csv").relative_to(root)}
    assert run(root) == 0
    said = capsys.readouterr().out
    assert "3 clips: 0 error(s)" in said
    assert "note: 3 clip(s) are left out by excluded.csv" in said


def test_rows_that_are_there_stay_with_all_their_columns(root):
    (root / "excluded.csv").write_text(
        'by , clip_id, reason\nanna, limping-0-0,"blurred, dark"\nanna,gone,old\n'
    )
    spoil(root)
    assert run(root, "--quarantine") == 0
    rows = read_rows(root / "excluded.csv")
    assert rows[:2] == [
        {"by": "anna", "clip_id": "limping-0-0", "reason": "blurred, dark"},
        {"by": "anna", "clip_id": "gone", "reason": "old"},
    ]
    assert {row["clip_id"] for row in rows[2:]} == {"steady-0-0", "limping-1-0", "shuffling-0-0"}
    assert {row["by"] for row in rows[2:]} == {""}


def test_all_errors_of_a_clip_are_one_row_of_one_line(root):
    rows = read_rows(root / "clips.csv")
    rows[0] |= {"label": "no class", "video": "gone.mkv"}
    write_rows(root / "clips.csv", rows)
    found = check(root, workers=1)
    (row,) = quarantine(found.study, found.found)
    assert row.clip_id == "steady-0-0"
    assert row.reason.startswith("unknown label 'no class'")
    assert "; there is no file 'gone.mkv'" in row.reason
    assert "\n" not in row.reason


def test_errors_of_no_clip_stay_errors(root, capsys):
    spoil(root)
    annotations = read_rows(root / "attention.csv")
    write_rows(root / "attention.csv", [*annotations, {**annotations[-1], "clip_id": "nobody"}])
    assert run(root, "--quarantine") == 1
    said = capsys.readouterr().out
    assert "3 clip(s) are excluded" in said
    assert "1 error(s) are not about one clip, and stay" in said


def test_nothing_is_written_where_nothing_is_wrong(root):
    assert run(root, "--quarantine") == 0
    assert not (root / "excluded.csv").exists()


def test_a_file_of_exclusions_with_errors_is_not_written_over(root):
    spoil(root)
    (root / "excluded.csv").write_text("clip_id,why\na,b\n")
    found = check(root, workers=1)
    with pytest.raises(VaclipError, match=r"excluded\.csv has errors"):
        quarantine(found.study, found.found)
    assert (root / "excluded.csv").read_text() == "clip_id,why\na,b\n"


def test_warnings_exclude_nothing(root):
    rows = [{**row, "end_s": "99"} for row in read_rows(root / "clips.csv")]
    write_rows(root / "clips.csv", rows)
    found = check(root, workers=1)
    assert {problem.severity for problem in found.found} == {"warning"}
    assert quarantine(found.study, found.found) == ()
