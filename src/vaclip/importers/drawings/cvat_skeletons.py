"""CVAT's skeletons as keypoints of the patient: ``--skeleton LABEL``.

A skeleton's rows hold its joints as points; in files of 2022 the joints are tracks in its track.
Facts in the module `cvat`. A joint that is marked as outside has confidence 0, one that is occluded
`OCCLUDED`, others 1. Between the frames that a file lists a joint goes in a straight line; it
ends with its last row.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

import numpy as np

from vaclip.errors import VaclipError
from vaclip.importers.base import NewPose
from vaclip.importers.drawings.cvat_shapes import is_marked, shape_key
from vaclip.importers.poses.people import join

OCCLUDED = 0.5
Row = tuple[int, float, float, float]  # frame, x, y, confidence; 0 where the joint is not there


@dataclass
class _Skeleton:
    """The skeleton of one video."""

    where: str
    size: tuple[int, int]
    last: int
    whole: bool
    joints: dict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))


class Skeletons:
    """Takes the skeletons of one label, one a video."""

    def __init__(self, label: str | None) -> None:
        self.label = label
        self._videos: dict[str, _Skeleton] = {}

    def wants(self, label: str) -> bool:
        """Whether a skeleton of this label is the patient."""
        return self.label is not None and label == self.label

    def add(
        self,
        element: Element,
        video: str,
        *,
        size: tuple[int, int],
        last: int,
        whole: bool,
        frame_of: Callable[[Element, str], int],
        where: str,
    ) -> None:
        """Takes a track, or the rows of a picture.

        Args:
            element: The track, or the picture.
            video: As of `NewPose`.
            size: (height, width) of its pictures.
            last: The last frame that was annotated.
            whole: Whether that is the video's last.
            frame_of: Returns the frame of a row; given the row and the place, for messages.
            where: The place in the export, for messages.

        Raises:
            VaclipError: If a joint is there twice on a frame, or a value is none.
        """
        own = self._videos.setdefault(video, _Skeleton(where, size, last, whole))
        for row, name, absent in _joints(element, self.label or "", where):
            frame = frame_of(row if row.get("frame") else element, where)
            place = f"{where}, '{name}' at frame {frame}"
            gone = absent or is_marked(row, "outside", place)
            x, y = (0.0, 0.0) if gone else shape_key(row, 0, place).points[0]
            seen = OCCLUDED if is_marked(row, "occluded", place) else 1.0
            own.joints[name].append((frame, x, y, 0.0 if gone else seen))

    def poses(self) -> tuple[tuple[NewPose, ...], tuple[str, ...] | None]:
        """Returns a pose for each video, and the names of the joints, those of all videos.

        Raises:
            VaclipError: If a joint is twice on one frame, or no skeleton has the label.
        """
        if self.label is not None and not self._videos:
            raise VaclipError(f"--skeleton {self.label}: no skeleton has this label")
        names = tuple(dict.fromkeys(n for own in self._videos.values() for n in own.joints))
        poses = []
        for video, own in self._videos.items():
            keypoints = np.zeros((own.last + 1, len(names), 3))
            for place, name in enumerate(names):
                rows = sorted(own.joints.get(name, ()), key=_absent_first)
                _fill(keypoints[:, place], rows, f"{own.where}: {name}")
            joined = join(keypoints[..., :2], keypoints[..., 2], own.where)
            poses.append(NewPose(video, joined, own.where, own.size, open_ended=not own.whole))
        return tuple(poses), names or None


def _joints(element: Element, label: str, where: str) -> Iterator[tuple[Element, str, bool]]:
    """Yields each point of a joint, its name, and whether the whole skeleton is away."""
    for skeleton in element.findall("skeleton"):
        if skeleton.get("label", label) != label:
            continue
        away = is_marked(skeleton, "outside", where)
        for point in skeleton.findall("points"):
            name = point.get("label", "")
            for key in ("frame", "outside"):
                if key not in point.attrib and key in skeleton.attrib:
                    point.set(key, skeleton.attrib[key])
            yield point, name, away
    for inner in element.findall("track"):
        for point in inner.findall("points"):
            yield point, inner.get("label", ""), False


def _absent_first(row: Row) -> tuple[int, float]:
    """Sorts by frame: where a track ends another one may begin."""
    return row[0], row[3]


def _fill(values: np.ndarray, rows: list[Row], where: str) -> None:
    """Writes one joint's rows into (T, 3)."""
    for (frame, *now), (after, *then) in zip(rows, [*rows[1:], (-1, 0.0, 0.0, 0.0)], strict=True):
        if frame == after and now[2]:
            raise VaclipError(f"{where}: is twice on frame {frame}; which of two people is it?")
        if frame < len(values):
            values[frame] = now
        if after < 0 or not now[2]:
            continue
        between = np.arange(frame + 1, min(after, len(values)))
        share = ((between - frame) / (after - frame))[:, None]
        goal = np.array(then if then[2] else now)
        values[between] = np.array(now) + share * (goal - np.array(now))
        values[between, 2] = now[2]
