"""From the prediction table to what is scored: clips and cases of an arm, pairs of two arms.

Letters: N rows (a case or clip of one seed), P patients, K classes. A **job** is one fold of
one seed. A **case** is a patient and a label; a patient with clips of two labels is two cases.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vaclip import keys
from vaclip.errors import VaclipError
from vaclip.metrics.functional import FloatArray, IntArray

Unit: TypeAlias = Literal["patient", "clip"]
Job: TypeAlias = tuple[int, int]
"""(fold, seed)."""
UNITS: Final[tuple[Unit, ...]] = ("patient", "clip")
_JOB = [keys.PRED_FOLD, keys.PRED_SEED]
_CASE = [*_JOB, keys.PRED_PATIENT, keys.PRED_LABEL]
_ROW = {"patient": _CASE, "clip": [*_CASE, keys.PRED_CLIP]}
_SUM_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Cases:
    """One arm's test predictions, one row a case (or clip) and seed; sorted by identity."""

    patient: IntArray
    """(N,) in [0, P): the patients of these rows, numbered in order of their ids."""
    label: IntArray
    """(N,) in [0, K)."""
    seed: IntArray
    """(N,) as the run was seeded."""
    fold: IntArray
    """(N,)."""
    probs: FloatArray
    """(N, K), rows summing to 1."""
    similarity: FloatArray
    """(N,) mean video-map similarity of the segments that have one, else NaN."""

    @property
    def patients(self) -> int:
        """P: how many patients there are."""
        return int(self.patient.max()) + 1 if len(self.patient) else 0

    def of(self, rows: FloatArray | IntArray) -> Cases:
        """Returns some rows; the patients keep their numbers."""
        return Cases(**{name: column[rows] for name, column in vars(self).items()})

    def strata(self) -> IntArray:
        """Numbers the patients by the set of labels they have, (P,)."""
        has = np.zeros((self.patients, self.probs.shape[1]), bool)
        has[self.patient, self.label] = True
        return _numbered(has)

    def training_sets(self) -> tuple[IntArray, IntArray]:
        """Tells the models apart that the rows come from, as far as they are independent.

        Jobs that test the same patients were trained on the same ones, and go together; if
        all do, each job stands alone.

        Returns:
            (N,) the training set of each row, in [0, M), and (M,) the stratum of each: its
            seed where each seed deals the patients anew.
        """
        job = _numbered(np.stack([self.seed, self.fold], axis=1))
        tests = np.zeros((job.max(initial=-1) + 1, self.patients), bool)
        tests[job, self.patient] = True
        sets = _numbered(tests)
        training = sets[job] if len(np.unique(sets)) > 1 else job
        seeds = [np.unique(self.seed[training == m]) for m in np.unique(training)]
        nested = all(len(own) == 1 for own in seeds) and len(seeds) > len(np.unique(self.seed))
        return training, np.array([own[0] if nested else 0 for own in seeds], np.int64)


@dataclass(frozen=True)
class Predictions:
    """A checked prediction table, averaged over segments."""

    study: str
    classes: tuple[str, ...]
    jobs: dict[str, frozenset[Job]]
    """The jobs that each arm has; arms in alphabetical order."""
    sizes: dict[Job, tuple[int, int]]
    """Patients in test and in training: training has all that are neither in val nor test."""
    clips: pd.DataFrame
    """One row an arm, job and clip of the test split; `label` is the number of the class."""


def read_predictions(table: pd.DataFrame, patients: int | None = None) -> Predictions:
    """Checks a prediction table (`keys.PREDICTION_COLUMNS`) and averages it over segments.

    Args:
        table: The table.
        patients: Of the whole study; None where the table has them all. It lacks some where
            not all folds were run, and then cannot tell how many a model was trained on.

    Raises:
        VaclipError: If it is not such a table, or contradicts itself.
    """
    prefix = keys.PRED_PROB_PREFIX
    probs = [name for name in map(str, table.columns) if name.startswith(prefix)]
    classes = tuple(name.removeprefix(prefix) for name in probs)
    _check(table, probs, classes)
    table = table.assign(**{keys.PRED_PATIENT: table[keys.PRED_PATIENT].astype(str)})
    test = table[table[keys.PRED_SPLIT] == "test"]
    number = {name: k for k, name in enumerate(classes)}
    test = test.assign(**{keys.PRED_LABEL: test[keys.PRED_LABEL].astype(str).map(number)})
    by = [keys.PRED_ARM, *_ROW["clip"]]
    clips = test.sort_values([*by, keys.PRED_SEGMENT]).groupby(by, as_index=False)
    clips = clips[[*probs, keys.PRED_SIM]].mean()
    jobs = {
        str(arm): frozenset(map(_job, part[_JOB].drop_duplicates().to_numpy()))
        for arm, part in clips.groupby(keys.PRED_ARM)
    }
    return Predictions(
        str(test[keys.PRED_STUDY].iloc[0]), classes, jobs, _sizes(table, patients), clips
    )


def arm_cases(predictions: Predictions, arm: str, unit: Unit = "patient") -> Cases:
    """Returns an arm's clips, or its cases: the mean over a case's clips."""
    clips = _clips(predictions, arm)
    return _to_cases(clips if unit == "clip" else _over_clips(clips), predictions)


def paired_cases(predictions: Predictions, first: str, second: str) -> tuple[Cases, Cases]:
    """Returns the cases over the clips and jobs that both arms have, row by row the same."""
    both = [_clips(predictions, arm).set_index(_ROW["clip"]) for arm in (first, second)]
    common = both[0].index.intersection(both[1].index)
    one, two = (
        _to_cases(_over_clips(part.loc[common].reset_index()), predictions) for part in both
    )
    return one, two


def _clips(predictions: Predictions, arm: str) -> pd.DataFrame:
    if arm not in predictions.jobs:
        raise VaclipError(f"no arm {arm!r} in the predictions; there are {[*predictions.jobs]}")
    rows = predictions.clips[predictions.clips[keys.PRED_ARM] == arm]
    return rows.drop(columns=keys.PRED_ARM)


def _over_clips(clips: pd.DataFrame) -> pd.DataFrame:
    return clips.drop(columns=keys.PRED_CLIP).groupby(_CASE, as_index=False).mean()


def _to_cases(rows: pd.DataFrame, predictions: Predictions) -> Cases:
    probs = rows[[keys.PRED_PROB_PREFIX + name for name in predictions.classes]]
    return Cases(
        patient=np.unique(rows[keys.PRED_PATIENT].to_numpy(str), return_inverse=True)[1],
        label=rows[keys.PRED_LABEL].to_numpy(np.int64),
        seed=rows[keys.PRED_SEED].to_numpy(np.int64),
        fold=rows[keys.PRED_FOLD].to_numpy(np.int64),
        probs=probs.to_numpy(np.float64),
        similarity=rows[keys.PRED_SIM].to_numpy(np.float64),
    )


def _numbered(rows: NDArray[Any]) -> IntArray:
    """Numbers equal rows equally, (N, ...) to (N,)."""
    return np.unique(rows, axis=0, return_inverse=True)[1].reshape(-1)


def _job(pair: Sequence[int]) -> Job:
    return int(pair[0]), int(pair[1])


def _sizes(table: pd.DataFrame, patients: int | None) -> dict[Job, tuple[int, int]]:
    everyone = patients or table[keys.PRED_PATIENT].nunique()
    held = table.drop_duplicates([*_JOB, keys.PRED_SPLIT, keys.PRED_PATIENT])
    number = held[[*_JOB, keys.PRED_SPLIT]].value_counts().to_dict()
    sizes = {}
    for fold, seed in map(_job, held[_JOB].drop_duplicates().to_numpy()):
        test, val = (int(number.get((fold, seed, split), 0)) for split in ("test", "val"))
        sizes[fold, seed] = (test, everyone - test - val)
    return sizes


def _check(table: pd.DataFrame, probs: list[str], classes: tuple[str, ...]) -> None:
    missing = [name for name in keys.PREDICTION_COLUMNS if name not in table]
    if missing or len(probs) < 2:
        raise VaclipError(
            f"not a prediction table: columns {missing} are missing"
            if missing
            else f"not a prediction table: {len(probs)} columns {keys.PRED_PROB_PREFIX}CLASS"
        )
    test = table[table[keys.PRED_SPLIT] == "test"]
    if test.empty:
        raise VaclipError("no row of the prediction table has split 'test': nothing to judge")
    studies = sorted(set(table[keys.PRED_STUDY].astype(str)))
    if len(studies) > 1:
        raise VaclipError(f"predictions of several studies in one table: {studies}")
    unknown = sorted(set(test[keys.PRED_LABEL].astype(str)) - set(classes))
    if unknown:
        raise VaclipError(f"labels {unknown} have no column of probabilities; classes {classes}")
    values = test[probs].to_numpy(np.float64)
    wrong = ~(np.abs(values.sum(axis=1) - 1) < _SUM_TOLERANCE) | (values < 0).any(axis=1)
    if wrong.any():
        row = test[[keys.PRED_ARM, *_JOB, keys.PRED_CLIP]].iloc[int(wrong.argmax())].to_dict()
        raise VaclipError(f"probabilities of {wrong.sum()} rows are none, such as of {row}")
    of_clip = table.groupby(keys.PRED_CLIP)[[keys.PRED_PATIENT, keys.PRED_LABEL]].nunique()
    torn = of_clip.index[(of_clip > 1).any(axis=1)]
    if len(torn):
        raise VaclipError(f"clips with two patients or labels: {[*map(str, torn[:5])]}")
    identity = [keys.PRED_ARM, *_JOB, keys.PRED_SPLIT, keys.PRED_CLIP, keys.PRED_SEGMENT]
    twice = table[table.duplicated(identity)]
    if len(twice):
        row = twice[identity].iloc[0].to_dict()
        raise VaclipError(f"{len(twice)} segments are predicted twice, such as {row}")
