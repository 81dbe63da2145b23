"""``vaclip annotate`` as a process: what it prints, refuses, and leaves when it is killed."""

from __future__ import annotations

import json
import random
import re
import signal
import subprocess
import sys
import threading
import urllib.request

import pytest
import yaml

from annotating import ask
from conftest import read_rows, write_tiny_study
from vaclip.commands.annotate import page_texts
from vaclip.commands.main import main
from vaclip.errors import VaclipError
from vaclip.study.annotation_log import read_annotation_log
from vaclip.study.load import load_study

SAID = {
    "marks": [{"press": 1, "x": 0.5, "y": 0.5, "from": 0.5, "to": 1.0, "held": 0.3}],
    "seconds": 3.0,
    "diagnosis": "limping",
    "confidence": 4,
}


@pytest.fixture
def root(tmp_path):
    root = write_tiny_study(tmp_path / "study", 2)
    (root / "attention.csv").unlink()
    return root


def annotating(root, *words):
    command = [sys.executable, "-m", "vaclip", "annotate", str(root), "--annotator", "anna", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def address(process):
    """Returns (port, token) that it prints."""
    line = process.stdout.readline()
    port, token = re.search(r"http://127\.0\.0\.1:(\d+)/\?token=([\w-]{20,})", line).groups()
    return int(port), token


def asker(process):
    port, token = address(process)
    return lambda path, sent=None: ask(
        port, path, sent, token=token, cookie=f"vaclip_annotate={token}"
    )


def test_it_prints_its_address_and_ends_with_ctrl_c(root):
    with annotating(root, "--mode", "draw") as process:
        try:
            port, token = address(process)
            page = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
            with page.open(f"http://127.0.0.1:{port}/?token={token}", timeout=30) as answer:
                assert "Where do you look?" in answer.read().decode()
            with annotating(root) as second:
                assert second.wait(timeout=60) == 1
                assert "by another process" in second.stdout.read()
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=30) in (0, 130)
            assert "Traceback" not in process.stdout.read()
        finally:
            process.kill()


def test_a_server_that_is_killed_at_any_moment_loses_at_most_what_is_in_flight(root):
    """Kills it while clips are kept and saved as fast as it goes, and looks at all it left."""
    done: dict[int, str] = {}
    last, draw = 0, random.Random(0)
    for _ in range(4):
        with annotating(root) as process:
            say = asker(process)
            say("/begin", {"knows": False})
            count = len(json.loads((root / "annotate/anna/session.json").read_text())["showings"])
            killer = threading.Timer(draw.uniform(0.0, 0.3), process.kill)
            begins = last + 2  # so that something is kept before, however slow the machine
            try:
                for turn in range(last + 1, last + 10_000):
                    number = turn % count + 1
                    state = {**SAID, "comment": f"turn {turn}"}
                    assert say(f"/keep/{number}", {"state": state})[0] == 200
                    done[number] = state["comment"]
                    last = turn
                    if turn == begins:
                        killer.start()
                    assert say(f"/save/{number}", {"state": state})[0] == 200
            except (OSError, ValueError):  # it is gone
                pass
            killer.join()
            process.wait(timeout=30)
        for number, comment in done.items():
            kept = json.loads((root / f"annotate/anna/{number:05d}.json").read_text())
            left = int(kept["said"]["comment"].split()[1])
            assert left >= int(comment.split()[1])  # or one in flight, whose answer was lost
        study = load_study(root, quiet=True)
        readings = read_annotation_log(root)
        assert len({(one.clip_id, one.showing) for one in readings}) == len(readings)
        for rows in study.annotations.values():
            assert len(rows) == 1
    assert last > 4


def test_mistakes_are_told(root, capsys, tmp_path):
    for words, message in (
        (["--mode", "bubbels"], "Did you mean 'bubbles'?"),
        (["--annotator", "a/b"], "use up to 40 letters"),
        (["--clips", "none-such"], "the study has no clip none-such"),
        (["--texts", str(tmp_path / "none.yaml")], "cannot be read"),
        (["--speed", "0"], "--speed is 0"),
    ):
        with pytest.raises(SystemExit, match="1"):
            main(["annotate", str(root), "--annotator", "anna", *words])
        assert message in " ".join(capsys.readouterr().err.split())
    assert not (root / "annotate").exists()


def test_texts_may_be_translated(tmp_path):
    own = tmp_path / "de.yaml"
    texts = {**page_texts(), "language": "de", "begin": "Los"}
    own.write_text(yaml.safe_dump(texts))
    assert page_texts(own)["begin"] == "Los"
    own.write_text(yaml.safe_dump({**texts, "extra": "x"}))
    with pytest.raises(VaclipError, match="has unknown extra"):
        page_texts(own)
    own.write_text("begin: Los\n")
    with pytest.raises(VaclipError, match="lacks all_clips"):
        page_texts(own)
    own.write_text("- a\n")
    with pytest.raises(VaclipError, match="NAME: TEXT"):
        page_texts(own)


def test_chosen_clips_alone_are_shown(root):
    first = read_rows(root / "clips.csv")[0]["clip_id"]
    with annotating(root, "--clips", first, "--no-diagnosis") as process:
        say = asker(process)
        say("/begin", {"knows": False})
        assert "Clip 1 of 1" in say("/show/1")[2].decode()
        process.kill()
