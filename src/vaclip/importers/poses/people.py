"""People in videos: what pose tools give, and which of several people is the patient."""

from __future__ import annotations

import argparse
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vaclip.errors import VaclipError
from vaclip.importers.base import FARTHEST, MOST_FRAMES, Export, NewPose
from vaclip.importers.video_template import add_video_options, templated

_MOST_VALUES = 1 << 25  # frames times joints of a video


@dataclass(frozen=True)
class Person:
    """A person in one frame.

    Attributes:
        joints: (J, 3): x, y in pixels, confidence in [0, 1]; from `join`.
        track: The identity that the tool gave; None where it tells nobody apart.
    """

    joints: NDArray[np.float32]
    track: str | None = None


@dataclass
class PoseVideo:
    """Everybody whom a tool found in one video.

    Attributes:
        video: As of `NewPose`.
        names: The J joints.
        where: The place in the export, for messages.
        frames: Up to which frame the export goes.
        people: The people of each frame, counted from 0; a frame without anybody may be missing.
        size: As of `NewPose`.
        open_ended: As of `NewPose`.
    """

    video: str
    names: tuple[str, ...]
    where: str
    frames: int = 0
    people: dict[int, list[Person]] = field(default_factory=lambda: defaultdict(list))
    size: tuple[int, int] | None = None
    open_ended: bool = False


def add_pose_options(
    parser: argparse.ArgumentParser, *, video: bool = False, first_frame: bool = False
) -> argparse._ArgumentGroup:
    """Adds the flags that pose tools share, and returns their group.

    Args:
        parser: The parser.
        video: Whether exports may not name their videos as the study does, so that ``--video`` or
            ``--video-template`` can.
        first_frame: Whether files of the kind count frames from 0 or from 1.
    """
    group = parser.add_argument_group("poses")
    group.add_argument("--person", default="best", metavar="WHO",
                       help="the patient: best (detected with the most confidence, default), "
                       "largest, or the name of a track or individual")  # fmt: skip
    if video:
        add_video_options(
            group, "the one video of the export (default: by the file)", "what it is called there"
        )
    if first_frame:
        group.add_argument("--first-frame", type=int, choices=(0, 1),
                           help="what the first frame is numbered")  # fmt: skip
    return group


def poses_export(
    videos: Sequence[PoseVideo], options: argparse.Namespace, dropped: Counter[str]
) -> Export:
    """Chooses the patient of each video.

    Args:
        videos: What was read.
        options: The flags of `add_pose_options`.
        dropped: What a tool's reader left out, counted.

    Raises:
        VaclipError: If files have different joints, two are about one video by ``--video``, or
            the person who was named is not there.
    """
    if getattr(options, "video", None):
        if len(videos) != 1:
            raise VaclipError(f"--video names one video, but these are {len(videos)}")
        videos[0].video = options.video
    poses = []
    for video in videos:
        video.video = templated(options, video.video) or video.video
        if video.names != videos[0].names:
            raise VaclipError(
                f"{video.where} has other joints ({', '.join(video.names)}) than "
                f"{videos[0].where} ({', '.join(videos[0].names)}): one study has one set of joints"
            )
        keypoints = patient(video, options.person, dropped)
        poses.append(NewPose(video.video, keypoints, video.where, video.size, video.open_ended))
    return Export(
        poses=tuple(poses),
        keypoint_names=videos[0].names if videos else None,
        dropped=tuple(f"{count} {what}" for what, count in dropped.items() if count),
    )


def patient(video: PoseVideo, who: str, dropped: Counter[str]) -> NDArray[np.float32]:
    """Returns the keypoints of one person, (T, J, 3); confidence 0 where they were not found.

    Where the tool tells people apart, one of them is taken for the whole video: who has the
    highest mean confidence of all joints and frames (absent: 0), as of PYSKL's files in
    `vaclip.maps.keypoints`; otherwise each frame's best. ``largest`` compares the areas of the
    rectangles around the joints instead.

    Args:
        video: Everybody.
        who: ``best``, ``largest`` or an identity.
        dropped: Other people are added to it.

    Raises:
        VaclipError: If there is no such identity, or the video is too long.
    """
    if video.frames * len(video.names) > _MOST_VALUES:
        raise VaclipError(f"{video.where}: {video.frames} frames of {len(video.names)} joints")
    weight = _area if who == "largest" else _confidence
    track = _track(video, who, weight)
    keypoints = np.zeros((video.frames, len(video.names), 3), np.float32)
    for frame, people in video.people.items():
        candidates = [one for one in people if one.track == track]
        dropped["detections of other people"] += len(people) - bool(candidates)
        if candidates:
            keypoints[frame] = max(candidates, key=weight).joints
    return keypoints


def _track(video: PoseVideo, who: str, weight: Callable[[Person], float]) -> str | None:
    totals: dict[str, float] = defaultdict(float)
    for people in video.people.values():
        for one in people:
            if one.track is not None:
                totals[one.track] += weight(one)
    if who in ("best", "largest"):
        return max(totals, key=totals.__getitem__, default=None)
    if who not in totals:
        known = ", ".join(sorted(totals)[:20]) or "nobody is told apart"
        raise VaclipError(f"{video.where}: there is no person '{who}' ({known})")
    return who


def _confidence(person: Person) -> float:
    return float(person.joints[:, 2].sum(dtype=float))


def _area(person: Person) -> float:
    points = person.joints[person.joints[:, 2] > 0, :2].astype(float)
    return float(np.prod(np.ptp(points, axis=0))) if len(points) else 0.0


def join(points: ArrayLike, scores: ArrayLike, where: str) -> NDArray[np.float32]:
    """Puts coordinates and confidences together; a joint with an undefined one gets zeros.

    Args:
        points: (..., J, 2).
        scores: (..., J); cut off to [0, 1].
        where: For messages.

    Returns:
        (..., J, 3).

    Raises:
        VaclipError: If a joint lies far outside of any picture.
    """
    joined = np.concatenate([np.asarray(points, float), np.asarray(scores, float)[..., None]], -1)
    joined[~np.isfinite(joined).all(axis=-1)] = 0.0
    if joined.size and np.abs(joined[..., :2]).max() > FARTHEST:
        raise VaclipError(f"{where}: a joint lies more than {FARTHEST:.0f} pixels away")
    joined[..., 2] = np.clip(joined[..., 2], 0.0, 1.0)
    return joined.astype(np.float32)


def joint_names(value: Any, where: str) -> tuple[str, ...]:
    """Checks the names of joints.

    Raises:
        VaclipError: If they are no list of texts, none empty and none twice.
    """
    good = isinstance(value, list | tuple) and value and all(isinstance(v, str) for v in value)
    names = tuple(name.strip() for name in value) if good else ()
    if not all(names) or len(set(names)) < len(names) or not names:
        raise VaclipError(f"{where}: expected names of joints, none twice")
    return names


def number_array(value: Any, where: str) -> NDArray[np.float64]:
    """Turns a list of numbers, or of lists of them, into an array.

    Raises:
        VaclipError: If it is none.
    """
    try:
        array = np.array(value if isinstance(value, list) else None)
    except (ValueError, OverflowError) as error:  # lists of different lengths; too deep
        raise VaclipError(f"{where}: expected numbers: {error}") from error
    if array.size and array.dtype.kind not in "iuf":
        raise VaclipError(f"{where}: expected a list of numbers")
    return array.astype(float)


def frame_number(value: Any, where: str, first: int = 0) -> int:
    """Returns the place of a frame, from 0.

    Args:
        value: Its number, or a text of it.
        where: For messages.
        first: What the first frame is numbered.

    Raises:
        VaclipError: If it is no whole number, before the first, or beyond any video.
    """
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise VaclipError(f"{where}: {str(value)[:40]!r} is no frame number")
    if not 0 <= value - first < MOST_FRAMES:
        raise VaclipError(
            f"{where}: frame number {value}, but they begin with {first}"
            + (f" and at most {MOST_FRAMES} are read" if value > first else "")
        )
    return value - first


def first_frame(lowest: int, stated: int | None, where: str) -> int:
    """Returns what the first frame is numbered.

    Args:
        lowest: The lowest number in a file, which may leave out frames without anybody.
        stated: The flag ``--first-frame``; None where it is not given.
        where: For messages.

    Raises:
        VaclipError: If neither says it.
    """
    if stated is None and lowest > 0:
        raise VaclipError(
            f"{where}: no picture is numbered 0; say --first-frame 1 where the first picture of a "
            "video has the number 1 (as FFmpeg writes them), otherwise --first-frame 0"
        )
    return stated or 0


def cell_number(text: str, where: str) -> float:
    """Returns the number in a cell of a table; NaN where it is empty.

    Raises:
        VaclipError: If it holds something else.
    """
    try:
        return float(text) if text else math.nan
    except ValueError as error:
        raise VaclipError(f"{where}: {error}") from error
