"""Which clips an export means: names are compared exactly, never by parts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath


class VideoNames:
    """Finds clips by their id, or by their video's path, file name, or name without suffix.

    Example:
        >>> names = VideoNames([("c1", "videos/a/cine.avi"), ("c2", "videos/b/cine.avi")])
        >>> names.find("a/cine.avi")
        ['c1']
        >>> names.find("cine.avi")  # which of the two?
        []
    """

    def __init__(self, clips: Sequence[tuple[str, str]]) -> None:
        self._clips: dict[str, list[str]] = defaultdict(list)
        self._ids = {clip_id for clip_id, _ in clips}
        levels: tuple[dict[str, set[str]], ...] = tuple(defaultdict(set) for _ in range(4))
        for clip_id, video in clips:
            self._clips[video].append(clip_id)
            path = PurePosixPath(video)
            below = path.relative_to(path.parts[0]) if len(path.parts) > 1 else path
            for level, name in zip(
                levels,
                (video, str(below), path.name, path.stem),
                strict=True,
            ):
                level[name].add(video)
            levels[1][str(below.parent / below.stem)].add(video)
        self._levels = levels

    def find(self, name: str) -> list[str]:
        """Returns the clips that are meant; none where nothing or more than one video fits."""
        if name in self._ids:
            return [name]
        posix = name.replace("\\", "/")
        file_name = posix.rpartition("/")[2]
        for level in self._levels:
            for candidate in dict.fromkeys((posix, file_name)):
                if videos := level.get(candidate):
                    return self._clips[next(iter(videos))] if len(videos) == 1 else []
        return []

    def clips(self, name: str, where: str, unmatched: list[str]) -> list[str]:
        """As `find`, and adds a line to ``unmatched`` where nothing was found."""
        found = self.find(name)
        if not found:
            unmatched.append(f"{where}: no clip, or more than one video, is named '{name}'")
        return found
