from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from vaclip.evaluation.readers import Diagnosed, reader_score

CLASSES = ("sick", "well", "clip_id")  # names that a column could have


def said(patient, label, *diagnoses, confidence=3):
    return [
        Diagnosed(f"{patient}-{n}", patient, "", label, one, confidence)
        for n, one in enumerate(diagnoses)
    ]


def test_balanced_accuracy_of_one_clip_a_patient_is_scikit_learns():
    random = np.random.default_rng(0)
    labels = random.choice(CLASSES, 60, p=[0.6, 0.3, 0.1])
    guesses = random.choice(CLASSES, 60)
    every = [d for n in range(60) for d in said(f"p{n}", labels[n], guesses[n])]
    found = reader_score(every, CLASSES)
    assert found.patients == 60
    assert found.value == pytest.approx(balanced_accuracy_score(labels, guesses))
    assert 0 < found.interval.low < found.value < found.interval.high < 1


def test_of_contradicting_clips_most_decide_and_of_two_the_surer():
    others = [*said("a", "well", "well"), *said("b", "clip_id", "clip_id")]
    two_of_three = said("p", "sick", "sick", "well", "sick")
    assert reader_score([*others, *two_of_three], CLASSES).value == 1
    (first,) = said("p", "sick", "sick", confidence=5)
    unsure = Diagnosed("p-1", "p", "", "sick", "well", 2)
    assert reader_score([*others, first, unsure], CLASSES).value == 1
    sure = Diagnosed("p-1", "p", "", "sick", "well", 5)
    guess = Diagnosed("p-0", "p", "", "sick", "sick", 1)
    assert reader_score([*others, guess, sure], CLASSES).value == pytest.approx(2 / 3)


def test_sessions_are_cases_of_their_own():
    visits = [
        Diagnosed("c1", "p", "spring", "sick", "sick", 3),
        Diagnosed("c2", "p", "autumn", "well", "sick", 3),
        Diagnosed("c3", "q", "spring", "well", "well", 3),
    ]
    found = reader_score(visits, CLASSES)
    assert found.patients == 2
    assert found.value == pytest.approx(0.75)  # sick 1 of 1, well 1 of 2


@pytest.mark.slow
def test_the_interval_holds_the_truth_as_often_as_it_says():
    """500 readers who are right with 0.9, 0.7 and 0.5 by class, on 60 patients of new draws."""
    truth, random = np.array([0.9, 0.7, 0.5]), np.random.default_rng(1)
    label = np.repeat(np.arange(3), (30, 20, 10))
    held = 0
    for _ in range(500):
        right = random.random(60) < truth[label]
        guess = np.where(right, label, (label + random.integers(1, 3, 60)) % 3)
        every = [
            Diagnosed(f"c{n}", f"p{n}", "", CLASSES[label[n]], CLASSES[guess[n]], 3)
            for n in range(60)
        ]
        interval = reader_score(every, CLASSES).interval
        held += interval.low <= truth.mean() <= interval.high
    # Of 500 at 95 %, 475 with a standard deviation of 4.9.
    assert 460 <= held <= 490
