from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from study_folder import write_study
from vaclip import keys
from vaclip.errors import VaclipError
from vaclip.study.study import Clip, Exclusion, Study
from vaclip.view.outcomes import outcomes


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
    arm, said = outcomes(folder, study)
    assert arm == "B3"
    own = table[table.arm == "B3"]
    assert set(said) == set(own.clip_id)
    probs = [name for name in own if name.startswith(keys.PRED_PROB_PREFIX)]
    for clip_id, rows in own.groupby("clip_id"):
        of_model = rows.groupby(["fold", "seed"])[probs].mean()
        mean = of_model.mean().rename(lambda name: name.removeprefix(keys.PRED_PROB_PREFIX))
        one = said[clip_id]
        assert one.probs == pytest.approx(mean.to_dict())
        assert one.diagnosis == mean.idxmax()
        assert (one.right == "right") == (one.diagnosis == rows.label.iloc[0])


def test_another_arm_and_none_that_there_is(folder, study):
    assert outcomes(folder, study, "B0")[0] == "B0"
    with pytest.raises(VaclipError, match="--arm names one of B0, "):
        outcomes(folder, study, "nobody")


def test_results_of_another_study_are_refused_but_excluded_clips_are_known(folder, study):
    first, *rest = study.clips
    fewer = Study(Path(), "s", study.classes, {}, (), tuple(rest), {})
    with pytest.raises(VaclipError, match=f"clip {first.clip_id}, which the study lacks"):
        outcomes(folder, fewer)
    known = Study(
        Path(), "s", study.classes, {}, (), tuple(rest), {}, (Exclusion(first.clip_id, "x"),)
    )
    assert first.clip_id in outcomes(folder, known)[1]


def test_a_folder_without_predictions_is_told(tmp_path, study):
    with pytest.raises(VaclipError, match=r"no predictions\.parquet"):
        outcomes(tmp_path, study)
