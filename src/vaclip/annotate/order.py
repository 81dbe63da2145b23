"""In which order an annotator sees clips, and which of them twice."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vaclip.seeds import mix_seed

LONGEST_GAP = 20
"""Showings that lie at least between the two of one clip, where there are so many."""


@dataclass(frozen=True)
class Showing:
    """One time that a clip is shown.

    Attributes:
        clip_id: The clip.
        time: 1, or 2 where it is shown again.
    """

    clip_id: str
    time: int = 1


def deal(
    patients: Mapping[str, str], annotator: str, seed: int = 0, again: float = 0.1
) -> list[Showing]:
    """Deals clips in a random order that annotator and seed decide alone.

    Two clips of one patient do not follow each other where it can be helped. Between the two
    showings of a clip lie at least `LONGEST_GAP` others, or half of them where they are few.

    Args:
        patients: By clip id the patient.
        annotator: Whose order.
        seed: Another seed deals another order.
        again: Share of the clips that are shown twice, in [0, 1].

    Examples:
        >>> shown = deal({"a": "1", "b": "1", "c": "2"}, "rater", again=0.0)
        >>> [one.clip_id for one in shown][1]
        'c'
    """
    random = np.random.default_rng(mix_seed(seed, zlib.crc32(annotator.encode())))
    order = [Showing(clip_id) for clip_id in _apart(random, patients)]
    gap = min(LONGEST_GAP, len(order) // 2)
    early = order[: len(order) - gap]
    wanted = min(round(again * len(order)), len(early))
    for index in sorted(random.permutation(len(early))[:wanted]):
        _show_again(random, order, early[index], gap, patients)
    return order


def _apart(random: np.random.Generator, patients: Mapping[str, str]) -> list[str]:
    """Draws clips one after the other, never of the last patient while there is another."""
    left = sorted(patients)
    counts = Counter(patients[clip_id] for clip_id in left)
    order: list[str] = []
    while left:
        last = patients[order[-1]] if order else None
        # Who has more clips than all others together must come now, or would follow himself later.
        most, many = counts.most_common(1)[0]
        pressed = 2 * many > len(left) and most != last
        fitting = [c for c in left if patients[c] == most] if pressed else []
        fitting = fitting or [c for c in left if patients[c] != last] or left
        chosen = fitting[int(random.integers(len(fitting)))]
        order.append(chosen)
        left.remove(chosen)
        counts[patients[chosen]] -= 1
    return order


def _show_again(
    random: np.random.Generator,
    order: list[Showing],
    first: Showing,
    gap: int,
    patients: Mapping[str, str],
) -> None:
    patient = patients[first.clip_id]
    places = range(order.index(first) + gap + 1, len(order) + 1)
    free = [
        place for place in places
        if all(patients[one.clip_id] != patient for one in _neighbours(order, place))
    ]  # fmt: skip
    options: Sequence[int] = free or places
    order.insert(options[int(random.integers(len(options)))], Showing(first.clip_id, 2))


def _neighbours(order: Sequence[Showing], place: int) -> Sequence[Showing]:
    return order[max(0, place - 1) : place + 1]
