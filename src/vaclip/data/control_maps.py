"""Clips with control maps in place of their own."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np

from vaclip.data.arrays import ArrayFile, array_name, map_array
from vaclip.data.cache import cache_map
from vaclip.data.items import ClipItem
from vaclip.data.prior_map import with_prior
from vaclip.errors import VaclipError
from vaclip.maps import SHUFFLED, draw_control
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
    """Replaces the maps of clips; a clip without a map stays without, but for ``prior``.

    Args:
        items: Clips.
        groups: Patients of each split, those of training first; maps are shuffled within a split.
        kind: One of `vaclip.maps.CONTROLS`.
        fps: Samples a second.
        seed: Of the shuffled ones and ``random``.
        root: Of the cache.

    Returns:
        The clips in their order. ``map_id`` is that of the new map: the donor's for the shuffled
        ones, the same for all for ``prior``, ``uniform`` and ``centre``, and each its own for
        ``random``.

    Raises:
        VaclipError: If only one patient of a split (of a class in it, for
            ``shuffled_within_class``) has maps, so that there is nobody to take one from; or if
            no training patient has one, for ``prior``.
    """
    if kind == "prior":
        return with_prior(items, groups[0], root)
    replaced = {item.row: item for item in items}
    if kind in SHUFFLED:
        for own, own_seed, where in _shuffled_together(items, groups, kind, seed):
            for item, donor in zip(own, _donors(own, own_seed, where), strict=True):
                new = _with_map(item, _fitted(item, donor, root), donor.map_id)
                replaced[item.row] = dataclasses.replace(new, map_label=donor.label)
    else:
        for item in items:
            if item.cached.attn is not None:
                map_id = item.row if kind == "random" else 0
                path = _drawn(kind, item, fps, mix_seed(seed, item.row), root)
                replaced[item.row] = _with_map(item, path, map_id)
    return [replaced[item.row] for item in items]


def _shuffled_together(
    items: Sequence[ClipItem], groups: Sequence[Collection[str]], kind: str, seed: int
) -> Iterator[tuple[list[ClipItem], int, str]]:
    """Yields clips that exchange maps, a seed, and what they are: of a split, or a class in it."""
    for number, patients in enumerate(groups):
        own = [
            item
            for item in items
            if item.cached.clip.patient_id in patients and item.cached.attn is not None
        ]
        if kind == "shuffled":
            yield own, mix_seed(seed, number), "a split"
            continue
        for label in sorted({item.label for item in own}):
            of_class = [item for item in own if item.label == label]
            where = f"class '{of_class[0].cached.clip.label}' in a split"
            yield of_class, mix_seed(seed, number, label), where


def _donors(items: list[ClipItem], seed: int, where: str) -> list[ClipItem]:
    """Gives each clip one of another patient.

    Clips are put patient by patient in random order, and all move on by the largest number of
    clips that a patient has: a permutation. Where one patient has more than half of the clips,
    there is none: that patient's clips then get those of the others, each several times.
    """
    if not items:
        return []
    rng = np.random.default_rng(seed)
    patients, of_patient, counts = np.unique(
        [item.patient for item in items], return_inverse=True, return_counts=True
    )
    if len(patients) == 1:
        raise VaclipError(
            f"one patient has all maps of {where}, so there is nobody to take another one from; "
            "use fewer folds or another control"
        )
    order = np.lexsort((rng.permutation(len(items)), rng.permutation(len(patients))[of_patient]))
    donors = np.empty(len(items), np.int64)
    donors[order] = np.roll(order, counts.max())
    if 2 * counts.max() > len(items):
        most = of_patient[order] == counts.argmax()
        own, others = order[most], order[~most]
        donors[own], donors[others] = np.resize(others, len(own)), own[: len(others)]
    return [items[index] for index in donors]


def _fitted(item: ClipItem, donor: ClipItem, root: Path) -> ArrayFile:
    """Returns the donor's map, stretched in time where the clips differ in length."""
    own, samples = donor.cached.attn, item.cached.samples
    assert own is not None
    if donor.cached.samples == samples:
        return own
    source = {"stretched": array_name(own), "samples": samples}
    index = np.arange(samples) * donor.cached.samples // samples
    return cache_map(root, source, lambda: map_array(own).numpy()[:, index])


def _drawn(kind: str, item: ClipItem, fps: float, seed: int, root: Path) -> Path:
    assert item.cached.attn is not None
    channels, samples, height, width = map_array(item.cached.attn).shape
    shape = (channels, samples, height, width)
    source = {"control": kind, "shape": shape, "fps": fps}
    if kind == "random":
        source["seed"] = seed
    return cache_map(root, source, lambda: draw_control(kind, shape, fps, seed))


def _with_map(item: ClipItem, path: ArrayFile, map_id: int) -> ClipItem:
    cached = dataclasses.replace(item.cached, attn=path)
    return dataclasses.replace(item, cached=cached, map_id=map_id)
