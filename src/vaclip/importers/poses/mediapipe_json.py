"""JSON of MediaPipe's landmarks: frames, the people in each, and their landmarks.

See `vaclip.importers.poses.mediapipe`. Names of fields are those of MediaPipe's results in Python
(``pose_landmarks``), JavaScript (``landmarks``, ``poseLandmarks``) and of who dumps them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaclip.errors import VaclipError
from vaclip.importers.poses.people import frame_number

_FRAMES = ("frames", "landmarks", "poses", "results", "data")
_NUMBER = ("frame", "frame_index", "frame_idx", "frame_number", "frame_id", "frameIndex")
_PEOPLE = ("pose_landmarks", "poseLandmarks", "landmarks", "keypoints")
_VISIBILITY = ("visibility", "v", "score")
_EXPECTED = (
    "expected a list of frames, each a list of MediaPipe Pose's 33 landmarks, or an object with "
    "'frame' and 'landmarks' (or 'pose_landmarks')"
)

Frames = dict[int, list[NDArray[np.float64]]]
"""The people of each frame: (33, 3) x, y and visibility; NaN where there is none."""


def frames_of_json(content: Any, name: str, names: Sequence[str]) -> tuple[bool, Frames]:
    """Reads a list of frames.

    Args:
        content: The parsed file.
        name: What to call it.
        names: The landmarks, in order.

    Returns:
        Whether frames are numbered by the file, else they are by their place, and the frames.

    Raises:
        VaclipError: If the file has another layout.
    """
    if isinstance(content, dict):
        content = next((content[key] for key in _FRAMES if key in content), None)
    if not isinstance(content, list) or not content:
        raise VaclipError(f"{name}: {_EXPECTED}")
    frames: Frames = {}
    numbered = False
    for place, entry in enumerate(content):
        where = f"{name}: entry {place + 1} in the list of frames"
        number, people = _entry(entry, where)
        if place == 0:
            numbered = number is not None
        if numbered != (number is not None):
            raise VaclipError(f"{where}: some frames have a number, others have none")
        frame = frame_number(number, where) if numbered else place
        if frame in frames:
            raise VaclipError(f"{where}: a second frame {frame}")
        frames[frame] = _people(people, where, names)
    return numbered, frames


def _entry(entry: Any, where: str) -> tuple[Any, Any]:
    """Returns the number of a frame, None without one, and what it says of people."""
    if entry is None or isinstance(entry, list):
        return None, entry
    key = next((key for key in _PEOPLE if key in entry), None) if isinstance(entry, dict) else None
    if key is None:
        raise VaclipError(f"{where}: {_EXPECTED}")
    return next((entry[name] for name in _NUMBER if name in entry), None), entry[key]


def _people(value: Any, where: str, names: Sequence[str]) -> list[NDArray[np.float64]]:
    if not value:
        return []  # nobody
    first = value[0] if isinstance(value, list) else None
    if isinstance(first, list) and first and isinstance(first[0], list | dict):
        return [_person(one, where, names) for one in value if one]
    return [_person(value, where, names)]


def _person(value: Any, where: str, names: Sequence[str]) -> NDArray[np.float64]:
    joints = np.full((len(names), 3), np.nan)
    if isinstance(value, dict):
        plain = {str(key).casefold(): landmark for key, landmark in value.items()}
        if unknown := next((key for key in plain if key not in names), None):
            raise VaclipError(f"{where}: '{unknown[:40]}' is no landmark of MediaPipe Pose")
        for key, landmark in plain.items():
            joints[names.index(key)] = _landmark(landmark, where)
        return joints
    if not isinstance(value, list) or len(value) != len(names):
        count = f"{len(value)} values" if isinstance(value, list) else f"{str(value)[:40]!r}"
        raise VaclipError(
            f"{where}: {count} where MediaPipe Pose has 33 landmarks (a hand has 21, a face 468 "
            f"or 478, Holistic 543: write those of the pose alone); {_EXPECTED}"
        )
    joints[:] = [_landmark(one, where) for one in value]
    return joints


def _landmark(value: Any, where: str) -> tuple[float, float, float]:
    """Returns x, y and visibility, which is 1 where a landmark has none."""
    match value:
        case None:
            return np.nan, np.nan, np.nan
        case {"x": x, "y": y}:
            seen = next((value[key] for key in _VISIBILITY if key in value), 1)
        case [x, y]:
            seen = 1
        case [x, y, _, seen, *more] if len(more) < 2:
            pass
        case _:
            raise VaclipError(
                f"{where}: {str(value)[:60]!r} is no landmark; expected an object with x, y and "
                "visibility, or a list of x, y, z, visibility"
            )
    numbers = [np.nan if number is None else number for number in (x, y, seen)]
    if not all(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers):
        raise VaclipError(f"{where}: {str(value)[:60]!r}: x, y and visibility must be numbers")
    if any(isinstance(n, int) and abs(n) > 1 << 53 for n in numbers):
        raise VaclipError(f"{where}: {str(value)[:60]!r}: a number is too large")
    return numbers[0], numbers[1], numbers[2]
