from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats as sp
from sklearn.metrics import balanced_accuracy_score

from report_tables import CLASSES, LABELS, per_patient, prediction_rows, predictions
from vaclip.evaluation import compare as judge
from vaclip.evaluation import inference as stats
from vaclip.evaluation import scores
from vaclip.evaluation.predictions import Predictions
from vaclip.evaluation.roles import Roles

# Of scikit-learn, whose balanced accuracy is the reference.
pytestmark = pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
FAST = {"n_resamples": 200, "n_permutations": 499}


def test_values_of_an_arm():
    found = predictions(seeds=3)
    arm = judge.score_arm(found, "B3", **{"n_resamples": 200})
    cases = found.cases("B3")
    expected = []
    for seed in range(3):
        own = cases.seed == seed
        guess = cases.probs[own].argmax(axis=1)
        expected.append(balanced_accuracy_score(cases.label[own], guess))
    score = arm.scores["acc_macro"]
    assert [*score.per_seed.values()] == pytest.approx(expected)
    assert score.mean == pytest.approx(np.mean(expected))
    assert score.sd == pytest.approx(np.std(expected, ddof=1))
    assert (arm.jobs, arm.patients) == (9, 12)
    assert arm.confusion.sum() == 36
    assert arm.reliability.count.sum() == 36
    assert set(arm.scores) == set(scores.METRICS)
    for name, value in arm.scores.items():
        if name not in scores.RANKING:  # a draw may leave no model with all classes
            assert value.percentile.low <= value.percentile.high
        if name != "ece":
            assert value.interval.low <= value.mean <= value.interval.high
    assert math.isnan(arm.scores["ece"].interval.low)


def test_alignment_and_auroc_of_an_arm_are_means_over_its_models():
    found = predictions(seeds=2)
    for unit, prefix in (("clip", "clip/"), ("patient", "patient/")):
        arm = judge.score_arm(found, "B3", unit, n_resamples=2)
        models = [found.model_clips("B3", *job).metrics() for job in sorted(found.jobs["B3"])]
        for name in ("auroc_macro", "auroc_micro"):
            expected = [model[prefix + name] for model in models]
            assert arm.scores[name].mean == pytest.approx(np.nanmean(expected))
        if unit == "clip":
            expected = [model["align_sim_corr"] for model in models]
            mean, sd = arm.alignment["align_sim_corr"]
            assert mean == pytest.approx(np.nanmean(expected))
            by_seed = np.nanmean(np.reshape(expected, (3, 2)), axis=0)  # jobs are sorted by fold
            assert sd == pytest.approx(np.std(by_seed, ddof=1))


def test_an_auroc_difference_has_an_interval_where_a_fold_lacks_a_class():
    labels = [0] * 20 + [1] * 3  # of four folds one has no patient of class 1
    table = prediction_rows(labels, folds=4, seeds=2, classes=CLASSES[:2])
    contrast = judge.compare(Predictions.of(table), "B3", "B0", "auroc_macro", **FAST)
    assert contrast.interval.low < contrast.difference < contrast.interval.high
    assert 0 < contrast.p < 1


def test_one_model_has_no_test_and_no_interval_of_the_procedure():
    table = prediction_rows(LABELS, seeds=1, folds=2)
    found = Predictions.of(table[table.fold == 0], patients=12)
    contrast = judge.compare(found, "B3", "B0", **FAST)
    assert math.isnan(contrast.p)
    assert math.isnan(contrast.interval.low)
    assert contrast.trained.low < contrast.difference < contrast.trained.high
    assert "interval -), p = -" in repr(contrast)
    score = judge.score_arm(found, "B3", n_resamples=2).scores["acc_macro"]
    assert math.isnan(score.interval.low)
    assert score.trained.low < score.mean < score.trained.high


@pytest.mark.parametrize(("folds", "seeds"), [([0], 3), ([0, 2], 1)])
def test_some_folds_have_intervals_wider_than_those_of_their_models(folds, seeds):
    table = prediction_rows(sorted(2 * LABELS), seeds=seeds, folds=4)
    found = Predictions.of(table[table.fold.isin(folds)], patients=24)
    contrast = judge.compare(found, "B3", "B0", "log_loss", **FAST)
    assert contrast.interval.low < contrast.trained.low
    assert 0 < contrast.p < 1


def test_an_arm_without_similarity_has_undefined_alignment():
    table = prediction_rows(LABELS)
    table["align_sim"] = np.nan
    arm = judge.score_arm(Predictions.of(table), "B0", n_resamples=2)
    assert all(math.isnan(value) for pair in arm.alignment.values() for value in pair)


def flat_probs(p):
    """Puts p on the right class of patient i, whatever the rest; rng only through p."""

    def probs(arm, seed, patient, clip, segment):
        row = np.full(3, (1 - p(arm, seed, patient)) / 2)
        row[LABELS[patient]] = p(arm, seed, patient)
        return row

    return probs


def test_values_of_a_contrast():
    found = predictions()
    contrast = judge.compare(found, "B3", "B0", **FAST)
    means = {arm: per_patient(found, arm)[0].reshape(-1, 3).mean() for arm in ("B3", "B0")}
    assert contrast.value_first == pytest.approx(means["B3"])
    assert contrast.value_second == pytest.approx(means["B0"])
    assert contrast.difference == pytest.approx(means["B3"] - means["B0"])
    assert (contrast.jobs, contrast.jobs_of_either, contrast.patients) == (6, 6, 12)
    assert contrast.interval.low <= contrast.difference <= contrast.interval.high
    assert contrast.trained.low <= contrast.difference <= contrast.trained.high
    assert contrast.p == stats.t_p(contrast.difference, contrast.error)
    assert math.isnan(contrast.p_holm)


def test_the_two_ways_round_mirror():
    found = predictions()
    one = judge.compare(found, "B3", "B0", **FAST)
    two = judge.compare(found, "B0", "B3", **FAST)
    assert two.difference == pytest.approx(-one.difference)
    assert two.interval.low == pytest.approx(-one.interval.high)
    assert two.percentile.low == pytest.approx(-one.percentile.high)
    assert two.p == pytest.approx(one.p)
    assert two.resampled_t.t == pytest.approx(-one.resampled_t.t)


@pytest.mark.parametrize("metric", ["acc_macro", "f1_macro", "auroc_macro"])
def test_permutation_swaps_whole_patients(metric):
    # Exact over 2^6 swaps, against a loop that swaps the patients' rows.
    table = prediction_rows([0, 1, 2, 0, 1, 2], folds=2)
    found = Predictions.of(table)
    contrast = judge.compare(found, "B3", "B0", metric, n_resamples=2, n_permutations=64)
    one, two = found.paired("B3", "B0")

    def one_value(cases, fold, seed):
        own = (cases.seed == seed) & ((cases.fold == fold) | (fold is None))
        return scores.row_metrics(cases.probs[own], cases.label[own])[metric]

    def difference(swapped):
        rows = swapped[one.patient][:, None]
        a = np.where(rows, two.probs, one.probs)
        b = np.where(rows, one.probs, two.probs)
        values = []
        for probs in (a, b):
            of = replace(one, probs=probs)
            groups = one.models() if metric in scores.RANKING else [(None, 0), (None, 1)]
            values.append(np.nanmean([one_value(of, *group) for group in groups]))
        return values[0] - values[1]

    swaps = (np.arange(64)[:, None] >> np.arange(6)) & 1 > 0
    all_differences = np.abs([difference(swap) for swap in swaps])
    expected = np.mean(all_differences >= all_differences[0] - 1e-9)
    assert contrast.p_patients == pytest.approx(expected)


def test_permutation_of_one_class_and_seed_is_scipys():
    table = prediction_rows([0] * 9, seeds=1, clips=1, segments=1, folds=3)
    found = Predictions.of(table)
    contrast = judge.compare(found, "B3", "B0", "acc_micro", n_resamples=2, n_permutations=512)
    one, two = found.paired("B3", "B0")
    right = [(part.probs.argmax(axis=1) == part.label).astype(float) for part in (one, two)]
    expected = sp.permutation_test(
        right, lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=np.inf
    )
    assert contrast.p_patients == pytest.approx(expected.pvalue)


def test_fold_test_by_hand():
    found = predictions()
    contrast = judge.compare(found, "B3", "B0", **FAST)
    one, two = found.paired("B3", "B0")
    differences = []
    for job in sorted(found.jobs["B0"]):
        own = (one.fold == job[0]) & (one.seed == job[1])
        values = [
            balanced_accuracy_score(part.label[own], part.probs[own].argmax(axis=1))
            for part in (one, two)
        ]
        differences.append(values[0] - values[1])
    # Twelve patients in three folds: four tested, four validated, four trained on.
    scale = (1 / 6 + 4 / 4) * np.var(differences, ddof=1)
    assert contrast.resampled_t.t == pytest.approx(np.mean(differences) / math.sqrt(scale))
    assert contrast.resampled_t.df == 5


def test_missing_jobs_are_left_out_of_both():
    table = prediction_rows(LABELS, skip=[("B0", 0, 0), ("B3", 1, 1)])
    contrast = judge.compare(Predictions.of(table), "B3", "B0", **FAST)
    assert (contrast.jobs, contrast.jobs_of_either) == (4, 6)
    lost = [(0, 0), (1, 1)]
    common = table[[job not in lost for job in zip(table.fold, table.seed, strict=True)]]
    expected = judge.compare(Predictions.of(common), "B3", "B0", **FAST)
    assert contrast.difference == pytest.approx(expected.difference)
    assert contrast.interval == expected.interval


def test_equal_arms():
    table = prediction_rows(LABELS, arms=["B0"])
    table = pd.concat([table, table.assign(arm="B3")])
    contrast = judge.compare(Predictions.of(table), "B3", "B0", **FAST)
    assert (contrast.difference, contrast.p) == (0.0, 1.0)
    assert contrast.interval.low == pytest.approx(-contrast.interval.high)
    assert contrast.interval.high > 0
    assert math.isnan(contrast.resampled_t.p)
    assert contrast.identical


def sharpened(table):
    """Other probabilities, the same diagnoses."""
    probs = [f"prob_{name}" for name in CLASSES]
    squared = table[probs] ** 2
    return table.assign(**squared.div(squared.sum(axis=1), axis=0))


def test_arms_that_diagnose_alike_are_not_identical():
    table = prediction_rows(LABELS, arms=["B0"], clips=1, segments=1)
    table = pd.concat([table, sharpened(table).assign(arm="B3")])
    found = Predictions.of(table)
    contrast = judge.compare(found, "B3", "B0", **FAST)
    assert (contrast.difference, contrast.p, contrast.identical) == (0.0, 1.0, False)
    assert judge.compare(found, "B3", "B0", "log_loss", **FAST).error.value > 0


def test_a_copy_of_an_arm_takes_nothing_from_the_others_but_its_place_in_the_family():
    table = prediction_rows(LABELS, arms=["B0", "B1", "B3"], probs=None)
    copy = table[table.arm == "B3"].assign(arm="C3_linear")
    found = judge.compare_families(Predictions.of(pd.concat([table, copy])), ROLES, **FAST)
    b1, c3 = found["named"]
    assert (c3.second, c3.identical, c3.p, c3.p_holm) == ("C3_linear", True, 1.0, 1.0)
    assert b1.p_holm == pytest.approx(min(2 * b1.p, 1.0))
    baseline = {c.first: c for c in found["baseline"]}
    (whole,) = found["primary"]
    copied = baseline["C3_linear"]
    assert (copied.difference, copied.interval, copied.p) == (
        whole.difference, whole.interval, whole.p
    )  # fmt: skip


def test_results_do_not_depend_on_the_order_of_rows():
    table = prediction_rows(LABELS)
    one = Predictions.of(table)
    two = Predictions.of(table.sample(frac=1, random_state=3))
    assert judge.compare(one, "B3", "B0", **FAST) == judge.compare(two, "B3", "B0", **FAST)
    a, b = (judge.score_arm(found, "B3", n_resamples=50) for found in (one, two))
    assert a.scores == b.scores


def test_results_do_not_depend_on_names():
    table = prediction_rows(LABELS)
    names = dict(zip(sorted(set(table.patient_id)), "lkjhgfdsaqwe", strict=True))
    renamed = table.assign(patient_id=table.patient_id.map(names))
    one, two = (
        judge.compare(Predictions.of(t), "B3", "B0", n_resamples=2, n_permutations=4096)
        for t in (table, renamed)
    )
    assert two.difference == pytest.approx(one.difference)
    assert two.interval.low == pytest.approx(one.interval.low)
    assert two.p_patients == one.p_patients  # exact: all 2^12 swaps


def test_seeds_of_the_draws():
    found = predictions()
    a, b, c = (judge.score_arm(found, "B3", n_resamples=50, seed=s) for s in (0, 0, 1))
    assert a.scores == b.scores
    assert a.scores["log_loss"].percentile != c.scores["log_loss"].percentile
    assert a.scores["acc_macro"].interval == c.scores["acc_macro"].interval


ROLES = Roles("B0", "B3", "K_shuffled", "K_map_only", pairs=(("B3", "B1"), ("B3", "C3_linear")))
VARIANTS = ("B3@train_fraction=0.5", "B0@train_fraction=0.5", "B3@annotators=md1>md2")


def test_variants_stand_in_no_family():
    table = prediction_rows(LABELS, arms=["B0", "B3", *VARIANTS])
    found = Predictions.of(table)
    families = judge.compare_families(found, ROLES, **FAST)
    arms = {arm for family in families.values() for c in family for arm in (c.first, c.second)}
    assert arms == {"B0", "B3"}
    alone = judge.compare_families(Predictions.of(table[table.arm.isin(arms)]), ROLES, **FAST)
    assert families["primary"][0].p_holm == alone["primary"][0].p_holm


def test_variants_are_scored_and_compared_as_arms_are():
    table = prediction_rows(LABELS, arms=["B0", "B3"])
    names = {"B0": VARIANTS[1], "B3": VARIANTS[0]}
    found = Predictions.of(pd.concat([table, table.assign(arm=table.arm.map(names))]))
    arm, variant = (judge.score_arm(found, name, n_resamples=50) for name in ("B3", VARIANTS[0]))
    assert variant.scores == arm.scores
    one = judge.compare(found, "B3", "B0", **FAST)
    two = judge.compare(found, VARIANTS[0], VARIANTS[1], **FAST)
    assert (two.difference, two.interval, two.p) == (one.difference, one.interval, one.p)


def test_fold_test_of_half_the_training_patients():
    table = prediction_rows(LABELS)
    halves = table.assign(arm=table.arm + "@train_fraction=0.5")
    found = Predictions.of(pd.concat([table, halves]))
    whole, half = (
        judge.compare(found, f"B3{at}", f"B0{at}", "log_loss", **FAST).resampled_t
        for at in ("", "@train_fraction=0.5")
    )
    # Four tested; four trained on, or two of them.
    assert half.t / whole.t == pytest.approx(math.sqrt((1 / 6 + 4 / 4) / (1 / 6 + 4 / 2)))


def test_each_family_has_its_own_correction():
    table = predictions(arms=["B0", "B1", "B3", "K_shuffled"])
    found = judge.compare_families(table, ROLES, **FAST)
    for family in found.values():
        assert [c.p_holm for c in family] == stats.holm([c.p for c in family])
    assert [(c.first, c.second) for c in found["named"]] == [("B3", "B1")]
    alone = judge.compare(table, "B3", "B1", **FAST)
    assert replace(found["named"][0], p_holm=math.nan).p == alone.p


def all_right(arm, seed, patient):
    return 0.9


@pytest.mark.parametrize(
    ("labels", "options"),
    [
        (LABELS, {"seeds": 1}),
        (LABELS, {"folds": 1}),
        (LABELS, {"folds": 1, "seeds": 1}),
        (LABELS, {"probs": flat_probs(all_right)}),
        ([0, 1] * 4, {}),
        ([0, 0, 0, 1], {}),
        ([0, 0, 0, 0], {}),
        ([1], {"folds": 1}),
        ([1], {"folds": 1, "seeds": 1, "clips": 1, "segments": 1}),
        ([0, 1, 2], {"folds": 3}),
    ],
)
def test_degenerate_studies_are_undefined_not_wrong(labels, options):
    table = prediction_rows(labels, **options)
    found = Predictions.of(table[table.split == "test"])
    for unit in ("patient", "clip"):
        arm = judge.score_arm(found, "B3", unit, n_resamples=50)
        for name, score in arm.scores.items():
            low, high = score.interval.low, score.interval.high
            if not math.isnan(low):
                assert low <= score.mean <= high, name
            if name != "log_loss":
                assert not score.mean > 2
    for metric in ("acc_macro", "f1_macro", "auroc_macro"):
        contrast = judge.compare(found, "B3", "B0", metric, **FAST)
        assert math.isnan(contrast.p) or 0 < contrast.p <= 1
        if len(labels) == 1:
            assert math.isnan(contrast.interval.low)
            assert math.isnan(contrast.p)


def test_all_right_leaves_room_below():
    found = predictions(probs=flat_probs(all_right))
    score = judge.score_arm(found, "B3", n_resamples=50).scores["acc_macro"]
    assert score.mean == 1
    assert score.percentile.low == 1  # the bootstrap is certain; the interval is not
    assert 0.5 < score.interval.low < 0.9


def test_no_common_job():
    skip = [("B0", f, 0) for f in range(3)] + [("B3", f, 1) for f in range(3)]
    contrast = judge.compare(predictions(skip=skip), "B3", "B0", **FAST)
    assert contrast.jobs == contrast.patients == 0
    assert all(math.isnan(x) for x in (contrast.difference, contrast.p, contrast.interval.low))
