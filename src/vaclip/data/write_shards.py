"""Writes the tokens and maps of a study to shards; the format is that of `vaclip.data.shards`."""

from __future__ import annotations

import io
import json
import math
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vaclip.data.arrays import ArrayFile, array_name, map_array
from vaclip.data.items import ClipItem
from vaclip.data.shards import FACTS, FORMAT, INDEX, NUMBERS, ShardFacts, read_facts
from vaclip.errors import VaclipError
from vaclip.files import content_digest, json_digest
from vaclip.store import Store, open_store

_SEED = 0  # of the order in which patients are dealt to shards
_LARGEST = 8 << 30  # of a member that plain tar can hold


@dataclass(frozen=True)
class _Shard:
    """A shard as it is planned: its clips, and a digest of all that goes into it."""

    name: str
    items: list[ClipItem]
    made_from: str

    @property
    def note(self) -> str:
        return f"{Path(self.name).stem}.json"


def write_shards(
    address: str,
    items: Sequence[ClipItem],
    facts: ShardFacts,
    *,
    shard_bytes: int,
    progress: Callable[[int, int], None] | None = None,
) -> ShardFacts:
    """Writes the shards of a study; those that are there already stay.

    Patients come in random order, so that a shard is a sample of the study, whatever the order of
    clips.csv is.

    Args:
        address: A folder, or an address as of `vaclip.store.open_store`.
        items: The clips, with tokens, in the order of their rows.
        facts: What is known before: without ``shards``, ``index`` and ``made_from``.
        shard_bytes: A shard is closed when it has as many; it holds one patient at least.
        progress: Called with (done, total) clips after each shard.

    Returns:
        All facts.

    Raises:
        VaclipError: If other shards are there.
    """
    store = open_store(address)
    plan = _planned(items, shard_bytes)
    whole = replace(facts, shards=[], index="", made_from="")
    made_from = json_digest([vars(whole), [shard.made_from for shard in plan]])
    if store.exists(FACTS):
        there = read_facts(store, address)
        if there.made_from == made_from:
            return there
        raise VaclipError(
            f"{address} holds the shards of other clips or settings; name another folder, or "
            "remove it if nothing reads it"
        )
    numbers = {name: np.full(len(items), -1, np.int64) for name in NUMBERS}
    digests: list[list[str]] = []
    done = 0
    for number, shard in enumerate(plan):
        digest, places = _kept(store, shard) or _written(store, shard)
        digests.append([shard.name, digest])
        for item, (tokens_at, attn_at) in zip(shard.items, places, strict=True):
            own = (item.map_id, item.cached.samples, number, tokens_at, attn_at)
            for name, value in zip(NUMBERS, own, strict=True):
                numbers[name][item.row] = value
        done += len(shard.items)
        if progress:
            progress(done, len(items))
    index = _write_index(store, items, numbers)
    facts = replace(facts, shards=digests, index=index, made_from=made_from)
    facts.save(store)
    return facts


def _planned(items: Sequence[ClipItem], shard_bytes: int) -> list[_Shard]:
    """Deals patients to shards, in an order that the patients alone decide."""
    of_patient: dict[str, list[ClipItem]] = {}
    for item in items:
        of_patient.setdefault(item.cached.clip.patient_id, []).append(item)
    shards: list[list[ClipItem]] = []
    size = shard_bytes
    for patient in np.random.default_rng(_SEED).permutation(sorted(of_patient)):
        own = of_patient[str(patient)]
        if size >= shard_bytes:
            shards.append([])
            size = 0
        shards[-1] += own
        size += sum(map_array(place).nbytes for item in own for _, place in _arrays(item))
    return [
        _Shard(f"{number:05}.tar", own, json_digest([FORMAT, [*map(_content, own)]]))
        for number, own in enumerate(shards)
    ]


def _arrays(item: ClipItem) -> Iterator[tuple[str, ArrayFile]]:
    """Yields (name, place) of what a shard holds of a clip, the tokens first."""
    assert item.cached.tokens is not None
    yield "tokens", item.cached.tokens.path
    if item.cached.attn is not None:
        yield "attn", item.cached.attn


def _content(item: ClipItem) -> list[object]:
    return [_told(item), [array_name(place) for _, place in _arrays(item)]]


def _told(item: ClipItem) -> dict[str, object]:
    """Returns what clipkey.json says."""
    clip = item.cached.clip
    return {
        "clip_id": clip.clip_id,
        "patient_id": clip.patient_id,
        "label": clip.label,
        "session": clip.session,
        "site": clip.site,
        "row": item.row,
        "map_id": item.map_id,
        "samples": item.cached.samples,
    }


def _kept(store: Store, shard: _Shard) -> tuple[str, list[list[int]]] | None:
    """Returns what the note of a finished shard says; None where it is not finished."""
    if not (store.exists(shard.note) and store.exists(shard.name)):
        return None
    note = json.loads(store.read(shard.note))
    return (note["sha256"], note["places"]) if note["made_from"] == shard.made_from else None


def _written(store: Store, shard: _Shard) -> tuple[str, list[list[int]]]:
    """Writes a shard and then its note, and returns its SHA-256 and where its arrays lie."""
    with tempfile.TemporaryDirectory(prefix="vaclip-") as folder:
        file = Path(folder) / shard.name
        places: list[list[int]] = []
        with tarfile.open(file, "w", format=tarfile.USTAR_FORMAT) as tar:
            for item in shard.items:
                key = f"{item.row:09}"
                told = json.dumps(_told(item), ensure_ascii=False).encode()
                _add(tar, f"{key}.json", io.BytesIO(told), len(told))
                place = dict.fromkeys(("tokens", "attn"), -1)
                for name, array in _arrays(item):
                    place[name] = _add_array(tar, f"{key}.{name}.npy", map_array(array).numpy())
                places.append([*place.values()])
        digest = content_digest(file)
        store.write(shard.name, file)
    note = {"sha256": digest, "made_from": shard.made_from, "places": places}
    store.write(shard.note, json.dumps(note).encode())
    return digest, places


def _add_array(tar: tarfile.TarFile, name: str, array: NDArray[np.generic]) -> int:
    """Adds an .npy file, and returns where in the tar its numbers begin, a multiple of 64."""
    content = io.BytesIO()
    np.lib.format.write_array(content, array, version=(1, 0), allow_pickle=False)
    size = content.tell()
    if size >= _LARGEST:
        raise VaclipError(f"{name} has {size / 2**30:.1f} GiB, and a shard holds 8 at most a file")
    content.seek(0)
    begin = _add(tar, name, content, size)
    return begin + size - math.prod(array.shape) * array.itemsize


def _add(tar: tarfile.TarFile, name: str, content: IO[bytes], size: int) -> int:
    """Adds a file, always with the same header, and returns where in the tar its content begins."""
    about = tarfile.TarInfo(name)
    about.size = size
    begin = tar.offset + tarfile.BLOCKSIZE
    tar.addfile(about, content)
    return begin


def _write_index(
    store: Store, items: Sequence[ClipItem], numbers: dict[str, NDArray[np.int64]]
) -> str:
    """Writes index.parquet, and returns its SHA-256."""
    clips = [item.cached.clip for item in items]
    columns: dict[str, pa.Array] = {"clip_id": pa.array([clip.clip_id for clip in clips])}
    for name in ("patient_id", "label", "session", "site"):
        columns[name] = pa.array([getattr(clip, name) for clip in clips]).dictionary_encode()
    columns |= {name: pa.array(values) for name, values in numbers.items()}
    return write_index(store, pa.table(columns))


def write_index(store: Store, table: pa.Table) -> str:
    """Writes the table of `vaclip.data.shards.INDEX_COLUMNS`, and returns its SHA-256."""
    with tempfile.TemporaryDirectory(prefix="vaclip-") as folder:
        file = Path(folder) / INDEX
        pq.write_table(table, file, compression="zstd")
        store.write(INDEX, file)
        return content_digest(file)
