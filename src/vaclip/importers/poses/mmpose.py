"""``mmpose``: predictions of MMPose for videos, one JSON file each.

Facts from MMPose's base_mmpose_inferencer.py, demo/topdown_demo_with_mmdet.py and
structures/utils.py. Both list every frame that was decoded, also without anybody. The inferencer
writes ``VIDEO.json``, a list whose ``frame_id`` counts from 0. The demo scripts write
``results_VIDEO.json``, with ``meta_info`` and ``instance_info``, whose ``frame_id`` counts from 1.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from vaclip.errors import VaclipError
from vaclip.importers.base import Export, Importer
from vaclip.importers.poses.people import (
    Person,
    PoseVideo,
    add_pose_options,
    frame_number,
    join,
    joint_names,
    number_array,
    poses_export,
)
from vaclip.importers.reading import SourceFile, parse_json, source_files
from vaclip.maps.source import COCO_17


class MMPoseImporter(Importer):
    """Reads one JSON file a video, of the inferencer or the demo scripts."""

    summary = "MMPose: JSON predictions of videos (inferencer or demo scripts)"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        group = add_pose_options(parser, video=True, first_frame=True)
        group.add_argument("--joints", metavar="NAME,...",
                           help="names of the joints, where the file has none (default for 17: "
                           "COCO's)")  # fmt: skip

    def read(self, sources: Sequence[Path], options: argparse.Namespace) -> Export:
        files = [file for source in sources for file in source_files(source, (".json",))]
        return poses_export([_video(file, options) for file in files], options, Counter())


def _video(file: SourceFile, options: argparse.Namespace) -> PoseVideo:
    content = parse_json(file.read(), file.name)
    path = PurePosixPath(file.name)
    name, first, names = path.stem, 0, None
    if isinstance(content, dict):
        name, first, names = name.removeprefix("results_"), 1, _names(content, file.name)
        content = content.get("instance_info")
    if not isinstance(content, list) or not content:
        raise VaclipError(f"{file.name}: expected a list of frames, or 'instance_info' with one")
    if options.first_frame is not None:
        first = options.first_frame
    if options.joints:
        names = joint_names(options.joints.split(","), "--joints")
    video = PoseVideo(str(path.parent / name), names or (), file.name)
    for row, entry in enumerate(content):
        where = f"{file.name}: frame {row + 1} in the list"
        if not isinstance(entry, dict) or "frame_id" not in entry:
            raise VaclipError(
                f"{where} has no 'frame_id': run MMPose on the video, not on pictures"
            )
        frame = frame_number(entry["frame_id"], where, first)
        video.frames = max(video.frames, frame + 1)
        instances = entry.get("instances")
        if not isinstance(instances, list):
            raise VaclipError(f"{where}: expected a list 'instances'")
        video.people[frame] += [_person(one, video, where) for one in instances]
    video.names = video.names or COCO_17  # nobody was found
    return video


def _person(instance: Any, video: PoseVideo, where: str) -> Person:
    if not isinstance(instance, dict):
        raise VaclipError(f"{where}: expected instances with 'keypoints' and 'keypoint_scores'")
    points = number_array(instance.get("keypoints"), f"{where}: 'keypoints'")
    scores = number_array(instance.get("keypoint_scores"), f"{where}: 'keypoint_scores'")
    if scores.ndim != 1 or points.shape != (len(scores), 2):
        raise VaclipError(
            f"{where}: keypoints of shape {points.shape} with scores of shape {scores.shape}; "
            "expected (J, 2) and (J,), of a 2D model"
        )
    if not video.names:
        if len(scores) != len(COCO_17):
            raise VaclipError(f"{where}: {len(scores)} joints without names; say --joints NAME,...")
        video.names = COCO_17
    if len(scores) != len(video.names):
        raise VaclipError(f"{where}: {len(scores)} joints, but {len(video.names)} names")
    return Person(join(points, scores, where))


def _names(content: dict[str, Any], name: str) -> tuple[str, ...] | None:
    meta = content.get("meta_info")
    by_number = meta.get("keypoint_id2name") if isinstance(meta, dict) else None
    if not isinstance(by_number, dict):
        return None
    listed = [by_number.get(str(number)) for number in range(len(by_number))]
    return joint_names(listed, f"{name}: 'keypoint_id2name'")
