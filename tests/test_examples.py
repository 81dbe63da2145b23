"""The examples run as they stand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
RUN_CELLS = """
import ast, json, sys
import pandas

pandas.options.display.max_columns = None
names = {}
for cell in json.load(sys.stdin):
    tree = ast.parse(cell)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    if last is not None:
        value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
        html = getattr(value, "_repr_html_", str)
        print(repr(value), bool(html()) if html is not str else "")
"""


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
    shown = run_example("make_a_study.py", str(tmp_path / "dots"))
    assert "StudyCheck(12 clips: 0 errors, 0 warnings)" in shown


@pytest.mark.slow
def test_the_notebook_runs_from_top_to_bottom(tmp_path):
    """Its cells in one process, as a kernel would run them; each last expression is shown."""
    run_example("make_a_study.py", str(tmp_path / "my_study"))
    notebook = json.loads((EXAMPLES / "notebook.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"]
    assert all(not c.get("outputs") for c in notebook["cells"]), "outputs may hold patients' data"
    done = subprocess.run(
        [sys.executable, "-c", RUN_CELLS], input=json.dumps(cells), capture_output=True, text=True,
        cwd=tmp_path, env={**os.environ, "VACLIP_CACHE": str(tmp_path / "cache")}, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    shown = done.stdout
    for said in (
        "Study('dots': 12 patients",
        "Run(",
        "prob_left",
        "resnet_gaze - resnet",
        "report.html",
    ):
        assert said in shown
    assert (tmp_path / "report" / "report.html").is_file()


def test_every_example_is_tested():
    assert {path.name for path in EXAMPLES.glob("*.py")} == {"use_the_model.py", "make_a_study.py"}
