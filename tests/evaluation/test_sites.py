"""Scores by site: plain loops, closed forms, and intervals over sites that cover."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import balanced_accuracy_score

from report_tables import prediction_rows
from vaclip.evaluation.compare import compare
from vaclip.evaluation.predictions import Predictions
from vaclip.evaluation.sites import NO_SITE, SEVERAL, by_site

LABELS = [0, 1, 2] * 8
FAST = {"n_resamples": 2, "n_permutations": 9}


def with_sites(table, sites=("north", "south", "west", "east")):
    """Patient i is of site i // 3 modulo their number, so that each has all classes."""
    number = table.patient_id.str[1:].astype(int)
    return table.assign(site=[sites[n // 3 % len(sites)] for n in number])


def of(table, *arms):
    found = Predictions.of(table)
    pairs = [compare(found, "B3", "B0", **FAST)] if "B3" in found.jobs else []
    return found, by_site(found, arms or ("B0", "B3"), pairs)


def right(found, arm):
    """(case label, diagnosis, patient, seed) of an arm."""
    cases = found.cases(arm)
    return cases.label, cases.probs.argmax(axis=1), cases.patient, cases.seed


def test_values_at_a_site_are_those_of_its_patients():
    found, sites = of(with_sites(prediction_rows(LABELS)))
    assert [(site.name, site.patients, site.classes) for site in sites.sites] == [
        ("east", 6, 3), ("north", 6, 3), ("south", 6, 3), ("west", 6, 3)
    ]  # fmt: skip
    values = {}
    for arm in sites.arms:
        label, said, patient, seed = right(found, *arm.name)
        for n, site in enumerate(("east", "north", "south", "west")):
            own = np.array(
                [("north", "south", "west", "east")[p // 3 % 4] == site for p in patient]
            )
            per_seed = [
                balanced_accuracy_score(label[own & (seed == s)], said[own & (seed == s)])
                for s in (0, 1)
            ]
            assert arm.at[n][0] == pytest.approx(np.mean(per_seed))
            assert arm.at[n][1].low < arm.at[n][0] < arm.at[n][1].high
        assert arm.value == pytest.approx(
            found.score(*arm.name, n_resamples=2).scores["acc_macro"].mean
        )
        values[arm.name[0]] = arm
    (contrast,) = sites.contrasts
    assert contrast.name == ("B3", "B0")
    for n in range(4):
        apart = values["B3"].at[n][0] - values["B0"].at[n][0]
        assert contrast.at[n][0] == pytest.approx(apart)


def test_the_interval_over_sites_is_the_jackknife_of_sites():
    """One site is all wrong and three are all right: nothing but the site varies."""
    wrong = {3, 4, 5, 15, 16, 17}  # the patients of south

    def probs(arm, seed, patient, clip, segment):
        own = (LABELS[patient] + (patient in wrong)) % 3
        return np.where(np.arange(3) == own, 0.8, 0.1)

    found, sites = of(with_sites(prediction_rows(LABELS, probs=probs, arms=("B0",), seeds=1)), "B0")
    (arm,) = sites.arms
    assert arm.value == pytest.approx(0.75)
    left_out = np.array([2 / 3, 2 / 3, 1, 2 / 3])
    variance = 3 / 4 * np.sum((left_out - left_out.mean()) ** 2)
    cases = found.cases("B0")
    # Three folds, of which one trains: with one seed V' = V + n_test / n_train V.
    assert found.sizes[0, 0] == (8, 8)
    t = stats.t.ppf(0.975, 3)
    size = 0.75 * 0.25 / (2 * variance)
    assert size < len(cases.label)
    middle, scale = 0.75 + t**2 / (2 * size), 1 + t**2 / size
    half = t * math.sqrt(0.75 * 0.25 / size + t**2 / (4 * size**2))
    assert arm.interval.low == pytest.approx((middle - half) / scale)
    assert arm.interval.high == pytest.approx((middle + half) / scale)


def test_it_is_never_narrower_than_that_over_patients():
    found, sites = of(with_sites(prediction_rows(LABELS, seeds=3)))
    for arm in sites.arms:
        own = found.score(*arm.name, n_resamples=2).scores["acc_macro"].interval
        assert arm.interval.low < own.low
        assert arm.interval.high > own.high


@pytest.mark.parametrize("names", [("",), ("north",), ("north", "")])
def test_fewer_than_two_sites_are_none(names):
    assert of(with_sites(prediction_rows(LABELS), names))[1] is None


def test_two_sites_have_no_interval_over_sites():
    _, sites = of(with_sites(prediction_rows(LABELS), ("north", "south")))
    assert all(math.isnan(arm.interval.low) for arm in (*sites.arms, *sites.contrasts))


def test_patients_of_several_sites_or_none_stand_apart():
    table = with_sites(prediction_rows(LABELS))
    table.loc[(table.patient_id == "p000") & table.clip_id.str.endswith("c1"), "site"] = "west"
    table.loc[table.patient_id == "p001", "site"] = ""
    _, sites = of(table)
    sizes = {site.name: (site.patients, site.classes) for site in sites.sites}
    assert sizes[SEVERAL] == sizes[NO_SITE] == (1, 1)
    assert sizes["north"] == (4, 3)
    assert not sites.nested
    assert math.isnan(sites.arms[0].interval.low)


def test_patients_of_arms_that_lack_jobs_keep_their_sites():
    table = with_sites(prediction_rows(LABELS, skip=[("B0", 0, 0), ("B0", 0, 1)]))
    found, sites = of(table)
    whole = Predictions.of(table[table.fold > 0])
    (contrast,) = sites.contrasts
    expected = by_site(whole, (), [compare(whole, "B3", "B0", **FAST)]).contrasts[0]
    assert [value for value, _ in contrast.at] == pytest.approx([v for v, _ in expected.at])
    assert len(found.tested(("B3", "B0"))) < len(found.tested(("B3",))) + 1


def test_alike_patients_need_intervals_over_sites():
    """Sites differ, as scanners do: over patients the truth is missed too often, over sites not."""
    rng = np.random.default_rng(0)
    labels, names = [0, 1, 2] * 20, [f"site {n}" for n in range(10)]
    covered = {"sites": 0, "patients": 0}
    studies = 60
    for _ in range(studies):
        skill = 0.6 + 0.35 * rng.choice([-1, 1], 10)
        hit = rng.random(60) < skill[np.arange(60) // 3 % 10]

        def probs(arm, seed, patient, clip, segment, hit=hit):
            own = (labels[patient] + (not hit[patient])) % 3
            return np.where(np.arange(3) == own, 0.8, 0.1)

        table = prediction_rows(labels, probs=probs, arms=("B0",), seeds=1, clips=1, segments=1)
        found, sites = of(with_sites(table, names), "B0")
        own = found.score("B0", metrics=("acc_macro",), n_resamples=2).scores["acc_macro"]
        covered["sites"] += sites.arms[0].interval.low <= 0.6 <= sites.arms[0].interval.high
        covered["patients"] += own.interval.low <= 0.6 <= own.interval.high
    assert covered["sites"] >= 53  # of 60 at 95 % fewer have a chance of 0.9 %
    assert covered["patients"] < covered["sites"]
