"""Sizes and rates of the videos that an export is about, for exports that do not say them."""

from __future__ import annotations

import argparse
from pathlib import Path

from vaclip.data.video import picture_size, timed_frames, upright_size
from vaclip.errors import VaclipError
from vaclip.files import inside_folder
from vaclip.importers.names import VideoNames
from vaclip.importers.plan import read_rows, video_in_study
from vaclip.importers.tables.table import read_clips
from vaclip.importers.videos.recording import Recording
from vaclip.media import open_video


def count_and_size(path: Path, made: Recording | None) -> tuple[int, tuple[int, int]]:
    """Returns how many pictures a video has, and their (height, width).

    Args:
        path: The file.
        made: How it will be made, where it is none yet.

    Raises:
        VaclipError: If it cannot be read.
    """
    if made is not None:
        height, width = next(made.pictures()).shape[:2]
        return len(made.seconds), (height, width)
    frames, size = 0, (0, 0)
    for frame, _ in timed_frames(path):
        frames, size = frames + 1, upright_size(frame)
    return frames, size


class VideoSizes:
    """The videos that the study has, or will have by ``--clips``."""

    def __init__(self, options: argparse.Namespace) -> None:
        videos = {
            row["clip_id"]: (row["video"], inside_folder(options.into, row["video"]))
            for row in read_rows(options.into, "clips.csv")
        }
        self._made: dict[Path, Recording] = {}
        if options.clips is not None:
            clips = read_clips(options.clips, options).clips
            videos |= {c.clip_id: (video_in_study(options.into, c), c.video) for c in clips}
            self._made = {c.video: c.recording for c in clips if c.recording is not None}
        self._names = VideoNames([(clip_id, name) for clip_id, (name, _) in videos.items()])
        self._paths = {clip_id: path for clip_id, (_, path) in videos.items()}
        self._sizes: dict[Path, tuple[int, int]] = {}

    def find(self, name: str) -> tuple[int, int] | None:
        """Returns (height, width), upright; None where no clip has the video.

        Raises:
            VaclipError: If it cannot be read.
        """
        if (path := self._path(name)) is None:
            return None
        if path not in self._sizes:
            made = self._made.get(path)
            height, width = next(made.pictures()).shape[:2] if made else picture_size(path)
            self._sizes[path] = (height, width)
        return self._sizes[path]

    def rate(self, name: str) -> float | None:
        """Returns pictures a second, as the file states; None where no clip has the video.

        Raises:
            VaclipError: If it cannot be read, or states none.
        """
        if (path := self._path(name)) is None:
            return None
        if (made := self._made.get(path)) is not None:
            return len(made.seconds) / sum(made.seconds)
        with open_video(path) as container:
            rate = container.streams.video[0].average_rate
        if not rate:
            raise VaclipError(f"{path.name}: the file states no frame rate")
        return float(rate)

    def _path(self, name: str) -> Path | None:
        found = self._names.find(name, of_video=True)
        return self._paths[found[0]] if found else None
