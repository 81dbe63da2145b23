"""What a study folder holds, once it is read."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from vaclip.errors import counted
from vaclip.files import FolderFiles
from vaclip.keys import NOT_RECORDED, Blinding
from vaclip.maps.source import AnnotatedClip, Annotation, Region

if TYPE_CHECKING:
    import pandas as pd

REQUIRED_CLIP_COLUMNS = ("clip_id", "video", "patient_id", "label")
CLIP_COLUMNS = (*REQUIRED_CLIP_COLUMNS, "start_s", "end_s", "keypoints")
NAMED_COLUMNS = (*CLIP_COLUMNS, "session", "site", "frames")
"""Columns of clips.csv that mean something."""
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

    @property
    def session(self) -> str:
        """Which visit of the patient; empty where clips.csv does not say."""
        return self.extra.get("session", "")

    @property
    def visit(self) -> tuple[str, str]:
        """Patient and session: clips of one visit are diagnosed together."""
        return self.patient_id, self.session

    @property
    def site(self) -> str:
        """Where it was taken; empty where clips.csv does not say."""
        return self.extra.get("site", "")


@dataclass(frozen=True)
class Exclusion:
    """One row of excluded.csv: a clip of clips.csv that is left out, and why."""

    clip_id: str
    reason: str


@dataclass(frozen=True, repr=False)
class Study:
    """A loaded study; clips are in the order of clips.csv, without the excluded ones."""

    root: Path
    name: str
    classes: tuple[str, ...]
    regions: dict[str, Region]
    keypoint_names: tuple[str, ...]
    clips: Sequence[Clip]
    annotations: dict[str, tuple[Annotation, ...]]
    """By clip_id; a clip that nobody annotated is absent."""
    excluded: tuple[Exclusion, ...] = ()
    blinding: Blinding = NOT_RECORDED

    def __repr__(self) -> str:
        counts = {
            "patient": len(self.patients),
            "clip": len(self.clips),
            "class": len(self.classes),
            "annotator": len(self.annotators),
        }
        return f"Study({self.name!r}: {', '.join(counted(n, what) for what, n in counts.items())})"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(repr(self))}</p>{self.frame.to_html(max_rows=10)}"

    @property
    def frame(self) -> pd.DataFrame:
        """One row a clip, by ``clip_id``, with its further columns of clips.csv.

        ``patient_id``, ``label``, ``video``, ``start_s``, ``end_s`` (seconds; None for the end),
        ``annotations`` (how many rows of attention.csv).
        """
        import pandas as pd

        rows = [
            {
                "patient_id": clip.patient_id,
                "label": clip.label,
                "video": str(clip.video),
                "start_s": clip.start_s,
                "end_s": clip.end_s,
                "annotations": len(self.annotations.get(clip.clip_id, ())),
                **clip.extra,
            }
            for clip in self.clips
        ]
        return pd.DataFrame(rows, index=pd.Index([c.clip_id for c in self.clips], name="clip_id"))

    @property
    def annotators(self) -> tuple[str, ...]:
        """Every annotator, sorted."""
        rows = (row for own in self.annotations.values() for row in own)
        return tuple(sorted({row.annotator for row in rows}))

    @property
    def patients(self) -> tuple[str, ...]:
        """Every patient, sorted."""
        from vaclip.study.clip_table import distinct_facts  # which makes clips

        return tuple(sorted(patient for (patient,) in distinct_facts(self.clips, "patient_id")))

    def only(self, clips: Sequence[Clip]) -> Study:
        """Returns the study with some clips alone, small enough to send to another process."""
        ids = [clip.clip_id for clip in clips if clip.clip_id in self.annotations]
        annotations = {clip_id: self.annotations[clip_id] for clip_id in ids}
        return dataclasses.replace(self, clips=tuple(clips), annotations=annotations, excluded=())

    def annotated(self, clip: Clip, files: FolderFiles | None = None) -> AnnotatedClip:
        """Returns what the map kinds may know of a clip.

        Args:
            clip: The clip.
            files: Of the study folder, where many clips are looked at.
        """
        return AnnotatedClip(
            clip.clip_id,
            self.root,
            clip.keypoints,
            self.regions,
            self.keypoint_names,
            files,
        )
