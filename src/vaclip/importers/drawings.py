"""What importers of drawings share: wanted labels, sizes of videos, shapes that can be drawn."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from pathlib import Path

from vaclip.data.video import timed_frames, upright_size
from vaclip.errors import VaclipError, did_you_mean
from vaclip.files import inside_folder
from vaclip.importers.names import VideoNames
from vaclip.importers.plan import read_rows
from vaclip.importers.table import read_clips
from vaclip.maps.shapes import Shapes, parse_shapes, shapes_json

MOST_FRAMES = 1_000_000
"""Frames of a video that an export may speak of."""
_UNMATCHED = (100, 100)  # the size of a video that the study does not have: nobody draws on it


def add_label_option(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Adds ``--label``, and returns the group for further flags of drawings."""
    group = parser.add_argument_group("which drawings")
    group.add_argument("--label", action="append", default=[], metavar="NAME",
                       help="take only shapes of this label; repeatable")  # fmt: skip
    return group


def check_labels(wanted: Collection[str], present: Collection[str]) -> None:
    """Raises a VaclipError where a label is wanted that no shape has."""
    for name in wanted:
        if name not in present:
            known = ", ".join(sorted(present)) or "none"
            raise VaclipError(
                f"--label {name}: no shape has it (labels: {known}).{did_you_mean(name, present)}"
            )


def checked_shapes(shapes: Shapes, where: str) -> Shapes:
    """Returns the shapes if they can be written, read back and drawn.

    Raises:
        VaclipError: Otherwise; the message begins with ``where``.
    """
    try:
        parse_shapes(shapes_json(shapes))
    except VaclipError as error:
        raise VaclipError(f"{where}: {error}") from error
    return shapes


class VideoSizes:
    """Sizes of the videos of clips, for exports that give only fractions of them."""

    def __init__(self, options: argparse.Namespace) -> None:
        clips = read_clips(options.clips, options).clips if options.clips else ()
        self._paths = {clip.clip_id: (clip.name, clip.video) for clip in clips}
        for row in read_rows(options.into, "clips.csv"):
            path = inside_folder(options.into, row["video"])
            self._paths.setdefault(row["clip_id"], (row["video"], path))
        self._names = VideoNames([(clip, name) for clip, (name, _) in self._paths.items()])
        self._known: dict[Path, tuple[int, int]] = {}

    def find(self, video: str) -> tuple[int, int]:
        """Returns (height, width), upright."""
        clips = self._names.find(video)
        if not clips:
            return _UNMATCHED
        path = self._paths[clips[0]][1]
        if path not in self._known:
            frame, _ = next(timed_frames(path), (None, 0.0))
            if frame is None:
                raise VaclipError(f"{path.name}: holds no picture")
            self._known[path] = upright_size(frame)
        return self._known[path]
