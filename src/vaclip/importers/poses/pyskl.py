"""PYSKL's annotation pickles: the joints of the people in many videos, in one file.

Facts from its tools/data/README.md ("The format of the pickle files"): ``annotations`` is a list of
dictionaries with ``frame_dir``, ``total_frames``, ``img_shape`` (height, width), ``keypoint``
(M, T, V, C) and ``keypoint_score`` (M, T, V).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaclip.errors import VaclipError
from vaclip.files import LARGEST_ARRAYS
from vaclip.importers.base import FARTHEST, MOST_FRAMES
from vaclip.maps.keypoints import keypoints_of, read_pickle

_FRACTION = 2.0  # what fractions stay below, and pixels of a person do not
_SHARED = 8  # how many annotations may hold one array: NumPy's numbers are not compressed
_SHOWN = 20


@dataclass(frozen=True)
class Skeleton:
    """The patient in one video.

    Attributes:
        video: ``frame_dir``, as it stands there.
        keypoints: (T, V, 3): x, y in pixels of the pictures, confidence in [0, 1].
        size: (height, width) of the pictures.
        where: The place in the pickle, for messages.
    """

    video: str
    keypoints: NDArray[np.float32]
    size: tuple[int, int]
    where: str


def read_skeletons(
    path: Path, unit: str, joints: tuple[str, ...]
) -> tuple[list[Skeleton], list[str]]:
    """Reads a pickle; nothing in it is run, and it may hold no more numbers than bytes.

    A joint at (0, 0), or in fractions at a negative place, was not found: its confidence becomes 0.
    Of several people the one with the highest mean score is taken.

    Args:
        path: The pickle.
        unit: Of its coordinates: ``pixel`` or ``fraction`` of the picture.
        joints: The names of its V joints.

    Returns:
        The skeletons, and a line for each annotation that could not be used.

    Raises:
        VaclipError: If it is no such pickle, none of its annotations can be used, or its numbers
            contradict the unit.
    """
    size = path.stat().st_size if path.is_file() else 0
    if not 0 < size <= LARGEST_ARRAYS:
        raise VaclipError(f"{path.name}: is missing, empty, or has more than 2 GiB")
    content = read_pickle(path)
    annotations = content.get("annotations") if isinstance(content, dict) else None
    if not isinstance(annotations, list) or not annotations:
        raise VaclipError(f"{path.name}: expected a dictionary with a list 'annotations'")
    claimed = sum(map(_claimed, annotations))
    if claimed > _SHARED * size:
        raise VaclipError(f"{path.name}: claims {claimed} bytes of numbers, and has {size}")
    skeletons, left_out = [], []
    for number, annotation in enumerate(annotations):
        where = f"{path.name}: annotations[{number}]"
        try:
            skeletons.append(_skeleton(annotation, where, joints))
        except VaclipError as error:
            left_out.append(str(error))
    if not skeletons:
        listed = "\n  ".join(left_out[:_SHOWN])
        raise VaclipError(
            f"{path.name}: none of {len(left_out)} annotations is usable:\n  {listed}"
        )
    _check_unit(skeletons, unit, path.name)
    for one in skeletons:
        _place(one, unit)
    return skeletons, left_out


def _claimed(annotation: Any) -> int:
    values = annotation.values() if isinstance(annotation, dict) else ()
    return sum(value.nbytes for value in values if isinstance(value, np.ndarray))


def _skeleton(annotation: Any, where: str, joints: tuple[str, ...]) -> Skeleton:
    if not isinstance(annotation, dict):
        raise VaclipError(f"{where}: expected a dictionary")
    video = annotation.get("frame_dir")
    if not isinstance(video, str) or not video.strip():
        raise VaclipError(f"{where}: 'frame_dir' is missing, or no text")
    where = f"{where} ('{PureWindowsPath(video).name[:100]}')"
    points = annotation.get("keypoint")
    if not isinstance(points, np.ndarray) or points.ndim != 4 or points.shape[-1] != 2:
        shape = points.shape if isinstance(points, np.ndarray) else type(points).__name__
        raise VaclipError(
            f"{where}: 'keypoint' is {shape}; expected (people, frames, joints, 2): poses in three "
            "dimensions have no place in a picture, choose the pickle of those in two"
        )
    keypoints = keypoints_of(annotation, where)
    frames, count = keypoints.shape[:2]
    if count != len(joints):
        raise VaclipError(f"{where}: has {count} joints, expected {len(joints)}; say --joints")
    if frames > MOST_FRAMES:
        raise VaclipError(f"{where}: has {frames} frames; at most {MOST_FRAMES} are read")
    total = annotation.get("total_frames")
    if not _whole(total) or total != frames:
        raise VaclipError(
            f"{where}: 'total_frames' is {str(total)[:40]}, but there are poses of {frames} frames"
        )
    shape = annotation.get("img_shape")
    if not isinstance(shape, tuple | list) or len(shape) < 2 or not all(map(_whole, shape[:2])):
        raise VaclipError(f"{where}: 'img_shape' is no (height, width)")
    height, width = int(shape[0]), int(shape[1])
    if not (0 < height < FARTHEST and 0 < width < FARTHEST):
        raise VaclipError(f"{where}: 'img_shape' is {height} x {width}")
    if np.abs(keypoints[..., :2]).max() > FARTHEST:
        raise VaclipError(f"{where}: a joint lies more than {FARTHEST:.0f} pixels away")
    return Skeleton(video.strip(), keypoints, (height, width), where)


def _whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _check_unit(skeletons: list[Skeleton], unit: str, name: str) -> None:
    largest = max(float(np.abs(one.keypoints[..., :2]).max()) for one in skeletons)
    if unit == "pixel" and 0 < largest <= _FRACTION:
        raise VaclipError(
            f"{name}: no coordinate is above {largest:.3g}: these are fractions of the picture, "
            "say --keypoint-unit fraction"
        )
    if unit == "fraction" and largest > _FRACTION:
        raise VaclipError(
            f"{name}: a coordinate is {largest:.6g}: these are no fractions of the picture, leave "
            "out --keypoint-unit fraction"
        )


def _place(skeleton: Skeleton, unit: str) -> None:
    """Turns fractions to pixels, and takes the confidence of joints that were not found."""
    points = skeleton.keypoints[..., :2]
    missing = (points == 0).all(axis=-1)
    if unit == "fraction":
        missing |= (points < 0).any(axis=-1)
        points *= skeleton.size[::-1]
    skeleton.keypoints[missing] = 0.0
