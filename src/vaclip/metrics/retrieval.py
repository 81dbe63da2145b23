"""Retrieval between videos and maps that equal maps cannot flatter.

A tie counts by expectation over the orders in which it may be broken. Similarities are
computed a block of queries at a time, so that memory stays bounded for any number of targets.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from vaclip.metrics.functional import FloatArray, IntArray, mean_by_group

_TIE = 1e-6  # similarities of the same map differ by rounding between batches
_BLOCK = 2**23  # similarities that exist at a time
PLACES = (1, 5)


class Standing(NamedTuple):
    """Where each query's own target stands among all targets.

    Attributes:
        better: (N,) how many targets are more similar to the query.
        tied: (N,) how many are as similar, the own one included; at least 1.
    """

    better: IntArray
    tied: IntArray

    def recall(self, k: int) -> FloatArray:
        """Probability that the own target is among the first k, (N,)."""
        return np.clip((k - self.better) / self.tied, 0.0, 1.0)

    def median_rank(self, weights: FloatArray) -> float:
        """Median of the own targets' ranks, from 1, each random within its tie; NaN for N = 0.

        Args:
            weights: (N,) of the queries.
        """
        if not len(weights):
            return math.nan
        share = weights / (self.tied * weights.sum())
        steps = np.zeros(int((self.better + self.tied).max()) + 1)
        np.add.at(steps, self.better, share)
        np.subtract.at(steps, self.better + self.tied, share)
        reached = steps.cumsum().cumsum()  # share of ranks up to each
        # Halfway between the last rank below the middle and the first above it.
        low, high = np.searchsorted(reached, [0.5 - _TIE, 0.5 + _TIE])
        return float(low + high) / 2 + 1


def own_target_standing(
    queries: FloatArray, targets: FloatArray, own: IntArray, *, block: int = _BLOCK
) -> Standing:
    """Compares each query with every target.

    Args:
        queries: (N, E), unit length.
        targets: (M, E), unit length.
        own: (N,) row of each query's own target.
        block: Similarities that exist at a time.
    """
    better, tied = np.zeros((2, len(queries)), np.int64)
    rows = max(1, block // max(1, len(targets)))
    for start in range(0, len(queries), rows):
        part = slice(start, start + rows)
        similarity = queries[part] @ targets.T
        similarity -= np.take_along_axis(similarity, own[part, None], axis=1)
        better[part] = np.count_nonzero(similarity > _TIE, axis=1)
        tied[part] = np.count_nonzero(similarity >= -_TIE, axis=1) - better[part]
    return Standing(better, tied)


def retrieval_metrics(video: FloatArray, attn: FloatArray, map_ids: IntArray) -> dict[str, float]:
    """Recall at 1 and 5 and the median rank, video to map and map to video.

    ``retrieval_...`` asks for the query's own partner among all N. ``retrieval_unique_...`` takes
    all rows with the same map as one target (the normalised mean of their embeddings) and
    weighs each map the same, so that every constant ranking, also one by how common a map is,
    scores the chance level.

    Args:
        video: (N, E), unit length.
        attn: (N, E), unit length; row i belongs to video i.
        map_ids: (N,) equal where two rows have the same map.

    Returns:
        ``r1``, ``r5`` and ``median_rank`` (from 1) by prefix and direction (``v2a``, ``a2v``) or
        ``chance``: what a random order scores. NaN for N = 0.
    """
    maps, map_of = np.unique(map_ids, return_inverse=True)
    rows = np.arange(len(video))
    rarity = 1 / np.bincount(map_of)[map_of] if len(rows) else np.ones(0)
    values: dict[str, float] = {}
    for way, queries, others in (("v2a", video, attn), ("a2v", attn, video)):
        for prefix, targets, own, weights in (
            ("retrieval", others, rows, np.ones(len(rows))),
            ("retrieval_unique", unit_rows(mean_by_group(others, map_of)[1]), map_of, rarity),
        ):
            standing = own_target_standing(queries, targets, own)
            for k in PLACES:
                values[f"{prefix}_r{k}_{way}"] = _mean(standing.recall(k), weights)
            values[f"{prefix}_median_rank_{way}"] = standing.median_rank(weights)
    for prefix, n in (("retrieval", len(video)), ("retrieval_unique", len(maps))):
        values |= {f"{prefix}_r{k}_chance": retrieval_chance(n, k) for k in PLACES}
        values[f"{prefix}_median_rank_chance"] = (n + 1) / 2 if n else math.nan
    return values


def retrieval_chance(n: int, k: int) -> float:
    """R@k of a random order of n targets; NaN for none."""
    return min(1.0, k / n) if n else math.nan


def unit_rows(rows: FloatArray) -> FloatArray:
    """Scales (N, E) to rows of unit length."""
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def _mean(values: FloatArray, weights: FloatArray) -> float:
    return float(np.average(values, weights=weights)) if len(values) else math.nan
