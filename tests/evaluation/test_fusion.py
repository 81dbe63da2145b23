"""The late fusion of two arms."""

from __future__ import annotations

import numpy as np
import pytest

from report_tables import CLASSES, prediction_rows
from vaclip import keys
from vaclip.evaluation.fusion import fusion_name, with_late_fusion
from vaclip.evaluation.predictions import Predictions

NAME = fusion_name("B0", "K_map_only")
LABELS = [0, 1, 2, 0, 1, 2, 0, 0, 1]


def fused(**options):
    table = prediction_rows(LABELS, arms=("B0", "K_map_only", "B3"), **options)
    return table, with_late_fusion(Predictions.of(table), "B0", "K_map_only")


def test_it_is_the_product_over_the_prior_segment_by_segment():
    table, found = fused()
    frame = found.frame[found.frame[keys.PRED_ARM] == NAME]
    assert len(frame) == len(table) // 3
    for row in frame.sample(12, random_state=0).to_dict("records"):
        same = table[(table[["fold", "seed", "split", "clip_id", "segment"]]
                      == [row[n] for n in ("fold", "seed", "split", "clip_id", "segment")]
                      ).all(axis=1)].set_index("arm")  # fmt: skip
        job = table[(table.fold == row["fold"]) & (table.seed == row["seed"])]
        trained = table[~table.patient_id.isin(job.patient_id)].drop_duplicates("clip_id")
        prior = np.array([(trained.label == name).sum() + 1 for name in CLASSES])
        probs = [f"prob_{name}" for name in CLASSES]
        product = same.loc["B0", probs] * same.loc["K_map_only", probs] / prior
        expected = (product / product.sum()).astype(float)
        assert [row[name] for name in probs] == pytest.approx(expected.tolist())


def test_independent_evidence_adds_up():
    """With a uniform prior, odds multiply: 0.8 and 0.8 of two classes give 16 to 1."""
    sure = lambda arm, seed, patient, clip, segment: (0.8, 0.2)  # noqa: E731
    table = prediction_rows([0, 1] * 4, arms=("B0", "K_map_only"), folds=4, classes=("a", "b"),
                            probs=sure, seeds=1)  # fmt: skip
    found = with_late_fusion(Predictions.of(table), "B0", "K_map_only").cases(NAME)
    np.testing.assert_allclose(found.probs, [[16 / 17, 1 / 17]] * 8, atol=0.02)


def test_the_arms_themselves_stay_as_they_are():
    table, found = fused()
    before = Predictions.of(table)
    for arm in ("B0", "K_map_only", "B3"):
        np.testing.assert_array_equal(found.cases(arm).probs, before.cases(arm).probs)
    assert found.sizes == before.sizes


def test_one_fold_takes_the_prior_of_its_validation_patients():
    table = prediction_rows(LABELS, arms=("B0", "K_map_only"), seeds=1)
    table = table[table.fold == 0]
    found = with_late_fusion(Predictions.of(table), "B0", "K_map_only")
    assert found.cases(NAME).probs.sum(axis=1) == pytest.approx(1)


def test_without_common_segments_there_is_none():
    skip = [("B0", fold, 0) for fold in range(3)]
    table = prediction_rows(LABELS, arms=("B0", "B3"), seeds=1, skip=skip)
    predictions = Predictions.of(table)
    assert with_late_fusion(predictions, "B0", "B3") is predictions


def test_arms_that_exclude_each_other_know_nothing():
    def probs(arm, *where):
        return (1.0, 0.0) if arm == "B0" else (0.0, 1.0)

    table = prediction_rows([0, 1], arms=("B0", "K_map_only"), classes=("a", "b"), probs=probs)
    found = with_late_fusion(Predictions.of(table), "B0", "K_map_only")
    np.testing.assert_allclose(found.cases(NAME).probs, 0.5)
