"""The late fusion of two arms, computed from their predictions: nothing is trained.

A gain of a guided arm that such a product of video and map reaches as well needs no guidance: the
map may simply hold the diagnosis.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from vaclip import keys
from vaclip.evaluation.predictions import Predictions
from vaclip.metrics.functional import FloatArray

_SEGMENT = [
    keys.PRED_FOLD, keys.PRED_SEED, keys.PRED_SPLIT, keys.PRED_CLIP, keys.PRED_SEGMENT
]  # fmt: skip


def fusion_name(first: str, second: str) -> str:
    """Names the late fusion of two arms; no arm that is trained can be called so."""
    return f"{first}+{second}"


def with_late_fusion(predictions: Predictions, first: str, second: str) -> Predictions:
    """Adds the late fusion of two arms as an arm, `fusion_name`.

    p ~ p_first * p_second / prior, segment by segment, fold by fold and seed by seed: the
    posterior where the two are independent given the class (Kittler et al. 1998, eq. 7). The
    prior is the share of each class among the clips that the model was trained on, as far as the
    table knows them: those of patients who are in neither val nor test of that fold and seed. Where
    it knows none, as with one fold, those of val; else all classes are taken as equally common.

    Args:
        predictions: With both arms.
        first: An arm.
        second: Another.

    Returns:
        With the new arm, on the segments that both have; the same predictions where there are none.
    """
    one, two = (
        predictions.frame[predictions.frame[keys.PRED_ARM] == arm].set_index(_SEGMENT)
        for arm in (first, second)
    )
    both = one.index.intersection(two.index)
    if both.empty:
        return predictions
    fused = one.loc[both].reset_index()
    product = (
        one.loc[both, predictions.probs].to_numpy() * two.loc[both, predictions.probs].to_numpy()
    )
    product = product / _priors(predictions, fused)
    total = product.sum(axis=1, keepdims=True)
    # Two arms that exclude each other's classes agree on nothing: then nothing is known.
    product = np.divide(
        product, total, out=np.full_like(product, 1 / product.shape[1]), where=total > 0
    )
    fused[predictions.probs] = product
    fused[keys.PRED_ARM] = fusion_name(first, second)
    fused[keys.PRED_SIM] = np.nan
    table = pd.concat([predictions.frame, fused])
    return Predictions.of(table, patients=predictions.patients, embeddings=predictions.embeddings)


def _priors(predictions: Predictions, rows: pd.DataFrame) -> FloatArray:
    """The class prior of the model behind each row, (N, K)."""
    frame = predictions.frame
    clips = frame.drop_duplicates(keys.PRED_CLIP)[
        [keys.PRED_CLIP, keys.PRED_PATIENT, keys.PRED_LABEL]
    ]
    job = [keys.PRED_FOLD, keys.PRED_SEED]
    priors = np.empty((len(rows), len(predictions.classes)))
    held = frame.drop_duplicates([*job, keys.PRED_SPLIT, keys.PRED_PATIENT])
    for model in rows[job].drop_duplicates().to_numpy():
        of_job = held[(held[job] == model).all(axis=1)]
        trained = clips[~clips[keys.PRED_PATIENT].isin(of_job[keys.PRED_PATIENT])]
        if trained.empty:
            val = of_job.loc[of_job[keys.PRED_SPLIT] == "val", keys.PRED_PATIENT]
            trained = clips[clips[keys.PRED_PATIENT].isin(val)]
        counts = trained[keys.PRED_LABEL].value_counts().reindex(predictions.classes, fill_value=0)
        # One clip more of each class, so that a class that training lacks is not impossible.
        own = (rows[job] == model).all(axis=1).to_numpy()
        priors[own] = ((counts + 1) / (counts + 1).sum()).to_numpy()
    return priors
