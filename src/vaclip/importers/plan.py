"""What an import would do to a study, and the tables that are there already."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from vaclip.errors import VaclipError
from vaclip.files import inside_folder
from vaclip.importers.base import NewClip
from vaclip.importers.videos.recording import Recording
from vaclip.maps.source import Region
from vaclip.study.study import ANNOTATION_COLUMNS, REQUIRED_CLIP_COLUMNS
from vaclip.study.study_yaml import UNRECORDED, read_head
from vaclip.study.tables import Row, read_table

VIDEOS = "videos"
PICTURES = "pictures"
"""Folder of a study: what the pictures were called of which a video was made, by its name."""


@dataclass(frozen=True)
class Rules:
    """What to do where an export and the study do not fit.

    Attributes:
        classes: The study's classes in label order; None takes those of the clips, sorted.
        regions: Regions to define beside those of the export.
        renamed_regions: New names of regions in annotations by old ones.
        replace: Rows of the same clip (and annotator and kind) give way to the new ones.
        add: Annotations count beside those that an annotator has made already.
        skip_unmatched: Leave out what belongs to no clip, rather than refuse the whole.
    """

    classes: tuple[str, ...] | None = None
    regions: dict[str, Region] = field(default_factory=dict)
    renamed_regions: dict[str, str] = field(default_factory=dict)
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
        annotations: The rows of attention.csv.
        videos: Where to copy videos from, by path in the study.
        recordings: How videos are made, by path in the study.
        files: The content of other files, by path in the study.
        imported: Ids of the clips that the exports bring.
        counts: What is new, for people to read.
        dropped: What was left out and why, a line each.
        unmatched: What belongs to no clip, a line each.
        notes: What may not be what was meant, a line each.
    """

    root: Path
    head: dict[str, Any]
    clips: list[Row]
    annotations: list[Row]
    videos: dict[str, Path] = field(default_factory=dict)
    recordings: dict[str, Recording] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    imported: set[str] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)
    dropped: list[str] = field(default_factory=list)
    unmatched: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def study_head(root: Path) -> dict[str, Any]:
    """Returns the content of study.yaml, or what a new one begins with."""
    path = root / "study.yaml"
    if not path.exists():
        return {"name": root.resolve().name, "classes": [], "annotation": dict(UNRECORDED)}
    try:
        head = read_head(root)
    except VaclipError as error:
        raise VaclipError(f"{path}: {error}") from error
    for name in ("classes", "keypoint_names"):
        values = head.get(name, [])
        if not isinstance(values, list) or any(isinstance(value, bool) for value in values):
            raise VaclipError(f"{path}: '{name}' must be a list of names; put yes and no in quotes")
    if not isinstance(head.get("regions") or {}, dict):
        raise VaclipError(f"{path}: 'regions' must be NAME: {{keypoints: [...]}} or {{box: [...]}}")
    return head


def region_of_word(word: str) -> tuple[str, Region]:
    """Returns the region that a word of ``--region`` defines, and its name.

    Raises:
        VaclipError: If it defines none.
    """
    name, _, value = word.partition("=")
    parts = [part.strip() for part in value.split(",")]
    if not name or not all(parts):
        raise VaclipError(f"--region {word}: expected NAME=JOINT,JOINT,... or NAME=X0,Y0,X1,Y1")
    try:
        x0, y0, x1, y1 = map(float, parts)
    except ValueError:
        return name, Region(keypoints=tuple(parts))
    return name, Region(box=(x0, y0, x1, y1))


def video_in_study(root: Path, clip: NewClip) -> str:
    """Returns where a new clip's video lies in the study, or will lie: a path relative to it.

    Args:
        root: The study folder.
        clip: The clip; a video that is inside of the study already stays where it is.

    Raises:
        VaclipError: If its name leaves the folder.
    """
    inside, file = root.resolve(), clip.video.resolve()
    if clip.recording is None and file.is_relative_to(inside):
        return file.relative_to(inside).as_posix()
    path = str(PurePosixPath(VIDEOS) / clip.name)
    inside_folder(root, path)
    return path


def read_rows(root: Path, name: str) -> list[Row]:
    """Returns the rows of clips.csv or attention.csv; none where there is no such file."""
    if not (root / name).exists():
        return []
    required = REQUIRED_CLIP_COLUMNS if name == "clips.csv" else ANNOTATION_COLUMNS
    return [row for _, row in read_table(root / name, required).rows]
