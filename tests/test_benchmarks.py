"""The benchmarks that documents quote still run, at their smallest."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
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
        (["view.py", "--clips", "60"], "| a clip with its maps |"),
        (
            "annotate.py out --quick --patients 15 --browser 0 --seeds 0".split(),
            "| rater1, reader |",
        ),
        (["tables.py", "--sizes", "100", "200"], "| load, a tenth of the ids unknown |"),
        (["ring.py", "--processes", "1", "2", "--rows", "32", "--rounds", "1"], "| 2 | sigmoid |"),
        (
            # Of two frames of maps, oneDNN's bfloat16 gives a gradient that is not finite.
            "gpu.py --rounds 1 --epochs 2 debug=smoke data.frames=16".split(),
            "| P2 on features | bf16-mixed |",
        ),
        (["inference.py", "--quick", "--only", "null", "--rows", "1 seed"], "60 patients, 1 seed"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_a_benchmark_prints_its_table(tmp_path, words, said):
    command = [sys.executable, str(BENCHMARKS / words[0]), *words[1:]]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert said in done.stdout


def test_coverage_over_cohorts_is_that_of_normal_intervals(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    covered = importlib.import_module("verdicts").covered
    error = np.random.default_rng(0).normal(0.0, 0.1, (2, 4000))
    table = pd.DataFrame({"a": 0.5 + error[0], "b": error[1], "b_low": np.nan, "b_high": np.nan})
    table = table.assign(a_low=table["a"] - 0.1, a_high=table["a"] + 0.1)  # one standard deviation
    table.loc[:9, "a"] = np.nan
    assert covered(table, {"a": "a"}) == ["0.68 ± 0.01", "0.20"]
    table = table.assign(b_low=table["b"] - 0.196, b_high=table["b"] + 0.196)
    assert covered(table, {"b": "b"}) == ["0.95 ± 0.00", "0.39"]
