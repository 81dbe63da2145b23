"""A study folder: read it, find every problem at once, or load it for use.

The format is described in ``docs/study_folder.md``.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from vaclip.maps.source import AnnotatedClip, Annotation, Region

REQUIRED_CLIP_COLUMNS = ("clip_id", "video", "patient_id", "label")
CLIP_COLUMNS = (*REQUIRED_CLIP_COLUMNS, "start_s", "end_s", "keypoints")
ANNOTATION_COLUMNS = ("clip_id", "annotator", "kind", "value")
EXCLUSION_COLUMNS = ("clip_id", "reason")
EXCLUSIONS = "excluded.csv"


@dataclass(frozen=True)
class Problem:
    """Something wrong with a study.

    Attributes:
        severity: An ``error`` makes the study unusable, a ``warning`` does not.
        where: ``file:row:column`` as far as known; row 1 is the header.
        what: What is wrong and what to do.
        clip_id: The clip that it is about; None where it is about the study.
    """

    severity: Literal["error", "warning"]
    where: str
    what: str
    clip_id: str | None = None

    def __str__(self) -> str:
        return f"{self.severity}: {self.where}: {self.what}"


@dataclass(frozen=True)
class Clip:
    """One row of clips.csv."""

    clip_id: str
    video: Path
    patient_id: str
    label: str
    start_s: float = 0.0
    end_s: float | None = None
    keypoints: Path | None = None
    where: str = ""
    extra: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Exclusion:
    """One row of excluded.csv: a clip of clips.csv that is left out, and why."""

    clip_id: str
    reason: str


@dataclass(frozen=True)
class Study:
    """A loaded study; clips are in the order of clips.csv, without the excluded ones."""

    root: Path
    name: str
    classes: tuple[str, ...]
    regions: dict[str, Region]
    keypoint_names: tuple[str, ...]
    clips: tuple[Clip, ...]
    annotations: dict[str, tuple[Annotation, ...]]
    """By clip_id; a clip that nobody annotated is absent."""
    excluded: tuple[Exclusion, ...] = ()

    @property
    def annotators(self) -> tuple[str, ...]:
        """Every annotator, sorted."""
        return tuple(
            sorted(
                {
                    annotation.annotator
                    for annotations in self.annotations.values()
                    for annotation in annotations
                }
            )
        )

    @property
    def patients(self) -> tuple[str, ...]:
        """Every patient, sorted."""
        return tuple(sorted({clip.patient_id for clip in self.clips}))

    def only(self, clip: Clip) -> Study:
        """Returns the study with one clip, small enough to send to another process."""
        annotations = (
            {clip.clip_id: self.annotations[clip.clip_id]}
            if clip.clip_id in self.annotations
            else {}
        )
        return dataclasses.replace(self, clips=(clip,), annotations=annotations)

    def annotated(self, clip: Clip) -> AnnotatedClip:
        """Returns what the map kinds may know of a clip."""
        return AnnotatedClip(
            clip.clip_id, self.root, clip.keypoints, self.regions, self.keypoint_names
        )
