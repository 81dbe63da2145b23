"""The shortcut score: leaks that must be found, and studies in which there is none."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge

from conftest import grey_pictures, write_audio, write_video
from vaclip.audit.shortcuts import (
    MOST_CATEGORIES,
    TOGETHER,
    _scores,
    column_features,
    file_facts,
    one_hot,
    patient_scores,
)
from vaclip.data.splits import make_plan, patient_labels
from vaclip.errors import VaclipError

# --- features ------------------------------------------------------------------------------------


def test_what_a_container_says(tmp_path):
    path = write_video(tmp_path / "A.MKV", grey_pictures(range(30), 16, 24), fps=10)
    facts = file_facts(path)
    assert "matroska" in facts.pop("container")
    assert facts == {
        "file ending": ".mkv",
        "codec": "ffv1",
        "pixel format": "bgr0",
        "frame size": "24 x 16",
        "pixels": 384,
        "frame rate": 10,
        "seconds": pytest.approx(3),
        "bytes per second": pytest.approx(path.stat().st_size / 3),
    }
    assert file_facts(path, 0.5, 2.0)["seconds"] == 1.5
    assert file_facts(path, 1.0, 60.0)["seconds"] == pytest.approx(2)


def test_no_video_is_an_error(tmp_path):
    with pytest.raises(VaclipError, match=r"a\.wav"):
        file_facts(write_audio(tmp_path / "a.wav"))


def test_columns_are_numbers_or_categories_and_free_text_is_left_out():
    rows = [
        {"site": "north", "age": "61", "note": "fell twice", "empty": ""},
        {"site": "south", "age": "", "note": "slept badly", "empty": ""},
        {"site": "", "age": "70.5", "note": "no complaint", "empty": ""},
        {"site": "north", "age": "64", "note": "", "empty": ""},
    ]
    table, left_out = column_features(rows, "abcd")
    assert left_out == ["note"]
    assert table["site"].tolist() == ["north", "south", "missing", "north"]
    assert table["age"].tolist()[::2] == [61, 70.5]
    assert np.isnan(table["age"][1])
    assert table["empty"].isna().all()


def test_no_further_column():
    table, left_out = column_features([{}, {}], "ab")
    assert (table.shape, left_out) == ((2, 0), [])


def test_numbers_are_cut_into_five_and_a_frequent_one_is_a_bin_of_its_own():
    spread = one_hot(pd.Series(np.arange(1000.0)))
    bins = spread.argmax(axis=1)
    assert (np.diff(bins) >= 0).all()
    wide = np.sort(spread.sum(axis=0))[-5:]
    assert wide.sum() > 990
    assert (abs(wide - 200) < 3).all()
    rates = one_hot(pd.Series([25.0] * 90 + [24.0] * 5 + [30.0] * 5))
    assert sorted(rates.sum(axis=0)) == [5, 5, 90]
    with_gaps = one_hot(pd.Series([1.0, np.nan, 1.0, np.nan]))
    assert with_gaps.T.tolist() in ([[0, 1, 0, 1], [1, 0, 1, 0]], [[1, 0, 1, 0], [0, 1, 0, 1]])


def test_rare_categories_count_as_one():
    many = [f"c{n}" for n in range(150) for _ in range(2 + (n < 60))]
    design = one_hot(pd.Series(many))
    assert design.shape == (len(many), MOST_CATEGORIES + 1)
    assert sorted(design.sum(axis=0)) == [2] * 40 + [3] * 60 + [2 * 50]
    assert (design.sum(axis=1) == 1).all()


# --- scores --------------------------------------------------------------------------------------


def study(seed=0, classes=("ill", "well", "worse"), per_class=10):
    """Patients with one to four clips each: (patient, label) of each clip."""
    random = np.random.default_rng(seed)
    whose = [(f"{name}{n}", name) for name in classes for n in range(per_class)]
    clips = [pair for pair in whose for _ in range(random.integers(1, 5))]
    return [patient for patient, _ in clips], [label for _, label in clips]


def text(values):
    return one_hot(pd.Series(list(values)))


def test_a_leak_is_found_with_the_smallest_p_there_is():
    patients, labels = study()
    random = np.random.default_rng(1)
    designs = {"site": text(labels), "noise": text(random.choice(list("abc"), len(labels)))}
    scores = {score.feature: score for score in patient_scores(designs, patients, labels)}
    assert list(scores) == [TOGETHER, "site", "noise"]
    assert scores["site"].score == scores[TOGETHER].score == 1
    assert scores["site"].p == scores["site"].p_adjusted == 1 / 500
    assert scores["noise"].score < 0.6
    assert scores["noise"].p_adjusted > scores["noise"].p > 0.05


def test_what_names_the_patient_does_not_help_with_other_patients():
    patients, labels = study()
    (score,) = patient_scores({"name": text(patients)}, patients, labels)
    assert score.score < 0.5  # by clip it would be 1
    assert score.p > 0.05


def test_scores_are_those_of_a_plain_loop():
    patients, labels = study(3, per_class=7)
    patients, labels = [*patients, "ill0", "ill0"], [*labels, "well", "well"]  # of two classes
    random = np.random.default_rng(5)
    hints = [label if random.random() < 0.5 else random.choice(["x", "y"]) for label in labels]
    design = text(hints)
    (found,) = patient_scores({"hint": design}, patients, labels, folds=4, permutations=3, seed=2)
    plan = make_plan(patient_labels(list(zip(patients, labels, strict=True))), 4, 2)
    units = sorted(set(zip(patients, labels, strict=True)))
    rows = {unit: [i for i, own in enumerate(zip(patients, labels, strict=True)) if own == unit]
            for unit in units}  # fmt: skip
    classes = sorted(set(labels))
    hits = {name: [] for name in classes}
    for fold in plan.folds:
        train = [unit for unit in units if unit[0] not in fold["test"]]
        clips = [i for unit in train for i in rows[unit]]
        weights = [1 / len(rows[unit]) for unit in train for _ in rows[unit]]
        target = [[float(labels[i] == name) for name in classes] for i in clips]
        model = Ridge(alpha=1.0).fit(design[clips], target, sample_weight=weights)
        share = [sum(label == name for _, label in train) / len(train) for name in classes]
        for patient, label in units:
            if patient in fold["test"]:
                mean = model.predict(design[rows[patient, label]]).mean(axis=0)
                guess = classes[int(np.argmax(np.round(mean / share, 6)))]
                hits[label].append(guess == label)
    assert sum(map(len, hits.values())) == len(units) == 22
    assert found.score == pytest.approx(np.mean([np.mean(own) for own in hits.values()]))


def test_each_permutation_is_scored_as_by_scikit_learn():
    random = np.random.default_rng(4)
    unit = np.sort(np.append(np.arange(24), random.integers(0, 24, 30)))  # clips of 24 patients
    part, truth = np.arange(24) % 4, np.arange(24) // 4 % 3
    drawn = np.stack([truth] * 70, axis=1)
    for own in (np.flatnonzero(part == number) for number in range(4)):
        drawn[own] = random.permuted(drawn[own], axis=0)
    design = random.integers(0, 3, (len(unit), 4)).astype(float)
    weight = 1 / np.bincount(unit)[unit]
    right = np.zeros(drawn.shape, bool)
    for number in range(4):
        clips = part[unit] != number
        share = np.bincount(drawn[part != number, 0]) / 18
        for column, labels in enumerate(drawn.T):
            target = np.eye(3)[labels[unit[clips]]]
            model = Ridge(alpha=1.0).fit(design[clips], target, weight[clips])
            for patient in np.flatnonzero(part == number):
                mean = model.predict(design[unit == patient]).mean(axis=0)
                right[patient, column] = (mean / share).round(6).argmax() == labels[patient]
    want = [np.mean([r[own == k].mean() for k in range(3)])
            for r, own in zip(right.T, drawn.T, strict=True)]  # fmt: skip
    assert _scores(design, unit, part, drawn, 3).tolist() == pytest.approx(want)


def test_without_a_leak_a_small_p_is_as_rare_as_it_says():
    few = []
    for seed in range(120):
        patients, labels = study(seed, per_class=5)
        random = np.random.default_rng(seed)
        values = {patient: random.choice(list("abc")) for patient in patients}
        noise = {
            "of the patient": text(values[patient] for patient in patients),
            "of the clip": text(random.choice(list("abc"), len(labels))),
        }
        scores = patient_scores(noise, patients, labels, permutations=19, seed=seed)
        few.append([score.p <= 0.2 for score in scores] + [scores[1].p_adjusted <= 0.2])
        assert min(score.p for score in scores) >= 1 / 20
    # 0.2 +- 4 standard deviations of 120 draws; a leak of labels into folds would be far above.
    assert (abs(np.mean(few, axis=0)[:3] - 0.2) < 0.15).all()
    assert np.mean(few, axis=0)[3] < 0.2


def test_a_rare_class_counts_as_much_as_a_common_one():
    patients = [f"p{n}" for n in range(60)]
    labels = ["common"] * 50 + ["rare"] * 10
    hint = ["a"] * 40 + ["b"] * 18 + ["a"] * 2  # 8 of 10 rare ones, 10 of 50 common ones
    (score,) = patient_scores({"hint": text(hint)}, patients, labels)
    assert score.score == pytest.approx((0.8 + 0.8) / 2)
    assert score.p < 0.01


def test_a_constant_feature_is_left_out_and_nothing_gives_nothing():
    patients, labels = study()
    designs = {"codec": text(["h264"] * len(labels)), "site": text(labels)}
    assert [score.feature for score in patient_scores(designs, patients, labels)] == ["site"]
    assert patient_scores({}, patients, labels) == []


def test_too_few_patients_are_an_error_that_says_so():
    patients, labels = study(per_class=4)
    with pytest.raises(VaclipError, match="has only 4 patient"):
        patient_scores({"site": text(labels)}, patients, labels)
