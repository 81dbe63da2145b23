"""The page over HTTP: what it lets through, and what it must never say."""

from __future__ import annotations

import json
import shutil
import time
from concurrent.futures import ThreadPoolExecutor

import av
import numpy as np
import pytest
import yaml

from annotating import COOKIE, ask, served
from conftest import CLASSES, read_rows, write_rows, write_tiny_study
from vaclip.annotate.session import MODES
from vaclip.study.annotation_log import read_annotation_log
from vaclip.study.load import load_study

BUBBLE = {"press": 1, "x": 0.5, "y": 0.5, "from": 0.5, "to": 1.0, "held": 0.3}
CANNOT_BE_SHOWN = '<p role="alert">This clip cannot be shown'  # its words are on every page
SAID = {"marks": [BUBBLE], "seconds": 3.0, "diagnosis": "limping", "confidence": 4}


@pytest.fixture
def root(tmp_path):
    root = write_tiny_study(tmp_path / "study", 2, clips_per_patient=2)
    (root / "attention.csv").unlink()
    return root


def begin(port):
    status, _, body = ask(port, "/begin", {"knows": False})
    assert status == 200
    return json.loads(body)["next"]


def test_the_page_of_no_mode_tells_which_clip_it_is(tmp_path):
    """Reads every answer of whole sessions for whatever names a clip, its patient or its class."""
    root = write_tiny_study(tmp_path / "ward_of_dr_who" / "secret_study", 2)
    (root / "attention.csv").unlink()
    rows = read_rows(root / "clips.csv")
    for number, row in enumerate(rows):
        video = f"videos/{row['label']}_{number}_zebra.mkv"
        (root / row["video"]).rename(root / video)
        row |= {"clip_id": f"clip-of-{number}-okapi", "patient_id": f"Mr Quokka {number}"}
        row |= {"video": video, "site": "Narnia", "session": "autumn", "device": "Tricorder"}
    write_rows(root / "clips.csv", rows)
    head = yaml.safe_load((root / "study.yaml").read_text())
    (root / "study.yaml").write_text(yaml.safe_dump({**head, "name": "unicorns"}))
    words = {"zebra", "okapi", "Quokka", "Narnia", "autumn", "Tricorder", "unicorns", "secret",
             "dr_who", ".mkv", ".npz", "videos", "keypoints", *CLASSES}  # fmt: skip
    answers = []
    for mode in MODES:
        with served(root, f"reader-{mode}", mode=mode, diagnosis=False) as (port, session):
            answers += [ask(port, "/"), ask(port, begin(port)), ask(port, "/annotate.js"),
                        ask(port, "/annotate.css"), ask(port, "/show/99"), ask(port, "/film/99"),
                        ask(port, "/keep/1", {"state": {}}), ask(port, "/save/1", {"state": {}}),
                        ask(port, "/nowhere"), ask(port, "/keep/1", raw="{")]  # fmt: skip
            for number in range(1, len(session.showings) + 1):
                answers += [ask(port, f"/show/{number}"), ask(port, f"/film/{number}")]
                said = {"marks": [], "nothing": True, "seconds": 1}
                answers += [ask(port, f"/keep/{number}", {"state": said})]
                answers += [ask(port, f"/save/{number}", {"state": said})]
            answers.append(ask(port, "/"))
    assert len(answers) > 90
    for status, headers, body in answers:
        told = (str(headers) + body.decode("latin-1")).casefold()
        assert not {word for word in words if word.casefold() in told}, status


def test_where_the_diagnosis_is_asked_every_clip_lists_all_classes(root):
    with served(root) as (port, session):
        begin(port)
        for number in range(1, len(session.showings) + 1):
            page = ask(port, f"/show/{number}")[2].decode()
            asked = page.count('name="diagnosis"')
            assert asked == len(CLASSES)
            assert all(page.count(f'value="{name}"') == 1 for name in CLASSES)


def test_a_film_carries_no_name_of_its_own(root):
    with served(root) as (port, _):
        begin(port)
        status, headers, body = ask(port, "/film/1")
    assert status == 200
    assert "Content-Disposition" not in headers
    (root / "film.mp4").write_bytes(body)
    with av.open(str(root / "film.mp4")) as film:
        assert not {"title", "comment", "artist", "location"} & film.metadata.keys()
        assert film.duration == pytest.approx(2_000_000, rel=0.1)


def test_a_film_is_made_once_however_often_it_is_asked_for(root, monkeypatch):
    made = []

    def make(clip, target):
        made.append(clip.clip_id)
        time.sleep(0.3)
        target.write_bytes(b"film")

    monkeypatch.setattr("vaclip.view.kept._write_film", make)
    with served(root) as (port, session), ThreadPoolExecutor() as asking:
        begin(port)
        answers = list(asking.map(lambda _: ask(port, "/film/1"), range(3)))
        assert ask(port, "/film/2")[2] == b"film"
    assert [body for _, _, body in answers] == [b"film"] * 3
    assert made.count(session.showings[0].clip_id) == 1
    assert made.count(session.showings[1].clip_id) == 1


def test_a_session_from_its_first_question_to_its_last_clip(root):
    with served(root) as (port, session):
        assert ask(port, "/show/1")[0] == 303  # first it is asked what they know
        following = begin(port)
        for number in range(1, len(session.showings) + 1):
            assert following == f"/show/{number}"
            status, _, body = ask(port, f"/save/{number}", {"state": SAID})
            assert status == 200
            following = json.loads(body)["next"]
        assert following == "/"
        page = ask(port, "/")[2].decode()
        assert page.count(": saved") == len(session.showings)
    study = load_study(root, quiet=True)
    assert set(study.annotations) == {clip.clip_id for clip in study.clips}
    assert study.blinding.blinded is True
    assert len(read_annotation_log(root)) == len(session.showings)


def test_it_goes_on_where_it_was_left(root):
    with served(root) as (port, _):
        begin(port)
        ask(port, "/save/1", {"state": SAID})
        ask(port, "/keep/2", {"state": {**SAID, "comment": "half way"}})
    with served(root) as (port, _):
        page = ask(port, "/")[2].decode()
        assert 'href="/show/2"' in page
        assert "half way" in ask(port, "/show/2")[2].decode()


def test_what_was_saved_can_be_changed(root):
    with served(root) as (port, _):
        begin(port)
        ask(port, "/save/1", {"state": SAID})
        ask(port, "/keep/1", {"state": {**SAID, "marks": []}})
        assert ": changed since" in ask(port, "/")[2].decode()
        assert len(read_rows(root / "attention.csv")) == 1  # until it is saved again
        ask(port, "/save/1", {"state": {**SAID, "marks": [], "nothing": True}})
    assert read_rows(root / "attention.csv") == []


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({**SAID, "marks": []}, "Mark something"),
        ({**SAID, "nothing": True}, "Mark something"),
        ({**SAID, "diagnosis": None}, "Choose a diagnosis"),
        ({**SAID, "confidence": None}, "Choose a diagnosis"),
        ({**SAID, "marks": [{}]}, "reload it"),
        (None, "reload it"),
    ],
)
def test_what_is_not_whole_is_not_saved(root, state, message):
    with served(root) as (port, _):
        begin(port)
        status, _, body = ask(port, "/save/1", {"state": state})
    assert (status, message in body.decode()) == (400, True)
    assert not (root / "annotation_log.csv").exists()


def test_who_lacks_the_token_sees_and_changes_nothing(root):
    with served(root) as (port, _):
        begin(port)
        for path in ("/", "/show/1", "/film/1", "/annotate.js"):
            assert ask(port, path, cookie="")[0] == 403
        assert ask(port, "/save/1", {"state": SAID}, cookie="")[0] == 403
        # The cookie alone, which a browser sends along, does not do.
        assert ask(port, "/save/1", {"state": SAID}, token="other")[0] == 403
        assert ask(port, "/save/1", raw="x" * (5 << 20), cookie=COOKIE)[0] == 413
    assert not (root / "annotation_log.csv").exists()


def test_a_clip_that_cannot_be_read_is_said_so_and_can_be_passed(root, caplog):
    with served(root, diagnosis=False) as (port, session):
        clip = session.showings[0].clip_id
        video = next(c.video for c in load_study(root, quiet=True).clips if c.clip_id == clip)
        video.write_bytes(b"no video")
        shutil.rmtree(root.parent / "cache", ignore_errors=True)
        begin(port)
        assert CANNOT_BE_SHOWN in ask(port, "/show/1")[2].decode()
        status, _, body = ask(port, "/film/1")
        assert (status, clip in body.decode()) == (500, False)
        said = {"marks": [], "nothing": True, "seconds": 1}
        assert ask(port, "/save/1", {"state": said})[0] == 200
    assert video.name in caplog.text  # whoever runs the study is told which


def test_of_a_clip_that_cannot_be_seen_no_diagnosis_is_asked(root):
    with served(root) as (port, _):
        for clip in load_study(root, quiet=True).clips:
            clip.video.write_bytes(b"no video")
        begin(port)
        assert 'name="diagnosis"' not in ask(port, "/show/1")[2].decode()
        said = {"marks": [], "nothing": True, "seconds": 1}
        assert ask(port, "/save/1", {"state": said})[0] == 200
    assert read_annotation_log(root)[0].diagnosis == ""


def test_keypoints_of_other_joints_hide_the_regions_and_nothing_else(root, caplog):
    for path in (root / "keypoints").iterdir():
        np.savez(path, **{name: value[:, :5] for name, value in np.load(path).items()})
    with served(root, mode="regions") as (port, _):
        begin(port)
        assert CANNOT_BE_SHOWN in ask(port, "/show/1")[2].decode()
        assert "5 joints, but the study has 17 joint names" in caplog.text
    with served(root, "ben", mode="draw") as (port, _):
        begin(port)
        assert CANNOT_BE_SHOWN not in ask(port, "/show/1")[2].decode()


def test_what_was_saved_stays_saved_while_study_yaml_is_being_mended(root, caplog):
    with served(root) as (port, _):
        begin(port)
        head = (root / "study.yaml").read_text()
        (root / "study.yaml").write_text(f"{head}\nclasses: [a, limping\n")
        assert ask(port, "/save/1", {"state": SAID})[0] == 200
    assert "cannot be read as YAML" in caplog.text
    assert len(read_annotation_log(root)) == 1


def test_an_annotator_may_have_any_name(root):
    with served(root, "lock") as (port, _):
        begin(port)
        assert ask(port, "/save/1", {"state": SAID})[0] == 200


def test_a_clip_that_left_the_study_keeps_its_number(root):
    with served(root) as (port, session):
        begin(port)
    gone = session.showings[2].clip_id
    rows = [row for row in read_rows(root / "clips.csv") if row["clip_id"] != gone]
    write_rows(root / "clips.csv", rows)
    with served(root) as (port, _):
        assert 'href="/show/3"' not in ask(port, "/")[2].decode()
        assert ask(port, "/show/3")[0] == 400
        assert "Clip 3 of" in ask(port, "/show/4")[2].decode()


def test_a_study_that_cannot_be_written_to_is_told_without_a_name(root, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device", "/ward/limping.mp4")

    with served(root) as (port, _):
        begin(port)
        with monkeypatch.context() as patched:
            patched.setattr("vaclip.annotate.record.write_table", full)
            status, _, body = ask(port, "/save/1", {"state": SAID})
        assert (status, body) == (503, b"the study cannot be written to")
        assert ask(port, "/save/1", {"state": SAID})[0] == 200
