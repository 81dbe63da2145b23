"""Names that stand for patients and clips, so that a report can be passed on."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

# Quoted words and file names in a message; they may hold a name that is in no table.
_NAMES: Final = re.compile(r"'[^']*'|\"[^\"]*\"|`[^`]*`|\S*[/\\]\S*|\S+\.\w{2,5}\b")


@dataclass(frozen=True)
class Pseudonyms:
    """How patients and clips are called in one report."""

    patients: Mapping[str, str]
    clips: Mapping[str, str]
    real: bool

    def patient(self, patient_id: str) -> str:
        """Returns P01, P02, ..., or the id where real ids were asked for."""
        return patient_id if self.real else self.patients.get(patient_id, "unnamed patient")

    def clip(self, clip_id: str) -> str:
        """Returns P01-c1, ..., or the id where real ids were asked for."""
        return clip_id if self.real else self.clips.get(clip_id, "unnamed clip")

    def message(self, text: str, clip_id: str) -> str:
        """Returns a message about a clip without names of patients, clips or files."""
        if self.real:
            return text
        known = [clip_id, *(name for name in (*self.clips, *self.patients) if not name.isdigit())]
        for name in sorted(known, key=len, reverse=True):
            text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "…", text)
        return _NAMES.sub("…", text)


def pseudonyms(
    clips: Mapping[str, Sequence[str]],
    others: Sequence[str] = (),
    *,
    seed: int,
    real: bool = False,
) -> Pseudonyms:
    """Numbers patients in an order that does not follow their ids, the same for equal seeds.

    Args:
        clips: Sorted ids of the patients, each with the sorted ids of its clips.
        others: Ids of clips without a known patient: X01, X02, ... in the given order.
        seed: Of the order. Who knows it and the ids can undo the pseudonyms.
        real: Whether the real ids are to be shown.
    """
    ids = list(clips)
    order = np.random.default_rng(seed).permutation(len(ids))
    width = max(2, len(str(len(ids))))
    patients = {ids[i]: f"P{n:0{width}d}" for n, i in enumerate(order, start=1)}
    named = {clip: f"X{n:02d}" for n, clip in enumerate(others, start=1)}
    for patient, own in clips.items():
        named |= {clip: f"{patients[patient]}-c{n}" for n, clip in enumerate(own, start=1)}
    return Pseudonyms(patients, named, real)
