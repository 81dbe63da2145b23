"""Which frame of which clip a picture is, by the names of the pictures that videos were made of."""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from vaclip.errors import VaclipError
from vaclip.files import inside_folder, read_json
from vaclip.importers.names import composed
from vaclip.importers.plan import PICTURES, VIDEOS, read_rows, video_in_study
from vaclip.importers.tables.table import read_clips


class PictureNames:
    """The pictures of the study's clips, and of those that ``--clips`` brings."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._frames: dict[str, set[tuple[str, int]]] = defaultdict(set)
        self.counts: dict[str, int] = {}
        """How many pictures a video was made of, by its path in the study."""
        for video, names in _series(options):
            self.counts[video] = len(names)
            folder = PurePosixPath(video).relative_to(VIDEOS).with_suffix("")
            for frame, name in enumerate(names):
                for tail in _tails(str(folder / name)):
                    self._frames[tail].add((video, frame))

    def find(self, name: str) -> tuple[str, int] | None:
        """Returns the video's path in the study, and the frame; None where not one fits.

        A name counts with its folders, as many of them as are known; the longest part decides.
        """
        for tail in _tails(name.replace("\\", "/")):
            if found := self._frames.get(tail):
                return next(iter(found)) if len(found) == 1 else None
        return None


def _series(options: argparse.Namespace) -> Iterator[tuple[str, list[str]]]:
    root: Path = options.into
    for video in dict.fromkeys(row["video"] for row in read_rows(root, "clips.csv")):
        path = PurePosixPath(video)
        if path.parts[0] != VIDEOS:
            continue
        below = path.relative_to(VIDEOS)
        listed = inside_folder(root, f"{PICTURES}/{below}.json")
        if listed.is_file():
            names = read_json(listed, listed.name)
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise VaclipError(f"{listed.name}: expected a list of the names of pictures")
            yield video, names
    if options.clips is not None:
        for clip in read_clips(options.clips, options).clips:
            if clip.recording is not None and clip.recording.names:
                yield video_in_study(root, clip), list(clip.recording.names)


def _tails(name: str) -> list[str]:
    """Returns a path and its ends, the longest first."""
    parts = composed(name).strip("/").split("/")
    return ["/".join(parts[number:]) for number in range(len(parts))]
