from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats as sp

from vaclip.evaluation import inference as stats
from vaclip.evaluation.inference import StandardError


def left_out_of_mean(values):
    return (values.sum() - values) / (len(values) - 1)


def class_means_left_out(values, strata):
    """The mean of class means without each patient, by a loop."""
    found = []
    for i in range(len(values)):
        keep = np.arange(len(values)) != i
        means = [values[keep & (strata == s)].mean() for s in np.unique(strata)]
        found.append(np.mean(means))
    return np.array(found)


def test_jackknife_of_a_mean_is_the_textbook_variance():
    values = np.random.default_rng(0).normal(size=12)
    variance, df = stats.jackknife_variance(left_out_of_mean(values), np.zeros(12, int))
    assert variance == pytest.approx(values.var(ddof=1) / 12)
    assert df == 11


def test_jackknife_in_strata():
    rng = np.random.default_rng(0)
    values, strata = rng.normal(size=15), np.repeat([0, 1, 2], [4, 10, 1])
    jackknifed = class_means_left_out(values[:14], strata[:14])
    variance, df = stats.jackknife_variance(np.append(jackknifed, 5.0), strata)
    expected = (values[:4].var(ddof=1) / 4 + values[4:14].var(ddof=1) / 10) / 4
    assert variance == pytest.approx(expected)  # the stratum of one says nothing
    assert df == 12
    assert math.isnan(stats.jackknife_variance(values[:2], np.arange(2))[0])
    with_undefined = np.append(jackknifed, [np.nan, np.nan])
    undefined = stats.jackknife_variance(with_undefined, np.append(strata, 0))
    assert undefined == pytest.approx((variance, df))


def test_spread_of_one_stratum_is_the_standard_error():
    values = np.random.default_rng(1).normal(size=20)
    error = stats.patient_error(left_out_of_mean(values), np.zeros(20, int), np.full(20, 0.05))
    assert error.value == pytest.approx(sp.sem(values))
    assert error.df == 19


def test_spread_of_class_means_by_hand():
    values = np.array([1.0, 0, 1, 0, 1, 1, 0.5, 0.5])
    strata = np.array([0, 0, 0, 0, 1, 1, 1, 2])
    share = 1 / 3 / np.bincount(strata)[strata]
    jackknifed = np.append(class_means_left_out(values[:7], strata[:7]), np.nan)
    # By hand in terms of K = 3 classes: without patient i of class h, the mean moves by
    # (mean_h - x_i) / (K (n_h - 1)).
    jackknifed[:7] = [(0.5 - x) / (3 * 3) for x in values[:4]] + [
        (2.5 / 3 - x) / (3 * 2) for x in values[4:7]
    ]
    error = stats.patient_error(jackknifed, strata, share)
    s2 = np.array([1 / 3, 1 / 12, 0.0])
    n = np.array([4, 3, 1])
    pooled = np.sum((n - 1) * s2) / 5
    moderated = ((n - 1) * s2 + 2 * pooled) / (n + 1)
    terms = moderated / n / 9
    assert error.value == pytest.approx(math.sqrt(terms.sum()))
    welch = terms.sum() ** 2 / np.sum(terms**2 / (n + 1))
    assert error.df == pytest.approx(min(welch, 5))


def test_a_standard_error_that_cannot_be_estimated():
    one = stats.patient_error(np.array([np.nan]), np.array([0]), np.array([1.0]))
    assert math.isnan(one.value)
    each = stats.patient_error(np.ones(3), np.arange(3), np.full(3, 1 / 3))
    assert math.isnan(each.value)
    alike = stats.patient_error(np.ones(6), np.repeat([0, 1], 3), np.full(6, 1 / 6))
    assert alike == StandardError(0.0, 4.0)


def test_models_add_what_exceeds_their_cells():
    patients = StandardError(0.3, 20.0)
    error = stats.with_training(patients, 0.10, 4.0, 0.03)
    assert error.value == pytest.approx(math.sqrt(0.09 + 0.07))
    assert error.df == pytest.approx(0.16**2 / (0.09**2 / 20 + 0.10**2 / 4))
    assert stats.with_training(patients, 0.03, 4.0, 0.10) == patients
    assert stats.with_training(patients, math.nan, 0.0, 0.10) == patients


def test_what_more_seeds_cannot_average_out_is_added_once_more():
    # V = A + (V1 - A) / S with A = 4, V1 = 10 and S = 3: V = 6.
    error = stats.with_overlap(StandardError(math.sqrt(6), 20.0), 10.0, 3, math.nan)
    assert error.value == pytest.approx(math.sqrt(6 + stats.SHARED * 4))
    assert error.df == 20
    # Seeds that agree on nothing leave nothing to add, not less.
    independent = stats.with_overlap(StandardError(math.sqrt(2), 20.0), 10.0, 3, math.nan)
    assert independent.value == pytest.approx(math.sqrt(2))


def test_one_seed_adds_nadeau_and_bengios_share():
    error = stats.with_overlap(StandardError(0.1, 20.0), 0.01, 1, 12 / 36)
    assert error.value == pytest.approx(0.1 * math.sqrt(1 + 1 / 3))
    assert math.isnan(stats.with_overlap(StandardError(0.1, 20.0), 0.01, 1, math.nan).value)
    assert math.isnan(stats.with_overlap(stats.UNKNOWN, 0.01, 3, 1 / 3).value)


def test_an_undefined_interval_says_so():
    assert str(stats.UNDEFINED) == "95% interval -"


def test_rounding_is_no_spread():
    noise = 1e-16 * np.random.default_rng(0).normal(size=6)
    strata, share = np.repeat([0, 1], 3), np.full(6, 1 / 6)
    nothing = stats.patient_error(0.7 + noise, strata, share)
    assert nothing == StandardError(0.0, 4.0)
    assert stats.with_training(nothing, 2e-32, 4.0, 1e-32) == nothing
    assert math.isnan(stats.corrected_resampled_t(0.2 + noise, 1 / 4).p)


def test_fraction_interval_is_wilsons():
    # Of 17 right of 20, with the binomial error and a normal quantile.
    error = math.sqrt(0.85 * 0.15 / 20)
    found = stats.fraction_interval(0.85, StandardError(error, 1e9), 20, 20)
    expected = sp.binomtest(17, 20).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-6)


@pytest.mark.parametrize(("value", "edge"), [(1.0, "high"), (0.0, "low")])
def test_all_right_or_wrong_is_not_certain(value, edge):
    found = stats.fraction_interval(value, StandardError(0.0, 1e9), 20, 60)
    expected = sp.binomtest(int(20 * value), 20).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-6)
    assert getattr(found, edge) == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("df", range(1, 30))
def test_a_fraction_lies_in_its_interval(df):
    for patients in (4, 12, 60):
        assert stats.fraction_interval(1.0, StandardError(0.0, df), patients, 60).high == 1.0
        assert stats.fraction_interval(0.0, StandardError(0.0, df), patients, 60).low == 0.0


def test_effective_size_is_at_most_the_rows():
    tiny = stats.fraction_interval(0.5, StandardError(1e-9, 1e9), 10, 30)
    expected = sp.binomtest(15, 30).proportion_ci(method="wilson")
    assert tiny.low == pytest.approx(expected.low, abs=1e-6)


def test_difference_interval_is_of_the_paired_t_test():
    rng = np.random.default_rng(2)
    a, b = rng.random(25), rng.random(25)
    expected = sp.ttest_rel(a, b)
    error = StandardError(float(sp.sem(a - b)), 24.0)
    found = stats.difference_interval(float(np.mean(a - b)), error, 25)
    ci = expected.confidence_interval()
    assert (found.low, found.high) == pytest.approx((ci.low, ci.high))
    assert stats.t_p(float(np.mean(a - b)), error) == pytest.approx(expected.pvalue)


def test_no_difference_anywhere_is_not_certain():
    found = stats.difference_interval(0.0, StandardError(0.0, 1e9), 20)
    ci = sp.binomtest(0, 20).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((-ci.high, ci.high), abs=1e-6)
    assert stats.t_p(0.0, StandardError(0.0, 19.0)) == 1.0
    assert math.isnan(stats.difference_interval(0.0, StandardError(0.0, 0.0), 1).low)


def test_positive_interval_is_on_the_logarithm():
    found = stats.positive_interval(0.5, StandardError(0.1, 30.0))
    half = sp.t.ppf(0.975, 30) * 0.1 / 0.5
    assert math.log(found.high / 0.5) == pytest.approx(half)
    assert math.log(0.5 / found.low) == pytest.approx(half)
    assert math.isnan(stats.positive_interval(0.0, StandardError(0.1, 30.0)).low)


def test_bootstrap_stays_within_strata():
    strata = np.array([0, 0, 0, 1, 1, 2])
    weights = stats.bootstrap_weights(strata, 500, np.random.default_rng(0))
    assert weights.shape == (500, 6)
    np.testing.assert_array_equal(weights[:, :3].sum(axis=1), 3)
    np.testing.assert_array_equal(weights[:, 3:5].sum(axis=1), 2)
    np.testing.assert_array_equal(weights[:, 5], 1)
    np.testing.assert_allclose(weights.mean(axis=0), 1, atol=0.15)


def test_percentile_interval_is_scipys():
    values = np.random.default_rng(3).normal(size=30)
    rng = np.random.default_rng(0)
    weights = stats.bootstrap_weights(np.zeros(30, int), 20_000, rng)
    found = stats.percentile_interval(weights @ values / 30)
    ci = sp.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((ci.low, ci.high), abs=0.015)
    assert math.isnan(stats.percentile_interval(np.array([1.0, np.nan])).low)
    assert math.isnan(stats.percentile_interval(np.array([])).low)


def paired_mean(differences):
    return lambda swaps: np.where(swaps, -differences, differences).mean(axis=1)


@pytest.mark.parametrize("seed", range(3))
def test_permutation_test_is_scipys(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 3, 9) / 2 + 0.3, rng.integers(0, 3, 9) / 2
    found = stats.permutation_p(paired_mean(a - b), 9, 512, rng)
    expected = sp.permutation_test(
        (a, b), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=np.inf
    )
    assert found == pytest.approx(expected.pvalue)


def test_permutation_test_counts_by_hand():
    # Differences 1, 1, 1: of eight swaps only none and all are as extreme.
    assert stats.permutation_p(paired_mean(np.ones(3)), 3, 8, np.random.default_rng(0)) == 0.25


def test_monte_carlo_comes_near_the_exact_p_and_is_never_zero():
    differences = np.random.default_rng(4).normal(0.4, 1, 12)
    signs = np.array(list(itertools.product([-1, 1], repeat=12)))
    exact = np.mean(np.abs(signs @ differences) >= abs(differences.sum()) - 1e-9)
    rng = np.random.default_rng(0)
    assert stats.permutation_p(paired_mean(differences), 12, 4000, rng) == pytest.approx(
        exact, abs=0.02
    )
    far = stats.permutation_p(paired_mean(np.ones(40)), 40, 99, rng)
    assert far == 1 / 100


def test_no_difference_has_p_1():
    for count in (99, 5000):
        assert (
            stats.permutation_p(paired_mean(np.zeros(8)), 8, count, np.random.default_rng(0)) == 1.0
        )


def test_undefined_permutation_tests():
    rng = np.random.default_rng(0)
    assert math.isnan(stats.permutation_p(paired_mean(np.ones(1)), 1, 99, rng))
    assert math.isnan(stats.permutation_p(paired_mean(np.full(5, np.nan)), 5, 99, rng))


def test_holm_by_hand():
    assert stats.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert stats.holm([0.5]) == [0.5]
    assert stats.holm([0.9, 0.8]) == [1.0, 1.0]
    assert stats.holm([]) == []
    found = stats.holm([0.02, math.nan, 0.03])
    assert found[0] == pytest.approx(0.04)
    assert math.isnan(found[1])


def test_nadeau_bengio_without_correction_is_the_t_test():
    values = np.random.default_rng(5).normal(0.1, 0.2, 15)
    found = stats.corrected_resampled_t(values, 0.0)
    expected = sp.ttest_1samp(values, 0)
    assert (found.t, found.p) == pytest.approx((expected.statistic, expected.pvalue))
    assert found.df == 14


def test_nadeau_bengio_by_hand():
    # Mean 0.2, variance 0.01; 1/3 + 12/48 = 7/12.
    found = stats.corrected_resampled_t([0.1, 0.2, 0.3], 12 / 48)
    assert found.t == pytest.approx(0.2 / math.sqrt(7 / 12 * 0.01))
    assert found.p == pytest.approx(2 * sp.t.sf(found.t, 2))
    with_hole = stats.corrected_resampled_t([0.1, 0.2, math.nan, 0.3], 12 / 48)
    assert with_hole.t == pytest.approx(found.t)


@pytest.mark.parametrize("values", [[], [0.1], [0.2, 0.2], [math.nan, math.nan, 1.0]])
def test_undefined_nadeau_bengio(values):
    found = stats.corrected_resampled_t(values, 1 / 4)
    assert math.isnan(found.t)
    assert math.isnan(found.p)
