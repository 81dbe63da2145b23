"""Ridge regression of clinicians' maps on frozen tokens, in closed form.

A token of D channels x and the value y that the map has there make a row (x, 1, y). The sum of its
outer products over all tokens, the **moments** (D + 2, D + 2), is all that a ridge regression needs
of them: moments of patients add up, and one pass over the tokens serves every set of patients,
every penalty, and the errors of each on every other set.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from vaclip import keys
from vaclip.data.dataset import SegmentDataset, collate
from vaclip.data.transforms import prepare_batch
from vaclip.errors import VaclipError
from vaclip.models.guidance import token_weights

STRENGTHS: Final = tuple(10.0**power for power in range(-4, 3))
"""Penalties to choose from, in units of the mean variance of a channel."""


class Ridge(NamedTuple):
    """y = weight x + bias.

    Attributes:
        weight: (D,) float64.
        bias: Scalar.
        strength: Of the penalty, of `STRENGTHS`.
    """

    weight: Tensor
    bias: Tensor
    strength: float


def map_moments(segments: SegmentDataset, batch_size: int) -> Tensor:
    """Returns the moments of all segments that have a map which is not constant.

    Args:
        segments: Of frozen tokens; not augmented.
        batch_size: Segments that are read at a time.
    """
    loader = DataLoader(segments, batch_size, collate_fn=collate)
    return sum((_moments(prepare_batch(batch)) for batch in loader), torch.zeros(()))


def _moments(batch: dict[str, Tensor]) -> Tensor:
    tokens = batch[keys.VIDEO_TOKENS]
    target, informative = token_weights(
        batch[keys.ATTN_MAP], batch[keys.ATTN_VALID], tokens.shape[2:]
    )
    x, y = tokens[informative], target[informative]
    rows = torch.cat([x, torch.ones_like(y), y], dim=1).transpose(0, 1).flatten(1).double()
    return rows @ rows.T


def ridge(moments: Tensor, strength: float) -> Ridge:
    """Minimises sum (y - w x - b)^2 + strength * tr(S) / D * |w|^2, with S the scatter of x.

    Args:
        moments: (D + 2, D + 2), of at least one token.
        strength: Above 0.
    """
    channels = len(moments) - 2
    count, sums = moments[-2, -2], moments[-2]
    mean, level = sums[:channels] / count, sums[-1] / count
    scatter = moments[:channels, :channels] - count * torch.outer(mean, mean)
    shared = moments[:channels, -1] - count * level * mean
    penalty = strength * scatter.diagonal().mean() * torch.eye(channels, dtype=moments.dtype)
    factor = torch.linalg.cholesky(scatter + penalty)
    weight = torch.cholesky_solve(shared[:, None], factor)[:, 0]
    return Ridge(weight, level - weight @ mean, strength)


def squared_error(moments: Tensor, fit: Ridge) -> Tensor:
    """Returns sum (y - w x - b)^2 over the tokens of some moments."""
    residual = torch.cat([-fit.weight, -fit.bias[None], torch.ones_like(fit.bias)[None]])
    return residual @ moments @ residual


def fit_ridge(parts: Sequence[Tensor]) -> Ridge:
    """Fits all parts with the strength that predicts each part best from the others.

    Args:
        parts: Moments of the parts, which share no patient.

    Raises:
        VaclipError: If a part's fits would have no map to learn from.
    """
    total = sum(parts, torch.zeros(()))
    others = [total - part for part in parts]
    if min(float(one[-2, -2]) if one.dim() else 0.0 for one in others) < 1:
        raise VaclipError(
            "model.map_head=ridge has too few training patients with a map: each part of "
            "model.map_crossfit needs some in two other parts; use more patients, or "
            "model.map_head=trained"
        )
    errors = [
        sum(float(squared_error(own, ridge(rest, strength)))
            for own, rest in zip(parts, others, strict=True) if own.dim())
        for strength in STRENGTHS
    ]  # fmt: skip
    return ridge(total, STRENGTHS[errors.index(min(errors))])
