"""The benchmarks that documents quote still run, at their smallest."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["verdicts.py", "--quick", "--truths", "locates"], "| locates | 1 | whose_map |"),
        (["cpu_step.py", "--rounds", "1", "--batch", "4", "--size", "32"], "of this CPU's rate"),
        (
            "busy_machine.py --rounds 1 --batch 4 --size 32 --others 1".split(),
            "| threads that sleep | ",
        ),
        (
            "encoders.py out --quick --cohorts null --encoders lite0 --seeds 0".split(),
            "- lite0: bedside",
        ),
        (["nested_cv.py", "--cohorts", "2", "--deals", "1", "--jobs", "1"], "one arm better |"),
        (["many_clips.py", "--sizes", "600", "1200"], "| memory at most |"),
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
        (
            "motion.py out debug=smoke --cohorts 101 --folds 0 --seeds 0".split(),
            "| two layers of five |",
        ),
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


def test_only_mixing_sees_the_order_of_steps_and_differences_see_no_room(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    variants = importlib.import_module("motion").VARIANTS
    torch.manual_seed(0)
    tokens, room = torch.randn(2, 5, 6, 3, 3), torch.randn(2, 5, 1, 3, 3)
    shuffled = tokens[:, :, [3, 0, 5, 1, 4, 2]]
    for name, (encoder, _) in variants.items():
        if encoder is None:
            continue
        built = encoder(8, channels=5, dropout=0.1, noise=0.1).eval()
        pooled = built(tokens).pooled
        assert pooled.shape == (2, built.out_channels)
        assert torch.allclose(built(shuffled).pooled, pooled, atol=1e-6) == (name == "no mixing")
        other_room = built(tokens + room).pooled
        assert torch.allclose(other_room, pooled, atol=1e-5) == (name == "differences alone")


@pytest.mark.parametrize(
    ("gain", "spread", "loss", "passed"),
    [(0.1, 0.0, 0.0, True), (0.02, 0.0, 0.0, False), (0.1, 0.6, 0.0, False), (0.1, 0.0, 1, False)],
)
def test_the_rule_for_motion_is_of_size_certainty_and_log_loss(
    monkeypatch, gain, spread, loss, passed
):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    motion = importlib.import_module("motion")
    rows = []
    for cohort, fold, seed in np.ndindex(3, 3, 2):
        own = gain + spread * (-1) ** (cohort + fold)  # five units up, four down
        for variant, more in ((motion.PRESENT, 0.0), ("no mixing", 1.0)):
            at = {"variant": variant, "cohort": cohort, "fold": fold, "seed": seed}
            rows.append({**at, "balanced accuracy": more * own + cohort, "log loss": more * loss})
    found = motion.gains(pd.DataFrame(rows).set_index(motion.RUN)).loc["no mixing"]
    assert found["balanced accuracy", "mean"] == pytest.approx(gain + spread / 9)
    signs = [(-1) ** unit for unit in range(9)]
    error = spread * np.std(signs, ddof=1) / 3
    assert found["balanced accuracy", "se"] == pytest.approx(error)
    assert motion.passes(found) is passed
