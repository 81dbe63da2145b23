from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from study_folder import SKILL, judged, write_study
from vaclip import keys
from vaclip.errors import VaclipError
from vaclip.evaluation.compare import HEADLINE, score_arm
from vaclip.evaluation.evaluate import evaluate
from vaclip.evaluation.inference import Interval
from vaclip.evaluation.learning import patients_needed
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


def test_a_learning_curve_is_read_further_out_with_an_interval_or_a_reason(results):
    assert set(results.extrapolated) == set(results.learning) == {"B0", "B3"}
    for curve in results.extrapolated.values():
        for found in curve.values():
            low, high = found.interval.low, found.interval.high
            assert found.why_not or low <= found.value <= high


def test_what_is_undecided_says_how_many_patients_it_needs(study, results):
    assert results.needed == []  # B3 is clearly better than both
    own = study.everything.only(lambda arm: arm.startswith(("B0", "K_shuffled")))
    found = evaluate(own, baseline="K_shuffled", method="B0", **FAST)
    (one,) = found.needed
    assert (one.contrast.first, one.contrast.second) == ("B0", "K_shuffled")
    assert one.patients == 12
    assert 12 <= one.held.interval.low <= one.held.value <= one.held.interval.high
    assert "no learning curve of K_shuffled" in one.extrapolated.why_not
    assert "would settle it if the difference stays as it is." in str(found.verdict.questions[1])


def test_a_difference_is_extrapolated_where_both_arms_have_a_curve(study, results):
    (contrast,) = (c for c in results.families["primary"] if c.second == "B0")
    unclear = replace(contrast, difference=0.04, interval=Interval(-0.1, 0.18))
    one = patients_needed(study.everything, unclear, results.learning, tests=1, margin=0.05)
    assert one.extrapolated.why_not == ""
    low, high = one.extrapolated.interval.low, one.extrapolated.interval.high
    assert 12 <= low <= one.extrapolated.value <= high


def test_following_is_asked_of_the_arm_with_that_role(tmp_path, results):
    assert results.following is None  # no arm is tested with other patients' maps
    folder = write_study(tmp_path, arms=("B0", "B3", "K_swapped"), variants=False)
    found = judged(read_folder(folder), **FAST).following
    assert (found.clips, found.patients) == (12 * 2 * 2, 12)


def test_an_axis_that_is_no_number_is_an_error(tmp_path):
    folder = write_study(tmp_path, arms=("B3",), variants=False)
    table = pd.read_parquet(folder / keys.PREDICTIONS_FILE)
    odd = table.assign(arm="B3@train_fraction=half")
    pd.concat([table, odd]).to_parquet(folder / keys.PREDICTIONS_FILE)
    with pytest.raises(VaclipError, match="train_fraction=half, which is no number"):
        judged(read_folder(folder), **FAST)


def test_the_bedside_is_answered_by_the_taught_arm_and_its_controls(tmp_path):
    arms = ("B0", "B3", "P1", "P2", "P_shuffled", "P_prior")
    results = judged(read_folder(write_study(tmp_path, arms=arms, variants=False)), **FAST)
    found = {name: [(c.first, c.second) for c in own] for name, own in results.families.items()}
    assert found["primary"] == [("P2", "P1"), ("B3", "B0")]
    assert found["bedside"] == [("P2", "P_shuffled"), ("P2", "P_prior")]
    question = results.verdict.questions[0]
    assert question.contrast is not None
    assert (question.contrast.first, question.contrast.second) == ("P2", "P1")
    gains = [
        results.scores["patient"][arm].scores[HEADLINE].mean
        - results.scores["patient"]["B0"].scores[HEADLINE].mean
        for arm in ("P2", "B3")
    ]
    whole = next(c for c in results.families["primary"] if c.first == "B3")
    said = str(question)
    if whole.interval.low > 0:
        assert f"P2 goes {gains[0] / gains[1]:.2f} (95% interval" in said
    else:
        assert "cannot be told: B3 is not clearly better than B0" in said
