"""A small run of ``benchmarks/inference.py``; its seeds are fixed, so are the rates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

COHORTS = 40


@pytest.fixture(scope="module")
def benchmark():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
        import inference

        patch.setattr(inference, "TRAININGS", 100)
        patch.setattr(inference, "POPULATION", 1000)
        yield inference


def test_a_cohort_is_tested_once_a_seed_by_models_that_did_not_see_it(benchmark):
    scenario = benchmark.Scenario("two seeds", patients=30, seeds=2)
    both, of_these = benchmark.cohort(np.random.default_rng(0), scenario, ["acc_macro"])
    assert of_these.shape == (2, 1)
    for cases in both:
        assert np.bincount(cases.patient).tolist() == [2] * 30
        assert len(cases.models()) == 10
        right = balanced_accuracy_score(cases.label, cases.probs.argmax(axis=1))
        assert 1 / 3 < right < 0.9  # a model that saw whom it tests would be near 1
    assert not np.array_equal(both[0].probs, both[1].probs)


@pytest.mark.slow
def test_true_nulls_stand_and_a_large_difference_is_found(benchmark):
    null = benchmark.NULL[1]
    true, found = benchmark.study(null, COHORTS, 1, ["acc_macro"])
    assert true[0] == true[1]
    # At 6 % more than 6 of 40 are rejected with a chance of 1 %; at 93 % fewer than 33 covered.
    assert found["acc_macro, p"].sum() <= 6
    assert found["acc_macro, difference"].sum() >= 33
    assert found["acc_macro, value"].sum() >= 33
    gain = benchmark.replace(null, gain=1.5)
    true, found = benchmark.study(gain, 15, 1, ["acc_macro"])
    assert true[0] - true[1] > 0.2
    assert found["acc_macro, p"].mean() > 0.6
