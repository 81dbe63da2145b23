"""Reads a study folder. What a folder need not have is None where it is absent."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from pyarrow import ArrowException

from vaclip import keys
from vaclip.errors import VaclipError
from vaclip.evaluation.data_card import DataCard
from vaclip.evaluation.predictions import Predictions, read_predictions
from vaclip.files import inside_folder, read_arrays

_JOB_COLUMNS: Final = ("arm", "fold", "seed", "state", "reason")
_RETRIEVAL_COLUMNS: Final = ("arm", "fold", "seed", "name", "value")


@dataclass(frozen=True)
class Arm:
    """What an arm is, in words; empty where the study does not say."""

    arm: str
    method: str = ""
    question: str = ""
    switches: str = ""
    loss: str = ""
    notes: str = ""


@dataclass(frozen=True)
class Study:
    """A study folder as read."""

    folder: Path
    everything: Predictions
    """Of the arms and of the points of axes."""
    predictions: Predictions
    """Of the arms alone."""
    arms: tuple[Arm, ...]
    """In study order; also those without a prediction."""
    clips: dict[str, tuple[str, ...]]
    """Ids of the patients, each with the ids of its clips, both sorted."""
    jobs: pd.DataFrame | None
    retrieval: pd.DataFrame | None
    data_card: DataCard | None
    gallery: dict[str, Any] | None
    config: str | None
    environment: dict[str, Any] | None

    @property
    def secret(self) -> int:
        """A number that nobody can know who does not have the predictions."""
        content = self.everything.clips.to_csv(index=False).encode()
        return int.from_bytes(hashlib.sha256(content).digest()[:8], "big")

    @property
    def scored(self) -> list[str]:
        """The arms that have predictions, in study order."""
        return [arm.arm for arm in self.arms if arm.arm in self.predictions.jobs]

    def images(self, name: str) -> dict[str, np.ndarray]:
        """Reads the arrays of a case in the gallery."""
        return read_arrays(inside_folder(self.folder, name))


def read_study(folder: Path) -> Study:
    """Reads what ``vaclip study`` or ``vaclip train`` left.

    Raises:
        VaclipError: If there are no predictions, or a file is damaged.
    """
    table = _predictions(folder / keys.PREDICTIONS_FILE)
    card = _data_card(folder / keys.DATA_CARD_FILE)
    everything = read_predictions(table, card.patients if card else None)
    own = {a: jobs for a, jobs in everything.jobs.items() if keys.split_variant(a)[1] is None}
    if not own:
        raise VaclipError(f"{folder}: the predictions have points of axes but no arm itself")
    clips = table.astype({keys.PRED_PATIENT: str, keys.PRED_CLIP: str})
    by_patient = clips.groupby(keys.PRED_PATIENT)[keys.PRED_CLIP].unique()
    return Study(
        folder=folder,
        everything=everything,
        predictions=replace(everything, jobs=own),
        arms=_arms(folder / keys.ARMS_FILE, list(own)),
        clips={str(patient): tuple(sorted(ids)) for patient, ids in by_patient.items()},
        jobs=_table(folder / keys.JOBS_FILE, _JOB_COLUMNS),
        retrieval=_table(folder / keys.RETRIEVAL_FILE, _RETRIEVAL_COLUMNS),
        data_card=card,
        gallery=_json(folder / keys.GALLERY_FILE),
        config=_text(folder / keys.CONFIG_FILE),
        environment=_json(folder / keys.ENVIRONMENT_FILE),
    )


def _predictions(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise VaclipError(
            f"{path.parent} has no {path.name}; give the folder that `vaclip study` or "
            "`vaclip train` wrote"
        )
    try:
        return pd.read_parquet(path)
    except (ArrowException, OSError) as error:
        raise VaclipError(f"{path}: cannot be read as Parquet: {error}") from error


def _table(path: Path, columns: tuple[str, ...]) -> pd.DataFrame | None:
    if not path.is_file():
        return None
    try:
        table = pd.read_csv(path, dtype=dict.fromkeys(("arm", "state", "reason", "name"), str))
    except (ValueError, OSError) as error:  # pandas' parser errors are ValueErrors
        raise VaclipError(f"{path}: cannot be read as CSV: {error}") from error
    missing = [name for name in columns if name not in table]
    if missing:
        raise VaclipError(f"{path}: columns {missing} are missing")
    return table


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8") if path.is_file() else None
    except ValueError as error:
        raise VaclipError(f"{path}: is not UTF-8: {error}") from error


def _json(path: Path) -> Any:
    text = _text(path)
    try:
        return None if text is None else json.loads(text)
    except ValueError as error:
        raise VaclipError(f"{path}: cannot be read as JSON: {error}") from error


def _data_card(path: Path) -> DataCard | None:
    content = _json(path)
    try:
        return None if content is None else DataCard.from_json(content)
    except VaclipError as error:
        raise VaclipError(f"{path}: {error}") from error


def _arms(path: Path, predicted: list[str]) -> tuple[Arm, ...]:
    """The arms that the study describes, in its order, then what else has predictions."""
    found = [_arm(entry) for entry in _json(path) or [] if "@" not in entry["arm"]]
    named = {arm.arm for arm in found}
    return (*found, *(Arm(name) for name in predicted if name not in named))


def _arm(entry: dict[str, Any]) -> Arm:
    text = {name: str(entry.get(name) or "") for name in ("method", "question", "loss", "notes")}
    switches = "\n".join(
        f"{name}={json.dumps(value, ensure_ascii=False)}"
        for name, value in (entry.get("switches") or {}).items()
    )
    return Arm(arm=str(entry["arm"]), switches=switches.replace('"', ""), **text)
