from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from study_folder import write_study
from vaclip import keys
from vaclip.errors import VaclipError
from vaclip.reports.gather import read_folder
from vaclip.study.study import Clip, Study
from vaclip.view.outcomes import chosen_arm, outcomes


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def table(folder):
    table = pd.read_parquet(folder / keys.PREDICTIONS_FILE)
    return table[table.split == "test"]


@pytest.fixture(scope="module")
def study(table):
    own = table.drop_duplicates("clip_id")
    clips = [Clip(r.clip_id, Path("v"), r.patient_id, r.label) for r in own.itertuples()]
    return Study(Path(), "s", tuple(sorted(set(own.label))), {}, (), tuple(clips), {})


def test_a_clip_is_what_the_mean_over_all_its_tests_says(folder, table, study):
    source = read_folder(folder)
    assert chosen_arm(source) == "B3"
    said = outcomes(source, "B3", study)
    own = table[table.arm == "B3"]
    assert set(said) == set(own.clip_id)
    probs = [name for name in own if name.startswith(keys.PRED_PROB_PREFIX)]
    for clip_id, rows in own.groupby("clip_id"):
        of_model = rows.groupby(["fold", "seed"])[probs].mean()
        mean = of_model.mean().rename(lambda name: name.removeprefix(keys.PRED_PROB_PREFIX))
        one = said[clip_id]
        assert one.probs == pytest.approx(mean.to_dict())
        assert one.diagnosis == mean.idxmax()
        similar = of_model.index.map(rows.groupby(["fold", "seed"]).align_sim.count())
        assert np.isnan(one.similarity) == (sum(similar) == 0)
        assert (one.right == "right") == (one.diagnosis == rows.label.iloc[0])


def test_another_arm_and_none_that_there_is(folder):
    source = read_folder(folder)
    assert chosen_arm(source, "B0") == "B0"
    with pytest.raises(VaclipError, match="--arm names one of B0, "):
        chosen_arm(source, "nobody")


def test_results_of_another_study_are_refused(folder, study):
    first, *rest = study.clips
    fewer = Study(Path(), "s", study.classes, {}, (), tuple(rest), {})
    with pytest.raises(VaclipError, match=f"clip {first.clip_id}, which the study lacks"):
        outcomes(read_folder(folder), "B3", fewer)
