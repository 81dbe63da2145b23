"""Which clips an export means: names are compared exactly, never by parts."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath

from vaclip.study.suggestions import Suggestions


class VideoNames:
    """Finds clips by their id, or by their video's path, file name, or name without suffix.

    Examples:
        >>> names = VideoNames([("c1", "videos/a/cine.avi"), ("c2", "videos/b/cine.avi")])
        >>> names.find("a/cine.avi")
        ['c1']
        >>> names.find("cine.avi")  # which of the two?
        []
    """

    def __init__(self, clips: Sequence[tuple[str, str]]) -> None:
        self._ids = {composed(clip_id): clip_id for clip_id, _ in clips}
        self._video = dict(clips)
        self._clips: dict[str, list[str]] = defaultdict(list)
        # Of paths with a folder, and of file names alone, each from the longest name on.
        self._paths: tuple[dict[str, set[str]], ...] = tuple(defaultdict(set) for _ in range(2))
        self._files: tuple[dict[str, set[str]], ...] = tuple(defaultdict(set) for _ in range(2))
        for clip_id, video in self._video.items():
            self._clips[video].append(clip_id)
            path = PurePosixPath(composed(video))
            below = path.relative_to(path.parts[0]) if len(path.parts) > 1 else path
            self._paths[0][str(path)].add(video)
            self._paths[1][str(below)].add(video)
            self._paths[1][str(below.parent / below.stem)].add(video)
            self._files[0][path.name].add(video)
            self._files[1][path.stem].add(video)
        self._near = Suggestions([*self._ids, *self._files[0]])

    def find(self, name: str, *, of_video: bool = False) -> list[str]:
        """Returns the clips that are meant; none where nothing or more than one video fits.

        A name that is the id of a clip and the name of another clip's video fits none.

        Args:
            name: As the export has it.
            of_video: Whether what was exported belongs to a whole video, and so to all its clips.
        """
        videos = self._named(name)
        clip_id = self._ids.get(composed(name))
        if clip_id is None:
            return self._clips[next(iter(videos))] if len(videos) == 1 else []
        if videos - {self._video[clip_id]}:
            return []
        return self._clips[self._video[clip_id]] if videos and of_video else [clip_id]

    def _named(self, name: str) -> set[str]:
        posix = composed(name).replace("\\", "/")
        folder, _, file_name = posix.rpartition("/")
        for level in self._paths if folder else ():
            if found := level.get(posix):
                return found
        for level in self._files:
            if found := level.get(file_name):
                return found
        return set()

    def clips(
        self, name: str, where: str, unmatched: list[str], *, of_video: bool = False
    ) -> list[str]:
        """As `find`, and adds a line to ``unmatched`` where nothing was found."""
        found = self.find(name, of_video=of_video)
        if not found:
            named = self._named(name)
            what = "more than one video is" if named else "no clip or video is"
            hint = "" if named else self._near.hint(name)
            unmatched.append(f"{where}: {what} named '{name}'.{hint}")
        return found


def composed(name: str) -> str:
    """Returns a name in Unicode's composed form: macOS takes accented letters apart."""
    return unicodedata.normalize("NFC", name)
