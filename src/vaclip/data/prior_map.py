"""The prior map: the mean map of the training patients, which every clip may be given."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Collection, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vaclip.data.arrays import map_array
from vaclip.data.cache import cache_map
from vaclip.data.items import ClipItem, columns_of
from vaclip.errors import VaclipError


def prior_map(items: Sequence[ClipItem], patients: Collection[str]) -> NDArray[np.uint8]:
    """Returns the mean map of some patients, (C, H, W), 255 at its largest value.

    Each patient weighs the same, and so does each clip of a patient and each sample of a clip.

    Args:
        items: Clips.
        patients: Whose maps are taken: those of training.

    Raises:
        VaclipError: If none of them has a map.
    """
    facts = columns_of(items)
    taken = facts.mapped & np.array([patient in patients for patient in facts.patient_ids], bool)
    # Shard by shard, so that each is opened once; a patient's clips are in one.
    order = np.lexsort((facts.row, facts.patient, facts.shard))
    total, count = np.zeros(()), 0
    for _, own in groupby(order[taken[order]].tolist(), lambda place: facts.patient[place]):
        total = total + np.mean([_mean_map(items[place]) for place in own], axis=0)
        count += 1
    if not count:
        raise VaclipError(
            "no training patient has a map, so there is no mean map; use another control"
        )
    mean = total / count
    # The whole range, so that rounding costs no place: guidance normalises maps anyway.
    return np.rint(255 * mean / max(mean.max(), 1e-12)).astype(np.uint8)


def _mean_map(item: ClipItem) -> NDArray[np.float64]:
    assert item.cached.attn is not None
    return map_array(item.cached.attn).numpy().mean(axis=1)


def with_prior(items: Sequence[ClipItem], patients: Collection[str], root: Path) -> list[ClipItem]:
    """Gives the mean map of the training patients to every clip: it needs none of its own."""
    prior = prior_map(items, patients)
    shown = [prior_of_length(prior, item.cached.samples, root) for item in items]
    return [
        dataclasses.replace(item, cached=dataclasses.replace(item.cached, attn=path), map_id=0)
        for item, path in zip(items, shown, strict=True)
    ]


def prior_of_length(prior: NDArray[np.uint8], samples: int, root: Path) -> Path:
    """Returns the map of a clip that is the same on all its samples.

    Args:
        prior: (C, H, W), from `prior_map`.
        samples: Of the clip.
        root: Of the cache.
    """
    digest = hashlib.sha256(prior.tobytes()).hexdigest()
    source = {"control": "prior", "map": digest, "shape": [*prior.shape, samples]}
    return cache_map(root, source, lambda: np.repeat(prior[:, None], samples, axis=1))
