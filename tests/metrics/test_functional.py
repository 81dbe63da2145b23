from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from vaclip.metrics.functional import (
    CLASSIFICATION_NAMES,
    alignment_metrics,
    classification_metrics,
    mean_by_group,
)

SETTINGS = settings(max_examples=40, deadline=None)


@st.composite
def predictions(draw, all_present=False):
    """Probabilities on a coarse grid, so that ties occur, and labels."""
    classes = draw(st.integers(2, 4))
    n = draw(st.integers(classes if all_present else 1, 15))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    weights = rng.integers(1, 5, (n, classes)).astype(float)
    labels = rng.integers(0, classes, n)
    if all_present:
        labels[:classes] = np.arange(classes)
    return weights / weights.sum(axis=1, keepdims=True), labels


def naive_auroc(positive, score):
    """Share of (positive, negative) pairs in the right order, a tie counting half."""
    pairs = [(a > b) + 0.5 * (a == b) for a in score[positive] for b in score[~positive]]
    return np.mean(pairs) if pairs else math.nan


def naive_classification(probs, labels):
    classes = range(probs.shape[1])
    guess = [max(classes, key=lambda k: (row[k], -k)) for row in probs]
    recalls, f1s = [], []
    for k in sorted(set(labels)):
        hits = sum(g == y == k for g, y in zip(guess, labels, strict=True))
        recalls.append(hits / sum(y == k for y in labels))
        f1s.append(2 * hits / (sum(y == k for y in labels) + sum(g == k for g in guess)))
    truth = np.array([[y == k for k in classes] for y in labels])
    return {
        "acc_micro": np.mean([g == y for g, y in zip(guess, labels, strict=True)]),
        "acc_macro": np.mean(recalls),
        "f1_macro": np.mean(f1s),
        "auroc_macro": np.mean([naive_auroc(truth[:, k], probs[:, k]) for k in classes]),
        "auroc_micro": naive_auroc(truth.ravel(), probs.ravel()),
        "log_loss": -np.mean([math.log(row[y]) for row, y in zip(probs, labels, strict=True)]),
    }


@given(case=predictions())
@SETTINGS
def test_classification_against_naive_loops(case):
    ours = classification_metrics(*case)
    assert tuple(ours) == CLASSIFICATION_NAMES
    assert ours == pytest.approx(naive_classification(*case), nan_ok=True)


@given(case=predictions(all_present=True))
@SETTINGS
def test_classification_against_scikit_learn(case):
    probs, labels = case
    classes = range(probs.shape[1])
    guess = probs.argmax(axis=1)
    one_hot = np.eye(probs.shape[1])[labels]
    assert classification_metrics(probs, labels) == pytest.approx(
        {
            "acc_micro": sk.accuracy_score(labels, guess),
            "acc_macro": sk.balanced_accuracy_score(labels, guess),
            "f1_macro": sk.f1_score(labels, guess, average="macro"),
            "auroc_macro": sk.roc_auc_score(one_hot, probs, average="macro"),
            "auroc_micro": sk.roc_auc_score(one_hot, probs, average="micro"),
            "log_loss": sk.log_loss(labels, probs, labels=list(classes)),
        }
    )


def test_a_missing_class():
    """Three classes, of which class 2 never occurs and is guessed once."""
    probs = np.array([[0.7, 0.2, 0.1], [0.1, 0.2, 0.7], [0.2, 0.7, 0.1], [0.2, 0.6, 0.2]])
    ours = classification_metrics(probs, np.array([0, 0, 1, 1]))
    assert ours["acc_micro"] == 3 / 4
    assert ours["acc_macro"] == (1 / 2 + 1) / 2
    assert ours["f1_macro"] == pytest.approx((2 / 3 + 1) / 2)
    assert math.isnan(ours["auroc_macro"])
    assert 0 < ours["auroc_micro"] < 1


def test_a_certain_mistake_has_a_finite_loss():
    ours = classification_metrics(np.array([[1.0, 0.0]], np.float32), np.array([1]))
    assert 80 < ours["log_loss"] < 100


def test_without_samples_every_value_is_nan():
    empty = classification_metrics(np.zeros((0, 3)), np.zeros(0, int))
    assert tuple(empty) == CLASSIFICATION_NAMES
    assert all(map(math.isnan, empty.values()))
    assert all(map(math.isnan, alignment_metrics(np.zeros(0), np.zeros(0, bool)).values()))
    groups, means = mean_by_group(np.zeros((0, 4)), np.zeros(0, int))
    assert groups.shape == (0,)
    assert means.shape == (0, 4)


@given(
    groups=st.lists(st.integers(-3, 6), min_size=1, max_size=20),
    shape=st.sampled_from([(), (3,), (2, 2)]),
)
@SETTINGS
def test_mean_by_group_against_a_dict(groups, shape):
    values = np.random.default_rng(0).normal(size=(len(groups), *shape))
    ids, means = mean_by_group(values, np.array(groups))
    assert ids.tolist() == sorted(set(groups))
    for group, mean in zip(ids, means, strict=True):
        own = [v for v, g in zip(values, groups, strict=True) if g == group]
        np.testing.assert_allclose(mean, sum(own) / len(own), atol=1e-12)


# --- alignment -----------------------------------------------------------------------------------


@given(seed=st.integers(0, 10_000), n=st.integers(2, 30))
@SETTINGS
def test_alignment_against_numpy(seed, n):
    rng = np.random.default_rng(seed)
    similarity, correct = rng.uniform(-1, 1, n), rng.random(n) < 0.5
    correct[:2] = True, False
    right = np.mean([s for s, c in zip(similarity, correct, strict=True) if c])
    wrong = np.mean([s for s, c in zip(similarity, correct, strict=True) if not c])
    assert alignment_metrics(similarity, correct) == pytest.approx(
        {
            "align_sim_correct": right,
            "align_sim_incorrect": wrong,
            "align_sim_gap": right - wrong,
            "align_sim_corr": np.corrcoef(similarity, correct)[0, 1],
        }
    )


@pytest.mark.parametrize("right", [True, False])
def test_alignment_where_one_group_is_empty(right):
    values = alignment_metrics(np.array([0.1, 0.5]), np.array([right, right]))
    present, missing = "align_sim_correct", "align_sim_incorrect"
    present, missing = (present, missing) if right else (missing, present)
    assert values.pop(present) == pytest.approx(0.3)
    assert set(values) == {missing, "align_sim_gap", "align_sim_corr"}
    assert all(map(math.isnan, values.values()))


def test_alignment_of_equal_similarities():
    values = alignment_metrics(np.full(3, 0.25), np.array([True, False, True]))
    assert math.isnan(values.pop("align_sim_corr"))
    assert values == {
        "align_sim_correct": 0.25, "align_sim_incorrect": 0.25, "align_sim_gap": 0.0
    }  # fmt: skip


def test_alignment_of_similarities_that_differ_by_rounding():
    similarity = np.array([0.1 + 0.2, 0.3, 0.3])
    values = alignment_metrics(similarity, np.array([True, False, False]))
    assert math.isnan(values["align_sim_corr"])
