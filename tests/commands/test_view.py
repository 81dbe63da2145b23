from __future__ import annotations

import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

import vaclip as vc
from conftest import SMALL_RUN, write_tiny_study
from vaclip.commands.main import main
from vaclip.commands.view import _findings, _opened
from vaclip.errors import VaclipError

pytest.importorskip("uvicorn", reason="uvicorn is not installed")


def _viewing(*words):
    command = [sys.executable, "-m", "vaclip", "view", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def _first_page(process):
    """Returns the address that is printed, and the page behind it."""
    said = process.stdout.readline().decode()
    address = re.search(r"http://127\.0\.0\.1:\d+/\?token=[\w-]{20,}", said)[0]
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    with opener.open(address, timeout=30) as answer:
        return address, answer.read().decode()


def test_it_prints_its_address_serves_this_machine_alone_and_ends_with_ctrl_c(tmp_path):
    root = write_tiny_study(tmp_path / "study", 1)
    with _viewing(root) as process:
        try:
            address, page = _first_page(process)
            assert "steady-0-0" in page
            with pytest.raises(urllib.error.HTTPError, match="403"):
                urllib.request.urlopen(address.partition("?")[0], timeout=30)
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=30) in (0, 130)
            assert b"Traceback" not in process.stdout.read()
        finally:
            process.kill()


def test_a_port_that_cannot_be_used_is_told(tmp_path, capsys):
    root = write_tiny_study(tmp_path / "study", 1)
    with pytest.raises(SystemExit, match="1"):
        main(["view", str(root), "--port", "70000"])
    assert "--port 70000 cannot be used" in " ".join(capsys.readouterr().err.split())


def test_a_folder_that_is_no_study_is_told(tmp_path, capsys):
    with pytest.raises(SystemExit, match="1"):
        main(["view", str(tmp_path)])
    assert "study.yaml" in capsys.readouterr().err


def test_a_run_is_shown_with_its_study(tmp_path):
    """Of what is given as one word, the study is found by the run's settings."""
    root = write_tiny_study(tmp_path / "study")
    small = [*SMALL_RUN, f"data.cache_dir={tmp_path / 'cache'}"]
    run = vc.train(vc.load_study(root), arm="B0", overrides=small, folder=tmp_path / "run")
    assert _opened(run.folder, None) == (root, run.folder, str(tmp_path / "cache"))
    assert _opened(root, run.folder) == (root, run.folder, None)
    with _viewing(root, "--results", run.folder, "--arm", "B0") as process:
        try:
            assert "Diagnoses are those of arm B0" in _first_page(process)[1]
        finally:
            process.kill()
    root.rename(tmp_path / "moved")
    with pytest.raises(VaclipError, match="vaclip view STUDY --results"):
        _opened(run.folder, None)


def test_a_check_tells_each_clip_what_is_wrong_with_it(tmp_path):
    root = write_tiny_study(tmp_path / "study", 1)
    clip = vc.load_study(root).clips[0]
    clip.video.write_bytes(clip.video.read_bytes()[:-200])
    found = _findings(root)
    assert clip.clip_id in found
    assert set(found) <= {one.clip_id for one in vc.load_study(root).clips}
