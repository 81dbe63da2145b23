"""What one model says of a clip, and what several say together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from vaclip import keys
from vaclip.evaluation.abstention import MAP_INFORMATION, sureness_of
from vaclip.metrics.modules import map_information
from vaclip.runs.abstain import Abstain, Threshold
from vaclip.study.study import Clip


class Said(NamedTuple):
    """What a model says of a clip.

    Attributes:
        probs: (K,), mean over the segments.
        segments: How many they are.
        map_from: Whose map guided.
        maps: The predicted map of all segments, (segments, T', H', W'); None where there is none.
    """

    probs: NDArray[np.float64]
    segments: int
    map_from: str
    maps: NDArray[np.float32] | None

    def sureness(self, score: str) -> float:
        """Returns how sure the model is, by a score of `vaclip.evaluation.abstention`."""
        if score != MAP_INFORMATION:
            return float(sureness_of(self.probs[None])[score][0])
        assert self.maps is not None
        return float(map_information(torch.from_numpy(self.maps)).mean())


class ClipPredictions(NamedTuple):
    """What `vaclip.runs.predict.predict_videos` gives.

    Attributes:
        table: One row a clip: ``clip_id``, ``video``, ``segments``, ``map`` (whose map guided),
            ``predicted``, and one ``prob_...`` a class; of several models ``agreement``, the share
            of them that make the diagnosis, and ``spread``, the standard deviation of its
            probability over them; where diagnoses may be withheld ``answered``, and ``predicted``
            is empty where it is false.
        failures: One message for each clip that could not be predicted.
        clips: The clip of each row.
        maps: For each row the predicted map of all of its segments, (segments, T', H', W'); None
            where the model predicts none.
    """

    table: pd.DataFrame
    failures: list[str]
    clips: list[Clip]
    maps: list[NDArray[np.float32] | None]


def row_of(
    clip: Clip,
    said: Sequence[Said],
    classes: Sequence[str],
    abstain: Abstain | None,
    thresholds: Sequence[Threshold],
) -> dict[str, Any]:
    """Returns the row of a clip: the mean over models, and how far they agree.

    Args:
        clip: The clip.
        said: By each model.
        classes: Names in the order of the probabilities.
        abstain: When to withhold; None for never.
        thresholds: Of each model; empty for none.
    """
    probs = np.stack([one.probs for one in said])
    mean = probs.mean(axis=0)
    best = int(mean.argmax())
    named = zip(classes, mean.tolist(), strict=True)
    row = {
        keys.PRED_CLIP: clip.clip_id,
        "video": str(clip.video),
        "segments": said[0].segments,
        "map": said[0].map_from,
        "predicted": classes[best],
        **{f"{keys.PRED_PROB_PREFIX}{name}": value for name, value in named},
    }
    agreement = float((probs.argmax(axis=1) == best).mean())
    if len(said) > 1:
        row |= {"agreement": agreement, "spread": float(probs[:, best].std(ddof=1))}
    if abstain is None:
        return row
    sure = [
        one.sureness(abstain.score) >= threshold.least
        for one, threshold in zip(said, thresholds, strict=False)
    ]
    agreed = abstain.agreement is None or agreement >= abstain.agreement
    answered = agreed and (not sure or 2 * sum(sure) >= len(sure))
    if not answered:
        row["predicted"] = ""
    return {**row, "answered": answered}


def mean_map(said: Sequence[Said]) -> NDArray[np.float32] | None:
    """Returns the mean of the predicted maps; None where there is none."""
    maps = [one.maps for one in said if one.maps is not None]
    return np.stack(maps).mean(axis=0) if maps else None
