"""What a study's models said of each clip, for `vaclip view --results`."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vaclip import keys
from vaclip.errors import VaclipError
from vaclip.reports.gather import Source
from vaclip.study.study import Study

NOT_TESTED = "not tested"


@dataclass(frozen=True)
class Outcome:
    """What an arm says of a clip: the mean over its test predictions of all seeds.

    Attributes:
        diagnosis: The most probable class.
        probs: By class, the most probable first.
        right: ``right`` or ``wrong``.
        similarity: Of video and map, in [-1, 1]; NaN where the clip has none.
    """

    diagnosis: str
    probs: dict[str, float]
    right: str
    similarity: float = math.nan

    @property
    def sure(self) -> float:
        """The probability of the diagnosis."""
        return self.probs[self.diagnosis]


def chosen_arm(source: Source, arm: str | None = None) -> str:
    """Returns whose predictions are shown: by default the method's, else the only arm's.

    Raises:
        VaclipError: If there is no such arm, or it is not clear which.
    """
    found = list(source.predictions.jobs)
    named = arm or (source.roles.method if source.roles else None)
    chosen = named if named in found or arm else found[0]
    if chosen not in found or (named is None and len(found) > 1):
        raise VaclipError(f"--arm names one of {', '.join(found)}: whose predictions are shown?")
    return chosen


def outcomes(source: Source, arm: str, study: Study) -> dict[str, Outcome]:
    """Returns by clip id what an arm said of it.

    Args:
        source: What ``vaclip study`` or ``vaclip train`` left.
        arm: One that it has.
        study: The study that is shown, with what excluded.csv leaves out; its labels count.

    Raises:
        VaclipError: If the predictions are of another study.
    """
    own = source.predictions.only(lambda name: name == arm).clips.groupby(keys.PRED_CLIP)
    labels = {clip.clip_id: clip.label for clip in study.clips}
    said = {}
    for clip_id, row in own[[*source.predictions.probs, keys.PRED_SIM]].mean().iterrows():
        if clip_id not in labels:
            raise VaclipError(
                f"{source.folder} has predictions of clip {clip_id}, which the study lacks"
            )
        *values, similarity = row.tolist()
        named = dict(zip(source.predictions.classes, values, strict=True))
        probs = dict(sorted(named.items(), key=lambda item: -item[1]))
        diagnosis = next(iter(probs))
        right = "right" if diagnosis == labels[str(clip_id)] else "wrong"
        said[str(clip_id)] = Outcome(diagnosis, probs, right, similarity)
    return said
