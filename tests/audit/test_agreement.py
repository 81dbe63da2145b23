"""Agreement: closed forms, and studies whose annotations are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from conftest import write_rows
from vaclip.audit.agreement import (
    annotator_agreement,
    cohen_kappa,
    fleiss_kappa,
    joint_agreement,
)
from vaclip.data import cache
from vaclip.data.cache import SampleSettings, cache_study
from vaclip.study.load import load_study

# --- categories ----------------------------------------------------------------------------------


def test_kappa_of_a_table_by_hand():
    # 20 yes/yes, 5 yes/no, 10 no/yes, 15 no/no: observed 0.7, by chance 0.5 * 0.6 + 0.5 * 0.4.
    first = ["yes"] * 25 + ["no"] * 25
    second = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    assert cohen_kappa(first, second) == pytest.approx((0.7 - 0.5) / (1 - 0.5))


def test_kappa_takes_any_category():
    first = [(("", "region:hip"),), (("", "region:knee"),)]
    assert cohen_kappa(first, first) == pytest.approx(1)
    assert cohen_kappa(first, first[::-1]) == pytest.approx(-1)


@pytest.mark.filterwarnings("error")
def test_kappa_is_undefined_where_one_thing_is_said_always():
    assert math.isnan(cohen_kappa(["a", "a"], ["a", "a"]))
    assert math.isnan(cohen_kappa([], []))
    assert cohen_kappa(["a", "a"], ["b", "b"]) == 0


def test_fleiss_kappa_of_his_own_kind_of_table():
    # Fourteen raters, ten subjects, five categories: the worked example of most textbooks.
    counts = """0 0 0 0 14 / 0 2 6 4 2 / 0 0 3 5 6 / 0 3 9 2 0 / 2 2 8 1 1
                7 7 0 0 0 / 3 2 6 3 0 / 2 5 3 2 2 / 6 5 2 1 0 / 0 2 2 3 7"""
    rows = [[int(n) for n in row.split()] for row in counts.replace("\n", "/").split("/")]
    subjects = [[c for c, n in enumerate(row) for _ in range(n)] for row in rows]
    raters = list(zip(*subjects, strict=True))
    assert fleiss_kappa(raters) == pytest.approx(0.210, abs=0.0005)


@pytest.mark.filterwarnings("error")
def test_fleiss_kappa_at_its_ends():
    said = [(("", "hip"),), (("", "knee"),), (("", "hip"),)]
    assert fleiss_kappa([said] * 3) == pytest.approx(1)
    assert math.isnan(fleiss_kappa([["a", "a"]] * 3))
    assert math.isnan(fleiss_kappa([[], [], []]))


# --- a study -------------------------------------------------------------------------------------


def settings(*annotators):
    return SampleSettings(10.0, (16, 16), annotators)


def annotated_study(folder, annotations):
    """Replaces the annotations of a tiny study, given as (clip_id, annotator, region)."""
    columns = ("clip_id", "annotator", "kind", "value")
    rows = [(clip, who, "region", what) for clip, who, what in annotations]
    write_rows(folder / "attention.csv", [dict(zip(columns, row, strict=True)) for row in rows])
    return load_study(folder)


def test_every_pair_over_the_clips_that_both_annotated(tiny_study, tmp_path):
    one, two, three = "steady-0-0", "limping-0-0", "shuffling-0-0"
    study = annotated_study(
        tiny_study(patients_per_class=1),
        [
            (one, "a", "hips"), (one, "a", "trunk"), (one, "b", "trunk"), (one, "b", "hips"),
            (two, "a", "hips"), (two, "b", "ground"),
            (three, "a", "knees"), (three, "c", "knees"),
        ],
    )  # fmt: skip
    pairs = annotator_agreement(study, settings("a", "b", "c"), tmp_path / "cache", workers=1)
    assert [(pair.first, pair.second) for pair in pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    ab, ac, bc = pairs
    assert ab.clip_ids == (one, two)
    assert ab.exact == 0.5
    # a says both, hips; b says both, ground: observed 1/2, by chance 1/4.
    assert ab.kappa == pytest.approx((0.5 - 0.25) / (1 - 0.25))
    assert ab.cc[0] == pytest.approx(1)
    assert ab.sim[0] == pytest.approx(1)
    assert ab.cc[1] < 0.9
    assert ab.sim[1] < 0.9
    assert ac.clip_ids == (three,)
    assert ac.exact == 1
    assert math.isnan(ac.kappa)
    assert ac.cc == pytest.approx([1])
    assert bc.clip_ids == ()
    assert math.isnan(bc.exact)
    assert bc.cc.shape == bc.sim.shape == (0,)


def test_boxes_overlap_by_their_pixels(tiny_study, tmp_path):
    # Of 16 x 16: the trunk is rows 4 to 10 and columns 4 to 12, the ground rows 12 to 16.
    study = annotated_study(
        tiny_study(patients_per_class=1),
        [("steady-0-0", "a", "trunk"), ("steady-0-0", "b", "ground")],
    )
    (pair,) = annotator_agreement(study, settings("a", "b"), tmp_path / "cache", workers=1)
    trunk, ground = np.zeros((2, 16, 16))
    trunk[4:10, 4:12] = 1
    ground[12:] = 1
    assert pair.cc == pytest.approx([np.corrcoef(trunk.ravel(), ground.ravel())[0, 1]])
    assert pair.sim == pytest.approx([0])


def test_chance_is_agreement_with_the_maps_of_other_patients(tiny_study, tmp_path):
    places = {"steady-0-0": "trunk", "limping-0-0": "trunk", "shuffling-0-0": "ground"}
    said = [(clip, who, place) for clip, place in places.items() for who in "ab"]
    study = annotated_study(tiny_study(patients_per_class=1), said)
    (pair,) = annotator_agreement(study, settings("a", "b"), tmp_path / "cache", workers=1)
    assert pair.cc == pytest.approx([1, 1, 1])
    trunk, ground = np.zeros((2, 16, 16))
    trunk[4:10, 4:12] = 1
    ground[12:] = 1
    apart = np.corrcoef(trunk.ravel(), ground.ravel())[0, 1]
    # Of six ordered pairs of different patients two are of trunk and trunk.
    assert pair.cc_chance == pytest.approx((2 * 1 + 4 * apart) / 6)
    assert pair.sim_chance == pytest.approx(2 / 6)


def test_clips_of_one_patient_say_nothing_of_chance(tiny_study, tmp_path):
    clips = ("steady-0-0", "steady-0-1")
    study = annotated_study(
        tiny_study(1, clips_per_patient=2), [(c, who, "hips") for c in clips for who in "ab"]
    )
    (pair,) = annotator_agreement(study, settings("a", "b"), tmp_path / "cache", workers=1)
    assert math.isnan(pair.cc_chance)
    assert math.isnan(pair.sim_chance)


def test_drawings_are_no_categories(tiny_study, tmp_path):
    root = tiny_study(patients_per_class=1)
    clips = ("steady-0-0", "limping-0-0", "shuffling-0-0")
    rows = []
    for n, (clip, who) in enumerate((clip, who) for clip in clips for who in "abc"):
        drawn = np.zeros((8, 8), np.float32)
        drawn[2:6, 2:6] = 1
        drawn[0, 0] = n / 100  # no two files are the same
        np.save(root / f"m{n}.npy", drawn)
        rows.append({"clip_id": clip, "annotator": who, "kind": "map", "value": f"m{n}.npy"})
    rows[0] |= {"kind": "region", "value": "trunk"}
    write_rows(root / "attention.csv", rows)
    study = load_study(root)
    pairs = annotator_agreement(study, settings(*"abc"), tmp_path / "cache", workers=1)
    for pair in pairs:
        assert pair.exact == 0
        assert math.isnan(pair.kappa)
        assert pair.cc[1:] == pytest.approx([1, 1], abs=0.05)
    clips_of_all, kappa = joint_agreement(study, settings(*"abc"), tmp_path / "cache")
    assert clips_of_all == 3
    assert math.isnan(kappa)


def test_clips_in_the_cache_are_not_decoded_again(tiny_study, tmp_path, monkeypatch):
    study = load_study(tiny_study(patients_per_class=1))
    cache_study(study, settings("ann", "bob"), tmp_path, workers=1)
    monkeypatch.setattr(cache, "decode_spans", None)
    (pair,) = annotator_agreement(study, settings("ann", "bob"), tmp_path, workers=1)
    assert len(pair.clip_ids) == 3


def test_who_has_no_peer_is_compared_with_nobody(tiny_study, tmp_path):
    study = load_study(tiny_study(patients_per_class=1))
    assert annotator_agreement(study, settings("ann"), tmp_path, workers=1) == []


def test_all_annotators_at_once_over_the_clips_that_all_annotated(tiny_study, tmp_path):
    one, two, three = "steady-0-0", "limping-0-0", "shuffling-0-0"
    study = annotated_study(
        tiny_study(patients_per_class=1),
        [
            (one, "a", "hips"), (one, "b", "hips"), (one, "c", "head"),
            (two, "a", "knees"), (two, "b", "knees"), (two, "c", "knees"),
            (three, "a", "knees"), (three, "c", "knees"),
        ],
    )  # fmt: skip
    clips, kappa = joint_agreement(study, settings("a", "b", "c"), tmp_path / "cache")
    assert clips == 2
    # Pairs that agree: 1 of 3, and all; shares of hips 2/6, head 1/6, knees 3/6.
    observed, chance = (1 / 3 + 1) / 2, (2 / 6) ** 2 + (1 / 6) ** 2 + (3 / 6) ** 2
    assert kappa == pytest.approx((observed - chance) / (1 - chance))
    clips, kappa = joint_agreement(study, settings("a", "b"), tmp_path / "cache")
    assert clips == 2
    assert math.isnan(kappa)
