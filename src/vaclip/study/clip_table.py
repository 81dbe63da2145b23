"""Clips as columns: a study of a million is a table, and a `Clip` is made when it is asked for."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, overload

from vaclip.study.study import Clip

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")
CLIP_FACTS = ("clip_id", "patient_id", "label", "session", "site")
"""The columns of a `ClipTable`."""


class MadeOnRequest(Sequence[T]):
    """A sequence that keeps none of its elements."""

    @abstractmethod
    def make(self, position: int) -> T:
        """Returns the element at a position from 0."""

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        places = range(len(self))[index]  # fails as a list does
        return self.make(places) if isinstance(places, int) else [*map(self.make, places)]


class ClipTable(MadeOnRequest[Clip]):
    """Clips from columns of text.

    Args:
        table: With the columns `CLIP_FACTS`, of text or of text in a dictionary.
        where: What to call it in messages.
    """

    def __init__(self, table: pa.Table, where: str = "") -> None:
        self._table = table.select(CLIP_FACTS)
        # A chunk each, since a value of a chunked column takes several times as long to find.
        self._columns = {name: self._table[name].combine_chunks() for name in CLIP_FACTS}
        self._where = where

    def __len__(self) -> int:
        return self._table.num_rows

    def make(self, position: int) -> Clip:
        """Returns a clip, which has no video."""
        told = {name: column[position].as_py() for name, column in self._columns.items()}
        extra = {name: told.pop(name) for name in ("session", "site")}
        return Clip(**told, video=Path(), where=f"{self._where}:{position}", extra=extra)

    def column(self, name: str) -> Sequence[str]:
        """Returns one of `CLIP_FACTS` of each clip."""
        return _Texts(self._columns[name])

    def distinct(self, names: Sequence[str]) -> list[tuple[str, ...]]:
        """Returns the different values that some of `CLIP_FACTS` have together."""
        found = self._table.group_by(list(names)).aggregate([])
        return list(zip(*(found[name].to_pylist() for name in names), strict=True))


class _Texts(MadeOnRequest[str]):
    def __init__(self, column: pa.Array) -> None:
        self._column = column

    def __len__(self) -> int:
        return len(self._column)

    def make(self, position: int) -> str:
        return self._column[position].as_py()


def clip_column(clips: Sequence[Clip], name: str) -> Sequence[str]:
    """Returns one of `CLIP_FACTS` of each clip, without a clip each where they are a table."""
    if isinstance(clips, ClipTable):
        return clips.column(name)
    return [getattr(clip, name) for clip in clips]


def distinct_facts(clips: Sequence[Clip], *names: str) -> list[tuple[str, ...]]:
    """Returns the different values that some of `CLIP_FACTS` have together, in any order."""
    if isinstance(clips, ClipTable):
        return clips.distinct(names)
    return list({tuple(getattr(clip, name) for name in names): None for clip in clips})
