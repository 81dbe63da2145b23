"""Whose diagnosis is given where video and map are of two patients."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from report_tables import CLASSES, LABELS, prediction_rows
from vaclip.errors import VaclipError
from vaclip.evaluation.follow import follow_rate
from vaclip.evaluation.predictions import Predictions


def swapped_rows(labels=LABELS, *, follows=0.0, rng=None, **options):
    """B3, and K_swapped, which gives the class of the map's patient with a chance ``follows``."""
    rng = rng or np.random.default_rng(5)
    table = prediction_rows(labels, arms=("B3",), rng=rng, **options)
    other = table.assign(arm="K_swapped")
    clips = other[["clip_id", "seed"]].drop_duplicates()
    donors = pd.Series(
        [CLASSES[k] for k in rng.integers(len(CLASSES), size=len(clips))],
        pd.MultiIndex.from_frame(clips),
    )
    chosen = pd.Series(rng.random(len(clips)) < follows, donors.index)
    key = pd.MultiIndex.from_frame(other[["clip_id", "seed"]])
    other["map_label"] = donors[key].to_numpy()
    sure = (other["map_label"].to_numpy()[:, None] == np.array(CLASSES)).astype(float)
    probs = [f"prob_{name}" for name in CLASSES]
    own = chosen[key].to_numpy()[:, None]
    other[probs] = np.where(own, sure, other[probs].to_numpy())
    return pd.concat([table, other], ignore_index=True)


def test_rates_by_a_loop():
    table = swapped_rows(follows=0.5)
    test = table[table.split == "test"]
    probs = [f"prob_{name}" for name in CLASSES]
    follows, base = [], []
    for (_, _), rows in test.groupby(["seed", "clip_id"]):
        one, two = (rows[rows.arm == arm] for arm in ("K_swapped", "B3"))
        donor = one.map_label.iloc[0]
        if donor != one.label.iloc[0]:
            for part, into in ((one, follows), (two, base)):
                into.append(CLASSES[part[probs].mean().to_numpy().argmax()] == donor)
    found = follow_rate(Predictions.of(table), "B3", "K_swapped")
    assert found.clips == len(follows) < test.groupby(["seed", "clip_id"]).ngroups
    assert found.rate == pytest.approx(np.mean(follows))
    assert found.base == pytest.approx(np.mean(base))
    assert found.difference == pytest.approx(np.mean(follows) - np.mean(base))
    assert found.interval.low < found.trained.low < found.difference < found.trained.high


def test_a_model_that_follows_is_told_and_one_that_does_not_is_not():
    labels = sorted(3 * LABELS)
    always = follow_rate(Predictions.of(swapped_rows(labels, follows=1.0)), "B3", "K_swapped")
    assert always.rate == 1
    assert always.interval.low > 0
    never = follow_rate(Predictions.of(swapped_rows(labels, follows=0.0)), "B3", "K_swapped")
    assert (never.difference, never.rate) == (0.0, never.base)
    assert never.interval.low < 0 < never.interval.high


def test_the_interval_of_these_models_covers_with_patients_as_the_unit():
    """A patient's clips agree wholly, so that clips as the unit would cover far less often."""
    covered = []
    for seed in range(40):
        rng = np.random.default_rng([7, seed])
        table = swapped_rows(sorted(2 * LABELS), rng=rng, seeds=1, clips=3, segments=1, folds=3)
        kind = rng.random(24) < 0.3
        says = kind[table.patient_id.str[1:].astype(int)] & (table.arm == "K_swapped")
        probs = [f"prob_{name}" for name in CLASSES]
        sure = (table.map_label.to_numpy()[:, None] == np.array(CLASSES)).astype(float)
        away = (table.label.to_numpy()[:, None] == np.array(CLASSES)).astype(float)
        table[probs] = np.where(says.to_numpy()[:, None], sure, away)
        found = follow_rate(Predictions.of(table), "B3", "K_swapped")
        assert found.base == 0
        covered.append(found.trained.low <= 0.3 <= found.trained.high)
    assert sum(covered) >= 34  # of 40 at 95 % fewer come with a chance of 0.3 %


def test_there_is_no_rate_without_the_arm_or_a_map_of_another_class():
    table = swapped_rows()
    assert follow_rate(Predictions.of(table), "B3", "K_other") is None
    assert follow_rate(Predictions.of(table.drop(columns="map_label")), "B3", "K_swapped") is None
    same = table.assign(map_label=np.where(table.arm == "K_swapped", table.label, ""))
    assert follow_rate(Predictions.of(same), "B3", "K_swapped") is None


def test_one_model_has_the_interval_of_these_models_alone():
    table = swapped_rows(follows=0.5, seeds=1)
    found = follow_rate(Predictions.of(table[table.fold == 0]), "B3", "K_swapped")
    assert math.isnan(found.interval.low)
    assert math.isfinite(found.trained.low)


def test_the_class_of_a_map_is_a_class():
    table = swapped_rows().replace({"map_label": {CLASSES[0]: "nobody"}})
    with pytest.raises(VaclipError, match=r"map_label: .'nobody'. are no classes"):
        Predictions.of(table)
