"""The prediction table: all that passes from training to evaluation, one row a segment.

`vaclip.keys` names its columns; the embeddings that retrieval needs lie beside it.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
from pyarrow import ArrowException

from vaclip import keys
from vaclip.errors import VaclipError, counted, did_you_mean
from vaclip.evaluation.cases import CASE, Cases, Job, Unit, case_note, cases_of
from vaclip.evaluation.embeddings import EmbeddingFiles, Embeddings, Model, save_embeddings
from vaclip.evaluation.validation import check_table, typed_column
from vaclip.files import atomic_file
from vaclip.metrics.split import Clips, Segments

if TYPE_CHECKING:
    from vaclip.evaluation.compare import ArmScores, Contrast

_MODEL: Final = [keys.PRED_ARM, keys.PRED_FOLD, keys.PRED_SEED]
_JOB: Final = [keys.PRED_FOLD, keys.PRED_SEED]
_CLIP: Final = [*CASE, keys.PRED_CLIP]
_DEFAULTS: Final[dict[str, Any]] = {
    keys.PRED_STUDY: "predictions",
    keys.PRED_FOLD: 0,
    keys.PRED_SEED: 0,
    keys.PRED_SPLIT: "test",
    keys.PRED_SEGMENT: 0,
    keys.PRED_SIM: np.nan,
    keys.PRED_MAP_ID: -1,
    **dict.fromkeys(keys.CLIP_NAMES, ""),
    keys.PRED_MAP_LABEL: "",
    keys.PRED_MAP_INFORMATION: np.nan,
}
"""Columns that a table need not have, and what stands for them."""


@dataclass(frozen=True, eq=False, repr=False)
class Predictions:
    """A checked prediction table, and what follows from it.

    Made by `of` (a table in vaclip's own columns), `from_frame` (anybody's table) or `load` (what
    a run or an ablation left). Probabilities are averaged over the segments of a clip, then over
    the clips of a patient, or of a session where sessions are named; where such clips have several
    labels, each clip counts for itself.

    Attributes:
        frame: The table, all splits, with every column of `keys.PREDICTION_COLUMNS`, one
            ``prob_CLASS`` a class, and `keys.CLIP_NAMES`.
        classes: Names in the order of the probabilities.
        patients: Of the whole study; None where the table has them all. It lacks some where not
            all folds were run, and then cannot tell how many a model was trained on.
        embeddings: By (arm, fold, seed), of the test rows; retrieval needs them.

    Examples:
        >>> import pandas as pd
        >>> frame = pd.DataFrame({
        ...     "pid": ["a", "b", "a", "b"], "dx": ["ill", "well", "ill", "well"],
        ...     "model": ["gaze", "gaze", "plain", "plain"],
        ...     "p1": [0.9, 0.2, 0.4, 0.3], "p0": [0.1, 0.8, 0.6, 0.7],
        ... })
        >>> mine = Predictions.from_frame(
        ...     frame, patient="pid", label="dx", arm="model", probs={"ill": "p1", "well": "p0"}
        ... )
        >>> mine
        Predictions('predictions': 2 arms, 2 classes, 2 patients, 1 seed, 1 fold)
        >>> mine.score("gaze").scores["acc_macro"].mean
        1.0
    """

    frame: pd.DataFrame
    classes: tuple[str, ...]
    patients: int | None = None
    embeddings: Mapping[Model, Embeddings] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        table: pd.DataFrame,
        *,
        patients: int | None = None,
        embeddings: Mapping[Model, Embeddings] | None = None,
    ) -> Predictions:
        """Checks a table in vaclip's own columns.

        Args:
            table: With patient, clip, label, arm and probabilities at least; see `_DEFAULTS`.
            patients: As the attribute.
            embeddings: As the attribute.

        Raises:
            VaclipError: If it is no such table, or contradicts itself.
        """
        prefix = keys.PRED_PROB_PREFIX
        probs = [name for name in map(str, table.columns) if name.startswith(prefix)]
        classes = tuple(name.removeprefix(prefix) for name in probs)
        required = [name for name in keys.PREDICTION_COLUMNS if name not in _DEFAULTS]
        missing = [name for name in required if name not in table]
        if missing or len(probs) < 2:
            raise VaclipError(
                f"not a prediction table: columns {missing} are missing"
                if missing
                else f"not a prediction table: {len(probs)} columns {prefix}CLASS"
            )
        unnamed = dict.fromkeys(keys.CLIP_NAMES, "")
        absent = {name: value for name, value in _DEFAULTS.items() if name not in table}
        texts = [*required, keys.PRED_STUDY, keys.PRED_SPLIT, keys.PRED_MAP_LABEL, *unnamed]
        table = table.assign(**absent)[
            [*keys.PREDICTION_COLUMNS, *probs, *unnamed, keys.PRED_MAP_INFORMATION]
        ]
        table = table.fillna(unnamed | {keys.PRED_MAP_LABEL: ""})
        table = table.astype(dict.fromkeys(texts, str)).reset_index(drop=True)
        check_table(table, probs, classes)
        return cls(table, classes, patients, embeddings or {})

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        *,
        patient: str,
        label: str,
        arm: str,
        probs: Mapping[str, str],
        fold: str | None = None,
        seed: str | None = None,
        split: str | None = None,
        clip: str | None = None,
        segment: str | None = None,
        similarity: str | None = None,
        session: str | None = None,
        site: str | None = None,
        study: str = "predictions",
    ) -> Predictions:
        """Reads the predictions of any model.

        Args:
            frame: One row a segment, a clip or a patient; each arm tests the same ones.
            patient: Column of the patients' ids.
            label: Column of the true classes, named as in ``probs``.
            arm: Column that tells models apart, such as ``resnet`` and ``resnet_gaze``.
            probs: From each class to the column of its probability, in [0, 1], summing to 1.
            fold: Column of the fold of cross-validation, a whole number. For this and the next
                ones, None takes the column that is called so in `vaclip.keys` if there is one;
                otherwise all rows are of fold 0, seed 0, split ``test`` and segment 0.
            seed: Column of the training seed, a whole number.
            split: Column of ``train``, ``val`` or ``test``; only ``test`` is judged.
            clip: Column of the clips' ids. Without one, a patient has one row an arm, fold and
                seed, which is its only clip.
            segment: Column that numbers the segments of a clip.
            similarity: Column of the similarity of video and map, in [-1, 1], or NaN.
            session: Column of the visit of a patient, whose clips are diagnosed together.
            site: Column of the place where a patient was seen.
            study: What the report calls it.

        Raises:
            VaclipError: If a column is missing, or the rows contradict each other.
        """
        given = {
            keys.PRED_PATIENT: patient, keys.PRED_LABEL: label, keys.PRED_ARM: arm,
            keys.PRED_FOLD: fold, keys.PRED_SEED: seed, keys.PRED_SPLIT: split,
            keys.PRED_CLIP: clip, keys.PRED_SEGMENT: segment, keys.PRED_SIM: similarity,
            keys.PRED_SESSION: session, keys.PRED_SITE: site,
            **{keys.PRED_PROB_PREFIX + name: column for name, column in probs.items()},
        }  # fmt: skip
        columns = {}
        for name, column in given.items():
            if column is not None and column not in frame:
                raise VaclipError(
                    f"the frame has no column '{column}'.{did_you_mean(column, frame.columns)}"
                )
            if (source := column or name) in frame:
                columns[name] = typed_column(frame[source], name, source)
        table = pd.DataFrame(columns).assign(**{keys.PRED_STUDY: study})
        if keys.PRED_CLIP not in table:
            table[keys.PRED_CLIP] = table[keys.PRED_PATIENT]
        return cls.of(table)

    @classmethod
    def load(cls, folder: str | Path) -> Predictions:
        """Reads the table that a run or an ablation left, and finds its embeddings.

        Raises:
            VaclipError: If there is none, or it is damaged.
        """
        path = Path(folder) / keys.PREDICTIONS_FILE
        if not path.is_file():
            raise VaclipError(
                f"{path.parent} has no {path.name}; give the folder that `vaclip study` or "
                "`vaclip train` wrote"
            )
        try:
            table = pd.read_parquet(path)
        except (ArrowException, OSError) as error:
            raise VaclipError(f"{path}: cannot be read as Parquet: {error}") from error
        found = cls.of(table)
        models = [(arm, *job) for arm, jobs in found.jobs.items() for job in jobs]
        return cls(found.frame, found.classes, None, EmbeddingFiles(path.parent, models))

    @classmethod
    def concat(cls, parts: Iterable[Predictions]) -> Predictions:
        """Joins tables of one study.

        Raises:
            VaclipError: If they contradict each other.
        """
        parts = list(parts)
        embeddings = {model: own for part in parts for model, own in part.embeddings.items()}
        table = joined_tables([part.frame for part in parts])
        return cls.of(table, patients=parts[0].patients, embeddings=embeddings)

    def save(self, folder: str | Path) -> None:
        """Writes the table and its embeddings, which `load` reads."""
        with atomic_file(Path(folder) / keys.PREDICTIONS_FILE) as temporary:
            self.frame.to_parquet(temporary, index=False)
        for model, embeddings in self.embeddings.items():
            save_embeddings(Path(folder), model, embeddings)

    def only(self, wanted: Callable[[str], bool]) -> Predictions:
        """Returns the arms that are wanted, by name."""
        arms = {arm for arm in self.jobs if wanted(arm)}
        frame = self.frame[self.frame[keys.PRED_ARM].isin(arms)]
        # How many patients a model was trained on does not depend on the arms that are shown.
        patients = self.patients or self.frame[keys.PRED_PATIENT].nunique()
        return Predictions(frame, self.classes, patients, self.embeddings)

    def without_points(self) -> Predictions:
        """Returns the arms alone, without the points of axes.

        Raises:
            VaclipError: If there is no arm itself.
        """
        own = self.only(lambda arm: keys.split_variant(arm)[1] is None)
        if not own.jobs:
            raise VaclipError("the predictions have points of axes but no arm itself")
        return own

    def __repr__(self) -> str:
        seeds, folds = (len({job[side] for job in self._all_jobs}) for side in (1, 0))
        patients = self.frame[keys.PRED_PATIENT].nunique()
        counts = [(len(self.jobs), "arm"), (len(self.classes), "class"), (patients, "patient"),
                  (seeds, "seed"), (folds, "fold")]  # fmt: skip
        said = ", ".join(counted(number, name) for number, name in counts)
        return f"Predictions({self.study!r}: {said})"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(repr(self))}</p>{self.frame.to_html(max_rows=10)}"

    @property
    def study(self) -> str:
        """The name of the study."""
        return str(self.frame[keys.PRED_STUDY].iloc[0])

    @property
    def test(self) -> pd.DataFrame:
        """The rows of the test split."""
        test = self.frame[self.frame[keys.PRED_SPLIT] == "test"]
        test.attrs = {}  # pandas copies them deeply to each table that is made of this one
        return test

    @cached_property
    def jobs(self) -> dict[str, frozenset[Job]]:
        """The jobs that each arm has; arms in alphabetical order."""
        models = self.test[_MODEL].drop_duplicates()
        return {
            str(arm): frozenset(map(_job, part[_JOB].to_numpy()))
            for arm, part in models.groupby(keys.PRED_ARM)
        }

    @property
    def _all_jobs(self) -> set[Job]:
        return set().union(*self.jobs.values())

    @cached_property
    def sizes(self) -> dict[Job, tuple[int, int]]:
        """Patients in test and in training: training has all that are neither in val nor test."""
        everyone = self.patients or self.frame[keys.PRED_PATIENT].nunique()
        held = self.frame.drop_duplicates([*_JOB, keys.PRED_SPLIT, keys.PRED_PATIENT])
        number = held[[*_JOB, keys.PRED_SPLIT]].value_counts().to_dict()
        sizes = {}
        for fold, seed in map(_job, held[_JOB].drop_duplicates().to_numpy()):
            test, val = (int(number.get((fold, seed, split), 0)) for split in ("test", "val"))
            sizes[fold, seed] = (test, everyone - test - val)
        return sizes

    @cached_property
    def clips(self) -> pd.DataFrame:
        """One row an arm, job and clip of the test split; ``label`` is the number of the class."""
        parts = []
        for model, rows in self.test.groupby(_MODEL, sort=False):
            clips = self._segments(model, rows).clips()
            first = rows.drop_duplicates(keys.PRED_CLIP).sort_values(keys.PRED_CLIP)
            parts.append(
                first[[*_MODEL, keys.PRED_PATIENT, keys.PRED_CLIP, *keys.CLIP_NAMES]].assign(
                    **{keys.PRED_LABEL: clips.label, keys.PRED_SIM: clips.similarity},
                    **dict(zip(self.probs, clips.probs.T, strict=True)),
                )
            )
        return pd.concat(parts).sort_values([keys.PRED_ARM, *_CLIP], ignore_index=True)

    @property
    def case_note(self) -> str:
        """What a case is, where it is not simply a patient."""
        return case_note(self.clips)

    @property
    def probs(self) -> list[str]:
        """The columns of the probabilities."""
        return [keys.PRED_PROB_PREFIX + name for name in self.classes]

    def cases(self, arm: str, unit: Unit = "patient") -> Cases:
        """Returns an arm's clips, or its cases: the mean over a case's clips.

        Raises:
            VaclipError: If there is no such arm.
        """
        return cases_of(self._clips_of(arm), self.classes, unit)

    def paired(self, first: str, second: str) -> tuple[Cases, Cases]:
        """Returns the cases over the clips and jobs that both arms have, row by row the same."""
        both = [self._clips_of(arm).set_index(_CLIP) for arm in (first, second)]
        common = both[0].index.intersection(both[1].index)
        one, two = (cases_of(part.loc[common].reset_index(), self.classes) for part in both)
        return one, two

    def tested(self, arms: Sequence[str]) -> list[str]:
        """The patients of the clips that all of some arms have, as `Cases` numbers them."""
        clips = [self._clips_of(arm).set_index(_CLIP).index for arm in arms]
        common = reduce(lambda one, other: one.intersection(other), clips)
        return sorted(set(common.get_level_values(keys.PRED_PATIENT)))

    def model_clips(self, arm: str, fold: int, seed: int) -> Clips:
        """Returns what one model says of the clips that it was tested on.

        Raises:
            VaclipError: If there is no such model.
        """
        if (fold, seed) not in self.jobs.get(arm, ()):
            raise VaclipError(f"no predictions of arm {arm!r} in fold {fold} with seed {seed}")
        test = self.test
        rows = test[(test[_MODEL] == [arm, fold, seed]).all(axis=1)]
        return self._segments((arm, fold, seed), rows).clips()

    def _segments(self, model: Any, rows: pd.DataFrame) -> Segments:
        number = {name: k for k, name in enumerate(self.classes)}
        embeddings = self.embeddings.get(model)
        if embeddings is not None and len(embeddings.video) != len(rows):
            raise VaclipError(
                f"{model}: {len(embeddings.video)} embeddings for {len(rows)} segments; the files "
                "beside the prediction table belong to another one"
            )
        return Segments(
            clip=np.unique(rows[keys.PRED_CLIP].to_numpy(str), return_inverse=True)[1],
            session=rows.groupby([keys.PRED_PATIENT, keys.PRED_SESSION]).ngroup().to_numpy(),
            label=rows[keys.PRED_LABEL].map(number).to_numpy(np.int64),
            map_id=rows[keys.PRED_MAP_ID].to_numpy(),
            probs=rows[self.probs].to_numpy(),
            similarity=rows[keys.PRED_SIM].to_numpy(),
            **(embeddings._asdict() if embeddings else {}),
        )

    def _clips_of(self, arm: str) -> pd.DataFrame:
        if arm not in self.jobs:
            raise VaclipError(f"no arm {arm!r} in the predictions; there are {[*self.jobs]}")
        return self.clips[self.clips[keys.PRED_ARM] == arm].drop(columns=keys.PRED_ARM)

    def score(self, arm: str, unit: Unit = "patient", **options: Any) -> ArmScores:
        """Scores one arm; see `vaclip.evaluation.compare.score_arm`."""
        from vaclip.evaluation.compare import score_arm

        return score_arm(self, arm, unit, **options)

    def compare(self, first: str, second: str, **options: Any) -> Contrast:
        """Compares two arms on what both have; see `vaclip.evaluation.compare.compare`."""
        from vaclip.evaluation.compare import compare

        return compare(self, first, second, **options)


def joined_tables(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Joins prediction tables, with what their metadata say of each arm."""
    table = pd.concat(tables)
    weights = {
        arm: said for own in tables for arm, said in own.attrs.get(keys.PRED_WEIGHTS, {}).items()
    }
    table.attrs = {keys.PRED_WEIGHTS: weights} if weights else {}
    return table


def _job(pair: Sequence[int]) -> Job:
    return int(pair[0]), int(pair[1])
