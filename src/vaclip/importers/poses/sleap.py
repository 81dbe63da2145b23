"""``sleap``: SLEAP's analysis files, HDF5 or CSV, one for each video, and its projects.

Facts from sleap/info/write_tracking_h5.py, sleap/io/format/sleap_analysis.py and sleap-io's
io/analysis_h5.py and io/csv.py. Frames are counted from 0 as they are decoded. Both forms end with
the last frame that has anybody; the CSV file leaves out empty frames before it too. Somebody whom
a person labelled has coordinates without a score: that is taken as confidence 1.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaclip.errors import VaclipError
from vaclip.importers.base import Export, Importer
from vaclip.importers.poses.hdf5 import SUFFIXES, hdf5_arrays
from vaclip.importers.poses.people import (
    Person,
    PoseVideo,
    add_pose_options,
    cell_number,
    frame_number,
    join,
    joint_names,
    poses_export,
)
from vaclip.importers.poses.sleap_project import project_videos
from vaclip.importers.reading import SourceFile, decode_text, parse_table, source_files

_MATLAB = ("track", "xy", "node", "frame")  # how SLEAP stores tracks; sleap-io says it in "dims"
_NUMBERED = re.compile(r"(?:.*\.)?\d{3}_(?=.)")  # PROJECT.000_VIDEO.analysis.csv


class SleapImporter(Importer):
    """Reads projects, and one analysis file a video."""

    summary = "SLEAP: projects (.slp), or analysis files of videos (HDF5 or CSV)"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        add_pose_options(parser, video=True)

    def read(self, sources: Sequence[Path], options: argparse.Namespace) -> Export:
        dropped: Counter[str] = Counter()
        suffixes = (".csv", ".slp", *SUFFIXES)
        files = [file for source in sources for file in source_files(source, suffixes)]
        videos = [one for file in files for one in _videos(file, options.encoding, dropped)]
        return poses_export(videos, options, dropped)


def _videos(file: SourceFile, encoding: str | None, dropped: Counter[str]) -> list[PoseVideo]:
    if PurePosixPath(file.name).suffix.lower() not in (".slp", *SUFFIXES):
        return [_from_csv(file, encoding)]
    arrays = hdf5_arrays(file, "sleap")
    if "metadata" in arrays:
        return project_videos(arrays, file.name, dropped)
    return [_from_analysis(file, arrays)]


def _name(file: SourceFile) -> str:
    """Returns the video's name: ``PROJECT.000_VIDEO.analysis.csv`` is what SLEAP suggests."""
    path = PurePosixPath(file.name)
    return str(path.parent / _NUMBERED.sub("", path.stem.removesuffix(".analysis"), count=1))


# --- CSV -----------------------------------------------------------------------------------------


def _from_csv(file: SourceFile, encoding: str | None) -> PoseVideo:
    table = parse_table(decode_text(file.read(), file.name, encoding), file.name)
    for column in ("track", "frame_idx"):
        table.require(column)
    nodes = [name.removesuffix(".x") for name in table.header if name.endswith(".x")]
    for node in nodes:
        table.require(f"{node}.y")
    names = joint_names(nodes, f"{file.name}: columns NODE.x")
    video = PoseVideo(_name(file), names, file.name, open_ended=True)
    for number, row in table.rows:
        where = f"{file.name}:{number}"
        frame = frame_number(row["frame_idx"], where)
        points = [[cell_number(row[f"{node}.{axis}"], where) for axis in "xy"] for node in nodes]
        scores = [cell_number(row.get(f"{node}.score", ""), where) for node in nodes]
        _add(video, frame, row["track"] or None, np.array(points), np.array(scores))
        video.frames = max(video.frames, frame + 1)
    if not video.frames:
        raise VaclipError(f"{file.name}: there is no row below the header")
    return video


def _add(
    video: PoseVideo,
    frame: int,
    track: str | None,
    points: NDArray[np.float64],
    scores: NDArray[np.float64],
) -> None:
    joints = join(points, np.where(np.isnan(scores), 1.0, scores), f"{video.where}: frame {frame}")
    if joints[:, 2].any():
        video.people[frame].append(Person(joints, track))


# --- HDF5 ----------------------------------------------------------------------------------------


def _from_analysis(file: SourceFile, arrays: Mapping[str, NDArray[Any]]) -> PoseVideo:
    points, scores = arrays["tracks"], arrays["point_scores"]
    dims = _dims(str(arrays["dims"]), file.name)
    if points.ndim != 4 or points.shape[dims.index("xy")] != 2 or scores.ndim != 3:
        raise VaclipError(
            f"{file.name}: 'tracks' has shape {points.shape}, 'point_scores' {scores.shape}; "
            "expected (tracks, 2, nodes, frames) and (tracks, nodes, frames)"
        )
    points = points.transpose([dims.index(dim) for dim in ("frame", "track", "node", "xy")])
    flat = [dim for dim in dims if dim != "xy"]
    scores = scores.transpose([flat.index(dim) for dim in ("frame", "track", "node")])
    nodes, who, paths = (
        [decode_text(value, file.name, "utf-8") for value in arrays[key].tolist()]
        for key in ("node_names", "track_names", "video_path")
    )
    names = joint_names(nodes, f"{file.name}: 'node_names'")
    who = who or [""]
    if points.shape[1:3] != (len(who), len(names)) or scores.shape != points.shape[:3]:
        raise VaclipError(
            f"{file.name}: tracks of shape {points.shape} and scores of shape {scores.shape} do "
            f"not fit {len(who)} tracks and {len(names)} nodes"
        )
    video = PoseVideo(next(filter(None, paths), _name(file)), names, file.name, open_ended=True)
    video.frames = frame_number(len(points), file.name)
    for frame, track in np.argwhere(np.isfinite(points).any(axis=(2, 3))).tolist():
        _add(video, frame, who[track] or None, points[frame, track], scores[frame, track])
    return video


def _dims(stored: str, name: str) -> tuple[str, ...]:
    """Returns the order of the axes, which sleap-io states."""
    if not stored:
        return _MATLAB
    try:
        dims = json.loads(stored)
    except (ValueError, RecursionError) as error:
        raise VaclipError(f"{name}: 'dims' of 'tracks' cannot be read: {error}") from error
    if not isinstance(dims, list) or sorted(map(str, dims)) != sorted(_MATLAB):
        raise VaclipError(f"{name}: 'dims' of 'tracks' must list {', '.join(_MATLAB)}")
    return tuple(dims)
