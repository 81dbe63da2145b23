"""Whose diagnosis is given where video and map are of two patients: the follow-the-map rate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from vaclip import keys
from vaclip.evaluation.cases import Cases
from vaclip.evaluation.compare import size_ratio
from vaclip.evaluation.inference import Interval
from vaclip.evaluation.predictions import Predictions
from vaclip.evaluation.spread import difference_interval, standard_errors
from vaclip.metrics.functional import FloatArray

_CLIP = [keys.PRED_FOLD, keys.PRED_SEED, keys.PRED_CLIP]


@dataclass(frozen=True)
class Following:
    """How often the diagnosis is the class of the patient whose map is shown.

    Over the test clips that were shown the map of a patient of another class.
    """

    clips: int
    """How many there are, those of several seeds counted each time."""
    patients: int
    rate: float
    """Share that get the class of the map's patient, shown that map."""
    base: float
    """Share of the same clips that get that class, shown their own map."""
    difference: float
    """``rate - base``."""
    interval: Interval
    """Of the training procedure, as `Contrast.interval`."""
    trained: Interval
    """Of these trained models, as `Contrast.trained`."""


def follow_rate(predictions: Predictions, method: str, swapped: str) -> Following | None:
    """Compares what a method says of clips with other patients' maps and with their own.

    Args:
        predictions: The table, whose `keys.PRED_MAP_LABEL` says of whom a map is.
        method: Tested with the clips' own maps.
        swapped: The same models, tested with other patients' maps.

    Returns:
        None where an arm is missing, or no clip was shown the map of another class.
    """
    if not {method, swapped} <= set(predictions.jobs):
        return None
    test, clips = predictions.test, predictions.clips
    labels = test[test[keys.PRED_ARM] == swapped].drop_duplicates(_CLIP).set_index(_CLIP)
    number = {name: k for k, name in enumerate(predictions.classes)}
    shown = labels[keys.PRED_MAP_LABEL].map(number).dropna().astype(int)
    one, two = (clips[clips[keys.PRED_ARM] == arm].set_index(_CLIP) for arm in (swapped, method))
    rows = one.index.intersection(two.index).intersection(shown.index)
    rows = rows[(shown[rows] != one.loc[rows, keys.PRED_LABEL]).to_numpy()]
    if rows.empty:
        return None
    donor = shown[rows].to_numpy()
    cases = []
    for table in (one, two):
        own = table.loc[rows].reset_index()
        said = own[predictions.probs].to_numpy().argmax(axis=1)
        cases.append(_cases(own, (said == donor).astype(float)))
    errors = standard_errors(cases, ["acc_micro"], size_ratio(predictions, cases[0], [method]))
    error = errors["acc_micro"]
    rate, base = (_mean(part) for part in cases)
    return Following(
        clips=len(rows),
        patients=cases[0].patients,
        rate=rate,
        base=base,
        difference=rate - base,
        interval=difference_interval("acc_micro", rate - base, error.procedure, cases[0]),
        trained=difference_interval("acc_micro", rate - base, error.trained, cases[0]),
    )


def _cases(rows: pd.DataFrame, follows: FloatArray) -> Cases:
    """Clips of two kinds, all of the first: "right" then is to follow the map."""
    return Cases(
        patient=np.unique(rows[keys.PRED_PATIENT].to_numpy(str), return_inverse=True)[1],
        label=np.zeros(len(rows), np.int64),
        seed=rows[keys.PRED_SEED].to_numpy(np.int64),
        fold=rows[keys.PRED_FOLD].to_numpy(np.int64),
        probs=np.stack([follows, 1 - follows], axis=1),
        similarity=np.full(len(rows), np.nan),
    )


def _mean(cases: Cases) -> float:
    return float(cases.probs[:, 0].mean())
