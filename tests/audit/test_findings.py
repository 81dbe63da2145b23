"""What will mislead, found in whole study folders."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from composed import make_config
from conftest import read_rows, write_rows
from vaclip.audit.findings import ANNOTATIONS, study_findings
from vaclip.runs.prepare import open_study, prepare_study


def findings_of(root: Path, cache: Path, folds: int = 5):
    where = ("data=folder", f"data.root={root}", f"data.cache_dir={cache}")
    config = make_config(cache.parent / "runs", *where)
    prepared = prepare_study(config.data, open_study(config.data), workers=1)
    return study_findings(config.data, prepared, folds)


def about(findings, subject):
    return [found for found in findings if found.subject == subject]


def change(root: Path, file: str, how):
    """Rewrites a table of a study, row by row."""
    write_rows(root / file, [how(dict(row)) for row in read_rows(root / file)])


def test_a_site_that_goes_with_the_class_is_found_by_name(tiny_study, tmp_path):
    root = tiny_study(6)
    change(root, "clips.csv", lambda row: row | {"site": f"site of {row['label']}"})
    findings, shortcuts = findings_of(root, tmp_path / "cache")
    scores = {score.feature: score for score in shortcuts.scores}
    assert scores["column site"].score == 1
    assert shortcuts.chance == pytest.approx(1 / 3)
    (found,) = about(findings, "metadata")
    assert found.severity == "warning"
    assert "column site: 1.00" in found.what
    # All files have one container, codec and size, and the study's own columns are no features.
    assert not {"container", "codec", "frame size", "column keypoints"} & set(scores)


def test_annotations_of_one_class_give_it_away(tiny_study, tmp_path):
    findings, shortcuts = findings_of(tiny_study(6), tmp_path / "cache")
    assert about(findings, "metadata") == []
    # ann annotations the joints of the class; 6 of 18 patients of one class are no chance.
    assert len(about(findings, "annotation hips")) == 1
    (score,) = (score for score in shortcuts.scores if score.feature == ANNOTATIONS)
    assert score.score == 1
    assert about(findings, ANNOTATIONS)[0].severity == "note"


def test_annotations_that_say_nothing_are_no_finding(tiny_study, tmp_path):
    root = tiny_study(6)
    change(root, "attention.csv", lambda row: row | {"value": "hips"})
    findings, shortcuts = findings_of(root, tmp_path / "cache")
    assert about(findings, "annotation hips") == about(findings, ANNOTATIONS) == []
    # Whether bob annotated a clip says nothing either: equal annotations count once.
    assert ANNOTATIONS not in {score.feature for score in shortcuts.scores}


def test_a_copied_video_of_another_patient_is_found(tiny_study, tmp_path):
    root = tiny_study(5)
    videos = root / "videos"
    shutil.copy(videos / "steady-0-0.mkv", videos / "limping-3-0.mkv")
    findings, _ = findings_of(root, tmp_path / "cache")
    (found,) = about(findings, "duplicates")
    assert "are the same file" in found.what
    assert found.clips == ("steady-0-0", "limping-3-0")
    assert found.patients == ("limping-3", "steady-0")


def test_a_study_that_cannot_be_split_says_so_first_and_has_no_score(tiny_study, tmp_path):
    findings, shortcuts = findings_of(tiny_study(2), tmp_path / "cache")
    assert (findings[0].severity, findings[0].subject) == ("error", "split")
    assert shortcuts.scores == ()
    assert "has only 2 patient(s)" in shortcuts.why_none
    (note,) = about(findings, "metadata")
    assert note.severity == "note"
    assert "cannot be computed" in note.what


def test_no_text_names_a_patient_or_a_clip(tiny_study, tmp_path):
    root = tiny_study(5, clips_per_patient=2)
    rows = read_rows(root / "clips.csv")
    people = {row["patient_id"]: f"zz{n}" for n, row in enumerate(rows)}
    ids = {row["clip_id"]: f"qq{n}" for n, row in enumerate(rows)}
    change(root, "attention.csv", lambda row: row | {"clip_id": ids[row["clip_id"]]})
    shutil.copy(root / rows[0]["video"], root / rows[12]["video"])
    change(
        root,
        "clips.csv",
        lambda row: (
            row
            | {"clip_id": ids[row["clip_id"]], "patient_id": people[row["patient_id"]]}
            | {"label": "limping" if row["clip_id"] == "steady-1-0" else row["label"]}
        ),
    )
    findings, _ = findings_of(root, tmp_path / "cache")
    assert about(findings, "duplicates")
    assert about(findings, "labels")[0].patients
    for found in findings:
        text = found.subject + found.what + found.advice
        assert "zz" not in text
        assert "qq" not in text
