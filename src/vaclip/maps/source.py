"""The protocol of attention maps: one class reads one ``kind`` of attention.csv."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeGuard, TypeVar

import numpy as np
from numpy.typing import NDArray

from vaclip.errors import VaclipError
from vaclip.files import FolderFiles, inside_folder, read_json
from vaclip.plugins import Registry

T = TypeVar("T")
_AT_ONCE = 1 << 17  # pixels of a part of a map
COCO_17 = tuple(
    "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow "
    "right_elbow left_wrist right_wrist left_hip right_hip left_knee right_knee left_ankle "
    "right_ankle".split()
)


@dataclass(frozen=True)
class Region:
    """A named place: joints of the body, or a box.

    Attributes:
        keypoints: Joint names; empty for a box.
        box: (x0, y0, x1, y1) in fractions of the frame, origin top left; None for joints.
    """

    keypoints: tuple[str, ...] = ()
    box: tuple[float, float, float, float] | None = None


@dataclass(frozen=True)
class Annotation:
    """One row of attention.csv: what one annotator said of one clip."""

    annotator: str
    kind: str
    value: str


@dataclass(frozen=True)
class AnnotatedClip:
    """What a map kind may know of the clip that it is drawn for."""

    clip_id: str
    root: Path
    keypoints: Path | None = None
    regions: dict[str, Region] = field(default_factory=dict)
    keypoint_names: tuple[str, ...] = COCO_17
    files: FolderFiles | None = None

    def find(self, name: str) -> tuple[Path, bool]:
        """Returns the path of a file of the study, and whether it is there.

        Raises:
            VaclipError: If the name leaves the study folder.
        """
        return (self.files or FolderFiles(self.root)).find(name)


KEYPOINT_SIGMA: Final = 0.06
"""Standard deviation of a joint's Gaussian where no setting says it, as `Grid` has it."""


@dataclass(frozen=True)
class Grid:
    """Where and when a map is drawn.

    Attributes:
        frame_index: (S,) frame of the video that each sample shows.
        time_s: (S,) where each sample lies, in seconds from the first frame of the video.
        sample_s: Seconds from one sample to the next.
        frame_count: Frames decoded from the video up to the end of the clip.
        whole_video: Whether the video was decoded to its end, so that counts can be compared.
        source_size: (height, width) of the video in pixels.
        size: (H, W) of the map.
        keypoint_sigma: Standard deviation of a joint's Gaussian, in fractions of the height.
    """

    frame_index: NDArray[np.int64]
    time_s: NDArray[np.float64]
    sample_s: float
    frame_count: int
    whole_video: bool
    source_size: tuple[int, int]
    size: tuple[int, int]
    keypoint_sigma: float = KEYPOINT_SIGMA

    def parts(self) -> Iterator[tuple[slice, Grid]]:
        """Yields some samples after the other: few enough to draw them in little memory."""
        step = max(1, _AT_ONCE // (self.size[0] * self.size[1]))
        for first in range(0, len(self.frame_index), step):
            some = slice(first, first + step)
            part = replace(self, frame_index=self.frame_index[some], time_s=self.time_s[some])
            yield some, part

    def check_length(self, length: int, what: str) -> None:
        """Raises a VaclipError where a per-frame annotation does not fit the video's frames."""
        fits = length == self.frame_count if self.whole_video else length >= self.frame_count
        if not fits:
            raise VaclipError(
                f"{what} has {length} frames, but the video gives {self.frame_count}; "
                "annotate the same file that clips.csv names"
            )


Drawer: TypeAlias = Callable[[Grid], NDArray[np.float32]]
"""Gives (S, H, W) in [0, 1] for a grid of S samples."""


@dataclass(frozen=True)
class Timing:
    """How an annotation that moves counts time.

    Attributes:
        unit: ``frame``: by pictures as they are decoded; ``second``: by the clock.
        frames: How many frames were annotated; None if the annotation does not say.
        fps: The rate by which the tool turned frame numbers into time; None if it does not say.
        ends_s: The last moment that an annotation by the clock speaks of; None where it stays.
    """

    unit: str
    frames: int | None = None
    fps: float | None = None
    ends_s: float | None = None


class MapSource(ABC):
    """Reads one ``kind``; built without arguments wherever one is read.

    What other people's files hold must never be run.
    """

    @abstractmethod
    def problem(self, value: str, clip: AnnotatedClip) -> str | None:
        """Returns what is wrong with ``value``, without reading large files; None if nothing."""

    @abstractmethod
    def files(self, value: str, clip: AnnotatedClip) -> list[Path]:
        """Returns the files that the map depends on."""

    def drawing(self, value: str, clip: AnnotatedClip) -> Path | None:
        """Returns the file that is the annotation itself; None where the value says it all."""
        return None

    def timing(self, value: str, clip: AnnotatedClip) -> Timing | None:
        """Returns how the annotation counts time; None where it does not move by frames."""
        return None

    @abstractmethod
    def render(self, value: str, clip: AnnotatedClip, grid: Grid) -> NDArray[np.float32]:
        """Returns the map, (S, H, W) in [0, 1].

        Each sample is drawn for itself: a long map is asked for in parts, `Grid.parts`.

        Raises:
            VaclipError: If the file behind ``value`` cannot serve as a map of this clip.
        """

    def drawer(self, value: str, clip: AnnotatedClip) -> Drawer:
        """Returns what `render` does, after reading once what all parts of a map need.

        Raises:
            VaclipError: As `render`.
        """
        return lambda grid: self.render(value, clip, grid)


class FileMap(MapSource):
    """A kind whose value names the file that is the annotation."""

    def problem(self, value: str, clip: AnnotatedClip) -> str | None:
        try:
            path, there = clip.find(value)
            if not there:
                return f"there is no file '{value}' in the study folder"
            return self.misfit(path, value, clip)
        except VaclipError as error:
            return str(error)

    def misfit(self, path: Path, value: str, clip: AnnotatedClip) -> str | None:
        """Returns why a file that is there does not fit the clip; None if it does.

        Raises:
            VaclipError: See `look_at`.
        """
        self.look_at(path, value)
        return None

    @abstractmethod
    def look_at(self, path: Path, value: str) -> None:
        """Raises a VaclipError where the file, if it is small, is damaged."""

    def files(self, value: str, clip: AnnotatedClip) -> list[Path]:
        return [inside_folder(clip.root, value)]

    def drawing(self, value: str, clip: AnnotatedClip) -> Path | None:
        return inside_folder(clip.root, value)


def read_annotation(path: Path, what: str, parse: Callable[[Any], T]) -> T:
    """Reads an annotation's JSON file; messages begin with ``what``.

    Raises:
        VaclipError: If it is no JSON, or ``parse`` refuses its content.
    """
    content = read_json(path, what)
    try:
        return parse(content)
    except VaclipError as error:
        raise VaclipError(f"{what}: {error}") from error


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a value from a JSON file is a number that can be drawn."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and -1e9 <= value <= 1e9


KINDS = Registry(
    "vaclip.maps",
    "the kind of map",
    MapSource,
    {
        "region": "vaclip.maps.regions:RegionMap",
        "map": "vaclip.maps.arrays:ArrayMap",
        "shapes": "vaclip.maps.shapes:ShapesMap",
        "gaze": "vaclip.maps.gaze:GazeMap",
    },
)
"""By the ``kind`` of attention.csv."""


def map_source(kind: str) -> MapSource:
    """Returns the reader of ``kind``.

    Raises:
        VaclipError: If there is none, or its package cannot be used.
    """
    return KINDS.build(kind)


def annotator_drawer(annotations: Sequence[Annotation], clip: AnnotatedClip) -> Drawer:
    """Returns what draws one annotator's map: the sum of their annotations, cut off at 1."""
    drawers = [map_source(one.kind).drawer(one.value, clip) for one in annotations]

    def draw(grid: Grid) -> NDArray[np.float32]:
        total = np.zeros((len(grid.frame_index), *grid.size), np.float32)
        for one in drawers:
            total += one(grid)
        return np.minimum(total, 1.0, out=total)

    return draw


def draw_map(
    annotators: Sequence[Sequence[Annotation]], clip: AnnotatedClip, grid: Grid, how: str
) -> NDArray[np.uint8]:
    """Draws the map of a clip, a part at a time.

    Args:
        annotators: The annotations of each annotator; one of them has some.
        clip: The clip.
        grid: Where and when.
        how: See `combine_annotators`.

    Returns:
        (C, S, H, W), 255 for the most attention.
    """
    drawers = [annotator_drawer(own, clip) if own else None for own in annotators]
    channels = len(annotators) if how == "stack" else 1
    drawn = np.empty((channels, len(grid.frame_index), *grid.size), np.uint8)
    for some, part in grid.parts():
        combined = combine_annotators([draw(part) if draw else None for draw in drawers], how)
        assert combined is not None  # somebody annotated the clip
        drawn[:, some] = np.rint(combined * 255)
    return drawn


def combine_annotators(
    maps: Sequence[NDArray[np.float32] | None], how: str
) -> NDArray[np.float32] | None:
    """Combines the annotators' maps of one clip to (C, S, H, W).

    Args:
        maps: One map (S, H, W) an annotator, None for one who did not annotate the clip.
        how: ``mean`` over those who annotated it (two of two weigh 1.0, one of two 0.5), ``max``,
            or ``stack``: one channel an annotator, zero for one who did not annotate it.

    Returns:
        The map, or None where nobody annotated the clip.
    """
    drawn = [one for one in maps if one is not None]
    if not drawn:
        return None
    if how == "stack":
        return np.stack([np.zeros_like(drawn[0]) if one is None else one for one in maps])
    if how == "mean":
        return np.mean(np.stack(drawn), axis=0, keepdims=True)
    if how == "max":
        return np.max(np.stack(drawn), axis=0, keepdims=True)
    raise VaclipError(f"data.combine is '{how}'; use mean, max or stack")
