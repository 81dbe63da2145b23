"""Arrays of clips, mapped into memory: a file each, or many in a shard."""

from __future__ import annotations

import math
import os
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from vaclip.errors import VaclipError
from vaclip.store import Store

_MOST_OPEN = 32
"""Shards that a process has open at a time; of a wider window some are opened again and again."""


class ShardFiles:
    """The shards of a study; each is fetched when it is first read from.

    Args:
        store: Where they lie.
        names: Of the shards.
        digests: SHA-256 of each.
    """

    def __init__(self, store: Store, names: Sequence[str], digests: Sequence[str]) -> None:
        self.store, self.names, self.digests = store, names, digests
        self._open: OrderedDict[int, Tensor] = OrderedDict()

    def opened(self, shard: int) -> Tensor:
        """Returns the bytes of a shard, (N,) uint8, mapped into memory.

        Raises:
            VaclipError: If it is missing or damaged.
        """
        if shard not in self._open:
            path = self.store.fetch(self.names[shard], self.digests[shard])
            self._open[shard] = torch.from_file(
                str(path), shared=False, size=path.stat().st_size, dtype=torch.uint8
            )
        self._open.move_to_end(shard)
        if len(self._open) > _MOST_OPEN:
            self._open.popitem(last=False)
        return self._open[shard]

    def __getstate__(self) -> dict[str, Any]:
        """Leaves the opened files behind: each worker process maps them itself."""
        return {**self.__dict__, "_open": OrderedDict()}


@dataclass(frozen=True)
class ShardArray:
    """An array that lies in a shard.

    Attributes:
        files: The shards.
        shard: Which.
        at: Where its numbers begin, in bytes; negative where the shards leave the array out.
        shape: Of the array.
        dtype: Of its numbers.
    """

    files: ShardFiles
    shard: int
    at: int
    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def name(self) -> str:
        """What no other array has for a name."""
        return f"{self.files.digests[self.shard]}:{self.at}"

    def load(self) -> Tensor:
        """Returns the array, mapped into memory.

        Raises:
            VaclipError: If the shards leave it out, or the shard cannot be read.
        """
        if self.at < 0:
            raise VaclipError(
                "shards hold tokens and maps, and no pictures; train on the study folder itself "
                "for what needs them"
            )
        size = math.prod(self.shape) * self.dtype.itemsize
        numbers = self.files.opened(self.shard)[self.at : self.at + size]
        return numbers.view(self.dtype).view(self.shape)


ArrayFile: TypeAlias = Path | ShardArray
"""Where the array of a clip lies: an .npy file, or a place in a shard."""


def map_array(place: ArrayFile) -> Tensor:
    """Maps an array of uint8 or float16 into memory without keeping its .npy file open.

    `numpy.load` would hold a file descriptor for each, of which a process has few.

    Raises:
        VaclipError: If it is gone or damaged.
    """
    if isinstance(place, ShardArray):
        return place.load()
    try:
        with place.open("rb") as file:
            np.lib.format.read_magic(file)
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            header = file.tell()
            size = header + math.prod(shape) * dtype.itemsize
            if os.fstat(file.fileno()).st_size < size:  # to read what is not there would kill
                raise ValueError("its end is missing")
        mapped = torch.from_file(str(place), shared=False, size=size, dtype=torch.uint8)
    except (OSError, ValueError, RuntimeError) as error:  # the last of torch: it is gone by now
        raise VaclipError(
            f"{place} cannot be read: {error}. Was it removed from the cache meanwhile (vaclip "
            "cache --remove), or is its disk gone? The same command makes it anew"
        ) from error
    numbers = mapped[header:].view(torch.float16 if dtype == np.float16 else torch.uint8)
    return numbers.view(shape)


def array_shape(place: ArrayFile) -> tuple[int, ...]:
    """Returns the shape of an array, which a shard need not hold."""
    return place.shape if isinstance(place, ShardArray) else tuple(map_array(place).shape)


def array_name(place: ArrayFile) -> str:
    """Returns what tells an array from any other: the cache names entries by their content."""
    return place.name if isinstance(place, ShardArray) else place.parent.name
