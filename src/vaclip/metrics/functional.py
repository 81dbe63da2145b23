"""Pure metrics on arrays. Each takes a whole split; an undefined value is NaN, never 0.

Averages are named in the key: ``macro`` is the mean over classes, ``micro`` pools all
samples. Values are fractions in [0, 1] unless said otherwise.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import f1_score, recall_score, roc_auc_score

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]

CLASSIFICATION_NAMES = (
    "acc_micro",
    "acc_macro",
    "f1_macro",
    "auroc_macro",
    "auroc_micro",
    "log_loss",
)
_FLAT = 1e-6  # similarities that differ by rounding alone do not vary


def classification_metrics(probs: FloatArray, labels: IntArray) -> dict[str, float]:
    """Accuracy, F1 and AUROC.

    ``acc_macro`` is balanced accuracy (mean recall) and ``f1_macro`` the mean F1, both over
    the classes that occur in ``labels``; ``f1_micro`` equals ``acc_micro`` where each sample
    has one label, so it is not given. ``auroc_macro`` is the mean of one-against-rest AUROCs
    and NaN where a class is missing; ``auroc_micro`` pools all (sample, class) pairs;
    ``log_loss`` is in nats.

    Args:
        probs: (N, K), rows summing to 1.
        labels: (N,) in [0, K).
    """
    if not len(labels):
        return dict.fromkeys(CLASSIFICATION_NAMES, math.nan)
    predicted = probs.argmax(axis=1)
    present = np.unique(labels)
    own = probs[np.arange(len(labels)), labels]
    one_hot = labels[:, None] == np.arange(probs.shape[1])
    per_class = [_auroc(one_hot[:, k], probs[:, k]) for k in range(probs.shape[1])]
    average = {"labels": present, "average": "macro", "zero_division": 0.0}
    return {
        "acc_micro": float(np.mean(predicted == labels)),
        "acc_macro": float(recall_score(labels, predicted, **average)),
        "f1_macro": float(f1_score(labels, predicted, **average)),
        "auroc_macro": float(np.mean(per_class)),
        "auroc_micro": _auroc(one_hot.ravel(), probs.ravel()),
        "log_loss": float(-np.log(np.maximum(own, np.finfo(np.float32).tiny)).mean()),
    }


def _auroc(positive: NDArray[np.bool_], score: FloatArray) -> float:
    if positive.all() or not positive.any():
        return math.nan
    return float(roc_auc_score(positive, score))


def mean_by_group(values: FloatArray, groups: IntArray) -> tuple[IntArray, FloatArray]:
    """Averages rows of equal group.

    Args:
        values: (N, ...).
        groups: (N,).

    Returns:
        The sorted groups (G,) and their means (G, ...).
    """
    unique, inverse = np.unique(groups, return_inverse=True)
    sums = np.zeros((len(unique), *values.shape[1:]), np.float64)
    np.add.at(sums, inverse, values)
    counts = np.bincount(inverse, minlength=len(unique))
    return unique, sums / counts.reshape(-1, *([1] * (values.ndim - 1)))


def alignment_metrics(similarity: FloatArray, correct: NDArray[np.bool_]) -> dict[str, float]:
    """How video-map similarity goes with being right.

    Args:
        similarity: (N,) cosine of each sample's video and map embedding, in [-1, 1].
        correct: (N,) whether its diagnosis is right.

    Returns:
        ``align_sim_correct`` and ``align_sim_incorrect``: mean similarity of the right and of
        the wrong ones; ``align_sim_gap``: their difference; ``align_sim_corr``: Pearson
        correlation of similarity and being right (0 or 1). NaN where one group is empty or
        the similarity does not vary.
    """
    right, wrong = similarity[correct], similarity[~correct]
    mean_right = float(right.mean()) if len(right) else math.nan
    mean_wrong = float(wrong.mean()) if len(wrong) else math.nan
    defined = len(right) and len(wrong) and float(np.ptp(similarity)) > _FLAT
    corr = float(np.corrcoef(similarity, correct.astype(float))[0, 1]) if defined else math.nan
    return {
        "align_sim_correct": mean_right,
        "align_sim_incorrect": mean_wrong,
        "align_sim_gap": mean_right - mean_wrong,
        "align_sim_corr": corr,
    }
