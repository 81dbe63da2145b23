"""``alphapose``: results of AlphaPose for videos, one JSON file each.

Facts from AlphaPose's docs/output.md, docs/run.md, alphapose/utils/detector.py and pPose_nms.py.
The results of a video are a list of people, each with ``image_id``, the number of its frame from 0
and ``.jpg``. A frame without anybody is not in the list. ``keypoints`` are x, y, confidence; models
of COCO may have confidences above 1, which are cut off. ``idx`` is who it is, by tracking alone.
The halves of Halpe's 136 joints that are no body (face and hands) are left out.
"""

from __future__ import annotations

import argparse
import re
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
    number_array,
    poses_export,
)
from vaclip.importers.reading import SourceFile, parse_json, source_files
from vaclip.maps.source import COCO_17

HALPE_26 = (
    *COCO_17,
    *"head neck mid_hip left_big_toe right_big_toe left_small_toe right_small_toe".split(),
    *"left_heel right_heel".split(),
)
_MODELS = {17: COCO_17, 26: HALPE_26, 136: HALPE_26}  # by the joints of a person in the file
_RESULTS = re.compile(r"^alphapose-results[-_]?|[-_]?alphapose-results$")
_FRAME = re.compile(r"(?P<number>\d+)\.(?:jpg|png)")


class AlphaPoseImporter(Importer):
    """Reads one list of people a video."""

    summary = "AlphaPose: JSON results of videos (COCO's 17 joints, Halpe's 26 or 136)"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        add_pose_options(parser, video=True, first_frame=True)

    def read(self, sources: Sequence[Path], options: argparse.Namespace) -> Export:
        files = [file for source in sources for file in source_files(source, (".json",))]
        first = options.first_frame or 0
        videos = [_video(file, first) for file in files]
        known = next((video.names for video in videos if video.names), COCO_17)
        for video in videos:
            video.names = video.names or known
        return poses_export(videos, options, Counter())


def _video(file: SourceFile, first: int) -> PoseVideo:
    content = parse_json(file.read(), file.name)
    if not isinstance(content, list):
        raise VaclipError(f"{file.name}: expected a list of people, as AlphaPose writes it")
    video = PoseVideo(_video_name(PurePosixPath(file.name)), (), file.name, open_ended=True)
    for row, entry in enumerate(content):
        where = f"{file.name}: person {row + 1} in the list"
        if not isinstance(entry, dict):
            raise VaclipError(f"{where}: expected an object with 'image_id' and 'keypoints'")
        match = _FRAME.fullmatch(str(entry.get("image_id")))
        if match is None:
            raise VaclipError(
                f"{where}: 'image_id' is {str(entry.get('image_id'))[:40]!r}, which is no frame of "
                "a video; run AlphaPose on the video itself (--video)"
            )
        frame = frame_number(match["number"], where, first)
        video.frames = max(video.frames, frame + 1)
        video.people[frame].append(_person(entry, video, where))
    return video


def _video_name(path: PurePosixPath) -> str:
    """AlphaPose gives every file one name; who keeps several adds the video's, or makes folders."""
    if own := _RESULTS.sub("", path.stem):
        return str(path.parent / own)
    return str(path.parent) if path.parent.name else path.stem


def _person(entry: dict[str, Any], video: PoseVideo, where: str) -> Person:
    values = number_array(entry.get("keypoints"), f"{where}: 'keypoints'")
    names = _MODELS.get(len(values) // 3) if values.ndim == 1 else None
    if names is None or len(values) % 3 or video.names not in ((), names):
        raise VaclipError(
            f"{where}: {values.size} values; a person of COCO has 51, of Halpe 78 or 408, and all "
            "of a file the same"
        )
    video.names = names
    joints = values.reshape(-1, 3)[: len(names)]
    return Person(join(joints[:, :2], joints[:, 2], where), _identity(entry))


def _identity(entry: dict[str, Any]) -> str | None:
    """Returns who it is; without tracking AlphaPose numbers the people of each frame anew."""
    match entry.get("idx"):
        case bool() | None:
            return None
        case int(number) | [int(number), *_]:
            return str(number)
        case float(number) if number.is_integer():
            return str(int(number))
    return None
