"""Risk over coverage against naive loops, and what a planted score is found to be worth."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from vaclip import keys
from vaclip.evaluation.abstention import (
    AGREEMENT,
    CONFIDENCE,
    COVERAGE,
    ENTROPY,
    MAP_INFORMATION,
    abstention,
    case_sureness,
    risk_coverage,
    sureness_of,
    validation_curves,
)
from vaclip.evaluation.predictions import Predictions
from vaclip.evaluation.scores import AURC, Rows, weighted_metrics

CLASSES = ("a", "b", "c")


def aurc(sureness, wrong, weights=None, patient=None):
    count = len(sureness)
    probs = np.column_stack([sureness, wrong, np.zeros(count)]).astype(float)
    patient = np.arange(count) if patient is None else np.asarray(patient)
    weights = np.ones((1, patient.max() + 1)) if weights is None else weights
    return weighted_metrics(Rows(probs, np.zeros(count, int), patient), weights, [AURC])[AURC]


def naive_aurc(sureness, wrong):
    """For each case: the risk where all that are at least as sure as it are answered."""
    risks = [wrong[sureness >= own].mean() for own in sureness]
    return np.mean(risks)


@pytest.mark.parametrize("levels", [1000, 4, 1])
@pytest.mark.parametrize("seed", range(3))
def test_the_area_against_a_naive_loop(levels, seed):
    random = np.random.default_rng(seed)
    sureness = random.integers(0, levels, 30) / levels
    wrong = random.random(30) < 0.4
    assert aurc(sureness, wrong)[0] == pytest.approx(naive_aurc(sureness, wrong))


def test_closed_forms_of_the_area():
    wrong = np.arange(10) < 3  # the three unsure ones
    sure_last = np.arange(10.0)
    best = sum((k - 7) / k for k in (8, 9, 10)) / 10
    worst = (3 + sum(3 / k for k in range(4, 11))) / 10
    assert aurc(sure_last, wrong)[0] == pytest.approx(best)
    assert aurc(-sure_last, wrong)[0] == pytest.approx(worst)
    assert aurc(np.ones(10), wrong)[0] == pytest.approx(0.3)


def test_a_patient_of_weight_2_counts_as_two():
    random = np.random.default_rng(1)
    patient = np.repeat(np.arange(6), 2)
    sureness, wrong = random.random(12).round(1), random.random(12) < 0.5
    weights = np.array([[1, 2, 0, 1, 3, 1.0], [0, 0, 1, 0, 0, 0]])
    found = aurc(sureness, wrong, weights, patient)
    for row, own in zip(found, weights, strict=True):
        drawn = np.repeat(np.arange(12), own[patient].astype(int))
        assert row == pytest.approx(naive_aurc(sureness[drawn], wrong[drawn]))


def test_the_curve_has_a_row_for_each_level_of_sureness():
    curve = risk_coverage(np.array([0.9, 0.5, 0.9, 0.7]), np.array([True, True, False, False]))
    assert curve.threshold.tolist() == [0.9, 0.7, 0.5]
    assert curve.coverage.tolist() == [0.5, 0.75, 1.0]
    np.testing.assert_allclose(curve.risk, [1 / 2, 1 / 3, 1 / 2])
    assert [curve.at_coverage(share) for share in (0.1, 0.5, 0.6, 1.0)] == [0, 0, 1, 2]
    assert [curve.at_risk(most) for most in (0.2, 0.4, 0.5)] == [None, 1, 2]


def test_a_curve_that_comes_down_again_answers_as_much_as_it_may():
    curve = risk_coverage(np.arange(4.0), np.array([False, False, False, True])[::1])
    assert curve.risk.tolist() == [1, 1 / 2, 1 / 3, 1 / 4]
    assert curve.at_risk(0.3) == 3


def test_sureness_of_probabilities():
    found = sureness_of(np.array([[1.0, 0, 0], [1 / 3] * 3, [0.5, 0.5, 0]]))
    assert found[CONFIDENCE].tolist() == [1.0, 1 / 3, 0.5]
    np.testing.assert_allclose(found[ENTROPY], [0, -math.log(3), -math.log(2)], atol=1e-12)


def table(patients=60, seeds=3, folds=3, told=1.0, seed=0):
    """A model that is right in two of three; its map says ``told`` of whether it is."""
    random = np.random.default_rng(seed)
    rows = []
    for training in range(seeds):
        for p in range(patients):
            label = p % 3
            for split, shift in (("test", 0), ("val", 1)):
                right = random.random() < 2 / 3
                said = label if right else (label + 1) % 3
                probs = np.full(3, 0.2) + 0.4 * (np.arange(3) == said)
                sure = 0.02 * random.random()
                probs += np.where(np.arange(3) == said, sure, -sure / 2)
                information = 0.5 + 0.3 * told * right + 0.1 * random.random()
                fold = (p // 3 + training + shift) % folds
                rows.append(("M", fold, training, split, f"p{p:02d}", f"p{p:02d}", 0,
                             CLASSES[label], *probs, information))  # fmt: skip
    columns = [
        keys.PRED_ARM, keys.PRED_FOLD, keys.PRED_SEED, keys.PRED_SPLIT, keys.PRED_PATIENT,
        keys.PRED_CLIP, keys.PRED_SEGMENT, keys.PRED_LABEL,
        *(keys.PRED_PROB_PREFIX + name for name in CLASSES), keys.PRED_MAP_INFORMATION,
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def measured(frame):
    return abstention(Predictions.of(frame), "M", 0.5)


def test_a_score_that_knows_is_better_than_plain_confidence_and_noise_is_not():
    knows, noise = measured(table(told=1.0)), measured(table(told=0.0))
    own = knows.scores[MAP_INFORMATION]
    assert own.verdict == "better"
    assert own.gain.interval.high < 0
    assert own.gain.value == pytest.approx(own.aurc.value - knows.scores[CONFIDENCE].aurc.value)
    assert noise.scores[MAP_INFORMATION].verdict == "not shown to be better"
    assert knows.scores[CONFIDENCE].verdict == ""
    assert own.aurc.interval.low <= own.aurc.value <= own.aurc.interval.high
    backwards = measured(table(told=-1.0)).scores[MAP_INFORMATION]
    assert backwards.verdict == "worse"


def test_values_are_means_over_models():
    frame = table()
    found = measured(frame)
    test = frame[frame["split"] == "test"]
    areas, errors = [], []
    for _, own in test.groupby(["fold", "seed"]):
        probs = own[[f"prob_{name}" for name in CLASSES]].to_numpy()
        wrong = np.array(CLASSES)[probs.argmax(axis=1)] != own["label"].to_numpy()
        areas.append(naive_aurc(own[keys.PRED_MAP_INFORMATION].to_numpy(), wrong))
        errors.append(wrong)
    own = found.scores[MAP_INFORMATION]
    assert own.aurc.value == pytest.approx(np.mean(areas))
    assert found.risk.value == pytest.approx(np.concatenate(errors).mean())
    assert own.risk[-1] == pytest.approx(np.mean([wrong.mean() for wrong in errors]))


def test_thresholds_are_chosen_on_validation_alone():
    frame = table(seeds=1)
    found = measured(frame).scores[CONFIDENCE]
    probs = [f"prob_{name}" for name in CLASSES]
    answered, wrong = [], []
    for _, own in frame.groupby("fold"):
        sure = own[probs].max(axis=1)
        of_val = np.sort(sure[own["split"] == "val"])[::-1]
        cut = of_val[math.ceil(COVERAGE * len(of_val)) - 1]
        test = own[own["split"] == "test"]
        kept = sure[test.index] >= cut
        said = test[probs].to_numpy().argmax(axis=1)
        answered += kept.tolist()
        wrong += (np.array(CLASSES)[said] != test["label"])[kept].tolist()
    assert found.coverage == pytest.approx(np.mean(answered))
    assert found.answered.value == pytest.approx(np.mean(wrong))
    assert np.isnan(measured(frame[frame["split"] == "test"]).scores[CONFIDENCE].coverage)


def test_agreement_is_of_the_other_seeds():
    frame = table(patients=9, seeds=3)
    predictions = Predictions.of(frame)
    cases, found = case_sureness(predictions, "M", "test")
    said = cases.probs.argmax(axis=1)
    for row in range(len(said)):
        others = (cases.patient == cases.patient[row]) & (cases.seed != cases.seed[row])
        assert found[AGREEMENT][row] == pytest.approx((said[others] == said[row]).mean())
    alone = case_sureness(Predictions.of(frame[frame["seed"] == 0]), "M", "test")[1]
    assert AGREEMENT not in alone
    assert AGREEMENT not in {name for name, one in measured(frame).scores.items()
                             if math.isfinite(one.coverage)}  # fmt: skip


def test_a_model_that_predicts_no_map_has_no_score_of_it():
    found = measured(table().drop(columns=keys.PRED_MAP_INFORMATION))
    assert set(found.scores) == {CONFIDENCE, ENTROPY, AGREEMENT}


def test_curves_of_a_run_are_of_its_validation_clips():
    frame = table(seeds=1)
    frame = frame[frame["fold"] == 0]
    curves = validation_curves(Predictions.of(frame), "M")
    assert set(curves) == {CONFIDENCE, ENTROPY, MAP_INFORMATION}
    val = frame[frame["split"] == "val"]
    expected = np.sort(val[keys.PRED_MAP_INFORMATION])[::-1]
    np.testing.assert_allclose(curves[MAP_INFORMATION].threshold, expected)
    assert validation_curves(Predictions.of(frame[frame["split"] == "test"]), "M") == {}
