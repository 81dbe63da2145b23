"""What a study's models said of each clip, for `vaclip view --results`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vaclip import keys
from vaclip.errors import VaclipError
from vaclip.reports.gather import read_folder
from vaclip.study.study import Study

NOT_TESTED = "not tested"


@dataclass(frozen=True)
class Outcome:
    """What an arm says of a clip: the mean over its test predictions of all seeds.

    Attributes:
        diagnosis: The most probable class.
        probs: By class, the most probable first.
        right: ``right`` or ``wrong``.
    """

    diagnosis: str
    probs: dict[str, float]
    right: str


def outcomes(folder: Path, study: Study, arm: str | None = None) -> tuple[str, dict[str, Outcome]]:
    """Reads what an arm said of the clips of a study.

    Args:
        folder: What ``vaclip study`` or ``vaclip train`` left.
        study: The study that is shown; its labels count.
        arm: By default the method of the folder's roles, else its only arm.

    Returns:
        The arm, and by clip id what it said.

    Raises:
        VaclipError: If there are no predictions, no such arm, or they are of another study.
    """
    source = read_folder(folder)
    found = list(source.predictions.jobs)
    named = arm or (source.roles.method if source.roles else None)
    chosen = named if named in found or arm else found[0]
    if chosen not in found or (named is None and len(found) > 1):
        raise VaclipError(f"--arm names one of {', '.join(found)}: whose predictions are shown?")
    clips = source.predictions.clips
    own = clips[clips[keys.PRED_ARM] == chosen].groupby(keys.PRED_CLIP)[source.predictions.probs]
    labels = {clip.clip_id: clip.label for clip in study.clips}
    labels |= dict.fromkeys((one.clip_id for one in study.excluded), "")
    said = {}
    for clip_id, row in own.mean().iterrows():
        if clip_id not in labels:
            raise VaclipError(f"{folder} has predictions of clip {clip_id}, which the study lacks")
        values = dict(zip(source.predictions.classes, row.tolist(), strict=True))
        probs = dict(sorted(values.items(), key=lambda item: -item[1]))
        diagnosis = next(iter(probs))
        right = "right" if diagnosis == labels[str(clip_id)] else "wrong"
        said[str(clip_id)] = Outcome(diagnosis, probs, right)
    return chosen, said
