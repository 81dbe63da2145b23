"""What a split's metrics are computed from: every segment's prediction, over all processes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from vaclip import keys
from vaclip.metrics.retrieval import unit_rows
from vaclip.metrics.split import Segments

_BATCH_KEYS = (
    keys.CLIP_ROW, keys.SEGMENT, keys.PATIENT, keys.SESSION, keys.LABEL, keys.MAP_ID,
    keys.ATTN_VALID,
)  # fmt: skip
_EMBEDS = (keys.VIDEO_EMBED, keys.ATTN_EMBED)
INFORMATION = "map_information"
"""(N,): see `keys.PRED_MAP_INFORMATION`."""
PROBS = "probs"
"""(N, K): each segment's class probabilities in the computed table."""


class SplitPredictions(Metric):
    """Collects a split's segments; `compute` gives each once, in order of clip and segment.

    Segments that a distributed sampler doubled are dropped.
    """

    full_state_update = False

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name in (*_BATCH_KEYS, *_EMBEDS, PROBS, INFORMATION):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, batch: dict[str, Tensor], outputs: dict[str, Tensor]) -> None:
        """Adds a batch and what the model made of it; embeddings that it did not make are 0."""
        for name in _BATCH_KEYS:
            getattr(self, name).append(batch[name])
        for name in _EMBEDS:
            none = outputs[keys.LOGITS].new_zeros(len(outputs[keys.LOGITS]), 1)
            getattr(self, name).append(outputs.get(name, none).float())
        getattr(self, PROBS).append(outputs[keys.LOGITS].float().softmax(dim=1))
        unknown = torch.full((len(outputs[keys.LOGITS]),), torch.nan)
        predicted = outputs.get(keys.PREDICTED_MAP)
        getattr(self, INFORMATION).append(
            unknown.to(outputs[keys.LOGITS].device)
            if predicted is None
            else map_information(predicted.float())
        )

    def compute(self) -> dict[str, NDArray[Any]]:
        """Returns the arrays by key, one row a segment."""
        table = {
            name: dim_zero_cat(getattr(self, name)).cpu().numpy()
            for name in (*_BATCH_KEYS, *_EMBEDS, PROBS, INFORMATION)
        }
        identity = np.stack([table[keys.CLIP_ROW], table[keys.SEGMENT]], axis=1)
        _, first = np.unique(identity, axis=0, return_index=True)
        return {name: column[first] for name, column in table.items()}


def map_information(predicted: Tensor) -> Tensor:
    """Returns (B,), how much predicted maps (B, 1, T', H', W') say; see `PRED_MAP_INFORMATION`."""
    maps = predicted.flatten(1)
    entropy = -torch.special.xlogy(maps, maps).sum(dim=1)
    return 1 - entropy / math.log(max(2, maps.shape[1]))


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
    """Computes all metrics of a split, see `vaclip.metrics.split.Clips.metrics`.

    Args:
        table: What `SplitPredictions` computes.
        aligned: Whether the CLIP term was trained; if not, the embeddings mean nothing, and
            retrieval and alignment are undefined.
    """
    segments = Segments(
        clip=table[keys.CLIP_ROW],
        session=table[keys.SESSION],
        label=table[keys.LABEL],
        map_id=table[keys.MAP_ID],
        probs=table[PROBS],
        similarity=alignment_similarity(table, aligned=aligned),
        video=table[keys.VIDEO_EMBED],
        attn=table[keys.ATTN_EMBED],
    )
    return segments.clips().metrics()
