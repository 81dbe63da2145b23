"""annotation_log.csv: how each annotation of `vaclip annotate` came about, one row a showing."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vaclip.errors import VaclipError
from vaclip.keys import CONFIDENCE
from vaclip.maps.source import Annotation
from vaclip.study.tables import Row, read_table

ANNOTATION_LOG: Final = "annotation_log.csv"
LOG_COLUMNS: Final = (
    "annotator", "number", "clip_id", "showing", "mode", "annotations", "marks", "regions",
    "seconds", "diagnosis", "confidence", "comment", "saved_at", "saved", "returned",
)  # fmt: skip


@dataclass(frozen=True)
class Reading:
    """One showing of a clip to an annotator.

    Attributes:
        annotator: Who.
        clip_id: What was shown.
        showing: 1, or 2 where the clip had been shown to them before.
        annotations: What they left.
        seconds: That they looked.
        diagnosis: What they said the patient has; empty where they were not asked.
        confidence: From 1, a guess, to 5, certain; NaN where they were not asked.
    """

    annotator: str
    clip_id: str
    showing: int
    annotations: tuple[Annotation, ...]
    seconds: float
    diagnosis: str = ""
    confidence: float = math.nan


def read_annotation_log(root: Path) -> list[Reading]:
    """Reads a study's annotation_log.csv; a study without one has no readings.

    Raises:
        VaclipError: Naming the row that `vaclip annotate` did not write so.
    """
    path = root / ANNOTATION_LOG
    if not path.exists():
        return []
    return [_reading(where, row) for where, row in read_table(path, LOG_COLUMNS).rows]


def _reading(where: str, row: Row) -> Reading:
    try:
        said = [
            Annotation(row["annotator"], str(k), str(v)) for k, v in json.loads(row["annotations"])
        ]
        showing, seconds = int(row["showing"]), float(row["seconds"])
        confidence = float(row["confidence"] or math.nan)
        if showing not in (1, 2) or not 0 <= seconds < math.inf:
            raise ValueError("showing is 1 or 2, and seconds are a number from 0")
        if row["diagnosis"] and confidence not in CONFIDENCE:
            raise ValueError("a diagnosis has a confidence from 1 to 5")
        return Reading(
            row["annotator"], row["clip_id"], showing, tuple(said), seconds, row["diagnosis"],
            confidence,
        )  # fmt: skip
    except (ValueError, TypeError) as error:
        raise VaclipError(
            f"{where}: not as `vaclip annotate` writes it ({error}); undo the change, or delete "
            "the row"
        ) from error
