"""``openpose``: one JSON file a frame, from OpenPose's ``--write_json``.

Facts from "OpenPose Doc - Output" (JSON Output Format, Keypoint Ordering) and poseParameters.cpp
(BODY_25B, COCO, MPI). OpenPose writes a file for each frame that it decodes, also without anybody,
and numbers them from 0: ``VIDEO_000000000000_keypoints.json``.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vaclip.errors import VaclipError
from vaclip.importers.base import Export, Importer
from vaclip.importers.poses.people import (
    Person,
    PoseVideo,
    add_pose_options,
    frame_number,
    join,
    number_array,
    poses_export,
)
from vaclip.importers.reading import parse_json, source_files
from vaclip.maps.source import COCO_17

_FEET = (
    "left_big_toe left_small_toe left_heel right_big_toe right_small_toe right_heel".split()
)  # fmt: skip
_ARMS = (
    "neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist".split()
)  # fmt: skip
_LEGS = "right_hip right_knee right_ankle left_hip left_knee left_ankle".split()
_FACE = "right_eye left_eye right_ear left_ear".split()
MODELS: dict[str, tuple[str, ...]] = {
    "body_25": ("nose", *_ARMS, "mid_hip", *_LEGS, *_FACE, *_FEET),
    "coco": ("nose", *_ARMS, *_LEGS, *_FACE),
    "mpi": ("head", *_ARMS, *_LEGS, "chest"),
    "body_25b": (*COCO_17, "upper_neck", "head_top", *_FEET),
}
"""OpenPose's joints in its order, by the names that joints have elsewhere in vaclip."""
_NAME = re.compile(r"(?P<video>.+)_(?P<number>\d{12})_keypoints\.json")


class OpenPoseImporter(Importer):
    """Reads folders of frames, of one or more videos."""

    summary = "OpenPose: folders or archives of one JSON file a frame (--write_json)"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        group = add_pose_options(parser, video=True)
        group.add_argument("--model", choices=MODELS,
                           help="OpenPose's --model_pose (default: by the number of joints: "
                           "body_25, coco or mpi)")  # fmt: skip

    def read(self, sources: Sequence[Path], options: argparse.Namespace) -> Export:
        dropped: Counter[str] = Counter()
        videos: list[PoseVideo] = []
        for source in sources:
            videos += _read_source(source, MODELS.get(options.model, ()), dropped)
        known = next((video.names for video in videos if video.names), None)
        if known is None:
            raise VaclipError("nobody was found in any frame; where that is true, leave them out")
        for video in videos:
            video.names = video.names or known
            _check_scale(video)
        return poses_export(videos, options, dropped)


def _read_source(source: Path, names: tuple[str, ...], dropped: Counter[str]) -> list[PoseVideo]:
    videos: dict[str, PoseVideo] = {}
    for file in source_files(source, (".json",)):
        match = _NAME.fullmatch(file.name)
        if match is None:
            dropped["JSON files that are not named VIDEO_000000000000_keypoints.json"] += 1
            continue
        name = match["video"]
        video = videos.setdefault(name, PoseVideo(name, names, f"{source.name}: {name}"))
        frame = frame_number(match["number"], file.name)
        video.frames = max(video.frames, frame + 1)
        content = parse_json(file.read(), file.name)
        people = content.get("people") if isinstance(content, dict) else None
        if not isinstance(people, list):
            raise VaclipError(f"{file.name}: expected {{'people': [...]}} as OpenPose writes it")
        for number, person in enumerate(people):
            _add(video, frame, person, f"{file.name}: person {number}")
    if not videos:
        raise VaclipError(
            f"'{source.name}' holds no file named VIDEO_000000000000_keypoints.json: run OpenPose "
            "on the video itself (--video FILE --write_json FOLDER)"
        )
    return list(videos.values())


def _add(video: PoseVideo, frame: int, person: Any, where: str) -> None:
    if not isinstance(person, dict):
        raise VaclipError(f"{where}: expected an object")
    # Until version 1.1 the key was without "_2d".
    values = number_array(person.get("pose_keypoints_2d", person.get("pose_keypoints")), where)
    if not values.size:  # only hands or a face
        return
    names = video.names or _model(values.size, where)
    if values.shape != (3 * len(names),):
        raise VaclipError(
            f"{where}: {values.size} values are not those of {len(names)} joints; does --model fit?"
        )
    video.names = names
    joints = values.reshape(-1, 3)
    video.people[frame].append(Person(join(joints[:, :2], joints[:, 2], where), _identity(person)))


def _model(values: int, where: str) -> tuple[str, ...]:
    for names in MODELS.values():
        if values == 3 * len(names):
            return names
    raise VaclipError(f"{where}: {values} values; body_25 has 75, coco 54, mpi 45")


def _identity(person: dict[str, Any]) -> str | None:
    """Returns the number that ``--tracking`` gives; otherwise OpenPose writes [-1]."""
    match person.get("person_id"):
        case [int(number)] if number >= 0:
            return str(number)
    return None


def _check_scale(video: PoseVideo) -> None:
    found = [one.joints[one.joints[:, 2] > 0, :2] for p in video.people.values() for one in p]
    points = np.concatenate(found) if found else np.zeros((0, 2))
    if len(points) and np.abs(points).max() <= 1.0:
        raise VaclipError(
            f"{video.where}: the coordinates are fractions; run OpenPose with --keypoint_scale 0"
        )
