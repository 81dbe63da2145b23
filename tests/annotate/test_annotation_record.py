from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
import yaml

from conftest import read_rows, write_rows, write_tiny_study
from vaclip.annotate.marks import read_said
from vaclip.annotate.record import Record, note_blinding
from vaclip.annotate.session import Protocol, keep_session, open_session, read_session
from vaclip.errors import VaclipError
from vaclip.study.annotation_log import read_annotation_log
from vaclip.study.load import load_study

GAZE = {"size": [10, 10], "sigma": 1.0, "fixations": [[0.0, 1.0, 5.0, 5.0]]}


@pytest.fixture
def root(tmp_path):
    root = write_tiny_study(tmp_path / "study", 2)
    (root / "attention.csv").unlink()
    return root


def begun(root, annotator="anna", **wanted):
    session = open_session(load_study(root, quiet=True), annotator, wanted)
    keep_session(root, session)
    return session


def sent(**what):
    content = {"marks": [], "seconds": 12.34, "nothing": True, **what}
    return content, read_said(content, load_study_classes)


load_study_classes = ("steady", "limping", "shuffling")


def test_a_session_goes_on_with_what_it_began_with(root):
    session = begun(root, mode="draw", seed=3, again=0.5)
    assert read_session(root / "annotate/anna") == session
    study = load_study(root, quiet=True)
    assert open_session(study, "anna", {}) == session
    assert open_session(study, "anna", {"seed": 3}) == session
    with pytest.raises(VaclipError, match="began with --mode draw, not bubbles"):
        open_session(study, "anna", {"mode": "bubbles"})


def test_clips_that_came_later_are_dealt_after_the_others(root):
    session = begun(root, again=0)
    rows = read_rows(root / "clips.csv")
    write_rows(root / "clips.csv", [*rows, {**rows[0], "clip_id": "new"}])
    later = open_session(load_study(root, quiet=True), "anna", {})
    assert later.showings[:-1] == session.showings
    assert later.showings[-1].clip_id == "new"


@pytest.mark.parametrize(
    ("annotator", "wanted", "message"),
    [
        ("../x", {}, "use up to 40 letters"),
        ("", {}, "use up to 40 letters"),
        (".hidden", {}, "use up to 40 letters"),
        ("anna", {"mode": "bubble"}, "Did you mean 'bubbles'"),
        ("anna", {"uncover": "never"}, "use one of paused, playing, steps"),
        ("anna", {"radius": 2.0}, "--radius is 2; it must be from 0.01 to 0.5"),
        ("anna", {"every_s": float("nan")}, "--every is nan"),
        ("anna", {"budget": 0}, "--budget is 0"),
    ],
)
def test_what_cannot_be_is_told_and_nothing_is_written(root, annotator, wanted, message):
    with pytest.raises(VaclipError, match=message):
        begun(root, annotator, **wanted)
    assert not (root / "annotate").exists()


def test_annotations_of_another_origin_are_never_replaced(root):
    clip = read_rows(root / "clips.csv")[0]["clip_id"]
    row = {"clip_id": clip, "annotator": "anna", "kind": "region", "value": "head"}
    write_rows(root / "attention.csv", [row])
    with pytest.raises(VaclipError, match="annotations by 'anna' that were not made here"):
        begun(root)


def test_a_session_that_is_gone_is_not_begun_again_beside_its_rows(root):
    session = begun(root)
    content, said = sent()
    Record(root, session).save(1, content, said, [])
    shutil.rmtree(root / "annotate/anna")
    with pytest.raises(VaclipError, match=r"annotation_log\.csv has rows of 'anna'"):
        begun(root)
    begun(root, "ben")


def test_regions_need_regions(root):
    head = yaml.safe_load((root / "study.yaml").read_text())
    (root / "study.yaml").write_text(yaml.safe_dump({**head, "regions": {}}))
    with pytest.raises(VaclipError, match="name some in study"):
        begun(root, mode="regions")


def test_what_is_saved_is_in_the_study_and_saved_again_it_is_replaced(root):
    session = begun(root, again=0)
    record = Record(root, session)
    clip_id = session.showings[0].clip_id
    marks = [{"press": 1}]
    content, said = sent(marks=marks, nothing=False, diagnosis="limping", confidence=4)
    record.keep(1, content)
    assert (record.draft(1).saved, record.draft(1).stale) == (0, True)
    record.save(1, content, said, [("gaze", GAZE)])
    assert (record.draft(1).saved, record.draft(1).stale) == (1, False)
    assert record.draft(1).said["marks"] == marks
    (row,) = read_rows(root / "attention.csv")
    assert (row["clip_id"], row["annotator"], row["kind"]) == (clip_id, "anna", "gaze")
    assert json.loads((root / row["value"]).read_text()) == GAZE
    study = load_study(root, quiet=True)
    assert [one.value for one in study.annotations[clip_id]] == [row["value"]]
    (reading,) = read_annotation_log(root)
    assert reading.annotations == study.annotations[clip_id]
    assert (reading.clip_id, reading.showing) == (clip_id, 1)
    assert (reading.seconds, reading.diagnosis, reading.confidence) == (12.3, "limping", 4)

    content, said = sent()
    record.save(1, content, said, [])
    assert read_rows(root / "attention.csv") == []
    (again,) = read_rows(root / "annotation_log.csv")
    assert (again["saved"], again["annotations"], again["diagnosis"]) == ("2", "[]", "")


def test_a_second_showing_is_in_the_log_alone(root):
    session = begun(root, again=1.0)
    number = next(n for n, one in enumerate(session.showings, 1) if one.time == 2)
    content, said = sent()
    Record(root, session).save(number, content, said, [("gaze", GAZE)])
    assert not (root / "attention.csv").exists()
    (reading,) = read_annotation_log(root)
    assert reading.showing == 2
    assert json.loads((root / reading.annotations[0].value).read_text()) == GAZE


def test_columns_of_ones_own_stay(root):
    clip = read_rows(root / "clips.csv")[0]["clip_id"]
    row = {"clip_id": clip, "annotator": "carl", "kind": "region", "value": "head", "note": "mine"}
    write_rows(root / "attention.csv", [row])
    session = begun(root, again=0)
    content, said = sent()
    Record(root, session).save(1, content, said, [("region", "trunk")])
    rows = read_rows(root / "attention.csv")
    assert rows[0] == row
    assert rows[1]["note"] == ""


def test_regions_are_told_with_how_sure_and_when(root):
    session = begun(root, again=0)
    marks = [
        {"region": "head", "confidence": 5, "from": None, "to": None},
        {"region": "hips", "confidence": 2, "from": 0.25, "to": 1.5},
    ]
    content, said = sent(marks=marks, nothing=False)
    Record(root, session).save(1, content, said, [("region", "head")])
    (row,) = read_rows(root / "annotation_log.csv")
    assert row["regions"] == "head (5); hips (2, 0.2 to 1.5 s)"


WRITER = """
import sys
from pathlib import Path
from vaclip.annotate.marks import read_said
from vaclip.annotate.record import Record
from vaclip.annotate.session import read_session
root, name = Path(sys.argv[1]), sys.argv[2]
session = read_session(root / "annotate" / name)
record = Record(root, session)
content = {"marks": [], "seconds": 1, "nothing": True}
for number in range(1, len(session.showings) + 1):
    record.save(number, content, read_said(content, ()), [("region", "head")])
"""


def test_no_spreadsheet_takes_a_comment_for_a_formula(root):
    session = begun(root, again=0)
    content, said = sent(comment="=1+1")
    Record(root, session).save(1, content, said, [])
    assert read_rows(root / "annotation_log.csv")[0]["comment"] == "'=1+1"
    assert Record(root, session).draft(1).said["comment"] == "=1+1"


def test_two_annotators_at_once_lose_nothing(tmp_path):
    root = write_tiny_study(tmp_path / "study", 5)
    (root / "attention.csv").unlink()
    names = ("anna", "ben", "carl")
    for name in names:
        begun(root, name, again=0)
    words = [[sys.executable, "-c", WRITER, str(root), name] for name in names]
    running = [subprocess.Popen(one) for one in words]
    assert [one.wait(timeout=120) for one in running] == [0, 0, 0]
    rows = read_rows(root / "attention.csv")
    clips = {row["clip_id"] for row in read_rows(root / "clips.csv")}
    assert len(rows) == len(names) * len(clips)
    assert {(r["clip_id"], r["annotator"]) for r in rows} == {(c, n) for c in clips for n in names}
    assert len(read_annotation_log(root)) == len(rows)


def test_study_yaml_says_that_they_were_blinded(root):
    before = (root / "study.yaml").read_text()
    keep_session(root, replace(begun(root), knows=False))
    assert note_blinding(root) is None
    assert (root / "study.yaml").read_text().startswith(before)  # comments too
    blinding = load_study(root, quiet=True).blinding
    assert (blinding.blinded, blinding.saw, blinding.when) == (True, (), "before")
    assert note_blinding(root) is None
    assert (root / "study.yaml").read_text().count("annotation:") == 1


def test_who_knew_a_diagnosis_was_not_blinded(root):
    keep_session(root, replace(begun(root), knows=False))
    keep_session(root, replace(begun(root, "ben"), knows=True))
    assert note_blinding(root) is None
    assert load_study(root, quiet=True).blinding.blinded is False


def test_a_study_that_said_blinded_before_somebody_knew_is_told(root):
    keep_session(root, replace(begun(root), knows=False))
    note_blinding(root)
    keep_session(root, replace(begun(root, "ben"), knows=True))
    assert "ben knew diagnoses" in note_blinding(root)


def test_a_study_that_said_not_blinded_and_has_none_but_blinded_is_told(root):
    with (root / "study.yaml").open("a") as file:
        file.write("annotation: {blinded: false}\n")
    keep_session(root, replace(begun(root), knows=False))
    assert "says not blinded" in note_blinding(root)
    keep_session(root, replace(begun(root, "ben"), knows=True))
    assert note_blinding(root) is None


def test_of_annotations_from_elsewhere_nothing_is_said(root):
    clip = read_rows(root / "clips.csv")[0]["clip_id"]
    row = {"clip_id": clip, "annotator": "carl", "kind": "region", "value": "head"}
    write_rows(root / "attention.csv", [row])
    keep_session(root, replace(begun(root), knows=False))
    assert "whether carl were blinded" in note_blinding(root)
    assert load_study(root, quiet=True).blinding.blinded is None


@pytest.mark.parametrize(
    "text",
    ["{name: a, classes: [steady, limping, shuffling]}\n", "annotation: {saw: [history]}\n"],
)
def test_a_study_yaml_that_takes_no_line_is_left_as_it_is(root, text):
    if text.startswith("annotation"):
        text = (root / "study.yaml").read_text() + text
    begun(root)
    (root / "study.yaml").write_text(text)
    assert "write annotation: {blinded: true" in note_blinding(root)
    assert (root / "study.yaml").read_text() == text


@pytest.mark.parametrize("text", ["{", "[]", '{"annotator": "anna"}', '{"protocol": {"x": 1}}'])
def test_a_damaged_session_is_told(root, text):
    begun(root)
    (root / "annotate/anna/session.json").write_text(text)
    with pytest.raises(VaclipError, match=r"annotate/anna/session\.json"):
        read_session(root / "annotate/anna")


@pytest.mark.parametrize(
    "change",
    [{"annotations": "spoilt"}, {"showing": "3"}, {"showing": "0"}, {"seconds": "-1"},
     {"seconds": "inf"}, {"diagnosis": "limping"}, {"diagnosis": "limping", "confidence": "9"}],
)  # fmt: skip
def test_a_changed_log_is_told(root, change):
    session = begun(root)
    content, said = sent()
    Record(root, session).save(1, content, said, [])
    rows = read_rows(root / "annotation_log.csv")
    write_rows(root / "annotation_log.csv", [{**rows[0], **change}])
    with pytest.raises(VaclipError, match=r"annotation_log\.csv:2: not as"):
        read_annotation_log(root)


def test_the_protocol_has_a_default_for_everything():
    assert Protocol() == Protocol(mode="bubbles", uncover="paused", diagnosis=True)
