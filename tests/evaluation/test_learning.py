"""Learning curves read further out, and how many patients would settle a question."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import curve_fit
from scipy.stats import t as student

from report_tables import predictions
from vaclip.evaluation.compare import compare
from vaclip.evaluation.inference import Interval, StandardError
from vaclip.evaluation.learning import (
    GROWTH,
    Points,
    about,
    curve_gap,
    extrapolate,
    fit_power_law,
    patients_needed,
)

SIZES = np.array([9.0, 18.0, 36.0])
MARGIN = 0.05
DF = 6.0  # of a few trained models
QUANTILE = student(DF).ppf


def law(n, limit, scale, exponent):
    return limit - scale * n**-exponent


def points(values, error=0.03, sizes=SIZES, df=200.0):
    values = np.asarray(values, float)
    names = tuple(f"B3@train_fraction={n}" for n in sizes)
    full = np.full(len(values), error), np.full(len(values), df)
    return Points(names, np.asarray(sizes), values, *full)


CURVES = [(0.85, 0.9, 0.6), (0.9, 1.2, 0.5), (0.75, 3.0, 1.2), (0.95, 0.8, 0.25), (0.6, 0.0, 1.0)]


@pytest.mark.parametrize("curve", CURVES)
def test_points_without_noise_give_their_own_curve(curve):
    sizes = np.array([6.0, 12.0, 24.0, 48.0])
    fitted = fit_power_law(sizes, law(sizes, *curve)[None], np.full(4, 0.02))
    further = np.array([48.0, 96.0, 192.0])
    assert fitted.at(further)[0] == pytest.approx(law(further, *curve), abs=2e-3)


def test_no_curve_of_scipy_fits_better():
    rng = np.random.default_rng(3)
    sizes, errors = np.array([6.0, 9.0, 14.0, 22.0, 36.0]), np.array([0.05, 0.04, 0.03, 0.03, 0.02])
    for _ in range(20):
        values = law(sizes, 0.85, 0.9, 0.6) + rng.normal(0, errors)
        bounds = ([0, 0, 0.1], [1, 100, 3])
        found, _ = curve_fit(
            law, sizes, values, (0.8, 1, 0.5), errors, bounds=bounds, max_nfev=10_000
        )
        best = np.sum(((values - law(sizes, *found)) / errors) ** 2)
        assert fit_power_law(sizes, values[None], errors).misfit[0] < best + 0.02


def test_limits_of_the_curve():
    falling = fit_power_law(SIZES, np.array([[0.7, 0.6, 0.5]]), np.full(3, 0.03))
    assert falling.at(np.array([36.0, 72.0]))[0] == pytest.approx([0.6, 0.6])  # flat: the mean
    steep = fit_power_law(SIZES, np.array([[0.2, 0.5, 0.95]]), np.full(3, 0.03))
    assert steep.limit[0] == 1
    assert steep.at(np.array([1e6]))[0, 0] <= 1


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize("error", [0.02, 0.05])
def test_intervals_cover_the_true_curve(curve, error):
    rng = np.random.default_rng(11)
    truth = [law(36 * factor, *curve) for factor in GROWTH]
    covered = np.zeros(len(GROWTH))
    for seed in range(60):
        found = extrapolate(points(law(SIZES, *curve) + rng.normal(0, error, 3), error), seed)
        for k, factor in enumerate(GROWTH):
            own = found[factor]
            assert own.interval.low <= own.value <= own.interval.high
            covered[k] += own.interval.low <= truth[k] <= own.interval.high
    assert (
        covered >= 50
    ).all()  # of 60 at 95 % fewer come with a chance of 0.03 %, at 92 % of 0.9 %


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (points([0.5, 0.6], sizes=SIZES[1:]), "fewer than 3 sizes"),
        (points([0.5, 0.5, 0.6], sizes=[18.0, 18.0, 36.0]), "fewer than 3 sizes"),
        (points([0.5, 0.6, 0.7], error=math.nan), "has no interval"),
        (points([0.5, 0.6, 0.7], sizes=[0.0, 1.0, 2.0]), "not known how many patients"),
        (points([0.8, 0.6, 0.4], error=0.02), "lie on no such curve"),
        (points([0.4, 0.5, 0.6], error=0.3), "wider than 0.5"),
    ],
)
def test_no_number_without_an_interval(given, why):
    for found in extrapolate(given).values():
        assert why in found.why_not
        assert math.isnan(found.value)
        assert math.isnan(found.interval.low)


def test_a_falling_curve_within_its_errors_is_flat():
    found = extrapolate(points([0.66, 0.63, 0.6], error=0.05))[2.0]
    assert found.value == pytest.approx(0.63)


def test_what_two_curves_share_does_not_blur_their_difference():
    """Arms that are tested alike: their difference is far better known than either."""
    one, two = points([0.5, 0.6, 0.65], 0.05), points([0.4, 0.5, 0.55], 0.05)
    growth = np.array([1.0, 2.0])
    middle, low, high = curve_gap(one, two, np.full(3, 0.005), growth)
    assert middle == pytest.approx([0.1, 0.1], abs=0.01)
    apart = curve_gap(one, two, np.full(3, 0.05 * math.sqrt(2)), growth)
    assert (high - low)[0] == pytest.approx(2 * 1.96 * 0.005, rel=0.25)
    assert (apart[2] - apart[1])[0] == pytest.approx(2 * 1.96 * 0.05 * math.sqrt(2), rel=0.25)
    assert ((high - low) < 0.5 * (apart[2] - apart[1])).all()


@pytest.fixture(scope="module")
def table():
    return predictions()


@pytest.fixture(scope="module")
def undecided(table):
    return compare(table, "B3", "B0", n_resamples=2, n_permutations=0)


def made(contrast, difference, error, half=0.0):
    ends = Interval(difference - half, difference + half)
    return replace(contrast, difference=difference, error=StandardError(error, DF), interval=ends)


def needed(table, contrast, curves=None, tests=1):
    return patients_needed(table, contrast, curves or {}, tests=tests, margin=MARGIN)


@pytest.mark.parametrize(("tests", "alpha"), [(1, 0.05), (3, 0.05 / 3)])
def test_a_difference_needs_what_the_textbook_says(table, undecided, tests, alpha):
    found = needed(table, made(undecided, 0.1, 0.08), tests=tests)
    quantiles = QUANTILE(1 - alpha / 2) + QUANTILE(0.8)
    assert found.patients == 12
    assert found.held.value == pytest.approx(12 * (quantiles * 0.08 / 0.1) ** 2, rel=0.03, abs=1)
    assert found.held.interval == Interval(found.held.value, found.held.value)
    assert "no learning curve of B3 and B0" in found.extrapolated.why_not


def test_no_difference_needs_what_equivalence_does(table, undecided):
    found = needed(table, made(undecided, 0.0, 0.08))
    quantiles = QUANTILE(0.95) + QUANTILE(0.9)
    assert found.held.value == pytest.approx(12 * (quantiles * 0.08 / MARGIN) ** 2, rel=0.03)


def test_what_is_settled_now_needs_no_more(table, undecided):
    assert needed(table, made(undecided, 0.3, 0.08)).held.value == 12


def true_need(difference, error):
    differ = (QUANTILE(0.975) + QUANTILE(0.8)) * error / max(abs(difference), 1e-9)
    equal = math.inf
    if abs(difference) < MARGIN:
        equal = (QUANTILE(0.95) + QUANTILE(0.9)) * error / (MARGIN - abs(difference))
    return 12 * max(min(differ, equal), 1) ** 2


@pytest.mark.parametrize("truth", [0.0, 0.02, 0.03, 0.06, 0.1, 0.2])
def test_the_interval_holds_the_true_number(table, undecided, truth):
    rng, error = np.random.default_rng(2), 0.08
    held = 0
    for difference in rng.normal(truth, error, 60):
        found = needed(table, made(undecided, difference, error, half=1.96 * error)).held
        assert found.interval.low <= found.value <= found.interval.high
        n = true_need(truth, error)
        held += found.interval.low * 0.97 - 1 <= n <= found.interval.high * 1.03 + 1
    assert held >= 51  # of 60 at 95 % fewer come with a chance of 0.1 %


def test_patients_who_do_not_differ_need_no_number(table, undecided):
    found = needed(table, made(undecided, 0.0, 0.0))
    assert found.held.why_not == found.extrapolated.why_not == "no patient differs"


def test_few_digits():
    assert [about(n) for n in (12.0, 123.0, 5891.0)] == ["12", "120", "5,900"]
