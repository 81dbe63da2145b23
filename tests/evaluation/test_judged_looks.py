"""The look table, judged: closed forms, and what the verdict says of it."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from report_tables import predictions
from vaclip import keys
from vaclip.evaluation.evaluate import evaluate
from vaclip.evaluation.inference import UNDEFINED, Interval
from vaclip.evaluation.look import LookScore, gain_sentence, judge_looks
from vaclip.evaluation.roles import Roles

PATIENTS = 8


def look_table(values, *, arms=("P2",), clips=2, seeds=2, noise=0.0, measure="cc"):
    """By map a value for each patient; each clip and seed adds its own, whose mean is 0."""
    rows = []
    for arm, seed, patient, clip in product(arms, range(seeds), range(PATIENTS), range(clips)):
        for which, own in values.items():
            more = noise * (2 * seed - seeds + 1) * (2 * clip - clips + 1)
            fixed = (arm, patient % 2, seed, f"p{patient}", f"p{patient}c{clip}", 0)
            rows.append((*fixed, which, measure, own[patient] + more))
    return pd.DataFrame(rows, columns=list(keys.LOOK_COLUMNS))


def drawn(seed, low, high):
    return np.random.default_rng(seed).uniform(low, high, PATIENTS)


def test_a_score_is_the_mean_over_patients_with_students_interval():
    own = drawn(0, 0.2, 0.9)
    looks = judge_looks(look_table({"predicted": own}, noise=0.3))
    found = looks.scores["P2"]["predicted"]["cc"]
    half = stats.t.ppf(0.975, PATIENTS - 1) * own.std(ddof=1) / math.sqrt(PATIENTS)
    assert found.patients == PATIENTS
    assert found.value == pytest.approx(own.mean())
    assert found.interval.low == pytest.approx(own.mean() - half)
    assert found.interval.high == pytest.approx(own.mean() + half)
    assert math.isnan(found.relative)
    assert (looks.clips, looks.models) == (PATIENTS, 4)  # two folds and seeds, half of the patients


def test_a_patient_weighs_the_same_with_many_clips_or_seeds():
    table = look_table({"predicted": drawn(0, 0, 1)})
    more = table[table["patient_id"] == "p3"]
    heavy = pd.concat([table, *[more.assign(clip_id=f"more{n}") for n in range(9)]])
    found, same = (judge_looks(one).scores["P2"]["predicted"]["cc"].value for one in (heavy, table))
    assert found == pytest.approx(same)


@pytest.mark.parametrize(("value", "expected"), [(0.3, 0.0), (0.8, 1.0), (0.55, 0.5), (0.2, -0.2)])
def test_relative_to_floor_and_ceiling(value, expected):
    flat = np.ones(PATIENTS)
    maps = {"predicted": value * flat, "prior": 0.3 * flat, "annotators": 0.8 * flat}
    found = judge_looks(look_table(maps)).scores["P2"]["predicted"]["cc"]
    assert found.relative == pytest.approx(expected)
    assert found.relative_interval.low == pytest.approx(expected)


def test_where_less_is_better_the_relative_score_is_so_too():
    flat = np.ones(PATIENTS)
    maps = {"predicted": 1 * flat, "prior": 2 * flat, "annotators": 0.5 * flat}
    table = look_table(maps, measure="kl")
    assert judge_looks(table).scores["P2"]["predicted"]["kl"].relative == pytest.approx(2 / 3)


def test_the_relative_interval_is_the_jackknifes():
    maps = {
        "predicted": drawn(1, 0.4, 0.7), "prior": drawn(2, 0.2, 0.4),
        "annotators": drawn(3, 0.7, 0.9),
    }  # fmt: skip
    found = judge_looks(look_table(maps)).scores["P2"]["predicted"]["cc"]

    def ratio(rows):
        score, prior, ceiling = (maps[name][rows].mean() for name in maps)
        return (score - prior) / (ceiling - prior)

    everyone = np.arange(PATIENTS)
    left = np.array([ratio(np.delete(everyone, n)) for n in everyone])
    variance = (PATIENTS - 1) / PATIENTS * ((left - left.mean()) ** 2).sum()
    half = stats.t.ppf(0.975, PATIENTS - 1) * math.sqrt(variance)
    assert found.relative == pytest.approx(ratio(everyone))
    assert found.relative_interval.high == pytest.approx(ratio(everyone) + half)


def test_patients_without_a_second_annotator_are_no_part_of_the_ratio():
    maps = {"predicted": drawn(1, 0.4, 0.7), "prior": drawn(2, 0.2, 0.4)}
    some = look_table({"annotators": drawn(3, 0.7, 0.9)})
    some = some[some["patient_id"].isin(["p0", "p2", "p5"])]
    looks = judge_looks(pd.concat([look_table(maps), some]))
    found = looks.scores["P2"]["predicted"]["cc"]
    rows = [0, 2, 5]
    score, prior = (own[rows].mean() for own in maps.values())
    ceiling = drawn(3, 0.7, 0.9)[rows].mean()
    assert found.relative == pytest.approx((score - prior) / (ceiling - prior))
    assert looks.beside["annotators"]["cc"].patients == 3
    assert found.patients == PATIENTS


def test_a_ceiling_that_is_not_apart_from_the_floor_scales_nothing():
    maps = {"predicted": drawn(1, 0, 1), "prior": drawn(2, 0, 1), "annotators": drawn(4, 0, 1)}
    assert math.isnan(judge_looks(look_table(maps)).scores["P2"]["predicted"]["cc"].relative)


def test_floor_and_ceiling_are_told_apart_by_all_patients_that_have_them():
    """And not by the few on whom a costly map was made."""
    maps = {"prior": np.linspace(0, 1, PATIENTS), "annotators": np.full(PATIENTS, 0.6)}
    few = look_table({"occlusion": drawn(1, 0, 1)})
    few = few[few["patient_id"].isin(["p0", "p1"])]  # of these the two are clearly apart
    table = pd.concat([look_table(maps), few])
    assert math.isnan(judge_looks(table).scores["P2"]["occlusion"]["cc"].relative)


def test_an_interval_stays_where_the_measure_does():
    values = np.array([0.1, 0.99] * (PATIENTS // 2))[:3]
    for measure, low, high in (("cc", -1, 1), ("sim", 0, 1), ("kl", 0, math.inf)):
        table = look_table({"predicted": np.resize(values, PATIENTS)}, measure=measure)
        table = table[table["patient_id"].isin(["p0", "p1"])]
        found = judge_looks(table).scores["P2"]["predicted"][measure].interval
        assert low <= found.low < found.high <= high
    gain = look_table({"predicted": np.resize(values, PATIENTS)}, measure="information_gain")
    gain = judge_looks(gain[gain["patient_id"].isin(["p0", "p1"])])
    assert gain.gain("P2").interval.low < -1


def test_floors_of_several_arms_count_once():
    maps = {"predicted": drawn(1, 0, 1), "prior": drawn(2, 0, 1)}
    one, two = (judge_looks(look_table(maps, arms=arms)) for arms in (("P2",), ("P2", "B0")))
    assert one.beside == two.beside
    assert list(two.scores) == ["P2", "B0"]
    assert "prior" not in two.scores["P2"]


def test_one_patient_has_no_interval():
    table = look_table({"predicted": drawn(1, 0, 1)}, measure="information_gain")
    looks = judge_looks(table[table["patient_id"] == "p0"])
    assert looks.scores["P2"]["predicted"]["information_gain"].interval == UNDEFINED
    assert looks.gain("P2") is None
    assert judge_looks(table).gain("P2") is not None
    assert judge_looks(table).gain("B0") is None
    assert judge_looks(table).gain(None) is None


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.1, 0.7, "Its map tells better where clinicians look than the mean map"),
        (-0.2, 0.7, "Its map is not shown to tell better where clinicians look than"),
        (-0.9, -0.1, "Its map tells worse where clinicians look than the mean map"),
    ],
)
def test_the_sentence_follows_the_interval(low, high, said):
    gain = LookScore((low + high) / 2, Interval(low, high), 40)
    assert gain_sentence(gain).startswith(said)
    assert f"{low:+.2f} to {high:+.2f} over 40 patients" in gain_sentence(gain)


def test_the_verdict_names_the_gain_and_its_answer_is_as_without():
    table = predictions(arms=("B0", "B3", "P1", "P2"))
    roles = Roles("B0", "B3", taught="P2", untaught="P1")
    own = look_table({"predicted": drawn(5, 0.5, 1)}, measure="information_gain")
    alone, beside = (
        evaluate(table, roles=roles, look=look, n_resamples=10, n_permutations=9)
        for look in (None, own)
    )
    (first, *others), (second, *same) = alone.verdict.questions, beside.verdict.questions
    assert others == same
    assert second.answer is first.answer
    (added,) = set(second.sentences) - set(first.sentences)
    assert added == gain_sentence(beside.looks.gain("P2"))
