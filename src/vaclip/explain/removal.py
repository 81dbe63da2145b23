"""Whether a map is faithful: what a diagnosis loses as the places that it marks are removed.

Deletion removes tubes of the token grid from a segment, those first that the map marks most, and
puts the segment's mean in their place; insertion begins with that mean and adds them (Petsiuk et
al. 2018). Each gives a curve of the probability of the model's diagnosis over the share of
tubes, and the area below it: a faithful map has little under deletion, and much under insertion.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from vaclip import keys
from vaclip.explain.saliency import covered
from vaclip.models import VideoAttentionCLIP

STEPS: Final = 6
RANDOM_MAPS: Final = 3
"""The mean of which a map is paired against."""


def gains_over_random(
    model: VideoAttentionCLIP,
    segment: Sequence[Tensor],
    maps: Tensor,
    tube_of: Tensor,
    generator: torch.Generator,
    *,
    batch_size: int = 32,
) -> Tensor:
    """Returns (2, M): by how much each map is better than random ones, above 0 where it is.

    Args:
        model: In evaluation mode.
        segment: One segment, see `vaclip.explain.saliency.look`.
        maps: (M, T', H', W').
        tube_of: (T', H', W'), see `vaclip.explain.saliency.tubes`.
        generator: On the CPU; of the random maps, and of the order of tubes that are marked alike.
        batch_size: Segments that are run at a time.

    Returns:
        The random maps' area under deletion less that of a map, then the map's area under insertion
        less the random ones'.
    """
    flat = tube_of.flatten()
    size = flat.bincount()
    marks = torch.zeros(len(maps), len(size)).index_add(1, flat, maps.flatten(1).float()) / size
    marks = torch.cat([marks, torch.rand(RANDOM_MAPS, len(size), generator=generator)])
    ranks = torch.stack([_ranks(own, generator) for own in marks])
    deletion, insertion = removal_areas(model, segment, ranks[:, tube_of], batch_size=batch_size)
    return torch.stack(
        [
            deletion[len(maps) :].mean() - deletion[: len(maps)],
            insertion[: len(maps)] - insertion[len(maps) :].mean(),
        ]
    )


def _ranks(marks: Tensor, generator: torch.Generator) -> Tensor:
    """Returns the place of each in the order from the largest on; equal ones stand at random."""
    shuffled = torch.randperm(len(marks), generator=generator)
    order = shuffled[marks[shuffled].argsort(descending=True, stable=True)]
    return order.argsort()


@torch.no_grad()
def removal_areas(
    model: VideoAttentionCLIP, segment: Sequence[Tensor], ranks: Tensor, *, batch_size: int = 32
) -> tuple[Tensor, Tensor]:
    """Returns the areas under deletion and insertion, (M,) each, on the CPU.

    Args:
        model: In evaluation mode.
        segment: One segment.
        ranks: (M, T', H', W') int64: the place of a token's tube in the order of removal.
        batch_size: Segments that are run at a time.
    """
    device = segment[0].device
    gone = (torch.arange(1, STEPS) * (int(ranks.max()) + 1) / STEPS).round().view(-1, 1, 1, 1)
    kept = ranks[:, None] >= gone  # (M, STEPS - 1, T', H', W')
    ends = torch.ones_like(kept[:1, 0]), torch.zeros_like(kept[:1, 0])  # of all curves alike
    keep = torch.cat([*ends, kept.flatten(0, 1), ~kept.flatten(0, 1)]).to(device)
    logits = [model(*covered(segment, part), embed=False) for part in keep.split(batch_size)]
    probs = torch.cat([one[keys.LOGITS].softmax(dim=1) for one in logits])
    chosen = probs[:, probs[0].argmax()].cpu()  # the diagnosis of the whole segment is followed
    whole, nothing = (end.expand(len(ranks), 1) for end in chosen[:2])
    left, shown = chosen[2:].view(2, len(ranks), STEPS - 1)
    curves = torch.stack(
        [torch.cat([whole, left, nothing], dim=1), torch.cat([nothing, shown, whole], dim=1)]
    )
    deletion, insertion = torch.trapezoid(curves, dx=1 / STEPS, dim=-1)
    return deletion, insertion
