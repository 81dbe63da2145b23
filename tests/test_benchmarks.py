"""The benchmarks that documents quote still run, at their smallest."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["verdicts.py", "--quick", "--truths", "locates"], "| locates | 1 | whose_map |"),
        (["cpu_step.py", "--rounds", "1", "--batch", "4", "--size", "32"], "of this CPU's rate"),
        (
            "encoders.py out --quick --cohorts null --encoders lite0 --seeds 0".split(),
            "- lite0: bedside",
        ),
        (["nested_cv.py", "--cohorts", "2", "--deals", "1", "--jobs", "1"], "one arm better |"),
        (["tables.py", "--sizes", "100", "200"], "| load, a tenth of the ids unknown |"),
        (["inference.py", "--quick", "--only", "null", "--rows", "1 seed"], "60 patients, 1 seed"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_a_benchmark_prints_its_table(tmp_path, words, said):
    command = [sys.executable, str(BENCHMARKS / words[0]), *words[1:]]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert said in done.stdout
