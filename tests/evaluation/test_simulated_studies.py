"""A small run of ``benchmarks/report_statistics.py``; its seeds are fixed, so are the rates."""

from __future__ import annotations

from pathlib import Path

import pytest

STUDIES = 60


@pytest.fixture(scope="module")
def benchmark():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
        import report_statistics
        import simulated_studies

        patch.setattr(report_statistics, "N_RESAMPLES", 200)
        size = {"n_resamples": 200, "n_permutations": 199}
        patch.setattr(report_statistics, "SIZE", size)
        patch.setattr(report_statistics, "FEW", size | {"n_resamples": 2})
        patch.setattr(simulated_studies, "POPULATION", 15_000)
        yield report_statistics


def test_intervals_cover_and_true_nulls_stand(benchmark):
    scenario = benchmark.SCENARIOS[1]
    values = benchmark.values(STUDIES, 1, scenario)
    null = benchmark.differences(STUDIES, 1, scenario, 0.0)
    # Of 60 studies at 95 % fewer than 53 cover with a chance of 0.9 %.
    assert values["covers"].sum() >= 53
    assert null["covers"].sum() >= 53
    assert null["rejected"].sum() <= 7
    assert null["width"].mean() < 0.4


def test_a_large_difference_is_found(benchmark):
    found = benchmark.differences(20, 1, benchmark.SCENARIOS[0], 0.3)
    assert found["rejected"].mean() > 0.8
    assert found["covers"].mean() > 0.8


@pytest.mark.slow
def test_the_verdict_finds_the_truth_or_is_undecided(benchmark):
    wrong = {
        "guidance does nothing": "yes",
        "any map helps by 0.2": "no",
        "only the right map helps, by 0.2": "no",
        "the map holds the diagnosis": "yes",
    }
    for truth, never in wrong.items():
        said = benchmark.verdicts(5, 1, benchmark.SCENARIOS[0], truth)
        assert (said["map_at_hand"] != never).all(), truth
        if truth == "only the right map helps, by 0.2":
            assert (said["whose_map"] == "yes").sum() >= 4
            assert (said["map_at_hand"] == "yes").sum() >= 3
