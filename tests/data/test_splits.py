from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaclip.data.splits import (
    SPLITS,
    SplitPlan,
    make_plan,
    make_site_plan,
    patient_labels,
    train_subset,
)
from vaclip.errors import VaclipError

CLASSES = ("asd", "dhs", "hip")


@st.composite
def cohorts(draw):
    """Returns (labels of each patient, folds): every class has a patient for every fold."""
    folds = draw(st.integers(3, 6))
    labels = {}
    for name in CLASSES:
        for number in range(draw(st.integers(folds, 3 * folds))):
            labels[f"{name}{number}"] = [name] * draw(st.integers(1, 3))
    return labels, folds


def plan_of(labels, folds=3, seed=0):
    return make_plan(labels, folds, seed)


def twelve():
    return {f"p{number:02}": [CLASSES[number % 3]] for number in range(12)}


@given(cohorts(), st.integers(0, 2**31))
def test_invariants(cohort, seed):
    labels, folds = cohort
    plan = make_plan(labels, folds, seed)
    assert len(plan.folds) == folds
    for fold in plan.folds:
        assert set(fold) == set(SPLITS)
        everyone = [patient for name in SPLITS for patient in fold[name]]
        assert sorted(everyone) == sorted(labels)  # disjoint, and nobody is left out
        for name in SPLITS:
            assert {label for patient in fold[name] for label in labels[patient]} == set(CLASSES)
    for name in ("test", "val"):
        assert sorted(p for fold in plan.folds for p in fold[name]) == sorted(labels)
    for name in CLASSES:  # stratified: the parts differ by at most one patient of a class
        counts = [sum(labels[p][0] == name for p in fold["test"]) for fold in plan.folds]
        assert max(counts) - min(counts) <= 1


@given(cohorts(), st.randoms(use_true_random=False))
def test_no_order_counts(cohort, shuffle):
    labels, folds = cohort
    patients = list(labels)
    shuffle.shuffle(patients)
    assert make_plan({p: labels[p] for p in patients}, folds, 7) == make_plan(labels, folds, 7)


def test_repeated_clips_of_a_patient_do_not_count():
    many = {patient: names * 5 for patient, names in twelve().items()}
    assert plan_of(many) == plan_of(twelve())


def test_hash_seed_does_not_count():
    program = (
        "from vaclip.data.splits import make_plan\n"
        "labels = {f'p{n}': {'abc'[n % 3], 'common'} for n in set(map(int, range(24)))}\n"
        "named = {p: list(labels[p]) for p in set(labels)}\n"
        "print(make_plan(named, 3, 1).content_hash)"
    )
    hashes = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(hashes) == 1


def test_seed_deals_anew():
    plans = [plan_of(twelve(), seed=seed) for seed in range(5)]
    assert len({str(plan.folds) for plan in plans}) > 1


def test_hash_changes_with_the_assignment():
    plan = plan_of(twelve())
    assert plan.content_hash == plan_of(twelve()).content_hash
    renamed = {("p99" if patient == "p00" else patient): v for patient, v in twelve().items()}
    rotated = SplitPlan(plan.seed, plan.folds[1:] + plan.folds[:1])
    others = [plan_of(twelve(), seed=1), plan_of(twelve(), folds=4), plan_of(renamed), rotated]
    assert len({plan.content_hash, *(other.content_hash for other in others)}) == 5


def test_save_and_load(tmp_path):
    plan = plan_of({**twelve(), "Änne": ["asd"]})
    plan.save(tmp_path / "split.json")
    loaded = SplitPlan.load(tmp_path / "split.json")
    assert loaded == plan
    assert loaded.content_hash == plan.content_hash


def edited(tmp_path, change):
    path = tmp_path / "split.json"
    plan_of(twelve()).save(path)
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return path


def test_edited_file_is_refused(tmp_path):
    def swap(content):  # of one fold's train and val: every invariant still holds
        fold = content["folds"][0]
        fold["train"][0], fold["val"][0] = fold["val"][0], fold["train"][0]

    with pytest.raises(VaclipError, match="was changed after it was written"):
        SplitPlan.load(edited(tmp_path, swap))


def test_other_seed_in_the_file_is_refused(tmp_path):
    with pytest.raises(VaclipError, match="was changed after it was written"):
        SplitPlan.load(edited(tmp_path, lambda content: content.update(seed=5)))


def test_overlap_names_the_patient(tmp_path):
    def leak(content):
        fold = content["folds"][1]
        fold["train"].append(fold["test"][0])
        leak.patient = fold["test"][0]

    path = edited(tmp_path, leak)
    with pytest.raises(VaclipError, match=f"fold 1: train and test share 1 .*{leak.patient};"):
        SplitPlan.load(path)


@pytest.mark.parametrize("pair", [("train", "val"), ("train", "test"), ("val", "test")])
def test_overlap_of_any_two_splits_is_refused(pair):
    folds = [{name: list(fold[name]) for name in SPLITS} for fold in plan_of(twelve()).folds]
    patient = folds[2][pair[0]][0]
    folds[2][pair[1]].append(patient)
    with pytest.raises(VaclipError, match=f"fold 2: {pair[0]} and {pair[1]} share .*{patient};"):
        SplitPlan(0, tuple(folds))


def three(*parts):
    return tuple(dict(zip(SPLITS, ([*part] for part in fold), strict=True)) for fold in parts)


@pytest.mark.parametrize(
    ("folds", "message"),
    [
        (three("abc", "bca", "ac "), "share"),
        (three(["a", "b", ""], ["b", "c", "a"]), "fold 0: no patient in test"),
        (three(["a", "b", "c"], ["a", "b", "d"]), "fold 1 has other patients"),
        (three(["a", "b", "c"], ["b", "a", "c"], ["c", "a", "b"]), "not tested exactly once: a, c"),
    ],
)
def test_other_broken_plans_are_refused(folds, message):
    folds = tuple({name: [p for p in part if p] for name, part in f.items()} for f in folds)
    if message == "share":
        folds[0]["val"] = folds[0]["train"]
    with pytest.raises(VaclipError, match=message):
        SplitPlan(0, folds)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"folds": []}', '{"folds": 3}', "\x00"])
def test_what_is_no_plan_is_refused(tmp_path, content):
    path = tmp_path / "split.json"
    path.write_text(content)
    with pytest.raises(VaclipError, match=r"split\.json is not a split plan"):
        SplitPlan.load(path)


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(VaclipError, match=r"gone\.json is not a split plan"):
        SplitPlan.load(tmp_path / "gone.json")


def test_too_few_patients_says_how_many_folds_are_possible():
    labels = {**twelve(), **{f"q{number}": ["asd"] for number in range(4)}}  # 8, 4 and 4
    with pytest.raises(VaclipError, match=r"'(dhs|hip)' has only 4 .*at most 4 folds are possible"):
        plan_of(labels, folds=5)
    assert len(plan_of(labels, folds=4).folds) == 4


def test_two_patients_of_a_class_allow_no_split():
    labels = {**twelve(), "x": ["rare"], "y": ["rare"]}
    with pytest.raises(VaclipError, match=r"'rare' has only 2 .*no split is possible"):
        plan_of(labels)


@pytest.mark.parametrize("folds", [-1, 0, 2])
def test_fewer_than_three_folds_are_refused(folds):
    with pytest.raises(VaclipError, match=f"split.folds is {folds}"):
        plan_of(twelve(), folds=folds)


def test_no_patient_is_a_user_error():
    with pytest.raises(VaclipError):
        plan_of({})


def test_patient_of_two_classes_counts_as_the_rarer():
    # "asd" has three patients only by grace of the one who also has clips of "dhs".
    labels = {"a0": ["asd"], "a1": ["asd"], "both": ["dhs", "asd", "dhs"]}
    labels |= {f"d{number}": ["dhs"] for number in range(5)}
    plan = plan_of(labels)
    for fold in plan.folds:
        assert sum("asd" in labels[patient] for patient in fold["test"]) == 1
    assert Counter(p for fold in plan.folds for p in fold["test"])["both"] == 1


def test_patient_labels_groups_by_patient():
    pairs = [("b", "x"), ("a", "y"), ("b", "z"), ("b", "x")]
    random.Random(0).shuffle(pairs)
    grouped = patient_labels(pairs)
    assert {patient: sorted(names) for patient, names in grouped.items()} == {
        "a": ["y"],
        "b": ["x", "x", "z"],
    }


@given(
    counts=st.lists(st.integers(1, 12), min_size=1, max_size=4),
    shares=st.lists(st.floats(0.01, 1), min_size=2, max_size=4),
    seed=st.integers(0, 5),
)
def test_train_subsets_are_nested_and_keep_every_class(counts, shares, seed):
    labels = {f"{k}-{n}": [str(k)] for k, count in enumerate(counts) for n in range(count)}
    subsets = [set(train_subset([*labels], labels, share, seed)) for share in sorted(shares)]
    for smaller, larger in pairwise(subsets):
        assert smaller <= larger
    for share, subset in zip(sorted(shares), subsets, strict=True):
        for k, count in enumerate(counts):
            kept = sum(labels[patient] == [str(k)] for patient in subset)
            assert 1 <= kept <= count
            assert share * count - 1e-6 <= kept < share * count + 1


def test_a_train_subset_does_not_depend_on_any_order_and_does_on_the_seed():
    labels = {f"p{n:02}": ["x" if n % 2 else "y"] for n in range(40)}
    first = train_subset([*labels], labels, 0.5, 1)
    assert train_subset([*reversed(labels)], labels, 0.5, 1) == first
    assert train_subset([*labels], labels, 0.5, 2) != first
    assert train_subset([*labels], labels, 1.0, 1) == tuple(sorted(labels))


def test_a_tenth_of_thirty_is_three():
    labels = {f"p{n:02}": ["x"] for n in range(30)}  # 0.1 * 30 is a little more than 3
    assert len(train_subset([*labels], labels, 0.1, 0)) == 3


# --- by site -------------------------------------------------------------------------------------


def sited(*sizes):
    """Labels and sites of patients: site k has ``sizes[k]`` patients of each class."""
    whose = [(f"{site}{name}{n}", name, site) for site, size in zip("efgh", sizes, strict=False)
             for name in CLASSES for n in range(size)]  # fmt: skip
    return {p: [name] * 2 for p, name, _ in whose}, {p: [site] * 2 for p, _, site in whose}


@given(st.lists(st.integers(2, 6), min_size=3, max_size=4), st.integers(0, 9))
def test_each_fold_tests_a_site(sizes, seed):
    labels, sites = sited(*sizes)
    plan = make_site_plan(labels, sites, len(sizes), seed)
    for fold, site in zip(plan.folds, "efgh", strict=False):
        assert {sites[p][0] for p in fold["test"]} == {site}
        for name in SPLITS:  # `SplitPlan` checks that they are disjoint and complete
            assert {label for p in fold[name] for label in labels[p]} == set(CLASSES)
        others = len(labels) - len(fold["test"])
        assert others / 5 <= len(fold["val"]) < others / 5 + len(CLASSES)


def test_a_split_by_site_depends_on_the_seed_in_validation_alone():
    labels, sites = sited(4, 4, 4)
    one, other = (make_site_plan(labels, sites, 3, seed) for seed in (0, 1))
    turned = {p: labels[p] for p in reversed(labels)}
    assert make_site_plan(turned, sites, 3, 0) == one
    assert [fold["test"] for fold in one.folds] == [fold["test"] for fold in other.folds]
    assert [fold["val"] for fold in one.folds] != [fold["val"] for fold in other.folds]


@pytest.mark.parametrize(
    ("change", "folds", "message"),
    [
        ({"easd0": ["e", "f"]}, 3, "patient 'easd0' has clips of 2 sites: mend the column site"),
        ({"easd0": ["", "e"]}, 3, "patient 'easd0' has clips without a site"),
        ({}, 5, r"split.folds is 5, but .* a fold for each site: use split.folds=3"),
    ],
)
def test_sites_that_cannot_be_left_out_are_refused(change, folds, message):
    labels, sites = sited(3, 3, 3)
    with pytest.raises(VaclipError, match=message):
        make_site_plan(labels, sites | change, folds, 0)


def test_two_sites_are_too_few():
    with pytest.raises(VaclipError, match=r"three sites or more, but clips.csv has 2 \(e, f\)"):
        make_site_plan(*sited(3, 3), 2, 0)


def test_a_class_of_one_site_cannot_be_learnt_without_it():
    labels, sites = sited(3, 3, 3)
    labels |= {"x": ["rare"], "y": ["rare"]}
    sites |= {"x": ["e"], "y": ["e"]}
    with pytest.raises(VaclipError, match="without site 'e' too few patients of class 'rare'"):
        make_site_plan(labels, sites, 3, 0)
