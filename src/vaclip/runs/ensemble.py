"""Several checkpoints that predict together, such as those of all folds of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vaclip.errors import VaclipError
from vaclip.runs.predict import Predictor, load_predictor

_SAMPLING = (
    "frames", "stride", "fps", "size", "combine", "annotators", "train_annotators",
    "keypoint_sigma",
)  # fmt: skip


def load_ensemble(checkpoints: Sequence[str | Path], device: str = "cpu") -> list[Predictor]:
    """Loads models that shall predict together.

    Args:
        checkpoints: Of which each was trained for the same: the same classes, sampling and use of
            maps, and tokens under the same licence.
        device: Of torch.

    Raises:
        VaclipError: If one cannot be used, or two were not trained for the same.
    """
    members = [load_predictor(checkpoint, device) for checkpoint in checkpoints]
    first = members[0]
    for other in members[1:]:
        own, others = _facts(first), _facts(other)
        for what in (what for what in own if own[what] != others[what]):
            raise VaclipError(
                f"{first.checkpoint} and {other.checkpoint} cannot predict together: their {what} "
                f"differ ({own[what]} and {others[what]})"
            )
    return members


def _facts(member: Predictor) -> dict[str, Any]:
    """Returns what has to be the same."""
    info = member.encoder.info if member.encoder else None
    return {
        "classes": member.classes,
        "settings of data": {key: member.data.get(key) for key in _SAMPLING},
        "maps that may guide": member.map_choices,
        "frozen encoders": info and info.source,
        "licences": info and info.licence,
    }
