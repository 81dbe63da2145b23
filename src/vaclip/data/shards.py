"""Many clips in few files: tokens and maps of a study in shards, and the index of them.

A folder of shards holds

- ``00000.tar``, ``00001.tar``, ...: uncompressed, a patient's clips in one of them. The clip of row
  12 has three members side by side, as WebDataset groups them: ``000000012.json`` (what the index
  says of it), ``000000012.tokens.npy`` (S', H', W', D) float16 and, where it is annotated,
  ``000000012.attn.npy`` (C, S, H, W) uint8;
- ``00000.json``, ...: the SHA-256 of each, and of what it was made from;
- ``index.parquet``: one row a clip, see `INDEX_COLUMNS`;
- ``index.json``: everything else, `ShardFacts`, the SHA-256 of each shard among it. It is written
  last: without it there are no shards.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from pyarrow import ArrowException

from vaclip.data.arrays import ShardArray, ShardFiles
from vaclip.data.cache import CachedClip, CachedTokens
from vaclip.data.items import ClipItem, ClipItems, ItemColumns
from vaclip.errors import VaclipError
from vaclip.keys import SHARDS_FILE
from vaclip.store import Store, open_store
from vaclip.study.clip_table import CLIP_FACTS, ClipTable
from vaclip.study.study import Study

FACTS, INDEX = SHARDS_FILE, "index.parquet"
FORMAT = 1
NUMBERS = ("map_id", "samples", "shard", "tokens_at", "attn_at")
INDEX_COLUMNS = (*CLIP_FACTS, *NUMBERS)
"""Of the index: who the clip is of, as clips.csv says; `keys.MAP_ID`; its samples; the number of
its shard, and the byte of it where the numbers of tokens and map begin (behind the headers of tar
and .npy; -1 where there is no map)."""


@dataclass(frozen=True)
class ShardFacts:
    """What index.json says, and is the same for all clips.

    Attributes:
        study: Its name.
        classes: In label order.
        annotators: Whose maps these are.
        settings: What the clips were sampled by, by key of the configuration.
        encoder: What `vaclip.features.EncoderInfo` says of whose tokens these are.
        step: Samples that a token covers.
        token_shape: (H', W', D).
        map_shape: (C, H, W).
        shards: (name, SHA-256) of each.
        index: SHA-256 of index.parquet.
        made_from: Digest of the clips, their arrays and how they are dealt to shards.
        format: Of the folder.
    """

    study: str
    classes: list[str]
    annotators: list[str]
    settings: dict[str, Any]
    encoder: dict[str, Any]
    step: int
    token_shape: list[int]
    map_shape: list[int]
    shards: list[list[str]]
    index: str
    made_from: str
    format: int = FORMAT

    def save(self, store: Store) -> None:
        """Writes index.json."""
        store.write(FACTS, (json.dumps(asdict(self), indent=1) + "\n").encode())


@dataclass(frozen=True, eq=False)
class Shards:
    """The shards of a study, opened: none is read yet.

    Attributes:
        facts: What is the same for all clips.
        study: The study; its clips have no video.
        items: Its clips.
    """

    facts: ShardFacts
    study: Study
    items: ShardItems


def open_shards(address: str, cache: Path | None = None) -> Shards:
    """Reads the index of a folder of shards.

    Args:
        address: The folder, or an address as of `vaclip.store.open_store`.
        cache: Where copies of remote shards are kept.

    Raises:
        VaclipError: If there are none, or the index is damaged or of another version.
    """
    store = open_store(address, cache)
    if not store.exists(FACTS):
        raise VaclipError(
            f"there are no shards in {address}: {FACTS} is missing. `vaclip features --shards "
            f"{address} ...` writes them; stopped, the same command goes on"
        )
    facts = read_facts(store, address)
    try:
        table = pq.read_table(
            store.fetch(INDEX, facts.index), read_dictionary=[*CLIP_FACTS[1:]], memory_map=True
        )
        table = table.select(INDEX_COLUMNS).unify_dictionaries()
    except (ArrowException, KeyError) as error:
        raise VaclipError(f"{INDEX} in {address} is no index of shards: {error}") from error
    names, digests = zip(*facts.shards, strict=True)
    clips = ClipTable(table, INDEX)
    study = Study(Path(address), facts.study, tuple(facts.classes), {}, (), clips, {})
    numbers = {name: np.asarray(table[name], np.int64) for name in NUMBERS}
    codes, patients = _codes(table, "patient_id")
    columns = {
        "row": np.arange(len(clips)),
        "label": _codes(table, "label", facts.classes)[0],
        "patient": codes,
        "session": _visits(codes, _codes(table, "session")[0]),
        **numbers,
    }
    files = ShardFiles(store, names, digests)
    return Shards(facts, study, ShardItems(facts, files, clips, columns, patients))


def read_facts(store: Store, address: str) -> ShardFacts:
    """Reads index.json.

    Raises:
        VaclipError: If it is damaged, or of another version.
    """
    try:
        content = json.loads(store.read(FACTS))
        found = content.get("format")
        if found != FORMAT:
            raise VaclipError(
                f"the shards in {address} have format {found}, and this vaclip reads {FORMAT}; "
                "write them anew"
            )
        return ShardFacts(**content)
    except (ValueError, TypeError, AttributeError) as error:
        raise VaclipError(f"{FACTS} in {address} is damaged: {error}") from error


class ShardItems(ClipItems):
    """Clips of shards as columns, of which an item is made when it is asked for.

    Args:
        facts: What is the same for all.
        files: The shards.
        clips: Of the whole study.
        columns: Of these clips: ``row``, ``label``, ``patient``, ``session``, and `NUMBERS`.
        patients: Names, by patient index.
    """

    def __init__(
        self,
        facts: ShardFacts,
        files: ShardFiles,
        clips: ClipTable,
        columns: dict[str, NDArray[np.int64]],
        patients: list[str],
    ) -> None:
        self._facts, self._files, self._clips = facts, files, clips
        self._columns, self._patients = columns, patients

    def __len__(self) -> int:
        return len(self._columns["row"])

    def take(self, positions: Sequence[int] | NDArray[np.int64]) -> ShardItems:
        """Returns some of the clips."""
        chosen = np.asarray(positions, np.int64)
        columns = {name: column[chosen] for name, column in self._columns.items()}
        return ShardItems(self._facts, self._files, self._clips, columns, self._patients)

    def columns(self) -> ItemColumns:
        """Returns the columns."""
        own = self._columns
        return ItemColumns(
            *(own[name] for name in ("row", "label", "patient", "session", "map_id", "samples")),
            np.full(len(self), -1),
            own["attn_at"] >= 0,
            own["shard"],
            [self._patients[patient] for patient in own["patient"].tolist()],
        )

    def make(self, position: int) -> ClipItem:
        """Returns a clip."""
        own = {name: int(column[position]) for name, column in self._columns.items()}
        samples, steps = own["samples"], -(-own["samples"] // self._facts.step)
        channels, height, width = self._facts.map_shape

        def array(at: int, shape: Sequence[int], dtype: torch.dtype) -> ShardArray:
            return ShardArray(self._files, own["shard"], at, tuple(shape), dtype)

        maps = array(own["attn_at"], (channels, samples, height, width), torch.uint8)
        tokens = array(own["tokens_at"], (steps, *self._facts.token_shape), torch.float16)
        cached = CachedClip(
            self._clips[own["row"]],
            array(-1, (samples, height, width, 3), torch.uint8),
            samples,
            maps if maps.at >= 0 else None,
            CachedTokens(tokens, steps, self._facts.step),
        )
        return ClipItem(
            cached, own["row"], own["label"], own["patient"], own["map_id"], own["session"]
        )


def _codes(
    table: Any, name: str, order: Sequence[str] | None = None
) -> tuple[NDArray[np.int64], list[str]]:
    """Returns the rank of each value of a column, and the values in order; by default sorted."""
    column = table[name].combine_chunks()
    values = column.dictionary.to_pylist()
    names = sorted(values) if order is None else list(order)
    places = {value: place for place, value in enumerate(names)}
    if unknown := [value for value in values if value not in places]:
        raise VaclipError(f"{INDEX}: {name} {unknown[0]!r} is none of {FACTS}")
    rank = np.array([places[value] for value in values], np.int64)
    return rank[np.asarray(column.indices)], names


def _visits(patients: NDArray[np.int64], sessions: NDArray[np.int64]) -> NDArray[np.int64]:
    """Numbers the visits as `vaclip.data.datamodule.clip_items` does, by patient and session."""
    together = patients * (sessions.max(initial=0) + 1) + sessions
    return np.unique(together, return_inverse=True)[1]
