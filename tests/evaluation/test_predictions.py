from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from report_tables import CLASSES, prediction_rows
from vaclip.errors import VaclipError
from vaclip.evaluation.predictions import Predictions

LABELS = [0, 1, 2, 0, 1, 2, 0]


def naive_case_probs(table, arm, seed, patient):
    """Segments to clips to case, by loops."""
    rows = table[(table.arm == arm) & (table.seed == seed) & (table.split == "test")]
    rows = rows[rows.patient_id == patient]
    clips = []
    for clip in sorted(set(rows.clip_id)):
        own = rows[rows.clip_id == clip]
        clips.append([sum(own[f"prob_{name}"]) / len(own) for name in CLASSES])
    return np.mean(clips, axis=0)


def test_a_case_is_the_mean_of_its_clips_which_are_the_mean_of_their_segments():
    table = prediction_rows(LABELS, segments=3)
    # One clip more segments than the other, so that the order of averaging shows.
    table = table[(table.segment < 2) | table.clip_id.str.endswith("c0")]
    cases = Predictions.of(table).cases("B3")
    assert len(cases.label) == 2 * len(LABELS)
    for row in range(len(cases.label)):
        patient = f"p{cases.patient[row]:03d}"
        expected = naive_case_probs(table, "B3", cases.seed[row], patient)
        np.testing.assert_allclose(cases.probs[row], expected)
        assert cases.label[row] == LABELS[cases.patient[row]]
        assert cases.fold[row] == (cases.patient[row] + cases.seed[row]) % 3


def test_clips_keep_apart():
    table = prediction_rows(LABELS, clips=3, segments=1)
    clips = Predictions.of(table).cases("B0", "clip")
    test = table[(table.arm == "B0") & (table.split == "test")]
    assert len(clips.label) == len(test)
    expected = test[[f"prob_{name}" for name in CLASSES]].to_numpy()
    np.testing.assert_allclose(np.sort(clips.probs, axis=0), np.sort(expected, axis=0))


def test_a_patient_of_two_labels_is_two_cases():
    table = prediction_rows([0, 1, 2, 0])
    other = (table.patient_id == "p001") & (table.clip_id == "p001c1")
    table.loc[other, "label"] = CLASSES[2]
    cases = Predictions.of(table).cases("B0")
    assert cases.patients == 4
    assert sorted(cases.label[(cases.patient == 1) & (cases.seed == 0)]) == [1, 2]
    strata = cases.strata()
    assert strata[0] == strata[3]
    assert len(set(strata)) == 3


def test_order_of_rows_does_not_matter():
    table = prediction_rows(LABELS)
    one = Predictions.of(table).cases("B3")
    two = Predictions.of(table.sample(frac=1, random_state=1)).cases("B3")
    for name, column in vars(one).items():
        np.testing.assert_array_equal(column, getattr(two, name))


def test_similarity_leaves_out_segments_without_a_map():
    table = prediction_rows(LABELS, segments=2)
    table["align_sim"] = np.where(table.segment == 0, 0.25, np.nan)
    table.loc[table.patient_id == "p000", "align_sim"] = np.nan
    cases = Predictions.of(table).cases("B0")
    assert np.isnan(cases.similarity[cases.patient == 0]).all()
    np.testing.assert_allclose(cases.similarity[cases.patient > 0], 0.25)


def test_sizes_of_jobs():
    predictions = Predictions.of(prediction_rows(LABELS, skip=[("B0", 0, 0)]))
    # Seven patients in three folds: patients i with (i + seed) % 3 = fold are tested.
    assert predictions.sizes[0, 0] == (3, 2)
    assert predictions.sizes[1, 0] == (2, 2)
    assert predictions.jobs["B0"] == {(f, s) for f in range(3) for s in range(2)} - {(0, 0)}
    assert predictions.classes == CLASSES


def test_where_some_folds_were_not_run_the_study_says_how_many_patients_it_has():
    table = prediction_rows(LABELS)
    table = table[(table.fold == 0) & (table.seed == 0)]
    assert Predictions.of(table).sizes[0, 0][1] < 2
    assert Predictions.of(table, patients=7).sizes[0, 0] == (3, 2)


def test_pairs_are_of_the_common_jobs():
    table = prediction_rows(LABELS, skip=[("B0", 0, 0), ("B3", 1, 1)])
    predictions = Predictions.of(table)
    one, two = predictions.paired("B3", "B0")
    for name in ("patient", "label", "seed", "fold"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    jobs = set(zip(one.fold, one.seed, strict=True))
    assert jobs == {(1, 0), (2, 0), (0, 1), (2, 1)}
    assert not np.allclose(one.probs, two.probs)


def test_pairs_are_over_the_common_clips():
    table = prediction_rows(LABELS, clips=3)
    lost = (table.arm == "B0") & (table.clip_id == "p002c1")
    pairs = Predictions.of(table[~lost]).paired("B3", "B0")
    expected = Predictions.of(table[table.clip_id != "p002c1"]).paired("B3", "B0")
    for one, two in zip(pairs, expected, strict=True):
        np.testing.assert_array_equal(one.probs, two.probs)


def test_no_common_job_gives_no_pairs():
    skip = [("B0", f, 0) for f in range(3)] + [("B3", f, 1) for f in range(3)]
    one, two = Predictions.of(prediction_rows(LABELS, skip=skip)).paired("B3", "B0")
    assert len(one.label) == len(two.label) == one.patients == 0


def test_seeds_that_deal_anew_train_on_other_patients():
    cases = Predictions.of(prediction_rows([0, 1, 0, 1, 0, 1], folds=2)).cases("B0")
    # Two folds and seeds: fold 0 of seed 0 tests what fold 1 of seed 1 does.
    training, stratum = cases.training_sets()
    assert len(set(training)) == 2
    assert set(stratum) == {0}
    for m in (0, 1):
        tested = {frozenset(cases.patient[(training == m) & (cases.seed == s)]) for s in (0, 1)}
        assert len(tested) == 1


def test_training_sets_nested_in_seeds():
    table = prediction_rows(range(3), folds=3, seeds=2, clips=1)
    other = table.seed == 1
    # Seed 1 tests patients 0 and 1 together, and 2 alone.
    table.loc[other, "fold"] = np.where(table.patient_id[other] == "p002", 1, 0)
    table = table[table.split == "test"]
    cases = Predictions.of(table).cases("B0")
    training, stratum = cases.training_sets()
    # {2} alone is tested in both seeds, so those two models trained on the same patients.
    assert len(set(training)) == 4
    assert set(stratum) == {0}
    alone = cases.of(~((cases.seed == 1) & (cases.patient == 2)))
    training, stratum = alone.training_sets()
    assert len(set(training)) == 4
    assert sorted(stratum) == [0, 0, 0, 1]


def test_one_fold_leaves_the_seeds():
    table = prediction_rows([0, 1, 2], folds=1, seeds=3)
    table = table[table.split == "test"]
    training, stratum = Predictions.of(table).cases("B0").training_sets()
    assert sorted(set(training)) == [0, 1, 2]
    assert set(stratum) == {0}


def without(column):
    return lambda table: table.drop(columns=column)


def change(column, value, where=slice(0, 1)):
    def apply(table):
        rows = table.index[where]
        table[column] = table[column].astype(object) if isinstance(value, str) else table[column]
        table.loc[rows, column] = value
        return table

    return apply


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without("patient_id"), "patient_id.*missing"),
        (without(["prob_gait", "prob_knee"]), "1 columns prob_CLASS"),
        (lambda table: table[table.split == "val"], "nothing to judge"),
        (change("study", "another"), "several studies"),
        (change("label", "ankle", slice(None)), "ankle.*no column"),
        (change("prob_gait", 2.0, slice(None)), "probabilities of .* rows"),
        (change("prob_gait", np.nan, slice(None)), "probabilities of .* rows"),
        (change("label", "knee"), "two patients, labels, .*p000c0"),
        (lambda table: pd.concat([table, table.iloc[:1]]), "1 segments are predicted twice"),
    ],
)
def test_what_is_no_prediction_table(spoil, message):
    table = prediction_rows([0, 1, 2], classes=CLASSES).reset_index(drop=True)
    with pytest.raises(VaclipError, match=message):
        Predictions.of(spoil(table))


def test_an_unknown_arm_is_named():
    with pytest.raises(VaclipError, match=r"B9.*B0"):
        Predictions.of(prediction_rows(LABELS)).cases("B9")
