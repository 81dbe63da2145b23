"""``mediapipe``: landmarks of MediaPipe Pose (BlazePose) of videos, as people write them down.

MediaPipe has no exporter. Its "Pose landmark detection guide" (Pose Landmarker, ``mediapipe``
0.10) defines what everybody writes: 33 landmarks in a fixed order; x and y in fractions of the
picture's width and height from its upper left corner, which may leave 0..1; visibility in 0..1;
or world landmarks in metres from the middle of the hips, which have no place in a picture. Three
layouts are read, see ``docs/import/mediapipe.md``: tables with a landmark a row, tables with a
frame a row, JSON with a list of frames. Frames are those that the file numbers (from 0, or from 1
by ``--first-frame``), otherwise its rows or entries, one for each frame of the video.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from vaclip.errors import VaclipError
from vaclip.importers.base import Export, Importer
from vaclip.importers.poses.mediapipe_json import frames_of_json
from vaclip.importers.poses.people import (
    Person,
    PoseVideo,
    add_pose_options,
    cell_number,
    first_frame,
    frame_number,
    join,
    poses_export,
)
from vaclip.importers.reading import (
    SourceFile,
    Table,
    decode_text,
    parse_json,
    parse_table,
    source_files,
)
from vaclip.importers.video_sizes import VideoSizes
from vaclip.importers.video_template import templated

LANDMARKS = tuple(
    "nose left_eye_inner left_eye left_eye_outer right_eye_inner right_eye right_eye_outer "
    "left_ear right_ear mouth_left mouth_right left_shoulder right_shoulder left_elbow "
    "right_elbow left_wrist right_wrist left_pinky right_pinky left_index right_index left_thumb "
    "right_thumb left_hip right_hip left_knee right_knee left_ankle right_ankle left_heel "
    "right_heel left_foot_index right_foot_index".split()
)
_HIPS = [LANDMARKS.index("left_hip"), LANDMARKS.index("right_hip")]
_SUFFIXES = (".csv", ".tsv", ".txt", ".json")
_LAYOUTS = (
    "columns frame, landmark, x, y, visibility (a landmark a row); columns NAME_x, NAME_y, "
    "NAME_visibility or x0, y0, v0 ... x32, y32, v32 (a frame a row); or JSON with a list of "
    "frames, each with its 33 landmarks"
)
_FRAME = ("frame", "frame_index", "frame_idx", "frame_number", "frame_num", "frame_no", "frame_id")
_LANDMARK = (
    "landmark", "landmark_name", "landmark_id", "landmark_index", "landmark_idx", "joint",
    "joint_name", "keypoint", "keypoint_name",
)  # fmt: skip
_VISIBILITY = ("visibility", "vis", "v")
_WHO = ("person", "person_id", "track", "track_id")
_VIDEO = ("video", "video_name", "video_file", "filename", "file_name")
_AXES = {"x": 0, "y": 1, **dict.fromkeys(_VISIBILITY, 2)}
_AXIS = "|".join(_AXES)
_COLUMNS = (  # of a frame a row: axis and landmark, which is a name or a number
    re.compile(rf"(?P<axis>{_AXIS})_?(?P<landmark>\d{{1,3}})"),
    re.compile(rf"(?:pose_)?(?:landmark|lm|keypoint|kp|joint)?_?(?P<landmark>\d{{1,3}})_(?P<axis>{_AXIS})"),
    re.compile(rf"(?P<landmark>[a-z_]+)_(?P<axis>{_AXIS})"),
    re.compile(rf"(?P<axis>{_AXIS})_(?P<landmark>[a-z_]+)"),
)  # fmt: skip
_ENDING = re.compile(r"(?<=.)[_.-](?:(?:mediapipe|blazepose|pose|landmarks|keypoints)[_.-]?)+$")
_FURTHEST = 10.0  # widths of the picture: fractions of a person stay below, pixels do not
_METRES = 0.05  # how far from 0, 0 world landmarks have the middle of the hips


@dataclass
class _Found:
    """What a file says of one video, before it is known how large its pictures are.

    Attributes:
        video: Its name.
        where: For messages.
        numbered: Whether the file numbers frames, so that it may leave some out.
        last: The highest frame number.
        first: The lowest one.
        people: (33, 3) x, y and visibility by frame number and person; NaN where there is none.
        told_apart: Whether the names of people are the file's.
    """

    video: str
    where: str
    numbered: bool = True
    last: int = -1
    first: int = 1 << 30
    people: dict[tuple[int, str], NDArray[np.float64]] = field(default_factory=dict)
    told_apart: bool = False

    def saw(self, frame: int) -> None:
        self.first, self.last = min(frame, self.first), max(frame, self.last)


class MediaPipeImporter(Importer):
    """Reads tables and JSON of landmarks, one file a video unless a column names the videos."""

    summary = "MediaPipe Pose (BlazePose): tables or JSON of the 33 landmarks in each frame"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        group = add_pose_options(parser, video=True, first_frame=True)
        group.add_argument(
            "--keypoint-unit",
            choices=("fraction", "pixel"),
            default="fraction",
            help="what x and y count (default: fraction of the picture)",
        )

    def read(self, sources: Sequence[Path], options: argparse.Namespace) -> Export:
        dropped: Counter[str] = Counter()
        found = []
        for source in sources:
            if source.is_file() and source.suffix.lower() not in (*_SUFFIXES, ".zip"):
                raise VaclipError(f"{source.name}: not read; write {_LAYOUTS}, as .csv or .json")
            for file in source_files(source, _SUFFIXES):
                found += _read(file, options.encoding, dropped)
        if options.video and len(found) == 1:
            found[0].video = options.video
        sizes = VideoSizes(options)
        videos = [_placed(one, sizes, options) for one in found]
        return poses_export(videos, options, dropped)


def _read(file: SourceFile, encoding: str | None, dropped: Counter[str]) -> list[_Found]:
    path = PurePosixPath(file.name)
    video = str(path.parent / _ENDING.sub("", path.stem))
    if path.suffix.lower() == ".json":
        found = [_of_json(file, _Found(video, file.name))]
    else:
        table = parse_table(decode_text(file.read(), file.name, encoding), file.name)
        columns = {_plain(title): title for title in table.header}
        if any(name in columns for name in _LANDMARK) and {"x", "y"} <= set(columns):
            found = _of_landmarks(table, columns, video)
        else:
            found = _of_frames(table, columns, video, dropped)
    if not any(one.people for one in found):
        raise VaclipError(f"{file.name}: nobody is in it; it must have {_LAYOUTS}")
    return found


def _plain(title: str) -> str:
    """Returns a title in lower case, its words parted by ``_``."""
    return re.sub(r"[^a-z0-9]+", "_", title.casefold()).strip("_")


def _of_json(file: SourceFile, found: _Found) -> _Found:
    content = parse_json(file.read(), file.name)
    found.numbered, frames = frames_of_json(content, file.name, LANDMARKS)
    for frame, people in frames.items():
        found.saw(frame)
        found.people |= {(frame, str(number)): one for number, one in enumerate(people)}
    return found


# --- tables --------------------------------------------------------------------------------------


def _one_of(columns: dict[str, str], names: Sequence[str]) -> str | None:
    return next((columns[name] for name in names if name in columns), None)


def _video_rows(
    table: Table, columns: dict[str, str], video: str
) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Yields where each row stands, the name of its video, and its cells."""
    title = _one_of(columns, _VIDEO)
    for number, row in table.rows:
        where = f"{table.name}:{number}"
        name = row[title] if title else video
        if not name:
            raise VaclipError(f"{where}: the cell of '{title}' is empty")
        yield where, name, row


def _of_landmarks(table: Table, columns: dict[str, str], video: str) -> list[_Found]:
    """Reads a table with a landmark a row."""
    frame, landmark = _one_of(columns, _FRAME), _one_of(columns, _LANDMARK)
    if frame is None or landmark is None:
        raise VaclipError(f"{table.name}: no column numbers the frames; call it 'frame'")
    x, y, seen = columns["x"], columns["y"], _one_of(columns, _VISIBILITY)
    who = _one_of(columns, _WHO)
    places = _places({row[landmark] for _, row in table.rows} - {""}, table.name)
    found: dict[str, _Found] = {}
    for where, name, row in _video_rows(table, columns, video):
        one = found.setdefault(name, _Found(name, table.name, told_apart=who is not None))
        at = frame_number(row[frame], where)
        one.saw(at)
        if not row[landmark]:  # a frame without anybody
            continue
        person = one.people.setdefault((at, row[who] if who else ""), np.full((33, 3), np.nan))
        place = places[row[landmark]]
        if not np.isnan(person[place]).all():
            raise VaclipError(
                f"{where}: a second '{row[landmark]}' of one person in frame {row[frame]}; where "
                "several people are written, tell them apart in a column 'person'"
            )
        texts = row[x], row[y], row[seen] if seen else "1"
        person[place] = [cell_number(text, where) for text in texts]
    return list(found.values())


def _places(landmarks: set[str], name: str) -> dict[str, int]:
    """Returns the places of landmarks that are named or numbered, from 0 or from 1."""
    if not all(text.isascii() and text.isdigit() and len(text) < 4 for text in landmarks):
        plain = {text: _plain(text).removeprefix("poselandmark_") for text in landmarks}
        if unknown := sorted(text for text, one in plain.items() if one not in LANDMARKS):
            raise VaclipError(
                f"{name}: '{unknown[0][:40]}' is no landmark of MediaPipe Pose (as: left_hip, or "
                "23); hands and faces have no place here"
            )
        return {text: LANDMARKS.index(one) for text, one in plain.items()}
    numbers = {text: int(text) for text in landmarks}
    low, high = min(numbers.values(), default=0), max(numbers.values(), default=0)
    if high > 33 or (high == 33 and low == 0) or (low > 0 and high < 33):
        raise VaclipError(
            f"{name}: landmarks are numbered {low} to {high}; expected MediaPipe Pose's 0 to 32 "
            "(or 1 to 33): write those of the pose alone, without hands and face, or by name"
        )
    return {text: number - (high == 33) for text, number in numbers.items()}


def _of_frames(
    table: Table, columns: dict[str, str], video: str, dropped: Counter[str]
) -> list[_Found]:
    """Reads a table with a frame a row."""
    cells = {}
    for plain, title in columns.items():
        matches = filter(None, (pattern.fullmatch(plain) for pattern in _COLUMNS))
        for match in matches:
            if match["landmark"].isdigit() or match["landmark"] in LANDMARKS:
                cells[title] = match["landmark"], _AXES[match["axis"]]
                break
    places = _places({landmark for landmark, _ in cells.values()}, table.name)
    at = {title: (places[landmark], axis) for title, (landmark, axis) in cells.items()}
    taken = set(at.values())
    if not taken or len(taken) < len(at):
        raise VaclipError(f"{table.name}: no columns of landmarks are known; expected {_LAYOUTS}")
    jointed = {place for place, _ in taken}
    if wrong := [p for p in jointed if not {(p, 0), (p, 1)} <= taken]:
        raise VaclipError(f"{table.name}: '{LANDMARKS[wrong[0]]}' has not both x and y")
    dropped["landmarks of MediaPipe that the tables do not have"] += 33 - len(jointed)
    unseen = [place for place in jointed if (place, 2) not in taken]
    frame, who = _one_of(columns, _FRAME), _one_of(columns, _WHO)
    found: dict[str, _Found] = {}
    for where, name, row in _video_rows(table, columns, video):
        one = found.setdefault(
            name, _Found(name, table.name, numbered=frame is not None, told_apart=who is not None)
        )
        shown = frame_number(row[frame], where) if frame else one.last + 1
        one.saw(shown)
        person = np.full((33, 3), np.nan)
        person[unseen, 2] = 1.0
        for column, place in at.items():
            person[place] = cell_number(row[column], where)
        if (key := (shown, row[who] if who else "")) in one.people:
            raise VaclipError(
                f"{where}: a second row of frame {shown}; where several people are written, tell "
                "them apart in a column 'person'"
            )
        if np.isfinite(person[:, 0]).any():
            one.people[key] = person
    return list(found.values())


# --- what is found, in pixels --------------------------------------------------------------------


def _placed(found: _Found, sizes: VideoSizes, options: argparse.Namespace) -> PoseVideo:
    """Returns the people of a video in its pixels; one that no clip has is listed by the merger."""
    first = 0
    if found.numbered:
        first = first_frame(found.first, options.first_frame, found.where)
    people = np.stack(list(found.people.values())) if found.people else np.zeros((0, 33, 3))
    _check(people, found.where, options.keypoint_unit)
    size = sizes.find(templated(options, found.video) or found.video)
    height, width = size or (1, 1)
    scale = (1, 1) if options.keypoint_unit == "pixel" else (width, height)
    video = PoseVideo(found.video, LANDMARKS, found.where, open_ended=found.numbered)
    video.frames = frame_number(found.last, found.where, first) + 1
    for (frame, who), one in zip(found.people, people, strict=True):
        joints = join(one[:, :2] * scale, one[:, 2], f"{found.where}: frame {frame}")
        if joints[:, 2].any():
            track = who or None if found.told_apart else None
            video.people[frame - first].append(Person(joints, track))
    return video


def _check(people: NDArray[np.float64], where: str, unit: str) -> None:
    """Refuses what is no place in a picture, or no confidence."""
    seen = people[..., 2][np.isfinite(people[..., 2])]
    if len(seen) and not (seen.min() >= 0 and seen.max() <= 1):
        raise VaclipError(
            f"{where}: a visibility is {seen[(seen < 0) | (seen > 1)][0]:.6g}, but MediaPipe's "
            "lie in 0 to 1; where they are arguments of a sigmoid, apply it"
        )
    places = people[..., :2][np.isfinite(people[..., :2])]
    if unit == "pixel" or not len(places):
        return
    if np.abs(places).max() > _FURTHEST:
        raise VaclipError(
            f"{where}: a coordinate is {places[np.abs(places).argmax()]:.6g}, which is no fraction "
            "of the picture; where x and y are pixels of the video, say --keypoint-unit pixel"
        )
    hips = people[:, _HIPS, :2].mean(axis=1)
    hips = hips[np.isfinite(hips).all(axis=1)]
    if len(hips) and (np.abs(hips) < _METRES).all():
        raise VaclipError(
            f"{where}: the hips lie at 0, 0 in every frame: these are world landmarks, which have "
            "no place in the picture; write pose_landmarks, not pose_world_landmarks"
        )
