"""The known name that an unknown one most likely means, among many."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

_COMPARED = 500_000  # names, letter by letter, for all unknown ones together


class Suggestions:
    """Looks for a name of the same stem, then for one that ends alike, then by letters.

    Letters are compared for the first unknown names alone, so that a table whose every row is
    unknown takes no longer than one that is right.

    Args:
        known: The names: ids, files, or both.

    Examples:
        >>> near = Suggestions(["videos/P01_walk_02.mp4", "P02_walk_02"])
        >>> near.hint("p1-walk-2.avi"), near.hint("cut_P02_walk_02"), near.hint("other")
        (" Did you mean 'videos/P01_walk_02.mp4'?", " Did you mean 'P02_walk_02'?", '')
    """

    def __init__(self, known: Iterable[str]) -> None:
        self._known = list(dict.fromkeys(known))
        self._left = _COMPARED
        self._stems: dict[str, str] = {}
        self._ends: dict[str, str] = {}

    def hint(self, word: str) -> str:
        """Returns ``" Did you mean 'x'?"``, or an empty string."""
        if not self._stems:
            self._sort()
        whole, *endings = _endings(word)
        for stem in (whole, self._ends.get(whole, ""), *endings):
            if stem in self._stems:
                return f" Did you mean '{self._stems[stem]}'?"
        self._left -= len(self._stems)
        near = difflib.get_close_matches(whole, self._stems, n=1) if self._left >= 0 else []
        return f" Did you mean '{self._stems[near[0]]}'?" if near else ""

    def _sort(self) -> None:
        """Sorts the names by their stem, and the stems by how they end, if they alone do."""
        for name in self._known:
            whole, *endings = _endings(name)
            self._stems.setdefault(whole, name)
            for ending in endings:
                if self._ends.setdefault(ending, whole) != whole:
                    self._ends[ending] = ""


def _endings(name: str) -> list[str]:
    """Returns the words and numbers of a name without folder and suffix, from ever later on.

    Examples:
        >>> _endings("videos/P01_walk.mp4")
        ['p 1 walk', '1 walk', 'walk']
    """
    file_name = re.split(r"[/\\]", name.casefold())[-1]
    stem = re.sub(r"(?<=.)\.[^\W\d_]\w{0,4}$", "", file_name)
    parts = [part.lstrip("0") or "0" for part in re.findall(r"\d+|[^\W\d_]+", stem)]
    return [" ".join(parts[first:]) for first in range(len(parts))] or [stem]
