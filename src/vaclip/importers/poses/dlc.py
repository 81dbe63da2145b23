"""``dlc``: predictions of DeepLabCut for videos, one CSV or HDF5 file each.

Facts from DeepLabCut's documentation ("Standard User Guide", Video Analysis; "maDLC User Guide")
and the files that ``analyze_videos(..., save_as_csv=True)`` writes: header rows ``scorer``,
``individuals`` (only multi-animal), ``bodyparts``, ``coords``; then one row for each frame of the
video, numbered from 0; a file name of the video's, the scorer, and what was done afterwards.
"""

from __future__ import annotations

import argparse
import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from io import StringIO
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from vaclip.errors import VaclipError
from vaclip.importers.base import Export, Importer
from vaclip.importers.poses.dlc_hdf5 import head_and_values
from vaclip.importers.poses.hdf5 import SUFFIXES, hdf5_arrays
from vaclip.importers.poses.people import (
    Person,
    PoseVideo,
    add_pose_options,
    frame_number,
    join,
    joint_names,
    poses_export,
)
from vaclip.importers.reading import SourceFile, decode_text, source_files

_COORDS = ("x", "y", "likelihood")
_UNIQUE = "single"  # DeepLabCut's "individual" of body parts that are nobody's


class DLCImporter(Importer):
    """Reads one CSV or HDF5 file a video, of one or several individuals."""

    summary = "DeepLabCut: predictions of videos (HDF5 or CSV)"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        add_pose_options(parser, video=True)

    def read(self, sources: Sequence[Path], options: argparse.Namespace) -> Export:
        dropped: Counter[str] = Counter()
        videos = []
        for source in sources:
            if source.suffix.lower() in (".pickle", ".pkl"):
                raise VaclipError(
                    f"{source.name}: no pickle is read; name the .h5 or .csv file that "
                    "deeplabcut.analyze_videos wrote (of several individuals, stitch_tracklets)"
                )
            files = source_files(source, (".csv", *SUFFIXES))
            tables = {
                PurePosixPath(file.name).with_suffix("") for file in files if not _is_hdf5(file)
            }
            for file in files:
                if _is_hdf5(file) and PurePosixPath(file.name).with_suffix("") in tables:
                    dropped["HDF5 files beside a CSV file of the same name"] += 1
                else:
                    videos.append(_video(file, options.encoding, dropped))
        return poses_export(videos, options, dropped)


def _is_hdf5(file: SourceFile) -> bool:
    return PurePosixPath(file.name).suffix.lower() in SUFFIXES


def _video(file: SourceFile, encoding: str | None, dropped: Counter[str]) -> PoseVideo:
    if _is_hdf5(file):
        head, values = head_and_values(hdf5_arrays(file, "dlc"), file.name)
        return _people(_checked(head, file.name), values, file.name, dropped)
    text = decode_text(file.read(), file.name, encoding)
    rows = csv.reader(StringIO(text, newline=""), strict=True)
    try:
        head = _head(rows, file.name)
        return _people(head, _rows(rows, len(head["coords"]), file.name), file.name, dropped)
    except csv.Error as error:
        raise VaclipError(f"{file.name}: cannot be read as CSV: {error}") from error


def _people(
    head: dict[str, list[str]],
    rows: Iterable[NDArray[np.float64]],
    name: str,
    dropped: Counter[str],
) -> PoseVideo:
    """Returns the individuals of a file, from its header and the values of each frame."""
    columns = _columns(head, name, dropped)
    path = PurePosixPath(name)
    scorer = head["scorer"][0]
    # The first row repeats the network's name, which the file name has behind the video's.
    title = path.stem.partition(scorer if scorer in path.stem else "DLC_")[0]
    names = next(iter(columns.values()))[0]
    video = PoseVideo(str(path.parent / (title or path.stem)), names, name)
    for frame, values in enumerate(rows):
        for who, (_, places) in columns.items():
            one = values[places].reshape(-1, 3)
            person = join(one[:, :2], one[:, 2], f"{name}: frame {frame}")
            if person[:, 2].any():
                video.people[frame].append(Person(person, who or None))
        video.frames = frame + 1
    if not video.frames:
        raise VaclipError(f"{name}: there is no frame below the header")
    return video


def _head(rows: Iterator[list[str]], name: str) -> dict[str, list[str]]:
    """Reads the header rows, by what their first cell says."""
    head: dict[str, list[str]] = {}
    for cells in rows:
        what, *values = (cell.strip() for cell in cells) if cells else ("",)
        if what not in ("scorer", "individuals", "bodyparts", "coords"):
            break
        head[what] = values
        if what == "coords":
            break
    return _checked(head, name)


def _checked(head: dict[str, list[str]], name: str) -> dict[str, list[str]]:
    lengths = {len(values) for values in head.values()}
    if not {"scorer", "bodyparts", "coords"} <= set(head) or len(lengths) != 1 or 0 in lengths:
        raise VaclipError(
            f"{name}: expected DeepLabCut's header rows scorer, bodyparts and coords, of one length"
        )
    if "likelihood" not in head["coords"]:
        raise VaclipError(
            f"{name}: there is no column 'likelihood': these are labelled pictures, not the "
            "predictions of a video; run deeplabcut.analyze_videos(..., save_as_csv=True)"
        )
    return head


def _columns(
    head: dict[str, list[str]], name: str, dropped: Counter[str]
) -> dict[str, tuple[tuple[str, ...], NDArray[np.intp]]]:
    """Returns body parts and the places of their x, y, likelihood by individual."""
    whose = head.get("individuals", [""] * len(head["coords"]))
    found = {}
    for who in dict.fromkeys(whose):
        places = [place for place, one in enumerate(whose) if one == who]
        parts = [head["bodyparts"][place] for place in places]
        if tuple(head["coords"][place] for place in places) != _COORDS * (len(places) // 3):
            raise VaclipError(f"{name}: each body part must have the columns {', '.join(_COORDS)}")
        if parts[0::3] != parts[1::3] or parts[0::3] != parts[2::3]:
            raise VaclipError(f"{name}: the columns of a body part must stand side by side")
        if who == _UNIQUE and len(set(whose)) > 1:
            dropped["body parts that belong to no individual"] += len(parts) // 3
            continue
        found[who] = joint_names(parts[::3], f"{name}: bodyparts"), np.array(places)
    if len({names for names, _ in found.values()}) != 1:
        raise VaclipError(f"{name}: the individuals have different body parts")
    return found


def _rows(rows: Iterator[list[str]], columns: int, name: str) -> Iterator[NDArray[np.float64]]:
    for expected, cells in enumerate(rows):
        where = f"{name}: frame {expected}"
        if not cells or frame_number(cells[0], where) != expected:
            raise VaclipError(f"{where}: frames must be numbered 0, 1, 2, ... without a gap")
        if len(cells) != columns + 1:
            raise VaclipError(f"{where}: {len(cells)} cells under a header of {columns + 1}")
        try:
            yield np.array([float(cell or "nan") for cell in cells[1:]])
        except ValueError as error:
            raise VaclipError(f"{where}: {error}") from error
