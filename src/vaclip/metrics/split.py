"""From a model's segments of a split to its clips, its patients, and their metrics.

Letters: N segments, C clips, K classes, E embedding size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaclip.metrics.functional import (
    FloatArray,
    IntArray,
    alignment_metrics,
    classification_metrics,
    mean_by_group,
)
from vaclip.metrics.retrieval import retrieval_metrics, unit_rows


def case_of_clip(session: IntArray, label: IntArray) -> IntArray:
    """Tells which clips make up a case: those of a session, unless their labels differ.

    What a clip's label is must not decide what its prediction is averaged with, or the truth would
    help the diagnosis. So the clips of a session of several labels each stand for themselves.

    Args:
        session: (C,) which session of which patient; of a patient without sessions all clips are
            one.
        label: (C,).

    Returns:
        (C,) the case of each clip, numbered by session, then by clip.
    """
    sessions = np.unique(np.stack([session, label]), axis=1)[0]
    several = np.isin(session, sessions[1:][sessions[1:] == sessions[:-1]])
    clip = np.where(several, np.arange(len(session)), 0)
    return np.unique(np.stack([session, clip]), axis=1, return_inverse=True)[1].reshape(-1)


@dataclass(frozen=True)
class Segments:
    """What one model says of each segment of a split."""

    clip: IntArray
    """(N,) which clip; clips are returned in the order of these numbers."""
    session: IntArray
    """(N,) which session of which patient."""
    label: IntArray
    """(N,) in [0, K)."""
    map_id: IntArray
    """(N,) equal where two clips were given the same annotation."""
    probs: FloatArray
    """(N, K), rows summing to 1."""
    similarity: FloatArray
    """(N,) cosine of video and map embedding; NaN where there is no valid map, or where the
    alignment was not trained."""
    video: FloatArray | None = None
    """(N, E) embeddings; None where they were not kept."""
    attn: FloatArray | None = None
    """(N, E)."""

    def clips(self) -> Clips:
        """Averages over segments.

        Probabilities are averaged over all segments of a clip, embeddings over those that have a
        similarity. A clip's similarity is the cosine of its two mean embeddings, the very ones
        that retrieval ranks; where no embeddings were kept it is the mean of its segments'.
        """
        rows, probs = mean_by_group(self.probs, self.clip)
        first = np.unique(self.clip, return_index=True)[1]
        mapped = np.isfinite(self.similarity)
        there = np.isin(rows, self.clip[mapped])
        similarity = np.full(len(rows), np.nan)
        video = attn = None
        if self.video is not None and self.attn is not None:
            video, attn = (
                unit_rows(mean_by_group(side[mapped], self.clip[mapped])[1])
                for side in (self.video, self.attn)
            )
            similarity[there] = np.sum(video * attn, axis=1)
        else:
            similarity[there] = mean_by_group(self.similarity[mapped], self.clip[mapped])[1]
        return Clips(
            rows, self.session[first], self.label[first], self.map_id[first], probs, similarity,
            there, video, attn,
        )  # fmt: skip


@dataclass(frozen=True)
class Clips:
    """What one model says of each clip of a split."""

    clip: IntArray
    """(C,), ascending."""
    session: IntArray
    """(C,)."""
    label: IntArray
    """(C,) in [0, K)."""
    map_id: IntArray
    """(C,)."""
    probs: FloatArray
    """(C, K)."""
    similarity: FloatArray
    """(C,) of the clip's mean embeddings; NaN where the clip has none."""
    mapped: NDArray[np.bool_]
    """(C,) whether the clip has a similarity."""
    video: FloatArray | None
    """(M, E) mean embeddings of unit length, of the M clips that are ``mapped``."""
    attn: FloatArray | None
    """(M, E)."""

    def cases(self) -> tuple[FloatArray, IntArray]:
        """Averages over the clips of a case; see `case_of_clip`.

        Returns:
            (P, K) probabilities and (P,) labels of P cases, in the order of the sessions.
        """
        case = case_of_clip(self.session, self.label)
        first = np.unique(case, return_index=True)[1]
        return mean_by_group(self.probs, case)[1], self.label[first]

    def retrieval(self) -> dict[str, float]:
        """`retrieval_metrics` of the clips that have a similarity; empty without embeddings."""
        if self.video is None or self.attn is None:
            return {}
        return retrieval_metrics(self.video, self.attn, self.map_id[self.mapped])

    def metrics(self) -> dict[str, float]:
        """All metrics of the split.

        Retrieval and alignment are per clip, over the clips that have a similarity; retrieval is
        given only where embeddings were kept.

        Returns:
            Values by name: ``clip/...``, ``patient/...``, ``retrieval_...``, ``align_...``.
        """
        values = {
            f"{unit}/{name}": value
            for unit, scored in (("clip", (self.probs, self.label)), ("patient", self.cases()))
            for name, value in classification_metrics(*scored).items()
        }
        values |= self.retrieval()
        right = self.probs.argmax(axis=1) == self.label
        return values | alignment_metrics(self.similarity[self.mapped], right[self.mapped])
