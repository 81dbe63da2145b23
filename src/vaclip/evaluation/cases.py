"""What is scored: the clips or cases of an arm, as arrays.

Letters: N rows (a case or clip of one seed), P patients, K classes. A **job** is one fold of
one seed. A **case** is a patient, or a session of one where sessions are named; where the clips
of a case have several labels, each clip is a case.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vaclip import keys
from vaclip.errors import counted
from vaclip.metrics.functional import FloatArray, IntArray
from vaclip.metrics.split import case_of_clip

Unit: TypeAlias = Literal["patient", "clip"]
Job: TypeAlias = tuple[int, int]
"""(fold, seed)."""
UNITS: Final[tuple[Unit, ...]] = ("patient", "clip")
CASE: Final = [keys.PRED_FOLD, keys.PRED_SEED, keys.PRED_PATIENT, keys.PRED_LABEL]
"""Columns that every row of `Cases` has one value of."""


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
    """(N,) video-map similarity of the clip, or the mean of the case's clips; NaN for none."""

    @property
    def patients(self) -> int:
        """P: how many patients there are."""
        return int(self.patient.max()) + 1 if len(self.patient) else 0

    def of(self, rows: NDArray[Any]) -> Cases:
        """Returns some rows; the patients keep their numbers."""
        return Cases(**{name: column[rows] for name, column in vars(self).items()})

    def strata(self) -> IntArray:
        """Numbers the patients by the set of labels they have, (P,)."""
        has = np.zeros((self.patients, self.probs.shape[1]), bool)
        has[self.patient, self.label] = True
        return _numbered(has)

    @property
    def of_several_labels(self) -> int:
        """How many patients have rows of several labels: these rows are not averaged."""
        pairs = np.unique(np.stack([self.patient, self.label]), axis=1)[0]
        return int(np.sum(np.bincount(pairs) > 1))

    def models(self) -> IntArray:
        """The jobs that the rows come from, (M, 2) as (fold, seed), sorted."""
        return np.unique(np.stack([self.fold, self.seed], axis=1), axis=0)

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


def cases_of(clips: pd.DataFrame, classes: Sequence[str], unit: Unit = "patient") -> Cases:
    """Turns an arm's clips to arrays, averaged over the clips of a case for ``patient``.

    Args:
        clips: Rows of `Predictions.clips` of one arm.
        classes: Names in the order of the probabilities.
        unit: What a row shall be.
    """
    probs = [keys.PRED_PROB_PREFIX + name for name in classes]
    if unit == "patient":
        session = clips.groupby([*CASE[:-1], keys.PRED_SESSION]).ngroup().to_numpy()
        cases = clips.groupby(case_of_clip(session, clips[keys.PRED_LABEL].to_numpy()))
        clips = cases[CASE].first().join(cases[[*probs, keys.PRED_SIM]].mean())
    return Cases(
        patient=np.unique(clips[keys.PRED_PATIENT].to_numpy(str), return_inverse=True)[1],
        label=clips[keys.PRED_LABEL].to_numpy(np.int64),
        seed=clips[keys.PRED_SEED].to_numpy(np.int64),
        fold=clips[keys.PRED_FOLD].to_numpy(np.int64),
        probs=clips[probs].to_numpy(np.float64),
        similarity=clips[keys.PRED_SIM].to_numpy(np.float64),
    )


def case_note(clips: pd.DataFrame) -> str:
    """Says what a case is, where it is not simply a patient; else nothing.

    Args:
        clips: Rows of `Predictions.clips`; of one clip all say the same.
    """
    visit = [keys.PRED_PATIENT, keys.PRED_SESSION]
    sessions = clips.groupby(visit)[keys.PRED_LABEL].nunique().reset_index()
    patients = clips[keys.PRED_PATIENT].nunique()
    torn = sessions.loc[sessions[keys.PRED_LABEL] > 1, keys.PRED_PATIENT].nunique()
    named = bool((clips[keys.PRED_SESSION] != "").any())
    said = []
    if named:
        said.append(
            f"A case is a session of a patient ({counted(len(sessions), 'session')} of "
            f"{counted(patients, 'patient')}): the clips of a session are averaged."
        )
    if torn:
        said.append(
            f"{torn} of {counted(patients, 'patient')} {'has' if torn == 1 else 'have'} clips of "
            f"several classes{' in one session' if named else ''}: each of these clips is a case "
            "of its own, because only the true class could say which of them belong together."
        )
    return " ".join(said)


def _numbered(rows: NDArray[Any]) -> IntArray:
    """Numbers equal rows equally, (N, ...) to (N,)."""
    return np.unique(rows, axis=0, return_inverse=True)[1].reshape(-1)
