from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vaclip.data.cache import CachedClip
from vaclip.data.items import ClipItem
from vaclip.data.permuted_labels import with_permuted_labels
from vaclip.study.study import Clip

PATIENTS = 30
GROUPS = [{f"p{n}" for n in range(20)}, {f"p{n}" for n in range(20, 25)}]
"""Of training and validation; the others are tested."""


def make_items(clips: int = 3) -> list[ClipItem]:
    items = []
    for row in range(PATIENTS * clips):
        patient, nowhere = row // clips, Path("nowhere")
        cached = CachedClip(Clip(f"c{row}", nowhere, f"p{patient}", "a"), nowhere, 4, None)
        items.append(ClipItem(cached, row, patient % 3, patient, row, patient))
    return items


def labels_of(items: list[ClipItem]) -> dict[str, int]:
    found = {item.cached.clip.patient_id: item.label for item in items}
    assert all(found[item.cached.clip.patient_id] == item.label for item in items)  # one a patient
    return found


def test_patients_of_a_group_get_the_labels_of_that_group():
    items = make_items()
    changed = with_permuted_labels(items, GROUPS, seed=0)
    before, after = labels_of(items), labels_of(changed)
    for group in GROUPS:
        assert Counter(before[p] for p in group) == Counter(after[p] for p in group)
    assert all(after[f"p{n}"] == before[f"p{n}"] for n in range(25, PATIENTS))
    assert [replace(item, label=0) for item in items] == [replace(c, label=0) for c in changed]
    assert changed == with_permuted_labels(items, GROUPS, seed=0)
    assert changed != with_permuted_labels(items, GROUPS, seed=1)


def test_a_label_tells_nothing_of_the_one_before():
    items = make_items(clips=1)
    before = np.array([item.label for item in items[:20]])
    kept = [
        np.mean([c.label for c in with_permuted_labels(items, GROUPS, n)[:20]] == before)
        for n in range(300)
    ]
    counts = np.bincount(before)
    assert np.mean(kept) == pytest.approx((counts**2).sum() / 20**2, abs=0.02)


def test_of_several_labels_the_commonest_counts():
    items = make_items()
    mixed = [replace(item, label=(item.label + (item.row % 3 == 0)) % 3) for item in items]
    assert (
        with_permuted_labels(mixed, GROUPS[:1], 0)[:60]
        == with_permuted_labels(items, GROUPS[:1], 0)[:60]
    )
