"""What a report is made from. What a folder need not have is None where it is absent."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import pandas as pd

from vaclip import keys
from vaclip.errors import VaclipError
from vaclip.evaluation.data_card import DataCard
from vaclip.evaluation.plan import Plan, read_plans
from vaclip.evaluation.predictions import Predictions
from vaclip.evaluation.roles import Roles
from vaclip.files import inside_folder, read_arrays, without_folder

_T = TypeVar("_T")
_WORDS: Final = ("arm", "state", "reason", "name", "patient_id", "clip_id")
_AS_TYPED: Final[dict[str, Any]] = {"keep_default_na": False, "na_values": [""]}
"""Somebody may be called NA."""
_JOB_COLUMNS: Final = ("arm", "fold", "seed", "state", "reason")
_TRIAL_COLUMNS: Final = ("arm", "fold", "seed", "trial", "chosen")


_LATE_FUSION: Final = (
    "late fusion: the product of the two arms' probabilities over the class prior, without training"
)


@dataclass(frozen=True)
class Arm:
    """What an arm is, in words; empty where the study does not say."""

    arm: str
    method: str = ""
    question: str = ""
    switches: str = ""
    loss: str = ""
    notes: str = ""
    model: str = ""


@dataclass(frozen=True)
class Source:
    """What a report is made from: predictions, and what a folder says beside them."""

    folder: Path | None
    everything: Predictions
    """Of the arms and of the points of axes."""
    predictions: Predictions
    """Of the arms alone."""
    roles: Roles | None
    arms: tuple[Arm, ...]
    """In the order of the ablation; also those without a prediction."""
    clips: dict[str, tuple[str, ...]]
    """Ids of the patients, each with the ids of its clips, both sorted."""
    jobs: pd.DataFrame | None
    data_card: DataCard | None
    gallery: dict[str, Any] | None
    config: str | None
    environment: dict[str, Any] | None
    plans: tuple[Plan, ...] | None = None
    """The plan, then each one that it was changed to."""
    look: pd.DataFrame | None = None
    """Where models look, of each audited segment."""
    look_cases: dict[str, Any] | None = None
    trials: pd.DataFrame | None = None
    """Of the search of each fold's settings."""

    @property
    def secret(self) -> int:
        """A number that nobody can know who does not have the predictions."""
        content = self.everything.clips.to_csv(index=False).encode()
        return int.from_bytes(hashlib.sha256(content).digest()[:8], "big")

    @property
    def scored(self) -> list[str]:
        """The arms that have predictions, in the order of the ablation."""
        return [arm.arm for arm in self.arms if arm.arm in self.predictions.jobs]

    def images(self, name: str) -> dict[str, np.ndarray]:
        """Reads the arrays of a case in the gallery."""
        assert self.folder is not None, "only a folder has a gallery"
        return read_arrays(inside_folder(self.folder, name))


def with_predictions(source: Source, predictions: Predictions) -> Source:
    """Returns a source with what `evaluate` made of its predictions: there may be more arms."""
    own = predictions.without_points()
    named = {arm.arm for arm in source.arms}
    more = tuple(Arm(name, _LATE_FUSION) for name in own.jobs if name not in named)
    return replace(source, everything=predictions, predictions=own, arms=(*source.arms, *more))


def source_of(predictions: Predictions) -> Source:
    """Returns predictions of which nothing else is known."""
    own = predictions.without_points()
    arms = tuple(Arm(name) for name in own.jobs)
    clips = _clips(predictions)
    return Source(None, predictions, own, None, arms, clips, None, None, None, None, None)


def read_folder(folder: Path) -> Source:
    """Reads what ``vaclip study`` or ``vaclip train`` left.

    Raises:
        VaclipError: If there are no predictions, or a file is damaged.
    """
    everything = Predictions.load(folder)
    card = _read(DataCard.from_json, folder / keys.DATA_CARD_FILE)
    everything = replace(everything, patients=card.patients if card else None)
    own = everything.without_points()
    about: dict[str, Any] = _json(folder / keys.ARMS_FILE) or {"roles": None, "arms": []}
    return Source(
        folder=folder,
        everything=everything,
        predictions=own,
        roles=Roles.from_json(about["roles"]) if about["roles"] else None,
        arms=_arms(about["arms"], list(own.jobs)),
        clips=_clips(everything),
        jobs=_table(folder / keys.JOBS_FILE, _JOB_COLUMNS),
        data_card=card,
        gallery=_json(folder / keys.GALLERY_FILE),
        config=_text(folder / keys.CONFIG_FILE),
        environment=_json(folder / keys.ENVIRONMENT_FILE),
        plans=_read(read_plans, folder / keys.STUDY_PLAN_FILE),
        look=_table(folder / keys.LOOK_FILE, keys.LOOK_COLUMNS),
        look_cases=_json(folder / keys.LOOK_CASES_FILE),
        trials=_table(folder / keys.TRIALS_FILE, _TRIAL_COLUMNS),
    )


def _clips(predictions: Predictions) -> dict[str, tuple[str, ...]]:
    by_patient = predictions.frame.groupby(keys.PRED_PATIENT)[keys.PRED_CLIP].unique()
    return {str(patient): tuple(sorted(ids)) for patient, ids in by_patient.items()}


def _table(path: Path, columns: tuple[str, ...]) -> pd.DataFrame | None:
    if not path.is_file():
        return None
    try:
        table = pd.read_csv(path, dtype=dict.fromkeys(_WORDS, str), **_AS_TYPED)
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


def _read(reader: Callable[[Any], _T], path: Path) -> _T | None:
    content = _json(path)
    try:
        return None if content is None else reader(content)
    except VaclipError as error:
        raise VaclipError(f"{path}: {error}") from error


def _arms(entries: list[dict[str, Any]], predicted: list[str]) -> tuple[Arm, ...]:
    """The arms that the ablation describes, in its order, then what else has predictions."""
    found = [_arm(entry) for entry in entries]
    named = {arm.arm for arm in found}
    return (*found, *(Arm(name) for name in predicted if name not in named))


def _arm(entry: dict[str, Any]) -> Arm:
    words = ("method", "question", "loss", "notes", "model")
    text = {name: str(entry.get(name) or "") for name in words}
    switches = "\n".join(
        f"{name}={json.dumps(without_folder(name, value), ensure_ascii=False)}"
        for name, value in (entry.get("switches") or {}).items()
    )
    return Arm(arm=str(entry["arm"]), switches=switches.replace('"', ""), **text)
