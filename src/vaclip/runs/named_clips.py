"""Which clips are meant by the video files that a user names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from vaclip.data.cache import file_digest
from vaclip.study.study import Clip, Study


def bare_study(files: Sequence[Path]) -> Study:
    """Makes a study of videos of which nothing is known: a clip each, called by its path."""
    clips = tuple(Clip(str(file), file, "", "", where=str(file)) for file in files)
    return Study(Path(), "", (), {}, (), clips, {})


def clips_of(files: Sequence[Path], study: Study, scratch: Path) -> tuple[list[Clip], list[str]]:
    """Finds the clips of videos, by path, else by content.

    Args:
        files: The videos.
        study: Which has the clips.
        scratch: Where digests of files are kept.

    Returns:
        The clips, and a message for each file that the study does not know.
    """
    by_path: dict[Path, list[Clip]] = defaultdict(list)
    by_size: dict[int, list[Path]] = defaultdict(list)
    for clip in study.clips:
        if clip.video not in by_path:
            by_size[clip.video.stat().st_size].append(clip.video)
        by_path[clip.video].append(clip)
    clips: list[Clip] = []
    strays: list[str] = []
    for file in files:
        own = by_path.get(file.resolve())
        for video in by_size[file.stat().st_size] if own is None else ():
            if file_digest(video, scratch) == file_digest(file, scratch):
                own = by_path[video]
        if own is None:
            strays.append(f"{file}: clips.csv of the study {study.name} has no such video")
        else:
            clips += own
    return clips, strays
