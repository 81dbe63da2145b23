"""Small prediction tables."""

from __future__ import annotations

import numpy as np
import pandas as pd

from vaclip import keys
from vaclip.evaluation.predictions import Predictions

CLASSES = ("gait", "knee", "other")
LABELS = [0] * 4 + [1] * 4 + [2] * 4  # every fold has all classes


def prediction_rows(
    labels,
    *,
    arms=("B0", "B3"),
    seeds=2,
    folds=3,
    clips=2,
    segments=2,
    rng=None,
    probs=None,
    skip=(),
    classes=CLASSES,
) -> pd.DataFrame:
    """A prediction table with test and val rows.

    Args:
        labels: (P,) class number of each patient; patient i is tested in fold (i + seed) % folds
            and validated in the next one.
        arms: Names.
        seeds: How many.
        folds: How many.
        clips: Of each patient.
        segments: Of each clip.
        rng: Draws the probabilities.
        probs: Instead: function of (arm, seed, patient, clip, segment).
        skip: Jobs (arm, fold, seed) to leave out.
        classes: Names.
    """
    rng = rng or np.random.default_rng(0)
    rows = []
    for arm in arms:
        for seed in range(seeds):
            for patient, label in enumerate(labels):
                for split, fold in (("test", 0), ("val", 1)):
                    fold = (patient + seed + fold) % folds
                    if (arm, fold, seed) in skip:
                        continue
                    for clip, segment in np.ndindex(clips, segments):
                        draw = rng.dirichlet(np.ones(len(classes)))
                        own = draw if probs is None else probs(arm, seed, patient, clip, segment)
                        fixed = ("study", arm, fold, seed, split, f"p{patient:03d}")
                        name = f"p{patient:03d}c{clip}"
                        sim = rng.uniform(-1, 1)
                        rows.append((*fixed, name, segment, classes[label], sim, 0, "", *own))
    prefix = keys.PRED_PROB_PREFIX
    columns = [*keys.PREDICTION_COLUMNS, *(f"{prefix}{name}" for name in classes)]
    return pd.DataFrame(rows, columns=columns)


def predictions(**kwargs) -> Predictions:
    """Those of `prediction_rows` with `LABELS`."""
    return Predictions.of(prediction_rows(LABELS, **kwargs))


def per_patient(found, arm):
    """Whether each patient is right, mean over seeds, and the labels."""
    cases = found.cases(arm)
    right = (cases.probs.argmax(axis=1) == cases.label).astype(float)
    return np.bincount(cases.patient, right) / np.bincount(cases.patient), np.array(LABELS)
