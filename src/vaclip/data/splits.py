"""Nested cross-validation: train, val and test never share a patient.

The patients are dealt into K stratified parts. Fold i tests on part i, chooses its
checkpoint on part i + 1 (modulo K) and trains on the others. So every patient, and with
them every clip, is tested exactly once over the folds. By site, fold i tests on the i-th site.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.model_selection import StratifiedKFold

from vaclip.errors import VaclipError
from vaclip.files import json_digest, write_json

SPLITS = ("train", "val", "test")
VAL_SHARE = 0.2
"""Of the patients of the training sites, where one site is left out."""


@dataclass(frozen=True)
class SplitPlan:
    """Which patients each fold trains, validates and tests on.

    Attributes:
        seed: What the patients were dealt with.
        folds: For each fold, sorted patients by split name.
    """

    seed: int
    folds: tuple[dict[str, tuple[str, ...]], ...]

    def __post_init__(self) -> None:
        self.check()

    def check(self) -> None:
        """Checks the invariants.

        Raises:
            VaclipError: If splits of a fold share a patient, a split is empty, the folds
                differ in patients, or a patient is not tested exactly once.
        """
        everyone = {patient for part in self.folds[0].values() for patient in part}
        for number, fold in enumerate(self.folds):
            for one, other in combinations(SPLITS, 2):
                if shared := set(fold[one]) & set(fold[other]):
                    raise VaclipError(
                        f"fold {number}: {one} and {other} share {len(shared)} patient(s): "
                        f"{', '.join(sorted(shared))}; a patient may be in one split only"
                    )
            if empty := [name for name in SPLITS if not fold[name]]:
                raise VaclipError(f"fold {number}: no patient in {', '.join(empty)}")
            if {patient for part in fold.values() for patient in part} != everyone:
                raise VaclipError(f"fold {number} has other patients than fold 0")
        tested = Counter(patient for fold in self.folds for patient in fold["test"])
        if wrong := sorted(name for name in everyone if tested[name] != 1):
            raise VaclipError(f"patients not tested exactly once: {', '.join(wrong)}")

    @property
    def content_hash(self) -> str:
        """SHA-256 of the assignment: equal exactly for equal plans."""
        return json_digest([self.seed, self.folds])

    def save(self, path: Path) -> None:
        """Writes the plan with its hash as JSON."""
        content = {"seed": self.seed, "content_hash": self.content_hash, "folds": self.folds}
        write_json(path, content)

    @classmethod
    def load(cls, path: Path) -> SplitPlan:
        """Reads a plan.

        Raises:
            VaclipError: If the file is no plan, was changed by hand, or overlaps.
        """
        try:
            content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            folds = tuple({name: tuple(fold[name]) for name in SPLITS} for fold in content["folds"])
            plan, stated = cls(content["seed"], folds), content["content_hash"]
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            raise VaclipError(f"{path} is not a split plan: {error!r}") from error
        if plan.content_hash != stated:
            raise VaclipError(f"{path} was changed after it was written: its hash does not fit")
        return plan


def make_plan(labels: Mapping[str, Sequence[str]], folds: int, seed: int) -> SplitPlan:
    """Deals patients into folds, stratified by class.

    A patient of several classes counts as the one of them that fewest patients have. The
    result depends on the patients, their classes and the seed alone, not on any order.

    Args:
        labels: The labels of each patient's clips.
        folds: How many; at least 3, so that train, val and test differ.
        seed: Of the dealing.

    Raises:
        VaclipError: If a class has fewer patients than folds; it says how many are possible.
    """
    if folds < 3:
        raise VaclipError(
            f"split.folds is {folds}; train, val and test need three different parts, so at least 3"
        )
    if not labels:
        raise VaclipError("there is no patient to split")
    patients = sorted(labels)
    per_class = Counter(name for patient in patients for name in set(labels[patient]))
    strata = [min(set(labels[p]), key=lambda name: (per_class[name], name)) for p in patients]
    dealt = Counter(strata)
    rarest = min(dealt, key=lambda name: (dealt[name], name))
    count = dealt[rarest]
    if count < folds:
        possible = f"at most {count} folds are possible" if count >= 3 else "no split is possible"
        both = per_class[rarest] - count
        beside = f" (beside {both} who also have a rarer class)" if both else ""
        raise VaclipError(
            f"class '{rarest}' has only {count} patient(s){beside}, too few for "
            f"split.folds={folds}: {possible} (a class needs a patient in every fold)"
        )
    dealer = StratifiedKFold(folds, shuffle=True, random_state=seed)
    parts = [
        tuple(patients[i] for i in chosen)
        for _, chosen in dealer.split(np.zeros(len(patients)), strata)
    ]
    for number, part in enumerate(parts):
        present = {name for patient in part for name in labels[patient]}
        if absent := sorted(set(per_class) - present):
            raise VaclipError(
                f"no patient of class '{absent[0]}' falls into part {number} of {folds}, because "
                "all of them also have a rarer class; use fewer folds or another split.seed"
            )
    return SplitPlan(seed, tuple(_fold(parts, number) for number in range(folds)))


def _fold(parts: list[tuple[str, ...]], number: int) -> dict[str, tuple[str, ...]]:
    val = (number + 1) % len(parts)
    train = [p for i, part in enumerate(parts) if i not in (number, val) for p in part]
    return {"train": tuple(sorted(train)), "val": parts[val], "test": parts[number]}


def make_site_plan(
    labels: Mapping[str, Sequence[str]], sites: Mapping[str, Sequence[str]], folds: int, seed: int
) -> SplitPlan:
    """Leaves one site out at a time; fold i tests on the i-th site by name.

    Validation has `VAL_SHARE` of the patients of the other sites, class by class, rounded up.

    Args:
        labels: The labels of each patient's clips.
        sites: The sites of each patient's clips; empty where one is not named.
        folds: How many sites there are.
        seed: Of the choice of patients for validation.

    Raises:
        VaclipError: If a patient has no site or several, there are fewer than three sites or not
            as many as folds, or a class is missing in training.
    """
    advice = "mend the column site of clips.csv, or use split.by=patient"
    for patient in sorted(sites):
        own = set(sites[patient])
        if len(own) > 1 or "" in own:
            what = "clips without a site" if "" in own else f"clips of {len(own)} sites"
            raise VaclipError(f"split.by=site, but patient '{patient}' has {what}: {advice}")
    names = sorted({own[0] for own in sites.values()})
    if len(names) < 3:
        raise VaclipError(
            f"split.by=site needs three sites or more, but clips.csv has {len(names)} "
            f"({', '.join(names)}); use split.by=patient"
        )
    if folds != len(names):
        raise VaclipError(
            f"split.folds is {folds}, but split.by=site has a fold for each site: use "
            f"split.folds={len(names)}"
        )
    return SplitPlan(seed, tuple(_without_site(labels, sites, name, seed) for name in names))


def _without_site(
    labels: Mapping[str, Sequence[str]], sites: Mapping[str, Sequence[str]], site: str, seed: int
) -> dict[str, tuple[str, ...]]:
    others = [patient for patient in labels if sites[patient][0] != site]
    val = train_subset(others, labels, VAL_SHARE, seed)
    train = tuple(sorted(set(others) - set(val)))
    for name in sorted({name for own in labels.values() for name in own}):
        if not all(any(name in labels[p] for p in part) for part in (train, val)):
            raise VaclipError(
                f"split.by=site: without site '{site}' too few patients of class '{name}' are left "
                "to train and to validate on; use split.by=patient"
            )
    test = tuple(sorted(set(labels) - set(others)))
    return {"train": train, "val": val, "test": test}


def train_subset(
    patients: Sequence[str], labels: Mapping[str, Sequence[str]], fraction: float, seed: int
) -> tuple[str, ...]:
    """Chooses a share of the training patients, class by class; smaller shares are nested.

    Args:
        patients: Of the training split.
        labels: The labels of each patient's clips.
        fraction: In (0, 1]. Each class keeps ``fraction`` of its patients, rounded up.
        seed: Of the order in which patients are left out.

    Returns:
        The patients that stay, sorted.
    """
    order = np.random.default_rng(seed).permutation(sorted(patients))
    strata: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for patient in map(str, order):
        strata[tuple(sorted(set(labels[patient])))].append(patient)
    # Rounded first, because 0.1 * 30 is a little more than 3.
    kept = [p for own in strata.values() for p in own[: math.ceil(round(fraction * len(own), 9))]]
    return tuple(sorted(kept))


def inner_parts(
    patients: Sequence[str],
    labels: Mapping[str, Sequence[str]],
    parts: int,
    seed: int,
    key: str = "model.map_crossfit",
) -> list[tuple[str, ...]]:
    """Deals training patients into parts, class by class, as evenly as possible.

    Args:
        patients: Of the training split.
        labels: The labels of each patient's clips.
        parts: How many.
        seed: Of the dealing.
        key: The setting that says how many.

    Raises:
        VaclipError: If there are fewer patients than parts.
    """
    if len(patients) < parts:
        raise VaclipError(
            f"{key} is {parts}, but a fold has {len(patients)} training patients; use fewer"
        )
    order = np.random.default_rng(seed).permutation(sorted(patients))
    dealt = sorted(map(str, order), key=lambda patient: sorted(set(labels[patient])))
    return [tuple(sorted(dealt[number::parts])) for number in range(parts)]


def patient_labels(pairs: Sequence[tuple[str, ...]]) -> dict[str, list[str]]:
    """Groups (patient, label) pairs by patient; one a clip, or each that there is once."""
    labels: dict[str, list[str]] = defaultdict(list)
    for patient, label in pairs:
        labels[patient].append(label)
    return dict(labels)
