from __future__ import annotations

import math

import numpy as np
import pytest

from report_tables import CLASSES, LABELS, per_patient, prediction_rows, predictions
from vaclip.evaluation import inference as stats
from vaclip.evaluation import scores, spread
from vaclip.evaluation.predictions import Predictions


def test_spread_over_patients_of_balanced_accuracy():
    # The part over patients, against s_k^2 / n_k by hand with the pooled prior.
    found = predictions()
    right, labels = per_patient(found, "B3")
    cases = found.cases("B3")
    jackknifed = scores.jackknife_metrics(cases, cases.patient, ["acc_macro"])["acc_macro"]
    share = spread.share(cases, "acc_macro")
    np.testing.assert_allclose(share, 1 / 12)
    error = stats.patient_error(jackknifed, cases.strata(), share)
    s2 = np.array([right[labels == k].var(ddof=1) for k in range(3)])
    moderated = (3 * s2 + 2 * s2.mean()) / 5
    assert error.value == pytest.approx(math.sqrt(np.sum(moderated / 4) / 9))


def test_spread_over_patients_of_accuracy_keeps_the_strata_in_their_shares():
    # sum_h (n_h / N)^2 s_h^2 / n_h over strata of 3, 4 and 8 patients.
    labels = [0] * 3 + [1] * 4 + [2] * 8
    found = Predictions.of(prediction_rows(labels, seeds=1))
    cases = found.cases("B3")
    strata, n = cases.strata(), np.array([3, 4, 8])
    jackknifed = scores.jackknife_metrics(cases, cases.patient, ["acc_micro"], strata)["acc_micro"]
    right = (cases.probs.argmax(axis=1) == cases.label)[np.argsort(cases.patient)]
    s2 = np.array([right[np.array(labels) == k].var(ddof=1) for k in range(3)])
    assert stats.jackknife_variance(jackknifed, strata)[0] == pytest.approx(np.sum(n * s2) / 15**2)
    error = stats.patient_error(jackknifed, strata, spread.share(cases, "acc_micro"))
    moderated = ((n - 1) * s2 + 2 * np.sum((n - 1) * s2) / 12) / (n + 1)
    assert error.value == pytest.approx(math.sqrt(np.sum(n * moderated)) / 15)


def test_share_of_patients():
    table = prediction_rows([0, 0, 0, 1], clips=1, classes=CLASSES[:2])
    cases = Predictions.of(table).cases("B0")
    np.testing.assert_allclose(spread.share(cases, "acc_macro"), [1 / 6, 1 / 6, 1 / 6, 1 / 2])
    np.testing.assert_allclose(spread.share(cases, "acc_micro"), [1 / 4] * 4)


def flat_probs(p):
    """Puts p on the right class of patient i, whatever the rest; rng only through p."""

    def probs(arm, seed, patient, clip, segment):
        row = np.full(3, (1 - p(arm, seed, patient)) / 2)
        row[LABELS[patient]] = p(arm, seed, patient)
        return row

    return probs


def test_models_that_vary_widen_the_interval():
    # All patients of a job are right or wrong together: patients say little, models much.
    def together(arm, seed, patient):
        return 0.9 if ((patient // 3 + seed) % 3 + 2 * seed) % 4 < 2 else 0.1

    def folds(table):
        number = table.patient_id.str[1:].astype(int) // 3
        return table.assign(fold=(number + table.seed) % 3)

    rows = prediction_rows(LABELS, seeds=4, segments=1, clips=1, probs=flat_probs(together))
    rows = folds(rows[rows.split == "test"])
    cases = Predictions.of(rows).cases("B3")
    error = spread.independent_errors([cases], ["acc_macro"])["acc_macro"]
    assert error.procedure.value > 1.1 * error.trained.value


def test_the_overlap_by_hand_from_each_seed():
    cases = predictions(seeds=3).cases("B3")
    variance = {}
    for seeds in ([0, 1, 2], [0], [1], [2]):
        own = cases.of(np.isin(cases.seed, seeds))
        error = spread.independent_errors([own], ["acc_micro"])["acc_micro"].procedure
        variance[tuple(seeds)] = error.value**2
    whole = variance.pop((0, 1, 2))
    shared = (3 * whole - np.mean([*variance.values()])) / 2
    found = spread.standard_errors([cases], ["acc_micro"], 1 / 3)["acc_micro"].procedure
    assert found.value == pytest.approx(math.sqrt(whole + stats.SHARED * max(shared, 0)))


def test_one_seed_of_two_folds_adds_a_share_of_its_variance():
    table = prediction_rows(LABELS, seeds=1, folds=3)
    cases = Predictions.of(table[table.fold != 1]).cases("B3")
    error = spread.independent_errors([cases], ["acc_macro"])["acc_macro"].procedure
    found = spread.standard_errors([cases], ["acc_macro"], 1 / 3)["acc_macro"].procedure
    assert found.value == pytest.approx(error.value * math.sqrt(4 / 3))


def test_one_model_says_nothing_of_its_procedure():
    table = prediction_rows(LABELS, seeds=1, folds=3)
    cases = Predictions.of(table[table.fold == 0]).cases("B3")
    found = spread.standard_errors([cases], ["acc_macro", "log_loss"], 1 / 3)
    for error in found.values():
        assert math.isnan(error.procedure.value)
        assert math.isfinite(error.trained.value)


def test_the_difference_from_itself_has_no_error():
    cases = predictions().cases("B3")
    error = spread.standard_errors([cases, cases], ["acc_macro"], 1 / 3)["acc_macro"]
    assert error.procedure.value == error.trained.value == 0


@pytest.mark.parametrize("seed", [0, 1])
def test_rows_of_a_seed_have_patients_without_gaps(seed):
    table = prediction_rows(LABELS, skip=[("B3", 0, 0)])
    own = spread.of_seed(Predictions.of(table).cases("B3"), seed)
    assert set(own.seed) == {seed}
    assert set(own.patient) == set(range(own.patients))
    assert own.patients == (8 if seed == 0 else 12)
