"""What an import would do to a study, and the tables that are there already."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from vaclip.errors import VaclipError
from vaclip.importers.reading import read_bytes, read_table
from vaclip.maps.source import Region

CLIP_COLUMNS = ("clip_id", "video", "patient_id", "label", "start_s", "end_s", "keypoints")
MARK_COLUMNS = ("clip_id", "annotator", "kind", "value")

Row = dict[str, str]


@dataclass(frozen=True)
class Rules:
    """What to do where an export and the study do not fit.

    Attributes:
        classes: The study's classes in label order; None takes those of the clips, sorted.
        regions: Regions to define beside those of the export.
        replace: Rows of the same clip (and annotator and kind) give way to the new ones.
        add: Marks count beside those that an annotator has made already.
        skip_unmatched: Leave out what belongs to no clip, rather than refuse the whole.
    """

    classes: tuple[str, ...] | None = None
    regions: dict[str, Region] = field(default_factory=dict)
    replace: bool = False
    add: bool = False
    skip_unmatched: bool = False


@dataclass
class Plan:
    """What an import would write.

    Attributes:
        root: The study folder.
        head: The content of study.yaml.
        clips: The rows of clips.csv.
        marks: The rows of attention.csv.
        videos: Where to copy videos from, by path in the study.
        files: The content of other files, by path in the study.
        counts: What is new, for people to read.
        dropped: What was left out and why, a line each.
        unmatched: What belongs to no clip, a line each.
    """

    root: Path
    head: dict[str, Any]
    clips: list[Row]
    marks: list[Row]
    videos: dict[str, Path] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    dropped: list[str] = field(default_factory=list)
    unmatched: list[str] = field(default_factory=list)


def read_head(root: Path) -> dict[str, Any]:
    """Returns the content of study.yaml, or what a new one begins with."""
    path = root / "study.yaml"
    if not path.exists():
        return {"name": root.resolve().name, "classes": []}
    try:
        head = yaml.safe_load(read_bytes(path))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise VaclipError(f"{path}: cannot be read as YAML: {error}") from error
    if not isinstance(head, dict) or not isinstance(head.get("classes", []), list):
        raise VaclipError(f"{path}: expected keys such as 'name', 'classes' and 'regions'")
    if not isinstance(head.get("regions") or {}, dict):
        raise VaclipError(f"{path}: 'regions' must be NAME: {{keypoints: [...]}} or {{box: [...]}}")
    return head


def read_rows(root: Path, name: str) -> list[Row]:
    """Returns the rows of clips.csv or attention.csv; none where there is no such file."""
    if not (root / name).exists():
        return []
    table = read_table(root / name)
    for column in CLIP_COLUMNS[:4] if name == "clips.csv" else MARK_COLUMNS:
        table.require(column)
    return [row for _, row in table.rows]
