"""The look audit of a model: its maps against the clinicians', with floor and ceiling.

Beside the agreement it asks of each map whether it is faithful (`vaclip.explain.removal`), and
whether it is sane: the same network with random weights, or trained on labels that were dealt anew,
must look elsewhere (Adebayo et al. 2018).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaclip import keys
from vaclip.data.dataset import collate
from vaclip.data.transforms import model_inputs, prepare_batch
from vaclip.explain.measures import Maps, Scores, agreement, core, correlation, density
from vaclip.explain.removal import gains_over_random
from vaclip.explain.saliency import Segments, look, tubes
from vaclip.maps import draw_control
from vaclip.models import VideoAttentionCLIP
from vaclip.models.guidance import token_weights
from vaclip.seeds import mix_seed

POSITION: Final = "position"
"""Column of `look_audit`: which of the segments."""
OCCLUDED: Final = 4
"""Occlusion and removal are of one segment in so many."""
Found: TypeAlias = dict[tuple[str, str], Scores]
"""By map and measure, (N,)."""


@dataclass(frozen=True)
class Audited:
    """N segments of test patients, and what their maps are compared with.

    Attributes:
        shown: As the model is tested with them, each as `SegmentDataset` gives it.
        clinicians: (N, C, T, H, W) uint8, the maps of the clinicians, whatever the model is shown.
        patients: (N,) whose they are.
        prior: (C, H, W) uint8, the mean map of the training patients.
        annotators: As ``clinicians``, of each annotator alone; 0 where they did not annotate.
    """

    shown: Sequence[dict[str, Tensor]]
    clinicians: Tensor
    patients: NDArray[Any]
    prior: Tensor
    annotators: tuple[Tensor, ...] = ()


def look_audit(
    model: VideoAttentionCLIP,
    untrained: VideoAttentionCLIP,
    audited: Audited,
    *,
    permuted: VideoAttentionCLIP | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Judges each map of a model.

    Occlusion and removal, which run the network hundreds of times, are of one segment in
    `OCCLUDED`; all else is of every segment.

    Args:
        model: In evaluation mode, with tokens.
        untrained: The same network with random weights.
        audited: The segments, one or more.
        permuted: The same network trained on labels that mean nothing, where there is one.
        seed: Of the random maps of removal.

    Returns:
        `POSITION`, `keys.LOOK_MAP`, `keys.LOOK_MEASURE` and `keys.LOOK_VALUE`; what is undefined
        has no row.
    """
    count = len(audited.shown)
    others = {keys.LOOK_RANDOMISED: untrained}
    if permuted is not None:
        others[keys.LOOK_PERMUTED] = permuted
    device = str(next(model.parameters()).device)
    found: Found = defaultdict(lambda: np.full(count, np.nan))
    looked: dict[str, list[Maps]] = defaultdict(list)
    for row, segment in enumerate(audited.shown):
        inputs, costly = segment_inputs(segment, device), row % OCCLUDED == 0
        own = look_arrays(model, inputs, occlude=costly)
        for which, alone in own.items():
            looked[which].append(alone)
        for measure, network in others.items():
            for which, maps in look_arrays(network, inputs, occlude=costly).items():
                found[which, measure][row] = correlation(own[which], maps)[0]
        if not costly:
            looked["occlusion"].append(np.zeros_like(own["gradcam"]))
            continue
        grid = own["gradcam"].shape[1:]
        tried = own | {keys.LOOK_CLINICIANS: grid_maps(audited.clinicians[row : row + 1], grid)}
        generator = torch.Generator().manual_seed(mix_seed(seed, row))
        stacked = torch.from_numpy(np.concatenate(list(tried.values())))
        gains = gains_over_random(model, inputs, stacked, tubes(grid), generator)
        for measure, values in zip(keys.LOOK_REMOVAL, gains.tolist(), strict=True):
            for which, value in zip(tried, values, strict=True):
                found[which, measure][row] = value
    found |= _agreements({name: np.concatenate(maps) for name, maps in looked.items()}, audited)
    rows = [
        (row, *names, value)
        for names, values in found.items()
        for row, value in enumerate(values.tolist())
    ]
    columns = [POSITION, keys.LOOK_MAP, keys.LOOK_MEASURE, keys.LOOK_VALUE]
    return pd.DataFrame(rows, columns=columns).dropna(ignore_index=True)


def segment_inputs(segment: dict[str, Tensor], device: str) -> Segments:
    """Returns one segment of a `SegmentDataset` as a model is called with it."""
    batch = {name: value.to(device) for name, value in collate([segment]).items()}
    return model_inputs(prepare_batch(batch))


def look_arrays(
    model: VideoAttentionCLIP, inputs: Segments, *, occlude: bool = True
) -> dict[str, Maps]:
    """Returns by name the maps of a model, (B, T', H', W'), see `vaclip.explain.saliency.look`."""
    return {
        name: maps[:, 0].float().numpy(force=True)
        for name, maps in look(model, inputs, occlude=occlude)[0].items()
    }


def grid_maps(maps: Tensor, grid: Sequence[int]) -> Maps:
    """Brings maps to a token grid, as guidance reads them; 0 where one is constant.

    Args:
        maps: (N, C, T, H, W) uint8.
        grid: (T', H', W').

    Returns:
        (N, T', H', W') in [0, 1].
    """
    valid = maps.flatten(1).any(dim=1).bool()
    weights, informative = token_weights(maps.float() / 255, valid, grid)
    return (weights[:, 0] * informative.view(-1, 1, 1, 1)).numpy()


def _agreements(looked: dict[str, Maps], audited: Audited) -> Found:
    """Agreement of the model's maps, of the floors and of the annotators with the clinicians."""
    grid = looked["gradcam"].shape[1:]
    truth = grid_maps(audited.clinicians, grid)
    apart = audited.patients[:, None] != audited.patients
    elsewhere = apart @ core(truth).astype(float)
    steps, *size = audited.clinicians.shape[2:]
    centre = torch.from_numpy(draw_control("centre", (1, steps, size[0], size[1]), fps=1, seed=0))
    still = audited.prior[:, None].expand(-1, steps, -1, -1)
    prior, middle = (
        np.repeat(grid_maps(one[None], grid), len(truth), axis=0) for one in (still, centre)
    )

    def judge(maps: Maps, against: Maps, where: Any = True) -> dict[str, Scores]:
        there = where & maps.any(axis=(1, 2, 3)) & against.any(axis=(1, 2, 3))
        scores = agreement(maps, against, prior, elsewhere)
        return {measure: np.where(there, values, np.nan) for measure, values in scores.items()}

    judged = {
        which: [judge(maps, truth)]
        for which, maps in (looked | {"prior": prior, "centre": middle}).items()
    }
    judged["other"] = [
        judge(np.roll(truth, by, axis=0), truth, np.roll(audited.patients, by) != audited.patients)
        for by in range(1, len(truth))
    ]
    judged[keys.LOOK_CEILING] = [
        judge(own, rest)
        for own, rest in _one_against_the_rest([grid_maps(m, grid) for m in audited.annotators])
    ]
    return {
        (which, measure): pd.DataFrame([own[measure] for own in scores]).mean().to_numpy()
        for which, scores in judged.items()
        if scores
        for measure in keys.LOOK_AGREEMENT
    }


def _one_against_the_rest(annotators: Sequence[Maps]) -> list[tuple[Maps, Maps]]:
    """Pairs each annotator's maps with the mean of the others', each of which weighs the same."""
    alike = [np.nan_to_num(density(maps)).reshape(maps.shape) for maps in annotators]
    pairs = []
    for which, own in enumerate(alike):
        rest = [other for n, other in enumerate(alike) if n != which]
        if rest:
            pairs.append((own, np.sum(rest, axis=0)))
    return pairs
