"""What lies in the cache, by study and source, and what is removed of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from vaclip.data.cache import META, clip_cache
from vaclip.files import cache_root

VIEWS, COHORT, UNFINISHED = "views", "cohort", "unfinished"
_ENTRIES = ("clips", "maps", "tokens", VIEWS)
KINDS = (*_ENTRIES, COHORT, UNFINISHED)


@dataclass(frozen=True)
class CacheEntry:
    """One folder of the cache, which may be deleted at any time.

    Attributes:
        path: The folder.
        kind: One of `KINDS`: decoded clips, drawn maps, tokens of a frozen encoder, what
            `vaclip view` shows, a generated cohort, or what a stopped process (or one that runs
            still) was writing.
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
    for path in sorted(root.glob("synthetic_gait/*")):
        kind = UNFINISHED if path.name.startswith(".tmp-") else COHORT
        yield CacheEntry(path, kind, "", "", _size(path))


def remove_entries(entries: Iterable[CacheEntry]) -> int:
    """Removes entries, and returns how many bytes they had."""
    freed = 0
    for entry in entries:
        shutil.rmtree(entry.path, ignore_errors=True)
        freed += entry.size
    return freed


def _about(path: Path) -> dict[str, str]:
    try:
        return json.loads((path / META).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # damaged: it is made anew where it is needed
        return {}


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
