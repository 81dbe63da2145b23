"""Clips with control maps in place of their own."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from vaclip.data.cache import cache_map
from vaclip.data.dataset import ClipItem, map_array
from vaclip.errors import VaclipError
from vaclip.maps import draw_control
from vaclip.seeds import mix_seed


def with_control_maps(
    items: Sequence[ClipItem],
    groups: Sequence[Collection[str]],
    kind: str,
    *,
    fps: float,
    seed: int,
    root: Path,
) -> list[ClipItem]:
    """Replaces the maps of clips; a clip without a map stays without.

    Args:
        items: Clips.
        groups: Patients of each split: maps are shuffled within it.
        kind: One of `vaclip.maps.CONTROLS`.
        fps: Samples a second.
        seed: Of ``shuffled`` and ``random``.
        root: Of the cache.

    Returns:
        The clips in their order. ``map_id`` is that of the new map: the donor's for
        ``shuffled``, the same for all for ``uniform`` and ``centre``, and each its own for
        ``random``.

    Raises:
        VaclipError: If one patient has more than half of a split's maps, so that they cannot
            be shuffled between patients.
    """
    replaced = {item.row: item for item in items}
    if kind == "shuffled":
        for number, patients in enumerate(groups):
            own = [
                item
                for item in items
                if item.cached.clip.patient_id in patients and item.cached.attn is not None
            ]
            for item, donor in zip(own, _donors(own, mix_seed(seed, number)), strict=True):
                replaced[item.row] = _with_map(item, _fitted(item, donor, root), donor.map_id)
    else:
        for item in items:
            if item.cached.attn is not None:
                map_id = item.row if kind == "random" else 0
                path = _drawn(kind, item, fps, mix_seed(seed, item.row), root)
                replaced[item.row] = _with_map(item, path, map_id)
    return [replaced[item.row] for item in items]


def _donors(items: list[ClipItem], seed: int) -> list[ClipItem]:
    """Permutes clips so that each meets one of another patient; classes play no part.

    Clips are put patient by patient in random order, and all move on by the largest number of
    clips that a patient has.
    """
    if not items:
        return []
    rng = np.random.default_rng(seed)
    patients, of_patient, counts = np.unique(
        [item.patient for item in items], return_inverse=True, return_counts=True
    )
    if 2 * counts.max() > len(items):
        raise VaclipError(
            f"one patient has {counts.max()} of a split's {len(items)} clips with maps, so maps "
            "cannot be shuffled between patients; use fewer folds or another control"
        )
    order = np.lexsort((rng.permutation(len(items)), rng.permutation(len(patients))[of_patient]))
    donors = np.empty(len(items), np.int64)
    donors[order] = np.roll(order, counts.max())
    return [items[index] for index in donors]


def _fitted(item: ClipItem, donor: ClipItem, root: Path) -> Path:
    """Returns the donor's map, stretched in time where the clips differ in length."""
    path, samples = donor.cached.attn, item.cached.samples
    assert path is not None
    if donor.cached.samples == samples:
        return path
    source = {"stretched": path.parent.name, "samples": samples}
    index = np.arange(samples) * donor.cached.samples // samples
    return cache_map(root, source, lambda: map_array(path).numpy()[:, index])


def _drawn(kind: str, item: ClipItem, fps: float, seed: int, root: Path) -> Path:
    assert item.cached.attn is not None
    channels, samples, height, width = map_array(item.cached.attn).shape
    shape = (channels, samples, height, width)
    source = {"control": kind, "shape": shape, "fps": fps}
    if kind == "random":
        source["seed"] = seed
    return cache_map(root, source, lambda: draw_control(kind, shape, fps, seed))


def _with_map(item: ClipItem, path: Path, map_id: int) -> ClipItem:
    cached = dataclasses.replace(item.cached, attn=path)
    return dataclasses.replace(item, cached=cached, map_id=map_id)
