from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from study_folder import SKILL, judged, write_study
from vaclip import keys
from vaclip.errors import VaclipError
from vaclip.evaluation.compare import HEADLINE, score_arm
from vaclip.reports.gather import read_folder

FAST = {"n_resamples": 20, "n_permutations": 49}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    return read_folder(write_study(folder, arms=("K_shuffled", "C3_linear", "B3", "B0")))


@pytest.fixture(scope="module")
def results(study):
    return judged(study, **FAST)


def test_main_families_have_no_points_of_axes_and_keep_study_order(results):
    baseline = [contrast.first for contrast in results.families["baseline"]]
    assert baseline == ["K_shuffled", "C3_linear"]
    primary = [(contrast.first, contrast.second) for contrast in results.families["primary"]]
    assert primary == [("B3", "B0"), ("B3", "K_shuffled")]
    assert set(results.scores["patient"]) <= set(SKILL)


def test_the_arm_itself_closes_the_learning_curve(study, results):
    shares = [share for share, _ in results.learning["B3"]]
    assert shares == [0.25, 0.5, 1.0]
    whole = score_arm(study.predictions, "B3", **{"n_resamples": 20}).scores[HEADLINE]
    assert results.learning["B3"][-1][1].scores[HEADLINE] == whole


def test_the_arm_itself_is_no_noise_and_gain_one(results):
    assert set(results.noise) == {"blur", "displacement", "dropout", "gain"}
    for kind, curves in results.noise.items():
        own = {value: found.arm for value, found in curves["B3"]}
        assert own[1.0 if kind == "gain" else 0.0] == "B3"
        assert list(own) == sorted(own)


def test_annotators_are_read_from_the_name(results):
    pairs = {(one, other) for one in ("md1", "md2") for other in ("md1", "md2")}
    assert set(results.annotators["B3"]) == pairs


def test_retrieval_is_averaged_over_the_jobs_that_have_it(study, results):
    models = [(fold, seed) for fold in range(3) for seed in range(2)]
    own = []
    for fold, seed in models:
        clips = study.everything.model_clips("B3", fold, seed)
        ranks = np.argsort(np.argsort(-(clips.video @ clips.attn.T), axis=1), axis=1)
        own.append(np.mean(np.diag(ranks) == 0))
    found = results.retrieval["B3"]["retrieval_r1_v2a"]
    assert (found.mean, found.low, found.high) == pytest.approx((np.mean(own), min(own), max(own)))
    assert found.jobs == len(models)
    assert "B0" not in results.retrieval  # whose alignment was not trained


def test_progress_ends_at_the_total(study):
    told = []
    judged(study, **FAST, progress=lambda done, total: told.append((done, total)))
    assert [done for done, _ in told] == list(range(1, told[-1][1] + 1))


def test_an_axis_that_is_no_number_is_an_error(tmp_path):
    folder = write_study(tmp_path, arms=("B3",), variants=False)
    table = pd.read_parquet(folder / keys.PREDICTIONS_FILE)
    odd = table.assign(arm="B3@train_fraction=half")
    pd.concat([table, odd]).to_parquet(folder / keys.PREDICTIONS_FILE)
    with pytest.raises(VaclipError, match="train_fraction=half, which is no number"):
        judged(read_folder(folder), **FAST)
