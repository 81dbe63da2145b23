"""What annotators said the patients have: the human baseline beside the arms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from vaclip.evaluation.compare import HEADLINE, score_arm
from vaclip.evaluation.inference import Interval
from vaclip.evaluation.predictions import Predictions
from vaclip.keys import CONFIDENCE


@dataclass(frozen=True)
class Diagnosed:
    """What a reader said of one clip.

    Attributes:
        clip_id: The clip.
        patient_id: Whose it is.
        session: Of which visit; empty where the study does not say.
        label: What the patient has.
        said: What the reader said.
        confidence: One of `vaclip.keys.CONFIDENCE`.
    """

    clip_id: str
    patient_id: str
    session: str
    label: str
    said: str
    confidence: float


@dataclass(frozen=True)
class ReaderScore:
    """How well a reader diagnosed.

    Attributes:
        patients: Whom they diagnosed.
        value: Balanced accuracy per patient.
        interval: Of it, on new patients like these, by this reader.
    """

    patients: int
    value: float
    interval: Interval


def reader_score(said: Sequence[Diagnosed], classes: Sequence[str]) -> ReaderScore:
    """Scores a reader as an arm is scored: by patient, whose clips are averaged.

    A diagnosis of confidence c of C counts as the probability 1/K + (1 - 1/K) c/C of its class, so
    that of two contradicting clips of a patient the surer one decides.

    Args:
        said: One item a clip.
        classes: The study's, K.
    """
    chance = 1 / len(classes)
    rows = []
    for one in said:
        sure = chance + (1 - chance) * one.confidence / CONFIDENCE[-1]
        rest = (1 - sure) / (len(classes) - 1)
        probs = {f"p {name}": sure if name == one.said else rest for name in classes}
        rows.append({**vars(one), "arm": "reader", **probs})
    table = Predictions.from_frame(
        pd.DataFrame(rows),
        patient="patient_id",
        label="label",
        arm="arm",
        clip="clip_id",
        session="session",
        probs={name: f"p {name}" for name in classes},
    )
    found = score_arm(table, "reader", metrics=(HEADLINE,), n_resamples=1)
    score = found.scores[HEADLINE]
    return ReaderScore(found.patients, score.mean, score.trained)
