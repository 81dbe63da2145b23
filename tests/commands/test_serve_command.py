from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("uvicorn", reason="uvicorn is not installed")
from exported_folder import coloured, trap, write_exported
from vaclip.commands.main import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_exported(tmp_path_factory.mktemp("exported") / "model")


def _serving(folder, *words, **variables):
    command = [sys.executable, "-m", "vaclip", "serve", str(folder), *words]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=os.environ | variables
    )


def _address(process):
    """Returns the address, and what was said before it."""
    before = []
    while True:
        line = process.stdout.readline().decode()
        assert line, before
        if found := re.search(r"http://\S+", line):
            return found[0], " ".join(" ".join(before).split())
        before.append(line)


def _sent(address, video):
    kind = {"Content-Type": "application/octet-stream"}
    request = urllib.request.Request(f"{address}predict", video, kind)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def _children(process):
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return [int(number) for number in listed.split()]


def test_it_prints_its_address_and_answers_this_machine_alone(folder, tmp_path):
    with _serving(folder) as process:
        try:
            address, before = _address(process)
            assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", address)
            assert before == ""
            assert _sent(address, coloured(tmp_path / "a.mkv", (9, 9, 200)))["predicted"] == "blue"
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=30) in (0, 130)
            assert b"Traceback" not in process.stdout.read()
        finally:
            process.kill()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_stopped_while_it_reads_it_leaves_nothing_behind(folder, tmp_path, number, status):
    (tmp_path / "temporary").mkdir()
    with _serving(folder, TMPDIR=str(tmp_path / "temporary")) as process:
        try:
            address, _ = _address(process)
            [child] = _children(process)
            asked = [sys.executable, "-c", _ASK, address, str(tmp_path / "sleep.mkv")]
            trap(tmp_path / "sleep.mkv", "sleep")
            with subprocess.Popen(asked, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
                while not json.load(urllib.request.urlopen(f"{address}health"))["uploads"]:
                    time.sleep(0.05)
                process.send_signal(number)
                assert process.wait(timeout=30) == status
            while Path(f"/proc/{child}").exists():
                time.sleep(0.05)
            assert list((tmp_path / "temporary").iterdir()) == []
            assert b"Traceback" not in process.stdout.read()
        finally:
            process.kill()


_ASK = """
import sys, urllib.request
kind = {"Content-Type": "application/octet-stream"}
address, video = sys.argv[1:]
urllib.request.urlopen(urllib.request.Request(address + "predict", open(video, "rb").read(), kind))
"""


@pytest.mark.parametrize("token", ["", "of-the-test"])
def test_with_a_token_only_who_brings_it_is_answered(folder, token):
    with _serving(folder, "--token", VACLIP_TOKEN=token) as process:
        try:
            address, _ = _address(process)
            assert re.search(r"\?token=" + (token or r"[\w-]{20,}"), address)
            with pytest.raises(urllib.error.HTTPError, match="403"):
                urllib.request.urlopen(address.partition("?")[0], timeout=30)
            opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
            with opener.open(address, timeout=30) as answer:
                assert b"no medical device" in answer.read()
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("words", "said"),
    [([], "everybody may ask the model (--token asks who)"), (["--token"], "nothing is encrypted")],
)
def test_other_machines_are_let_in_with_a_warning(folder, words, said):
    with _serving(folder, "--host", "0.0.0.0", *words) as process:
        try:
            address, before = _address(process)
            assert address.startswith("http://0.0.0.0:")
            assert said in before
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--port 70000", "--port 70000 cannot be used"),
        ("--host 192.0.2.1", "--host 192.0.2.1 --port 0 cannot be used"),
        ("--max-mb 0", "--max-mb 0: give a number above 0, below 1000000"),
        ("--timeout nan", "--timeout nan: give a number above 0"),
        ("--memory-mb -1", "--memory-mb -1: give a number above 0"),
        ("--queue -1", "--queue -1: give a number from 0 to 1000"),
    ],
)
def test_what_cannot_be_is_told(folder, capsys, words, said):
    with pytest.raises(SystemExit, match="1"):
        main(["serve", str(folder), *words.split()])
    assert said in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"needs_map": True}, "needs a clinician's map with each video (needs_map)"),
        ({"classes": []}, "lacks classes, mean or std; export the model again"),
        ({"classes": [1, 2]}, "lacks classes, mean or std"),
        ({"mean": [0.5]}, "lacks classes, mean or std"),
        ({"std": ["a"] * 3}, "lacks classes, mean or std"),
        ({"std": None}, "lacks classes, mean or std"),
    ],
)
def test_a_model_that_cannot_be_served_is_told(tmp_path, capsys, change, said):
    with pytest.raises(SystemExit, match="1"):
        main(["serve", str(write_exported(tmp_path / "model", **change))])
    assert said in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("name", ["model.onnx", "model.json", "predict.py", "MODEL_CARD.md"])
def test_a_file_that_lacks_is_named(tmp_path, capsys, name):
    folder = write_exported(tmp_path / "model")
    (folder / name).unlink()
    with pytest.raises(SystemExit, match="1"):
        main(["serve", str(folder)])
    assert f"has no {name}; name a folder" in " ".join(capsys.readouterr().err.split())


def test_a_model_that_cannot_be_loaded_is_told(tmp_path, capfd):
    folder = write_exported(tmp_path / "model")
    (folder / "model.onnx").write_bytes(b"no model")
    with pytest.raises(SystemExit, match="1"):
        main(["serve", str(folder)])
    said = " ".join(capfd.readouterr().err.split())
    assert "InvalidProtobuf" in said
    assert "could not be loaded (status 1); what its process said stands above" in said
