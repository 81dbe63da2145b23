"""What a model would do in use, against scikit-learn, closed forms and naive loops."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk
from statsmodels.stats.proportion import proportion_confint

from report_tables import CLASSES, LABELS, prediction_rows
from vaclip.errors import VaclipError
from vaclip.evaluation.clinical import (
    RISK_CURVE,
    RISKS,
    Estimate,
    OperatingPoint,
    benefit_gains,
    clinical_use,
    predictive_values,
    worth,
)
from vaclip.evaluation.inference import UNDEFINED, Interval
from vaclip.evaluation.predictions import Predictions
from vaclip.evaluation.thresholds import thresholds_of, validation_thresholds


@pytest.fixture(scope="module")
def predictions():
    return Predictions.of(prediction_rows(LABELS * 2, arms=("B0", "B3")))


@pytest.fixture(scope="module")
def use(predictions):
    return clinical_use(predictions, "B3", prevalences=(0.1,))


def over_seeds(cases, measure):
    return np.mean([measure(cases.seed == seed) for seed in np.unique(cases.seed)])


def test_sensitivity_and_specificity_are_scikit_learns(predictions, use):
    cases = predictions.cases("B3")
    cuts = thresholds_of(cases, validation_thresholds(predictions, "B3"))
    chosen = cases.probs.argmax(axis=1)
    for k, name in enumerate(CLASSES):
        found = use.classes[name]
        for point, called in (
            (found.greatest, chosen == k),
            (found.validated, cases.probs[:, k] >= cuts[:, k]),
        ):
            for side, value in ((1, point.sensitivity.value), (0, point.specificity.value)):
                expected = over_seeds(
                    cases,
                    lambda own, called=called, side=side, k=k: sk.recall_score(
                        cases.label[own] == k, called[own], pos_label=side
                    ),
                )
                assert value == pytest.approx(expected)
            assert point.models == 6
        assert found.thresholds == (cuts[:, k].min(), cuts[:, k].max())


def test_balanced_accuracy_at_thresholds_is_scikit_learns(predictions, use):
    cases = predictions.cases("B3")
    cuts = thresholds_of(cases, validation_thresholds(predictions, "B3"))
    chosen = (cases.probs / cuts).argmax(axis=1)
    expected = over_seeds(
        cases, lambda own: sk.balanced_accuracy_score(cases.label[own], chosen[own])
    )
    assert use.balanced.value == pytest.approx(expected)
    assert use.balanced_models == use.models == 6


def test_the_interval_of_sensitivity_knows_the_patients_of_the_class_alone():
    """One seed: Wilson's interval of the textbook variance s^2 / n, with n - 1 degrees."""
    found = Predictions.of(prediction_rows(LABELS * 2, arms=("B3",), seeds=1, clips=1))
    cases = found.cases("B3")
    for k, name in enumerate(CLASSES):
        own = cases.label == k
        right = (cases.probs.argmax(axis=1) == k)[own]
        p, n = right.mean(), own.sum()
        variance = right.var(ddof=1) / n
        size = min(p * (1 - p) / variance, n) if variance else n
        t = stats.t.ppf(0.975, n - 1)
        middle = (p + t**2 / (2 * size)) / (1 + t**2 / size)
        half = t * math.sqrt(p * (1 - p) / size + t**2 / (4 * size**2)) / (1 + t**2 / size)
        trained = clinical_use(found, "B3", whole=False).classes[name].greatest.sensitivity.trained
        assert (trained.low, trained.high) == pytest.approx((middle - half, middle + half))


def test_the_procedure_varies_more_than_these_models(use):
    for found in use.classes.values():
        for one in (found.greatest.sensitivity, found.greatest.specificity, found.intercept):
            assert one.interval.low <= one.trained.low <= one.value
            assert one.value <= one.trained.high <= one.interval.high


def test_one_model_has_only_an_interval_of_its_own():
    table = prediction_rows(LABELS * 2, arms=("B3",), seeds=1)
    use = clinical_use(Predictions.of(table[table.fold == 0]), "B3")
    for found in use.classes.values():
        assert found.greatest.specificity.interval == UNDEFINED
        assert math.isfinite(found.greatest.specificity.trained.low)
        assert found.predictive[0].negative.interval == UNDEFINED
        assert math.isfinite(found.predictive[0].negative.trained.low)


def test_predictive_values_at_the_cohorts_own_prevalence_are_precisions():
    found = Predictions.of(prediction_rows([0] * 9 + [1] * 12 + [2] * 6, arms=("B3",), seeds=1))
    cases = found.cases("B3")
    chosen = cases.probs.argmax(axis=1)
    for k, name in enumerate(CLASSES):
        own, other = (
            clinical_use(found, "B3", prevalences=(0.1,), whole=False).classes[name].predictive
        )
        assert own.prevalence == pytest.approx((cases.label == k).mean())
        for side, value in ((1, own.positive.value), (0, own.negative.value)):
            expected = sk.precision_score(cases.label == k, chosen == k, pos_label=side)
            assert value == pytest.approx(expected)
        assert other.prevalence == 0.1
        assert other.positive.value < own.positive.value


def bayes(sensitivity, specificity, prevalence):
    """By counting in 1 patient of whom ``prevalence`` are ill."""
    hits, misses = sensitivity * prevalence, (1 - sensitivity) * prevalence
    passed, alarms = specificity * (1 - prevalence), (1 - specificity) * (1 - prevalence)
    return hits / (hits + alarms or 1), passed / (passed + misses or 1)


def fraction(value, half=0.1):
    own = Interval(max(value - half, 0), min(value + half, 1))
    return Estimate(value, own, own)


@pytest.mark.parametrize("prevalence", [0.01, 0.2, 0.7])
def test_predictive_values_are_those_of_bayes(prevalence):
    found = predictive_values(OperatingPoint(fraction(0.8), fraction(0.9), 1), prevalence)
    assert (found.positive.value, found.negative.value) == pytest.approx(
        bayes(0.8, 0.9, prevalence)
    )


@given(
    sensitivity=st.sampled_from([0.0, 0.2, 0.8, 1.0]),
    specificity=st.sampled_from([0.0, 0.2, 0.8, 1.0]),
    half=st.floats(0.01, 0.5),
    prevalence=st.floats(0.01, 0.99),
)
def test_their_intervals_hold_them_and_lie_within_those_of_both_extremes(
    sensitivity, specificity, half, prevalence
):
    point = OperatingPoint(fraction(sensitivity, half), fraction(specificity, half), 1)
    found = predictive_values(point, prevalence)
    corners = [
        bayes(getattr(point.sensitivity.interval, end), getattr(point.specificity.interval, end),
              prevalence)
        for end in ("low", "high")
    ]  # fmt: skip
    for side, one in enumerate((found.positive, found.negative)):
        least, most = (corner[side] for corner in corners)
        if math.isfinite(one.value):
            assert max(least, 0) - 1e-9 <= one.interval.low <= one.value + 1e-9
            assert one.value - 1e-9 <= one.interval.high <= most + 1e-9


def test_an_interval_of_a_ratio_covers():
    """PPV of 40 ill and 80 well patients, from Wilson's intervals: 95 % of 2,000 draws."""
    rng = np.random.default_rng(0)
    held = 0
    truth = 0.7 * 0.05 / (0.7 * 0.05 + 0.03 * 0.95)
    counts = rng.binomial(40, 0.7, 2000), 80 - rng.binomial(80, 0.03, 2000)
    limits = [
        proportion_confint(c, n, method="wilson") for c, n in zip(counts, (40, 80), strict=True)
    ]
    for draw in range(2000):
        both = []
        for count, n, (low, high) in zip(counts, (40, 80), limits, strict=True):
            own = Interval(low[draw], high[draw])
            both.append(Estimate(count[draw] / n, own, own))
        interval = predictive_values(OperatingPoint(*both, 1), 0.05).positive.interval
        held += interval.low <= truth <= interval.high
    assert 0.93 < held / 2000 < 0.985


def test_without_any_call_a_predictive_value_is_undefined():
    found = predictive_values(OperatingPoint(fraction(0.0), fraction(1.0), 1), 0.2)
    assert math.isnan(found.positive.value)
    assert found.positive.interval == UNDEFINED
    assert found.negative.value == pytest.approx(0.8)


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 20))
def test_worth_is_that_of_a_naive_loop(seed, n):
    rng = np.random.default_rng(seed)
    positive, called = rng.random(n) < 0.4, rng.random((n, len(RISKS))) < 0.5
    found = worth(positive, called, np.array(RISKS))
    for j, risk in enumerate(RISKS):
        true = sum(c and y for c, y in zip(called[:, j], positive, strict=True))
        false = sum(c and not y for c, y in zip(called[:, j], positive, strict=True))
        assert found[:, j].mean() == pytest.approx(true / n - false / n * risk / (1 - risk))


def test_net_benefit_of_each_class(predictions, use):
    cases = predictions.cases("B3")
    for k, name in enumerate(CLASSES):
        found, positive = use.classes[name].benefit, cases.label == k
        for risk, value, everybody in zip(RISKS, found.at, found.all_at, strict=True):
            called = cases.probs[:, k] >= risk
            matrix = sk.confusion_matrix(positive, called)
            expected = (matrix[1, 1] - matrix[0, 1] * risk / (1 - risk)) / len(positive)
            assert value.value == pytest.approx(expected)
            assert value.interval.low < value.value < value.interval.high
            assert everybody == pytest.approx((1 / 3) - (2 / 3) * risk / (1 - risk))
            assert found.curve[np.abs(RISK_CURVE - risk).argmin()] == pytest.approx(expected)


def test_net_benefit_of_a_perfect_model_is_the_prevalence():
    def probs(arm, seed, patient, clip, segment):
        return np.eye(3)[LABELS[patient]]

    use = clinical_use(Predictions.of(prediction_rows(LABELS, probs=probs)), "B3")
    for found in use.classes.values():
        np.testing.assert_allclose(found.benefit.curve, 1 / 3)
        assert math.isnan(found.slope.value)
        assert found.slope.interval == UNDEFINED
        assert found.greatest.sensitivity.value == found.greatest.specificity.value == 1


def test_gains_in_net_benefit_are_differences_with_an_interval_of_their_own(predictions):
    use = {arm: clinical_use(predictions, arm) for arm in ("B0", "B3")}
    for name, gains in benefit_gains(predictions, "B3", "B0").items():
        one, two = (use[arm].classes[name].benefit.at for arm in ("B3", "B0"))
        for gain, first, second in zip(gains, one, two, strict=True):
            assert gain.value == pytest.approx(first.value - second.value)
            assert gain.interval.low < gain.value < gain.interval.high
    for gains in benefit_gains(predictions, "B3", "B3").values():
        assert all(gain.value == 0 and gain.interval.low < 0 for gain in gains)


def test_arms_without_a_common_model_have_no_gain():
    table = prediction_rows(LABELS, skip=[("B3", fold, 0) for fold in range(3)])
    table = table[(table.arm == "B3") | (table.seed == 0)]
    for gains in benefit_gains(Predictions.of(table), "B3", "B0").values():
        assert all(math.isnan(gain.value) for gain in gains)


def test_what_nobody_asked_for_is_not_computed(predictions, use):
    short = clinical_use(predictions, "B3", prevalences=(0.1,), whole=False)
    for name, found in short.classes.items():
        assert found.curve is found.benefit is None
        assert replace(use.classes[name], curve=None, benefit=None) == found


def test_probabilities_that_do_not_vary_have_no_curve():
    same = lambda arm, seed, patient, clip, segment: (0.5, 0.3, 0.2)  # noqa: E731
    use = clinical_use(Predictions.of(prediction_rows(LABELS, probs=same)), "B3")
    for found in use.classes.values():
        assert found.curve is None
        assert math.isnan(found.slope.value)
        assert math.isfinite(found.intercept.value)


def test_without_validation_there_are_no_values_at_thresholds():
    table = prediction_rows(LABELS)
    use = clinical_use(Predictions.of(table[table.split == "test"]), "B3", whole=False)
    assert use.balanced_models == 0
    assert math.isnan(use.balanced.value)
    for found in use.classes.values():
        assert found.validated.models == 0
        assert math.isnan(found.validated.sensitivity.value)
        assert math.isnan(found.thresholds[0])
        assert math.isfinite(found.greatest.sensitivity.value)


@pytest.mark.parametrize("prevalence", [0, 1, 5])
def test_a_prevalence_that_is_none_is_an_error(predictions, prevalence):
    with pytest.raises(VaclipError, match=f"between 0 and 1, not at {prevalence}"):
        clinical_use(predictions, "B3", prevalences=(prevalence,))
