from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve

from report_tables import prediction_rows
from vaclip.evaluation.predictions import Predictions
from vaclip.evaluation.scores import (
    AURC,
    METRICS,
    RANKING,
    Rows,
    confusion_matrix,
    jackknife_metrics,
    reliability,
    resampled_metrics,
    row_metrics,
    sd_over_seeds,
    seed_metrics,
    weighted_metrics,
)
from vaclip.metrics.functional import classification_metrics


@st.composite
def rows_and_weights(draw):
    """Coarse probabilities, so that ties occur; patients with several rows; counts as weights."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, k = draw(st.integers(1, 20)), draw(st.integers(2, 4))
    weights = rng.integers(1, 5, (n, k)).astype(float)
    probs = weights / weights.sum(axis=1, keepdims=True)
    patient = np.unique(rng.integers(0, n, n), return_inverse=True)[1]
    drawn = rng.integers(0, 3, (3, patient.max() + 1)).astype(float)
    drawn[:, 0] += 1
    return Rows(probs, rng.integers(0, k, n), patient), drawn


@given(case=rows_and_weights())
def test_weights_are_repetitions_of_rows(case):
    rows, weights = case
    found = weighted_metrics(rows, weights)
    for draw, weight in enumerate(weights):
        times = np.repeat(np.arange(len(rows.label)), weight[rows.patient].astype(int))
        expected = row_metrics(rows.probs[times], rows.label[times])
        for name in METRICS:
            assert found[name][draw] == pytest.approx(expected[name], nan_ok=True, abs=1e-12)


@given(case=rows_and_weights())
def test_even_weights_give_the_metrics_of_the_package(case):
    rows, weights = case
    found = weighted_metrics(rows, np.full((1, weights.shape[1]), 0.5))
    for name, value in classification_metrics(rows.probs, rows.label).items():
        assert found[name][0] == pytest.approx(value, nan_ok=True, abs=1e-12)
    assert found["f1_micro"] == found["acc_micro"]


def random_rows(n=200, k=3, seed=0):
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet(np.ones(k), n)
    return probs, np.array([rng.choice(k, p=row) for row in probs])


def test_brier_is_scikit_learns():
    # Over two classes the sum of squares is twice the binary score.
    probs, labels = random_rows(k=2)
    expected = 2 * sk.brier_score_loss(labels, probs[:, 1])
    assert row_metrics(probs, labels)["brier"] == pytest.approx(expected)
    assert row_metrics(np.eye(3)[[0, 1]], np.array([1, 0]))["brier"] == 2.0


def test_f1_micro_is_scikit_learns():
    probs, labels = random_rows()
    expected = sk.f1_score(labels, probs.argmax(axis=1), average="micro")
    assert row_metrics(probs, labels)["f1_micro"] == pytest.approx(expected)


def test_ece_by_hand():
    # Bins (0.5, 0.6]: one right of two at 0.6; (0.9, 1.0]: one wrong at 1.0.
    probs = np.array([[0.6, 0.4], [0.4, 0.6], [1.0, 0.0]])
    labels = np.array([0, 0, 1])
    assert row_metrics(probs, labels)["ece"] == pytest.approx((2 * 0.1 + 1 * 1.0) / 3)


def test_reliability_is_scikit_learns_and_gives_the_ece():
    probs, labels = random_rows()
    curve = reliability(probs, labels)
    right, top = probs.argmax(axis=1) == labels, probs.max(axis=1)
    accuracy, confidence = calibration_curve(right, top, n_bins=10)
    filled = curve.count > 0
    np.testing.assert_allclose(curve.accuracy[filled], accuracy)
    np.testing.assert_allclose(curve.confidence[filled], confidence)
    assert np.isnan(curve.accuracy[~filled]).all()
    assert curve.count.sum() == len(labels)
    gap = np.abs(curve.accuracy - curve.confidence)[filled]
    ece = np.sum(gap * curve.count[filled]) / len(labels)
    assert row_metrics(probs, labels)["ece"] == pytest.approx(ece)


def test_confusion_is_scikit_learns():
    probs, labels = random_rows()
    expected = sk.confusion_matrix(labels, probs.argmax(axis=1))
    np.testing.assert_array_equal(confusion_matrix(probs, labels), expected)


def some_cases(**kwargs):
    table = prediction_rows([0, 0, 0, 1, 1, 1, 2, 2], **kwargs)  # of three folds one lacks class 2
    return Predictions.of(table).cases("B3")


def test_resamples_are_means_over_seeds():
    cases = some_cases(seeds=3)
    found = resampled_metrics(cases, np.ones((1, cases.patients)), METRICS)
    per_seed = seed_metrics(cases)
    assert sorted(per_seed) == [0, 1, 2]
    for name in METRICS:
        expected = np.mean([value[name] for value in per_seed.values()])
        assert found[name][0] == pytest.approx(expected)
        if name not in RANKING:
            own = row_metrics(cases.probs[cases.seed == 1], cases.label[cases.seed == 1])
            assert per_seed[1][name] == pytest.approx(own[name])


def test_a_seed_that_lacks_folds_weighs_by_its_rows():
    cases = some_cases(skip=[("B3", 0, 0), ("B3", 1, 0)])
    per_seed = {s: value["acc_micro"] for s, value in seed_metrics(cases).items()}
    rows = {s: int(np.sum(cases.seed == s)) for s in per_seed}
    assert rows == {0: 2, 1: 8}
    found = resampled_metrics(cases, np.ones((1, cases.patients)), ["acc_micro"])["acc_micro"]
    expected = np.mean(cases.probs.argmax(axis=1) == cases.label)
    assert found[0] == pytest.approx(expected)
    assert math.isnan(sd_over_seeds(per_seed, rows))  # one whole seed has no deviation


def test_sd_of_whole_seeds():
    values, rows = {0: 0.5, 1: 0.7, 2: 0.1, 3: math.nan}, {0: 10, 1: 10, 2: 5, 3: 10}
    assert sd_over_seeds(values, rows) == pytest.approx(math.sqrt(0.02))
    assert math.isnan(sd_over_seeds({0: math.nan}, {0: 3}))


def test_auroc_is_of_each_model():
    # Two folds that rank perfectly, one of them biased: pooled they would not.
    cases = some_cases(folds=2, seeds=1)
    label = np.arange(8) // 2 % 2
    own = np.where(label == 1, 0.3, 0.1) + 0.5 * cases.fold
    cases = replace(cases, label=label, probs=np.stack([1 - own, own], axis=1))
    found = resampled_metrics(cases, np.ones((1, 8)), ["auroc_macro", "acc_macro"])
    assert found["auroc_macro"][0] == 1.0
    assert sk.roc_auc_score(label, own) < 1.0


def test_auroc_is_averaged_over_the_models_that_have_all_classes():
    cases = some_cases(seeds=2)
    for name in RANKING - {AURC}:
        expected = [
            row_metrics(*(column[(cases.fold == f) & (cases.seed == s)] for column in pair))[name]
            for f, s in cases.models()
            for pair in [(cases.probs, cases.label)]
        ]
        found = resampled_metrics(cases, np.ones((1, cases.patients)), [name])[name]
        assert found[0] == pytest.approx(np.nanmean(expected))
        left = jackknife_metrics(cases, cases.patient, [name])[name]
        rest = [
            row_metrics(cases.probs[keep], cases.label[keep])[name]
            for f, s in cases.models()
            for keep in [(cases.fold == f) & (cases.seed == s) & (cases.patient != 3)]
        ]
        assert left[3] == pytest.approx(np.nanmean(rest))


def test_chunks_do_not_show(monkeypatch):
    cases = some_cases()
    weights = np.random.default_rng(0).integers(0, 3, (20, cases.patients)) + 0.5
    whole = (
        resampled_metrics(cases, weights, METRICS),
        jackknife_metrics(cases, cases.patient, METRICS),
    )
    monkeypatch.setattr("vaclip.evaluation.scores._CHUNK", 3 * len(cases.label))
    parts = (
        resampled_metrics(cases, weights, METRICS),
        jackknife_metrics(cases, cases.patient, METRICS),
    )
    for one, two in zip(whole, parts, strict=True):
        for name in METRICS:
            np.testing.assert_allclose(one[name], two[name])


@pytest.mark.parametrize("unit", ["patient", "fold", "label"])
def test_left_out_is_dropped(unit):
    cases = some_cases(seeds=1)
    groups = getattr(cases, unit)
    found = jackknife_metrics(cases, groups, METRICS)
    for group in range(groups.max() + 1):
        rest = cases.of(groups != group)
        expected = row_metrics(rest.probs, rest.label) | seed_metrics(rest, sorted(RANKING))[0]
        for name in METRICS:
            assert found[name][group] == pytest.approx(expected[name], nan_ok=True)


def test_the_rest_of_a_stratum_makes_up_for_what_is_left_out():
    cases = some_cases(seeds=1)
    strata = np.array([0, 0, 0, 1, 1, 1, 1, 2])
    found = jackknife_metrics(cases, cases.patient, METRICS, strata)
    n = np.array([3, 3, 3, 4, 4, 4, 4, 1])
    for patient in range(8):
        mates = strata == strata[patient]
        weights = np.where(mates, n / np.maximum(n - 1, 1), 1.0)
        weights[patient] = 0
        expected = resampled_metrics(cases, weights[None], METRICS)
        for name in METRICS:
            assert found[name][patient] == pytest.approx(expected[name][0], nan_ok=True)


def test_a_missing_class():
    cases = some_cases(seeds=1)
    without = cases.of(cases.label != 2)
    found = resampled_metrics(without, np.ones((1, cases.patients)), METRICS)
    assert math.isnan(found["auroc_macro"][0])
    assert math.isfinite(found["acc_macro"][0])
    nothing = resampled_metrics(cases, np.zeros((1, cases.patients)), METRICS)
    assert all(math.isnan(value[0]) for value in nothing.values())


def test_patients_may_have_other_numbers():
    cases = some_cases()
    order = np.random.default_rng(0).permutation(cases.patients)
    renamed = replace(cases, patient=order[cases.patient])
    weights = np.random.default_rng(1).integers(0, 3, (5, cases.patients)).astype(float)
    one = resampled_metrics(renamed, weights, METRICS)
    two = resampled_metrics(cases, weights[:, order], METRICS)
    for name in METRICS:
        np.testing.assert_allclose(one[name], two[name])
