"""How far annotators agree: on what they annotated, and on where that lies in the picture."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats import inter_rater

from vaclip.data.arrays import ArrayFile, map_array
from vaclip.data.cache import SampleSettings, cache_study, map_identities
from vaclip.evaluation.data_card import Agreement
from vaclip.explain.measures import correlation, intersection
from vaclip.maps.source import map_source
from vaclip.study.study import Study

Map = NDArray[Any]
CHANCE_PAIRS = 500
"""Most pairs of maps of different patients that a chance level is the mean of."""


@dataclass(frozen=True)
class PairAgreement:
    """Two annotators over the N clips that both annotated.

    Attributes:
        first: An annotator.
        second: Another.
        clip_ids: The N clips, in the study's order.
        exact: Share of them with exactly the same set of annotations; NaN for N = 0.
        kappa: `cohen_kappa` of the sets of annotations, over the clips on which both named theirs,
            as regions are; NaN where there is none: two drawings are never the same category.
        cc: (N,) `correlation` of the two maps of each clip.
        sim: (N,) `intersection` of the two maps of each clip.
        cc_chance: Mean `correlation` of an annotator's map of a patient and the other
            annotator's maps of other patients; NaN for fewer than two patients.
        sim_chance: Mean `intersection` likewise.
    """

    first: str
    second: str
    clip_ids: tuple[str, ...]
    exact: float
    kappa: float
    cc: NDArray[np.float64]
    sim: NDArray[np.float64]
    cc_chance: float
    sim_chance: float


def annotator_agreement(
    study: Study,
    settings: SampleSettings,
    root: Path,
    *,
    workers: int = -1,
    progress: Callable[[int, int], None] | None = None,
) -> list[PairAgreement]:
    """Compares every two of the annotators that the settings name.

    Regions are the same by name, map files by content. Only clips that two of them annotated are
    looked at, and a clip that is in the cache is not decoded again.

    Args:
        study: The study.
        settings: How clips and maps are sampled, and who is compared.
        root: The cache folder.
        workers: Processes; -1 for one a core.
        progress: Called with (done, total), once anew for each annotator.

    Returns:
        One item a pair, in the order of ``settings.annotators``.

    Raises:
        VaclipError: If clips or maps cannot be read; the message names every one of them.
    """
    alone = {
        name: dataclasses.replace(settings, annotators=(name,), combine="mean")
        for name in settings.annotators
    }
    said = {name: map_identities(study, own, root) for name, own in alone.items()}
    shared = tuple(
        clip for clip in study.clips if sum(clip.clip_id in own for own in said.values()) > 1
    )
    compared = dataclasses.replace(study, clips=shared)
    maps = {
        name: {
            one.clip.clip_id: one.attn
            for one in cache_study(compared, own, root, workers=workers, progress=progress)
            if one.attn is not None
        }
        for name, own in alone.items()
    }
    patients = {clip.clip_id: clip.patient_id for clip in shared}
    named = {name: _named(study, name) for name in settings.annotators}
    return [
        _compare(
            pair, [said[one] for one in pair], [maps[one] for one in pair], patients,
            named[pair[0]] & named[pair[1]],
        )
        for pair in combinations(settings.annotators, 2)
    ]  # fmt: skip


def agreement_of(pair: PairAgreement) -> Agreement:
    """Sums a comparison up over its clips."""
    cc, sim = pd.Series(pair.cc), pd.Series(pair.sim)  # whose means leave undefined clips out
    return Agreement(
        first=pair.first,
        second=pair.second,
        clips=len(pair.clip_ids),
        exact=pair.exact,
        kappa=pair.kappa,
        cc_mean=float(cc.mean()),
        cc_sd=float(cc.std()),
        sim_mean=float(sim.mean()),
        sim_sd=float(sim.std()),
        cc_chance=pair.cc_chance,
        sim_chance=pair.sim_chance,
    )


def _compare(
    pair: tuple[str, str],
    said: Sequence[dict[str, tuple[Any, ...]]],
    maps: Sequence[dict[str, ArrayFile]],
    patients: dict[str, str],
    named: set[str],
) -> PairAgreement:
    clip_ids = tuple(clip_id for clip_id in maps[0] if clip_id in maps[1])
    same = [said[0][clip_id] == said[1][clip_id] for clip_id in clip_ids]
    scores = np.empty((len(clip_ids), 2))
    for row, clip_id in enumerate(clip_ids):
        one, other = (map_array(own[clip_id]).numpy() for own in maps)
        scores[row] = _alike(one, other)
    return PairAgreement(
        *pair,
        clip_ids,
        float(np.mean(same)) if same else math.nan,
        cohen_kappa(*([own[clip] for clip in clip_ids if clip in named] for own in said)),
        *scores.T,
        *_chance(maps, [(clip_id, patients[clip_id]) for clip_id in clip_ids]),
    )


def _alike(one: Map, other: Map) -> tuple[float, float]:
    """CC and SIM of two maps."""
    return float(correlation(one[None], other[None])[0]), float(
        intersection(one[None], other[None])[0]
    )


def _named(study: Study, annotator: str) -> set[str]:
    """The clips of which an annotator names what they mean, and draws nothing."""
    kinds = {
        clip.clip_id: [
            map_source(one.kind).drawing(one.value, study.annotated(clip))
            for one in study.annotations.get(clip.clip_id, ())
            if one.annotator == annotator
        ]
        for clip in study.clips
    }
    return {clip_id for clip_id, files in kinds.items() if not any(files)}


def _chance(
    maps: Sequence[dict[str, ArrayFile]], clips: Sequence[tuple[str, str]]
) -> tuple[float, float]:
    """Mean CC and SIM of two annotators' maps of different patients.

    Args:
        maps: By clip, of either annotator.
        clips: (clip id, patient).
    """
    random = np.random.default_rng(0)
    chosen = [clips[n] for n in random.permutation(len(clips))[:CHANCE_PAIRS]]
    patients = np.array([patient for _, patient in chosen], str)
    pairs = np.argwhere(patients[:, None] != patients)
    scores = []
    for pair in random.permutation(pairs)[:CHANCE_PAIRS]:
        one, other = (
            map_array(own[chosen[row][0]]).numpy() for own, row in zip(maps, pair, strict=True)
        )
        # Clips differ in length: the other map is seen at the same share of its own.
        at = np.linspace(0, other.shape[1] - 1, one.shape[1]).round().astype(np.int64)
        scores.append(_alike(one, other[:, at]))
    cc, sim = pd.DataFrame(scores, columns=["cc", "sim"]).mean()  # of those that are defined
    return float(cc), float(sim)


def cohen_kappa(first: Sequence[Hashable], second: Sequence[Hashable]) -> float:
    """Cohen's kappa of two raters: agreement beyond chance, over agreement that chance leaves.

    Args:
        first: (N,) categories.
        second: (N,) categories of the other rater.

    Returns:
        At most 1; NaN where both always say the same one thing, or N = 0.
    """
    number = _numbers([*first, *second])
    if len(number) < 2:
        return math.nan
    return float(cohen_kappa_score([number[c] for c in first], [number[c] for c in second]))


def fleiss_kappa(ratings: Sequence[Sequence[Hashable]]) -> float:
    """Fleiss' kappa of several raters: as Cohen's, with the raters' categories pooled.

    See J. L. Fleiss, "Measuring nominal scale agreement among many raters", 1971.

    Args:
        ratings: For each rater, (N,) categories of the same N clips.

    Returns:
        At most 1; NaN where all always say the same one thing, or N = 0.
    """
    number = _numbers([category for own in ratings for category in own])
    if len(number) < 2:
        return math.nan
    rows = [[number[category] for category in clip] for clip in zip(*ratings, strict=True)]
    return float(inter_rater.fleiss_kappa(inter_rater.aggregate_raters(np.array(rows))[0]))


def joint_agreement(study: Study, settings: SampleSettings, root: Path) -> tuple[int, float]:
    """Compares all annotators at once on the clips that every one of them annotated.

    Args:
        study: The study.
        settings: Who is compared.
        root: The cache folder.

    Returns:
        The number of those clips, and `fleiss_kappa` of the sets of annotations, over the clips on
        which all named theirs; NaN for fewer than three annotators, whom `PairAgreement` compares.
    """
    said = [
        map_identities(
            study, dataclasses.replace(settings, annotators=(name,), combine="mean"), root
        )
        for name in settings.annotators
    ]
    shared = [clip for clip in said[0] if all(clip in own for own in said)] if said else []
    if len(said) < 3:
        return len(shared), math.nan
    named = set.intersection(*(_named(study, name) for name in settings.annotators))
    compared = [clip for clip in shared if clip in named]
    return len(shared), fleiss_kappa([[own[clip] for clip in compared] for own in said])


def _numbers(categories: Sequence[Hashable]) -> dict[Hashable, int]:
    return {category: number for number, category in enumerate(dict.fromkeys(categories))}
