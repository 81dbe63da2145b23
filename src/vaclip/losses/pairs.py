"""Pairs of a video and a map: which are compared, and how much the two belong together."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from vaclip.losses.processes import world

_GRID = 8


class PairFacts(NamedTuple):
    """What decides about pairs, for M rows.

    Attributes:
        valid: (M,) bool; a row without a valid map takes part in no pair.
        identity: (M,) int64; equal for rows that are each other's positives.
        patient: (M,) int64.
        place: (M, P) of unit length: where each map is, see `map_place`; for ``soft_map``.
    """

    valid: Tensor
    identity: Tensor
    patient: Tensor
    place: Tensor | None = None


class Block(NamedTuple):
    """Rows of one process as all others see them, M for each.

    Attributes:
        attn: (M, E), unit length.
        number: (M,) int64; a row's among those of all processes.
        valid, identity, patient, place: As in `PairFacts`.
    """

    attn: Tensor
    number: Tensor
    valid: Tensor
    identity: Tensor
    patient: Tensor
    place: Tensor | None = None

    def tensors(self) -> list[Tensor]:
        """Returns what there is, from which ``Block(*tensors)`` is made again."""
        return [tensor for tensor in self if tensor is not None]

    def take(self, rows: slice) -> Block:
        """Returns some of the rows."""
        return Block(*(tensor[rows] for tensor in self.tensors()))


def make_block(attn: Tensor, facts: PairFacts, size: int, *, paired: bool) -> Block:
    """Returns the own rows as a block of ``size``; those beyond them have no valid map.

    Args:
        attn: (N, E).
        facts: Of these N rows.
        size: M, the largest N of all processes.
        paired: Whether a row's only positive is itself.
    """
    number = world()[1] * size + torch.arange(size, device=attn.device)
    return Block(
        pad_rows(attn, size),
        number,
        pad_rows(facts.valid, size),
        number if paired else pad_rows(facts.identity, size),
        pad_rows(facts.patient, size),
        None if facts.place is None else pad_rows(facts.place, size),
    )


def pad_rows(rows: Tensor, size: int) -> Tensor:
    """Returns (size, ...) of (N, ...), zeros at the end."""
    return F.pad(rows, (0, 0) * (rows.dim() - 1) + (0, size - len(rows)))


def compare_pairs(own: Block, other: Block, mask_same_patient: bool) -> tuple[Tensor, Tensor]:
    """Returns which pairs of rows are compared, and which belong together, (N, M) bool each."""
    positive = own.identity[:, None] == other.identity
    candidate = own.valid[:, None] & other.valid
    if mask_same_patient:
        candidate &= positive | (own.patient[:, None] != other.patient)
    return candidate, positive


def pair_affinities(
    own: Block, other: Block, candidate: Tensor, positive: Tensor, soft_temperature: float
) -> Tensor:
    """Returns how much the pairs that are compared belong together: (N, M) in [0, 1], else 0."""
    if own.place is None or other.place is None:
        return (candidate & positive).to(own.attn.dtype)
    cosine = own.place @ other.place.T
    affinity = ((cosine - 1) / soft_temperature).exp().clamp_max(1.0)
    affinity.masked_fill_(own.number[:, None] == other.number, 1.0)  # also where a map is empty
    return affinity.mul_(candidate).to(own.attn.dtype)


def map_place(attn_map: Tensor) -> Tensor:
    """Returns where maps are: their mean over time on an 8 x 8 grid, of unit length.

    Args:
        attn_map: (B, C, T, H, W) in [0, 1].

    Returns:
        (B, C * 64); the product of two rows is the cosine of their maps, in [0, 1].
    """
    return F.normalize(F.adaptive_avg_pool3d(attn_map, (1, _GRID, _GRID)).flatten(1), dim=1)
