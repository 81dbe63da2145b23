"""Thresholds from validation, and gains that are gone at them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn import metrics as sk

from report_tables import CLASSES, LABELS, prediction_rows
from vaclip.errors import VaclipError
from vaclip.evaluation.answers import Answer
from vaclip.evaluation.compare import compare, compare_families
from vaclip.evaluation.evaluate import reach_verdict
from vaclip.evaluation.fusion import with_late_fusion
from vaclip.evaluation.predictions import Predictions
from vaclip.evaluation.roles import Roles
from vaclip.evaluation.thresholds import (
    at_thresholds,
    best_threshold,
    diagnosed,
    thresholds_of,
    validation_cases,
    validation_thresholds,
)

PATIENTS = [*range(3)] * 20
ROLES = Roles("B0", "B3", map_only="K_map_only")
FAST = {"n_resamples": 1, "n_permutations": 0}


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(2, 25))
def test_no_other_cut_separates_better(seed, n):
    rng = np.random.default_rng(seed)
    probs, positive = rng.integers(0, 6, n) / 5, rng.random(n) < 0.5  # with ties
    positive[:2] = True, False
    cut = best_threshold(probs, positive)
    recall = [sk.balanced_accuracy_score(positive, probs >= at) for at in (*np.unique(probs), cut)]
    if len(np.unique(probs)) > 1:
        assert recall[-1] == pytest.approx(max(recall[1:-1]))
        assert cut not in probs
    else:
        assert cut == probs[0]


def test_of_equally_good_cuts_it_is_the_middle_one():
    probs, positive = np.array([0.1, 0.2, 0.3, 0.4]), np.array([0, 1, 0, 1]) > 0
    assert best_threshold(probs, positive) == pytest.approx(0.15)  # as good as 0.35
    assert best_threshold(1 - probs, ~positive) == pytest.approx(0.65)


def test_without_the_class_or_without_the_rest_there_is_none():
    assert math.isnan(best_threshold(np.array([0.2, 0.3]), np.zeros(2, bool)))
    assert math.isnan(best_threshold(np.array([0.2, 0.3]), np.ones(2, bool)))


def test_of_two_classes_the_diagnosis_is_that_which_reaches_its_threshold():
    p = np.linspace(0.01, 0.99, 99)
    cases = Predictions.of(
        prediction_rows([0, 1] * 50, arms=("B3",), classes=("a", "b"), seeds=1)
    ).cases("B3").of(np.arange(99))  # fmt: skip
    object.__setattr__(cases, "probs", np.stack([1 - p, p], axis=1))
    found = diagnosed(cases, np.tile([0.765, 0.235], (99, 1)))
    np.testing.assert_array_equal(found.probs.argmax(axis=1), p >= 0.235)


def test_each_model_has_its_own_from_its_validation_patients():
    table = prediction_rows(LABELS, arms=("B0", "B3"))
    found = validation_thresholds(Predictions.of(table), "B3")
    assert len(found) == 6
    for (fold, seed), cuts in found.items():
        own = table[(table.arm == "B3") & (table.fold == fold) & (table.seed == seed)]
        own = own[own.split == "val"].groupby(["patient_id", "label"])
        probs = own[[f"prob_{name}" for name in CLASSES]].mean().reset_index()
        for name, cut in zip(CLASSES, cuts, strict=True):
            own_class = (probs.label == name).to_numpy()
            expected = best_threshold(probs[f"prob_{name}"].to_numpy(), own_class)
            assert cut == pytest.approx(expected)


def test_the_test_patients_choose_nothing():
    table = prediction_rows(LABELS, arms=("B3",))
    other = table.copy()
    test = other.split == "test"
    probs = [f"prob_{name}" for name in CLASSES]
    other.loc[test, probs] = other.loc[test, probs].to_numpy()[:, ::-1]
    one, two = (validation_thresholds(Predictions.of(t), "B3") for t in (table, other))
    for job, cuts in one.items():
        np.testing.assert_array_equal(cuts, two[job])


def test_models_without_validation_rows_have_no_threshold():
    table = prediction_rows(LABELS, arms=("B3",), seeds=1)
    table = table[(table.split == "test") | (table.fold == 0)]
    found = Predictions.of(table)
    assert set(validation_thresholds(found, "B3")) == {(0, 0)}
    cases = found.cases("B3")
    defined = np.isfinite(thresholds_of(cases, validation_thresholds(found, "B3"))).all(axis=1)
    np.testing.assert_array_equal(defined, cases.fold == 0)


def test_a_table_of_test_rows_alone_has_no_comparison():
    table = prediction_rows(LABELS)
    found = Predictions.of(table[table.split == "test"])
    assert len(validation_cases(found, "B3").label) == 0
    assert at_thresholds(found, "B3", "B0") is None


def test_a_label_of_validation_that_is_no_class_is_an_error():
    table = prediction_rows(LABELS)
    table.loc[table.split == "val", "label"] = "elsewhere"
    with pytest.raises(VaclipError, match="elsewhere"):
        Predictions.of(table)


def arms_of(skill, lean, seed=0):
    """Arms that see the same signs of a patient, as well as they can, and lean to class 0."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(0, 1, (len(PATIENTS), 3))
    own = {arm: rng.normal(0, 0.8, (2, len(PATIENTS), 3)) for arm in skill}

    def probs(arm, seed, patient, clip, segment):
        logits = shared[patient] + own[arm][seed, patient]
        return softmax(logits + skill[arm] * np.eye(3)[PATIENTS[patient]] + [lean[arm], 0, 0])

    table = prediction_rows(PATIENTS, arms=skill, folds=5, clips=1, segments=1, probs=probs)
    return with_late_fusion(Predictions.of(table), "B0", "K_map_only")


def map_at_hand(predictions):
    families = compare_families(predictions, ROLES, **FAST)
    scores = {"K_map_only": predictions.score("K_map_only", n_resamples=1)}
    return reach_verdict(predictions, ROLES, families, scores).questions[1]


def test_a_gain_of_a_model_that_leans_less_is_a_shift_of_the_cut():
    found = arms_of({"B0": 1.5, "B3": 1.5, "K_map_only": 0}, {"B0": 3, "B3": 0, "K_map_only": 0})
    at = at_thresholds(found, "B3", "B0")
    assert at is not None
    assert at.gone
    plain = compare(found, "B3", "B0", **FAST)
    assert plain.p < 0.01 < at.p
    assert at.lost == pytest.approx(plain.difference - at.difference)
    question = map_at_hand(found)
    assert question.answer is Answer.UNDECIDED
    assert question.sentences[0].startswith("The gain is a shift of the cut: B3 is better than B0")
    assert (
        "gone where each model's thresholds are chosen on its validation" in (question.sentences[0])
    )
    assert (
        f"B3 {at.first:.3f}, B0 {at.second:.3f}, difference {at.difference:+.3f}"
        in (question.sentences[0])
    )


def test_a_gain_of_a_model_that_knows_more_stays():
    found = arms_of({"B0": 1, "B3": 3.5, "K_map_only": 0}, {"B0": 0, "B3": 0, "K_map_only": 0})
    at = at_thresholds(found, "B3", "B0")
    assert at is not None
    assert not at.gone
    assert at.p < 0.01
    assert map_at_hand(found).answer is Answer.YES


def test_values_at_thresholds_are_scikit_learns():
    found = arms_of({"B0": 1, "B3": 2, "K_map_only": 0}, {"B0": 1, "B3": 0, "K_map_only": 0})
    at = at_thresholds(found, "B3", "B0")
    for arm, value in (("B3", at.first), ("B0", at.second)):
        cases = found.cases(arm)
        cuts = thresholds_of(cases, validation_thresholds(found, arm))
        chosen = (cases.probs / cuts).argmax(axis=1)
        seeds = [
            sk.balanced_accuracy_score(cases.label[cases.seed == s], chosen[cases.seed == s])
            for s in (0, 1)
        ]
        assert value == pytest.approx(np.mean(seeds))
