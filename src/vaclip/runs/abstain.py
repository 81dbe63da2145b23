"""Whether to answer for a new clip: by thresholds from the validation clips of each model's run."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vaclip import keys
from vaclip.errors import VaclipError
from vaclip.evaluation.abstention import CONFIDENCE, OF_ONE_MODEL, Curve, validation_curves
from vaclip.evaluation.predictions import Predictions
from vaclip.files import read_json, write_json

_NOTHING = {"least": None, "coverage": 0.0, "risk": None}  # inf and NaN are no JSON


class Threshold(NamedTuple):
    """A threshold of one model, and what it gave on its validation clips.

    Attributes:
        least: Answered is what the model is at least as sure of; inf where it answers nothing.
        coverage: Share of the validation clips that were answered.
        risk: Share of wrong diagnoses among these.
    """

    least: float
    coverage: float
    risk: float


@dataclass(frozen=True)
class Abstain:
    """When to withhold a diagnosis.

    Attributes:
        score: Of how sure a model is, of `OF_ONE_MODEL`.
        coverage: Share of the validation clips that is to be answered; None for no such wish.
        risk: Share of wrong diagnoses among those that are answered in validation, at most; None
            likewise. The threshold is the one that answers most.
        agreement: Share of the models of an ensemble that have to make the diagnosis; None for no
            such wish. It is stated and not chosen: no validation patient is new to all folds.

    Raises:
        VaclipError: If nothing is wished for, or it contradicts itself.
    """

    score: str = CONFIDENCE
    coverage: float | None = None
    risk: float | None = None
    agreement: float | None = None

    def __post_init__(self) -> None:
        shares = [one for one in (self.coverage, self.risk, self.agreement) if one is not None]
        if not shares or not all(0 < share <= 1 for share in shares):
            raise VaclipError(
                "abstention needs a coverage, a risk or an agreement in (0, 1]; such as "
                "--abstain-coverage 0.8"
            )
        if self.coverage is not None and self.risk is not None:
            raise VaclipError(
                "--abstain-coverage and --abstain-risk both choose the threshold; give one of them"
            )
        if self.score not in OF_ONE_MODEL:
            raise VaclipError(
                f"'{self.score}' is no score to abstain by; use {', '.join(OF_ONE_MODEL)}"
            )

    def thresholds(self, checkpoints: Sequence[Path]) -> list[Threshold]:
        """Returns the threshold of each model; empty where only an agreement is asked for.

        A model of which none keeps to the risk answers nothing.

        Raises:
            VaclipError: If a run recorded none for this score, or no model keeps to the risk.
        """
        if self.coverage is None and self.risk is None:
            return []
        found = [self._threshold(checkpoint) for checkpoint in checkpoints]
        if all(own.least == math.inf for own in found):
            raise VaclipError(
                f"no threshold keeps to a risk of {self.risk} on the validation clips of "
                f"{', '.join(map(str, checkpoints))}; allow more, or use --abstain-coverage"
            )
        return found

    def _threshold(self, checkpoint: Path) -> Threshold:
        file = checkpoint.resolve().parents[1] / keys.ABSTENTION_FILE
        if not file.is_file():
            raise VaclipError(
                f"{checkpoint} has no threshold: those are chosen on the validation clips of its "
                f"run, and {file} is not there; leave checkpoints in their run, or train anew"
            )
        curves = read_json(file, str(file))
        if self.score not in curves:
            raise VaclipError(
                f"{file} has no validation clips by {self.score}; it has {', '.join(curves)}"
            )
        curve = Curve(**{name: np.array(values) for name, values in curves[self.score].items()})
        row = curve.at_coverage(self.coverage) if self.coverage else curve.at_risk(self.risk or 0)
        if row is None:
            return Threshold(math.inf, 0.0, math.nan)
        return Threshold(
            *(float(column[row]) for column in (curve.threshold, curve.coverage, curve.risk))
        )


def record_curves(predictions: Predictions, arm: str, fold_dir: Path) -> None:
    """Writes the risk-coverage curves of a model's validation clips, by score."""
    curves = {
        name: {side: column.tolist() for side, column in dataclasses.asdict(curve).items()}
        for name, curve in validation_curves(predictions, arm).items()
    }
    write_json(fold_dir / keys.ABSTENTION_FILE, curves)


def told(abstain: Abstain, checkpoints: Sequence[Path]) -> dict[str, Any]:
    """Returns what was wished for and what was chosen, for people and files."""
    chosen = zip(checkpoints, abstain.thresholds(checkpoints), strict=False)
    return {
        **dataclasses.asdict(abstain),
        "thresholds": [
            {"checkpoint": str(path)} | (own._asdict() if own.coverage else _NOTHING)
            for path, own in chosen
        ],
    }
