"""What a split's metrics are computed from: every segment's prediction, over all processes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from vaclip import keys
from vaclip.metrics.functional import (
    alignment_metrics,
    classification_metrics,
    mean_by_group,
)
from vaclip.metrics.retrieval import retrieval_metrics, unit_rows

_BATCH_KEYS = (
    keys.CLIP_ROW, keys.SEGMENT, keys.PATIENT, keys.LABEL, keys.MAP_ID, keys.ATTN_VALID
)  # fmt: skip
_EMBEDS = (keys.VIDEO_EMBED, keys.ATTN_EMBED)
PROBS = "probs"
"""(N, K): each segment's class probabilities in the computed table."""


class SplitPredictions(Metric):
    """Collects a split's segments; `compute` gives each once, in order of clip and segment.

    Segments that a distributed sampler doubled are dropped.
    """

    full_state_update = False

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name in (*_BATCH_KEYS, *_EMBEDS, PROBS):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, batch: dict[str, Tensor], outputs: dict[str, Tensor]) -> None:
        """Adds a batch and what the model made of it."""
        for name in _BATCH_KEYS:
            getattr(self, name).append(batch[name])
        for name in _EMBEDS:
            getattr(self, name).append(outputs[name].float())
        getattr(self, PROBS).append(outputs[keys.LOGITS].float().softmax(dim=1))

    def compute(self) -> dict[str, NDArray[Any]]:
        """Returns the arrays by key, one row a segment."""
        table = {
            name: dim_zero_cat(getattr(self, name)).cpu().numpy()
            for name in (*_BATCH_KEYS, *_EMBEDS, PROBS)
        }
        identity = np.stack([table[keys.CLIP_ROW], table[keys.SEGMENT]], axis=1)
        _, first = np.unique(identity, axis=0, return_index=True)
        return {name: column[first] for name, column in table.items()}


def alignment_similarity(
    table: dict[str, NDArray[Any]], *, aligned: bool = True
) -> NDArray[np.float64]:
    """Cosine of each segment's embeddings, (N,).

    NaN where it has no valid map, and everywhere if the alignment was not trained.
    """
    # Made of unit length anew: half precision rounds it.
    video, attn = (unit_rows(table[name].astype(np.float64)) for name in _EMBEDS)
    cosine = np.sum(video * attn, axis=1)
    return np.where(table[keys.ATTN_VALID] & aligned, cosine, np.nan)


def split_metrics(table: dict[str, NDArray[Any]], *, aligned: bool = True) -> dict[str, float]:
    """Computes all metrics of a split.

    A clip's probabilities are the mean over its segments, a patient's the mean over its
    clips; the clips of a patient who has several labels count as one case a label. Retrieval
    and alignment are per clip, over the clips that have a valid map; a clip's embedding is
    the normalised mean over its segments.

    Args:
        table: What `SplitPredictions` computes.
        aligned: Whether the CLIP term was trained; if not, the embeddings mean nothing, and
            retrieval and alignment are undefined.

    Returns:
        Values by name without the split: ``clip/...``, ``patient/...``, ``retrieval_...``,
        ``align_...``.
    """
    clip_rows, probs = mean_by_group(table[PROBS], table[keys.CLIP_ROW])
    first = np.unique(table[keys.CLIP_ROW], return_index=True)[1]
    labels, patients = table[keys.LABEL][first], table[keys.PATIENT][first]
    cases = patients * probs.shape[1] + labels
    case_ids, case_probs = mean_by_group(probs, cases)
    result = {
        f"clip/{name}": value for name, value in classification_metrics(probs, labels).items()
    }
    result |= {
        f"patient/{name}": value
        for name, value in classification_metrics(case_probs, case_ids % probs.shape[1]).items()
    }

    mapped = table[keys.ATTN_VALID] & aligned
    mapped_rows, video = mean_by_group(
        table[keys.VIDEO_EMBED][mapped], table[keys.CLIP_ROW][mapped]
    )
    attn = mean_by_group(table[keys.ATTN_EMBED][mapped], table[keys.CLIP_ROW][mapped])[1]
    video, attn = unit_rows(video), unit_rows(attn)
    map_ids = table[keys.MAP_ID][first][np.isin(clip_rows, mapped_rows)]
    result |= retrieval_metrics(video, attn, map_ids)
    similarity = np.sum(video * attn, axis=1)
    correct = (probs.argmax(axis=1) == labels)[np.isin(clip_rows, mapped_rows)]
    return result | alignment_metrics(similarity, correct)
