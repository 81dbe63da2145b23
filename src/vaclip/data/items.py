"""The clips of a study with the numbers that go into a batch: one by one, or as columns."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vaclip.data.arrays import ArrayFile, ShardArray
from vaclip.data.cache import CachedClip
from vaclip.study.clip_table import MadeOnRequest


@dataclass(frozen=True)
class ClipItem:
    """A cached clip with the numbers that go into a batch.

    Attributes:
        cached: Its arrays.
        row: Its row in the study.
        label: Class index.
        patient: Patient index.
        map_id: See `keys.MAP_ID`.
        session: See `keys.SESSION`.
        map_label: Class index of the patient whose map it has in place of its own; else None.
        guide: .npy of the map that guides in training, see `keys.GUIDE_MAP`; None for none.
        teacher: (N, K), what a teacher says of each of its segments, see `keys.TEACHER_LOGITS`;
            None for none.
    """

    cached: CachedClip
    row: int
    label: int
    patient: int
    map_id: int
    session: int
    map_label: int | None = None
    guide: ArrayFile | None = None
    teacher: Tensor | None = field(default=None, compare=False)


class ItemColumns(NamedTuple):
    """What clips have, one element a clip; see `ClipItem`.

    Attributes:
        row: (N,).
        label: (N,).
        patient: (N,).
        session: (N,).
        map_id: (N,).
        samples: (N,).
        map_label: (N,), -1 for none.
        mapped: (N,) bool, whether it has a map.
        shard: (N,), which it lies in; -1 for none.
        patient_ids: Of each clip.
    """

    row: NDArray[np.int64]
    label: NDArray[np.int64]
    patient: NDArray[np.int64]
    session: NDArray[np.int64]
    map_id: NDArray[np.int64]
    samples: NDArray[np.int64]
    map_label: NDArray[np.int64]
    mapped: NDArray[np.bool_]
    shard: NDArray[np.int64]
    patient_ids: list[str]


class ClipItems(MadeOnRequest[ClipItem]):
    """Clips that are columns, of which an item is made when it is asked for."""

    @abstractmethod
    def columns(self) -> ItemColumns:
        """Returns the columns."""

    @abstractmethod
    def take(self, positions: Sequence[int] | NDArray[np.int64]) -> ClipItems:
        """Returns some of the clips."""


def columns_of(items: Sequence[ClipItem]) -> ItemColumns:
    """Returns what clips have as columns."""
    if isinstance(items, ClipItems):
        return items.columns()

    def numbers(name: str) -> NDArray[np.int64]:
        return np.array([getattr(item, name) for item in items], np.int64)

    cached = [item.cached for item in items]
    donors = [-1 if item.map_label is None else item.map_label for item in items]
    return ItemColumns(
        *map(numbers, ("row", "label", "patient", "session", "map_id")),
        np.array([one.samples for one in cached], np.int64),
        np.array(donors, np.int64),
        np.array([one.attn is not None for one in cached], bool),
        np.array([_shard(one) for one in cached], np.int64),
        [one.clip.patient_id for one in cached],
    )


def take_items(items: Sequence[ClipItem], positions: Sequence[int]) -> Sequence[ClipItem]:
    """Returns some of the clips, as columns where they are."""
    if isinstance(items, ClipItems):
        return items.take(positions)
    return [items[position] for position in positions]


def _shard(cached: CachedClip) -> int:
    place = cached.tokens.path if cached.tokens else None
    return place.shard if isinstance(place, ShardArray) else -1
