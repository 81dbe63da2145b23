"""What an importer is, and what it gives: clips, annotations and poses, named as exported."""

from __future__ import annotations

import argparse
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from vaclip.importers.videos.recording import Recording
from vaclip.maps.gaze import Gaze
from vaclip.maps.shapes import Shapes
from vaclip.maps.source import Region

MOST_FRAMES = 1_000_000
"""Frames of a video that an export may speak of: 9 hours at 30 a second."""
FARTHEST = 1e6
"""Pixels that a joint may lie outside of the picture."""


@dataclass(frozen=True)
class NewClip:
    """A row for clips.csv.

    Attributes:
        clip_id: Its id.
        video: The file, wherever it lies now.
        name: Where it shall lie below the study's folder of videos: a relative path.
        patient_id: Whose clip it is.
        label: The diagnosis.
        where: The place in the export, for messages.
        start_s: Where the clip begins in the video, in seconds; None for its beginning.
        end_s: Where it ends; None for its end.
        extra: Further columns.
        recording: How the video is made, where ``video`` is no video yet.
    """

    clip_id: str
    video: Path
    name: str
    patient_id: str
    label: str
    where: str
    start_s: float | None = None
    end_s: float | None = None
    extra: dict[str, str] = field(default_factory=dict)
    recording: Recording | None = None


@dataclass(frozen=True)
class NewAnnotation:
    """What one annotator said of one video.

    Attributes:
        video: The clip id, or the video's path, file name, or file name without suffix.
        annotator: Who.
        content: Shapes, gaze, or text: the name of a region, or a value of another ``kind``.
        where: The place in the export, for messages.
        kind: Of content that is text, as attention.csv has it.
    """

    video: str
    annotator: str
    content: Shapes | Gaze | str
    where: str
    kind: str = "region"


@dataclass(frozen=True)
class NewPose:
    """The joints of the patient in each frame of one video.

    Attributes:
        video: As of `NewAnnotation`.
        keypoints: (T, J, 3): x, y in pixels of the video, confidence in [0, 1]; 0 where a joint
            was not found. T is the number of frames of the whole video.
        where: The place in the export, for messages.
        size: (height, width) of the pictures that x and y count in; None where it is not said.
        open_ended: Whether the tool leaves out frames without anybody, so that the video may go
            on after the last one; it is filled up with confidence 0.
    """

    video: str
    keypoints: NDArray[np.float32]
    where: str
    size: tuple[int, int] | None = None
    open_ended: bool = False


@dataclass(frozen=True)
class Export:
    """What was read from other people's files.

    Attributes:
        clips: Clips to add to the study.
        annotations: Annotations, of these clips or of those that the study has.
        poses: Keypoints of the same.
        regions: Regions that annotations name.
        keypoint_names: The J joints of the poses; None where there is no pose.
        dropped: What was left out and why, counted: one line each.
        notes: What was read, but may not be what was meant: one line each.
    """

    clips: tuple[NewClip, ...] = ()
    annotations: tuple[NewAnnotation, ...] = ()
    poses: tuple[NewPose, ...] = ()
    regions: dict[str, Region] = field(default_factory=dict)
    keypoint_names: tuple[str, ...] | None = None
    dropped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Importer(ABC):
    """Reads the export of one tool; built without arguments for one command."""

    summary: ClassVar[str]
    """What it reads, in a few words, for the help."""

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Adds the flags that only this kind has."""
        return

    @abstractmethod
    def read(self, sources: Sequence[Path], options: argparse.Namespace) -> Export:
        """Reads files, folders or zip archives.

        Args:
            sources: What the user named.
            options: Its own flags; ``annotator`` (str or None) and ``videos`` (Path or None)
                of all kinds.

        Raises:
            VaclipError: If one of them is damaged or no such export: which file and where in it.
        """
