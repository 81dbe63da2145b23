from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from report_tables import CLASSES, prediction_rows
from vaclip.evaluation.compare import compare, score_arm
from vaclip.evaluation.predictions import Predictions
from vaclip.metrics.split import case_of_clip


def test_clips_of_a_patient_are_one_case_unless_their_labels_differ():
    patient = np.array([7, 7, 3, 3, 3, 9])
    label = np.array([1, 1, 0, 1, 1, 0])
    # Patients 3 (three clips), 7, 9 in their order.
    np.testing.assert_array_equal(case_of_clip(patient, label), [3, 3, 0, 1, 2, 4])


@pytest.fixture
def mixed():
    """Twelve patients of two clips; of the first three the second clip has another label."""
    table = prediction_rows([0, 1, 2] * 4, seeds=1)
    other = table.patient_id.isin(["p000", "p001", "p002"]) & table.clip_id.str.endswith("c1")
    turned = dict(zip(CLASSES, np.roll(CLASSES, 1), strict=True))
    return Predictions.of(table.assign(label=table.label.where(~other, table.label.map(turned))))


def test_the_true_label_does_not_help(mixed):
    cases, clips = mixed.cases("B3"), mixed.cases("B3", "clip")
    assert (len(cases.label), cases.patients, cases.of_several_labels) == (9 + 6, 12, 3)
    for patient in range(3):
        own, of_clips = cases.patient == patient, clips.patient == patient
        np.testing.assert_allclose(cases.probs[own], clips.probs[of_clips])
        np.testing.assert_array_equal(cases.label[own], clips.label[of_clips])
    mean = clips.probs[clips.patient == 5].mean(axis=0)
    np.testing.assert_allclose(cases.probs[cases.patient == 5], [mean])
    assert score_arm(mixed, "B3", n_resamples=2).of_several_labels == 3
    assert mixed.case_note.startswith("3 of 12 patients have clips of several classes: each")


def test_a_named_session_is_a_case_whatever_its_label():
    table = prediction_rows([0, 1, 2] * 4, seeds=1, clips=4)
    table["session"] = np.where(table.clip_id.str[-1] < "2", "first", "second")
    later = table.patient_id.isin(["p000", "p001"]) & (table.session == "second")
    turned = dict(zip(CLASSES, np.roll(CLASSES, 1), strict=True))
    table["label"] = table.label.where(~later, table.label.map(turned))
    found = Predictions.of(table)
    cases, clips = found.cases("B3"), found.cases("B3", "clip")
    assert (len(cases.label), cases.patients, cases.of_several_labels) == (24, 12, 2)
    for patient in range(12):
        own = clips.probs[clips.patient == patient]  # sorted by label, then by clip
        pairs = own.reshape(2, 2, -1).mean(axis=1)
        got = cases.probs[cases.patient == patient]
        np.testing.assert_allclose(np.sort(got, axis=0), np.sort(pairs, axis=0))
    assert found.case_note == (
        "A case is a session of a patient (24 sessions of 12 patients): the clips of a session "
        "are averaged."
    )
    # A label that differs within a session still may not decide what is averaged.
    torn = table.clip_id == "p005c3"
    table["label"] = table.label.where(~torn, table.label.map(turned))
    found = Predictions.of(table)
    assert len(found.cases("B3").label) == 25
    assert "1 of 12 patients has clips of several classes in one session" in found.case_note


def test_without_a_session_nothing_is_said():
    found = Predictions.of(prediction_rows([0, 1, 2] * 4, seeds=1))
    assert found.case_note == ""
    assert Predictions.of(found.frame.assign(session=None)).case_note == ""
    assert set(found.frame.session) == set(found.frame.site) == {""}


@pytest.mark.parametrize("sessions", [False, True])
def test_a_run_and_an_ablation_count_alike(mixed, sessions):
    if sessions:
        table = mixed.frame
        mixed = Predictions.of(table.assign(session=table.clip_id.str[-1]))
    rows = [mixed.model_clips("B3", *job).cases() for job in sorted(mixed.jobs["B3"])]
    right = np.concatenate([probs.argmax(axis=1) == label for probs, label in rows])
    score = score_arm(mixed, "B3", n_resamples=2).scores["acc_micro"]
    assert score.mean == pytest.approx(right.mean())


def test_arms_are_paired_clip_by_clip(mixed):
    found = compare(mixed, "B3", "B0", "acc_micro", n_resamples=2, n_permutations=9)
    shuffled = Predictions.of(mixed.frame.sample(frac=1, random_state=1))
    assert compare(shuffled, "B3", "B0", "acc_micro", n_resamples=2, n_permutations=9) == found
    one, two = mixed.paired("B3", "B0")
    pd.testing.assert_series_equal(pd.Series(one.label), pd.Series(two.label))
