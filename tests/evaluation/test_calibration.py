"""Recalibration and smoothed curves against other solvers and known truths."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from statsmodels.nonparametric.smoothers_lowess import lowess

from report_tables import prediction_rows
from vaclip.evaluation.calibration import calibration_intercept, calibration_slope, smoothed_curve
from vaclip.evaluation.predictions import Predictions
from vaclip.evaluation.scores import RECALIBRATION, resampled_metrics


def drawn(n, *, shift=0.0, scale=1.0, seed=0):
    """Probabilities that are too low by ``shift`` logits and too extreme by ``scale``."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(0, 1.2, n)
    return expit(scale * truth - shift), rng.random(n) < expit(truth)


def penalised(coefficients, design, offset, outcome, weights):
    """The negative log likelihood with Firth's penalty."""
    linear = offset + design @ coefficients
    likelihood = np.sum(weights * (outcome * linear - np.logaddexp(0, linear)))
    information = weights * expit(linear) * expit(-linear)
    return -likelihood - 0.5 * np.linalg.slogdet((design.T * information) @ design)[1]


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(10, 60), scale=st.sampled_from([0.3, 1, 3]))
def test_both_maximise_the_penalised_likelihood(seed, n, scale):
    probs, positive = drawn(n, scale=scale, seed=seed)
    positive[:2] = True, False
    weights = np.random.default_rng(seed).integers(0, 3, (2, n)).astype(float)
    weights[:, :4] = 1
    x, one = logit(probs), np.ones((n, 1))
    slopes, intercepts = (
        measure(probs, positive, weights) for measure in (calibration_slope, calibration_intercept)
    )
    for slope, intercept, weight in zip(slopes, intercepts, weights, strict=True):
        found = minimize(penalised, [0.0], (one, x, positive, weight))
        reached = penalised([intercept], one, x, positive, weight)
        assert reached <= found.fun + 1e-6
        if np.isfinite(slope):
            design = np.stack([np.ones(n), x], axis=1)
            found = minimize(penalised, [0.0, slope], (design, 0.0, positive, weight))
            assert slope == pytest.approx(found.x[1], rel=1e-2, abs=1e-3)


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_logits_times_k_have_slope_one_over_k(scale):
    probs, positive = drawn(10_000, scale=scale)
    slope = calibration_slope(probs, positive, np.ones((1, len(probs))))[0]
    assert slope == pytest.approx(1 / scale, rel=0.05)
    # Of many rows the penalty is nothing: scikit-learn's without any is the same.
    plain = LogisticRegression(C=np.inf, tol=1e-8).fit(logit(probs)[:, None], positive)
    assert slope == pytest.approx(plain.coef_[0, 0], rel=1e-3)


@pytest.mark.parametrize("shift", [-1.5, 0.0, 2.0])
def test_logits_that_are_too_low_have_that_intercept(shift):
    probs, positive = drawn(10_000, shift=shift)
    found = calibration_intercept(probs, positive, np.ones((1, len(probs))))[0]
    assert found == pytest.approx(shift, abs=0.06)
    # Its score equation: as many are there as the moved probabilities say.
    assert expit(logit(probs) + found).sum() == pytest.approx(positive.sum(), rel=1e-3)


def test_small_samples_are_less_biased_than_by_maximum_likelihood():
    slopes, plain = [], []
    for seed in range(60):
        probs, positive = drawn(40, seed=seed)
        slopes.append(calibration_slope(probs, positive, np.ones((1, 40)))[0])
        fitted = LogisticRegression(C=np.inf, max_iter=1000).fit(logit(probs)[:, None], positive)
        plain.append(fitted.coef_[0, 0])
    assert abs(np.mean(slopes) - 1) < np.mean(plain) - 1 - 0.03


def test_what_has_no_answer_is_nan():
    probs, one = np.array([0.1, 0.2, 0.7, 0.9]), np.ones((2, 4))
    right = probs > 0.5
    for apart in (right, ~right):
        assert np.isnan(calibration_slope(probs, apart, one)).all()
        assert np.isfinite(calibration_intercept(probs, apart, one)).all()
    for same in (right & False, right | True):
        assert np.isnan(calibration_slope(probs, same, one)).all()
        assert np.isnan(calibration_intercept(probs, same, one)).all()
    mixed = np.array([False, True, False, True])
    assert np.isnan(calibration_slope(np.full(4, 0.3), mixed, one)).all()


def test_certain_probabilities_are_finite():
    probs, positive = np.array([0.0, 0.0, 1.0, 1.0, 0.4, 0.6]), np.array([0, 1, 1, 0, 1, 0]) > 0
    one = np.ones((1, 6))
    assert np.isfinite(calibration_slope(probs, positive, one)).all()
    assert np.isfinite(calibration_intercept(probs, positive, one)).all()


def test_models_that_err_in_opposite_directions_are_not_well_calibrated():
    """Each model's slope is 1, but what it says is 2 logits off; their folds go together."""
    truth = np.random.default_rng(0).normal(0, 1.5, 400)
    there = np.random.default_rng(1).random(400) < expit(truth)

    def probs(arm, seed, patient, clip, segment):
        p = expit(truth[patient] + (2 if patient % 2 else -2))
        return 1 - p, p

    table = prediction_rows(
        there.astype(int), arms=("B3",), seeds=1, folds=2, clips=1, segments=1, probs=probs,
        classes=("no", "yes"),
    )  # fmt: skip
    cases = Predictions.of(table).cases("B3")
    found = {
        fold: resampled_metrics(
            cases.of(cases.fold == fold) if fold is not None else cases,
            np.ones((1, cases.patients)), RECALIBRATION,
        )
        for fold in (0, 1, None)
    }  # fmt: skip
    for fold, off in ((0, 2), (1, -2)):
        assert found[fold]["calibration_slope"][0] == pytest.approx(1, abs=0.3)
        assert found[fold]["calibration_intercept"][0] == pytest.approx(off, abs=0.4)
    assert found[None]["calibration_slope"][0] < 0.6


def curve(probs, positive, seed=0):
    n = len(probs)
    return smoothed_curve(
        probs, positive, np.arange(n), positive.astype(int), np.random.default_rng(seed)
    )


def test_the_curve_is_statsmodels_and_its_band_holds_it():
    probs, positive = drawn(300)
    found = curve(probs, positive)
    expected = lowess(positive.astype(float), probs, frac=0.75, it=0, xvals=found.probability)
    np.testing.assert_allclose(found.observed, np.clip(expected, 0, 1))
    assert (found.low <= found.observed).all()
    assert (found.observed <= found.high).all()
    assert found.probability[[0, -1]] == pytest.approx([probs.min(), probs.max()])


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_the_curve_shows_what_the_probabilities_are_worth(scale):
    probs, positive = drawn(1500, scale=scale)
    found = curve(probs, positive)
    truth = expit(logit(found.probability) / scale)
    inner = (found.probability > 0.1) & (found.probability < 0.9)
    assert np.abs(found.observed - truth)[inner].max() < 0.12
    # At 0.9 the truth of logits times 3 is 0.68, and the band knows it.
    at = np.abs(found.probability - 0.9).argmin()
    assert (found.high[at] < found.probability[at]) == (scale == 3)


def test_where_most_rows_are_equal_there_is_no_curve():
    found = curve(np.repeat([0.0, 0.5, 1.0], [60, 2, 3]), np.arange(65) % 3 == 0)
    assert np.isnan([found.observed[0], found.low[0], found.high[0]]).all()
