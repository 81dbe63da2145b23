"""``coco``: keypoints in COCO's JSON, of pictures that were cut from videos.

Facts from "COCO Data Format" (Keypoint Detection) and "Results Format"; ``track_id`` as in
PoseTrack 2018, or among ``attributes`` as in CVAT's exports. Pictures: see `coco_pictures`.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vaclip.errors import VaclipError
from vaclip.importers.base import Export, Importer
from vaclip.importers.coco_pictures import (
    Picture,
    coco_key,
    coco_pictures,
    coco_rows,
    named_pictures,
)
from vaclip.importers.poses.people import (
    Person,
    PoseVideo,
    add_pose_options,
    first_frame,
    frame_number,
    join,
    joint_names,
    number_array,
    poses_export,
)
from vaclip.importers.reading import SourceFile, parse_json, read_bytes, source_files


class CocoImporter(Importer):
    """Reads keypoint annotations or detections of pictures, and puts them together to videos."""

    summary = "COCO keypoints: JSON annotations or detections of pictures cut from videos"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        group = add_pose_options(parser, video=True, first_frame=True)
        group.add_argument(
            "--images",
            type=Path,
            metavar="FILE",
            help="the annotation file that lists the pictures of a results file",
        )
        group.add_argument("--category", metavar="NAME",
                           help="which category, where several have keypoints")  # fmt: skip

    def read(self, sources: Sequence[Path], options: argparse.Namespace) -> Export:
        dropped: Counter[str] = Counter()
        videos: list[PoseVideo] = []
        for source in sources:
            for file in source_files(source, (".json",)):
                videos += _videos(file, options, dropped)
        return poses_export(videos, options, dropped)


def _videos(
    file: SourceFile, options: argparse.Namespace, dropped: Counter[str]
) -> list[PoseVideo]:
    content = parse_json(file.read(), file.name)
    detections = isinstance(content, list)
    if detections and options.images is None:
        raise VaclipError(
            f"{file.name} is a results file, which does not name its pictures; say --images "
            "ANNOTATIONS.json, the file with 'images' and 'categories' that it belongs to"
        )
    base = parse_json(read_bytes(options.images), options.images.name) if detections else content
    name = options.images.name if detections else file.name
    annotations = content if detections else coco_rows(base, "annotations", name)
    category, names = _category(base, options.category, name)
    pictures = named_pictures(coco_pictures(base, name), options, file.name)
    lowest = min(picture.number for picture in pictures.values())
    first = first_frame(lowest, options.first_frame, name)
    videos, frames = _grouped(pictures, names, first, file.name)
    for number, row in enumerate(annotations):
        where = f"{file.name}: annotation {number}"
        if not isinstance(row, dict):
            raise VaclipError(f"{where}: expected an object")
        if coco_key(row.get("image_id"), where) not in frames:
            raise VaclipError(f"{where}: there is no picture with the id {row['image_id']!r}")
        if row.get("category_id") != category or not row.get("keypoints"):
            dropped["annotations of other categories, or without keypoints"] += 1
            continue
        person = _person(row, len(names), where, detections=detections)
        if not person.joints[:, 2].any():
            dropped["people without a labelled joint"] += 1
            continue
        video, frame = frames[row["image_id"]]
        video.people[frame].append(person)
    return videos


def _category(base: Any, wanted: str | None, name: str) -> tuple[Any, tuple[str, ...]]:
    rows = [row for row in coco_rows(base, "categories", name) if isinstance(row, dict)]
    jointed = [row for row in rows if row.get("keypoints")]
    if not jointed:
        known = ", ".join(str(row.get("name")) for row in rows) or "none"
        raise VaclipError(
            f"{name}: none of its categories ({known:.200}) has keypoints: its labels are no "
            "skeletons. Define the joints as one skeleton and export 'COCO Keypoints'; boxes, "
            "polygons and masks are read by 'vaclip data import coco_shapes'"
        )
    found = [row for row in jointed if wanted in (None, row.get("name"))]
    if len(found) != 1:
        known = ", ".join(str(row.get("name")) for row in jointed)
        what = f"{len(found)} categories" if found else f"no category '{wanted}'"
        raise VaclipError(
            f"{name}: {what} with 'keypoints' ({known}); choose one with --category NAME"
        )
    return found[0].get("id"), joint_names(found[0]["keypoints"], f"{name}: 'keypoints'")


# --- pictures ------------------------------------------------------------------------------------


def _grouped(
    pictures: dict[int | str, Picture], names: tuple[str, ...], first: int, name: str
) -> tuple[list[PoseVideo], dict[int | str, tuple[PoseVideo, int]]]:
    """Returns the videos, and where each picture belongs."""
    videos: dict[str, PoseVideo] = {}
    frames = {}
    for key, picture in pictures.items():
        where = f"{name}: {picture.video}"
        video = videos.setdefault(
            picture.video, PoseVideo(picture.video, names, where, 0, size=picture.size)
        )
        # Pictures without anybody are often left out, at the end too.
        video.open_ended = True
        frame = frame_number(picture.number, where, first)
        if frame in video.people:
            raise VaclipError(f"{where}: two pictures are frame {picture.number}")
        if picture.size != video.size:
            raise VaclipError(f"{where}: its pictures have different sizes")
        video.people[frame] = []
        video.frames = max(video.frames, frame + 1)
        frames[key] = video, frame
    return list(videos.values()), frames


# --- people --------------------------------------------------------------------------------------


def _person(row: dict[str, Any], joints: int, where: str, *, detections: bool) -> Person:
    values = number_array(row["keypoints"], f"{where}: 'keypoints'")
    if values.shape != (3 * joints,):
        raise VaclipError(
            f"{where}: {values.size} values in 'keypoints'; {joints} joints have {3 * joints}"
        )
    x_y_v = values.reshape(-1, 3)
    scores = x_y_v[:, 2]
    if not detections:
        if not np.isin(scores, (0, 1, 2)).all():
            raise VaclipError(
                f"{where}: the visibility of a joint must be 0, 1 or 2; is it a results file? "
                "Save the list of detections alone, and say --images for the rest"
            )
        scores = (scores > 0).astype(float)  # where an occluded joint lies was said as well
    attributes = row.get("attributes")
    track = row.get("track_id", row.get("instance_id"))
    if track is None and isinstance(attributes, dict):  # CVAT puts it there
        track = attributes.get("track_id")
    identity = None if track is None else str(coco_key(track, f"{where}: 'track_id'"))
    return Person(join(x_y_v[:, :2], scores, where), identity)
