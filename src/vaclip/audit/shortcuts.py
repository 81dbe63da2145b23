"""The shortcut score: how well the label is told by what is no content of the video.

A model that learns the container's artefacts, the picture size or the hospital looks as if it
knew the disease. So the label is predicted from metadata alone, tested on other patients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import av
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array

from vaclip.data.splits import make_plan, patient_labels
from vaclip.evaluation.data_card import Score
from vaclip.media import open_video

TOGETHER = "all together"
PERMUTATIONS = 499
RIDGE = 1.0
"""Penalty of the regression."""
MOST_CATEGORIES = 100
"""Of a feature; rarer ones count as one, so that the cost grows with the clips alone."""
_AT_ONCE = 50  # permutations, which bounds memory
_QUANTILES = (0.2, 0.4, 0.6, 0.8)
_MISSING = "missing"


def file_facts(path: Path, start_s: float = 0.0, end_s: float | None = None) -> dict[str, object]:
    """Reads what a video's container says of it; no frame is decoded.

    Args:
        path: A video.
        start_s: Where the clip begins in it, in seconds.
        end_s: Where it ends; None for the end of the video.

    Returns:
        Values by the names of features; text is a category, a number a quantity, NaN unknown.

    Raises:
        VaclipError: If it cannot be opened.
    """
    with open_video(path) as container:
        stream = container.streams.video[0]
        whole_s = (container.duration or np.nan) / av.time_base
        return {
            "container": container.format.name,
            "file ending": path.suffix.lower(),
            "codec": stream.codec_context.name,
            "pixel format": stream.codec_context.pix_fmt or _MISSING,
            "frame size": f"{stream.width} x {stream.height}",
            "pixels": float(stream.width * stream.height),
            "frame rate": float(stream.average_rate or np.nan),
            "seconds": (whole_s if end_s is None else min(end_s, whole_s)) - start_s,
            "bytes per second": container.size / whole_s,
        }


def column_features(
    rows: Sequence[Mapping[str, str]], patients: Sequence[str]
) -> tuple[pd.DataFrame, list[str]]:
    """Makes features of further columns of a table of clips.

    Args:
        rows: N rows of text; an empty cell is a missing value.
        patients: (N,) patient of each.

    Returns:
        A table of N rows: columns of numbers alone as numbers, others as text; and the names of
        those left out, because they have more values than half the patients, as free text has.
    """
    table = pd.DataFrame(rows, index=range(len(rows)), dtype=object)
    table = table.fillna("").replace("", None)
    kept, left_out = {}, []
    for name in table:
        numbers = pd.to_numeric(table[name], errors="coerce")
        if numbers.notna().equals(table[name].notna()):
            kept[name] = numbers.astype(float)
        elif table[name].nunique() <= len(set(patients)) / 2:
            kept[name] = table[name].fillna(_MISSING)
        else:
            left_out.append(str(name))
    return pd.DataFrame(kept, index=table.index), left_out


def one_hot(values: pd.Series) -> NDArray[np.float64]:
    """Turns a feature into indicators of its categories, numbers into those of quantile bins.

    Args:
        values: (N,) text or numbers. A number that is a quantile itself, such as a frame rate
            that most clips have, gets a bin of its own.

    Returns:
        (N, C) of 0 and 1, of at most `MOST_CATEGORIES` and one for all others.
    """
    if pd.api.types.is_numeric_dtype(values):
        edges = np.unique(values.quantile(_QUANTILES, interpolation="nearest").dropna())
        bins = np.searchsorted(edges, values, "left") + np.searchsorted(edges, values, "right")
        values = pd.Series(bins).where(values.notna().to_numpy(), -1)
    common = values.value_counts().index[:MOST_CATEGORIES]
    values = values.where(values.isin(common), "another")
    return pd.get_dummies(values).to_numpy(float)


def patient_scores(
    designs: Mapping[str, NDArray[np.float64]],
    patients: Sequence[str],
    labels: Sequence[str],
    *,
    folds: int = 5,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> list[Score]:
    """Predicts labels from each feature, tested on the patients of the other folds.

    The model is a ridge regression on the classes' indicators in which each patient weighs the
    same; its predictions are averaged over a patient's clips, and divided by the classes' shares,
    so that a rare class is called as readily as a common one. A patient of several classes counts
    once in each. Permutations move labels between the patients of a fold: every fold keeps its
    classes, as in the plan itself, and one fit serves all permutations.

    Args:
        designs: (N, C) of numbers by feature; one that is constant is left out.
        patients: (N,) patient of each clip.
        labels: (N,) class of each clip.
        folds: See `make_plan`.
        permutations: How many.
        seed: Of the folds and the permutations.

    Returns:
        A score of each feature; before them `TOGETHER`, where there are two or more.

    Raises:
        VaclipError: If the patients cannot be dealt into folds.
    """
    pairs = list(zip(patients, labels, strict=True))
    plan = make_plan(patient_labels(pairs), folds, seed)
    part_of = {name: n for n, fold in enumerate(plan.folds) for name in fold["test"]}
    number = {pair: n for n, pair in enumerate(dict.fromkeys(pairs))}
    unit = np.array([number[pair] for pair in pairs])
    part = np.array([part_of[patient] for patient, _ in number])
    classes, truth = np.unique([label for _, label in number], return_inverse=True)
    random = np.random.default_rng(seed)
    drawn = np.tile(truth[:, None], 1 + permutations)  # the truth itself comes first
    for own in (np.flatnonzero(part == n) for n in range(folds)):
        drawn[own, 1:] = random.permuted(drawn[own, 1:], axis=0)
    designs = {name: design for name, design in designs.items() if np.ptp(design, axis=0).any()}
    alone = {name: _scores(x, unit, part, drawn, len(classes)) for name, x in designs.items()}
    if not alone:
        return []
    best = np.max(list(alone.values()), axis=0)
    found = [Score(name, float(s[0]), _p(s[0], s), _p(s[0], best)) for name, s in alone.items()]
    if len(designs) > 1:
        every = _scores(np.hstack(list(designs.values())), unit, part, drawn, len(classes))
        found.insert(0, Score(TOGETHER, float(every[0]), *(2 * [_p(every[0], every)])))
    return found


def _scores(
    design: NDArray[np.float64],
    unit: NDArray[np.int64],
    part: NDArray[np.int64],
    drawn: NDArray[np.int64],
    classes: int,
) -> NDArray[np.float64]:
    """Returns the balanced accuracy under each of D drawn labellings.

    Args:
        design: (N, C) features of clips.
        unit: (N,) patient of each clip, below U.
        part: (U,) fold of each patient.
        drawn: (U, D) labels, of which each fold has the same in every column.
        classes: How many.
    """
    weight = 1 / np.bincount(unit)[unit]
    mean = coo_array((weight, (unit, np.arange(len(unit))))) @ design  # of a patient's clips
    right = np.zeros(drawn.shape, bool)
    for number in np.unique(part):
        train, test = np.flatnonzero(part != number), np.flatnonzero(part == number)
        centre = mean[train].mean(axis=0)
        seen, clips = mean - centre, part[unit] != number
        apart = (design[clips] - centre) * np.sqrt(weight[clips, None])
        # Clips of a patient have one target, so that the regression needs their mean alone.
        solved = np.linalg.solve(apart.T @ apart + RIDGE * np.eye(apart.shape[1]), seen[train].T)
        share = np.bincount(drawn[train, 0], minlength=classes) / len(train)
        for first in range(0, drawn.shape[1], _AT_ONCE):
            some = drawn[:, first : first + _AT_ONCE]
            known = np.eye(classes)[some[train]].reshape(len(train), -1)
            guess = (seen[test] @ (solved @ known)).reshape(len(test), -1, classes) + share
            # Rounded, so that ties are the same on every machine.
            found = (guess / share).round(6).argmax(axis=2)
            right[test, first : first + _AT_ONCE] = found == some[test]
    recall = [(right & (drawn == k)).sum(axis=0) / (drawn[:, 0] == k).sum() for k in range(classes)]
    return np.mean(recall, axis=0)


def _p(score: float, drawn: NDArray[np.float64]) -> float:
    """The truth, which comes first, counts as one of its permutations."""
    return float(np.mean(drawn >= score - 1e-9))
