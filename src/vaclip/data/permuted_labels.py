"""Labels that are dealt anew among patients: what a model learns of them is nothing (a control)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from vaclip.data.items import ClipItem
from vaclip.seeds import mix_seed


def with_permuted_labels(
    items: Sequence[ClipItem], groups: Sequence[Collection[str]], seed: int
) -> list[ClipItem]:
    """Gives each patient of a group the label of a patient of it, each of them once.

    Of a patient with clips of several labels the commonest counts.

    Args:
        items: Clips.
        groups: Patients, as of splits; all others keep their labels.
        seed: Of the dealing.

    Returns:
        The clips, in order.
    """
    dealt: dict[str, int] = {}
    for number, group in enumerate(groups, start=1):
        labels: dict[str, Counter[int]] = {}
        for item in items:
            if item.cached.clip.patient_id in group:
                labels.setdefault(item.cached.clip.patient_id, Counter())[item.label] += 1
        patients = sorted(labels)
        commonest = [labels[patient].most_common(1)[0][0] for patient in patients]
        order = np.random.default_rng(mix_seed(seed, number)).permutation(len(patients))
        dealt |= {patient: commonest[n] for patient, n in zip(patients, order, strict=True)}
    return [
        replace(item, label=dealt.get(item.cached.clip.patient_id, item.label)) for item in items
    ]
