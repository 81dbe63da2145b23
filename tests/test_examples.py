"""The examples run as they stand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"


def run_example(name: str, *arguments: str) -> str:
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_use_the_model():
    shown = run_example("use_the_model.py")
    assert "logits         (4, 3)" in shown
    assert "video_embed    (4, 256)" in shown


def test_make_a_study(tmp_path):
    assert "12 clips, 0 problems" in run_example("make_a_study.py", str(tmp_path / "dots"))


def test_every_example_is_tested():
    assert {path.name for path in EXAMPLES.glob("*.py")} == {"use_the_model.py", "make_a_study.py"}
