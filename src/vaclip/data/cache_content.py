"""What lies in the cache, by study and source, and what is removed of it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from vaclip.data.cache import clip_cache
from vaclip.data.entries import META
from vaclip.files import cache_root, remove_folder
from vaclip.store import fetched_folder

VIEWS, COHORT, FETCHED, UNFINISHED = "views", "cohort", "fetched", "unfinished"
_ENTRIES = ("clips", "maps", "tokens", VIEWS)
KINDS = (*_ENTRIES, COHORT, FETCHED, UNFINISHED)
_FINISHED_S = 3600  # an unfinished entry that nobody wrote to for so long is left over


@dataclass(frozen=True)
class CacheEntry:
    """A folder or file of the cache, which may be deleted at any time.

    Attributes:
        path: Where it lies.
        kind: One of `KINDS`: decoded clips, drawn maps, tokens of a frozen encoder, what
            `vaclip view` shows, a generated cohort, copies of remote shards, or what a stopped
            process (or one that runs still) was writing.
        study: Name of the study that it was first made for; empty where it is not known.
        source: Of tokens, ``features.source``; else empty.
        size: In bytes.
    """

    path: Path
    kind: str
    study: str
    source: str
    size: int


def cache_entries(setting: str | None = None) -> Iterator[CacheEntry]:
    """Yields everything that lies in a cache folder.

    Args:
        setting: As of `vaclip.files.cache_root`.
    """
    root, segments = cache_root(setting), clip_cache(setting)
    for kind in _ENTRIES:
        for path in sorted(segments.glob(f"{kind}/*/*")):
            about = _about(path)
            if path.name.startswith(".tmp-"):
                yield CacheEntry(path, UNFINISHED, "", "", _size(path))
            else:
                yield CacheEntry(
                    path, kind, about.get("study", ""), about.get("source", ""), _size(path)
                )
    copies = fetched_folder(setting).glob("files/*/*")
    for kind, found in ((COHORT, root.glob("synthetic_gait/*")), (FETCHED, copies)):
        for path in sorted(found):
            shown = UNFINISHED if path.name.startswith(".tmp-") else kind
            yield CacheEntry(path, shown, "", "", _size(path))


def remove_entries(entries: Iterable[CacheEntry]) -> int:
    """Removes entries, and returns how many bytes they had.

    Those stay that are unfinished and were written to within the last hour: somebody, on whatever
    machine, may go on with them. What another machine is reading fails there with an error.
    """
    freed = 0
    for entry in entries:
        if entry.kind == UNFINISHED and _written(entry.path) > time.time() - _FINISHED_S:
            continue
        remove_folder(entry.path)
        freed += entry.size
    return freed


def _about(path: Path) -> dict[str, str]:
    try:
        return json.loads((path / META).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # damaged: it is made anew where it is needed
        return {}


def _files(path: Path) -> Iterator[os.stat_result]:
    """Yields the status of a file, or of each in a folder; others may remove them meanwhile."""
    inside = (Path(folder, name) for folder, _, names in os.walk(path) for name in names)
    for file in [path] if path.is_file() else inside:
        with suppress(FileNotFoundError):
            yield file.stat()


def _written(path: Path) -> float:
    """Returns when a folder or a file in it was last written."""
    with suppress(FileNotFoundError):
        return max([path.stat().st_mtime, *(file.st_mtime for file in _files(path))])
    return 0


def _size(path: Path) -> int:
    return sum(file.st_size for file in _files(path))
