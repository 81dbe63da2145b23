"""How an attention map acts on video tokens.

An invalid or constant map guides nothing: such a segment is pooled by the plain mean,
exactly as a model without guidance pools it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaclip.plugins import Registry

_FLAT = 1e-4  # a map whose values span less is constant (one grey level of 255 is 4e-3)


class TokenWeights(NamedTuple):
    """A map on the token grid.

    Attributes:
        weights: (B, 1, T', H', W') in [0, 1], 0 at the map's least and 1 at its largest value.
        informative: (B,) bool: False where the map is invalid or constant; its weights are 1.
    """

    weights: Tensor
    informative: Tensor


def token_weights(attn_map: Tensor, attn_valid: Tensor, grid: Sequence[int]) -> TokenWeights:
    """Averages a map over channels and over each token's cell, and min-max normalises it.

    Args:
        attn_map: (B, C, T, H, W) in [0, 1].
        attn_valid: (B,) bool.
        grid: (T', H', W').
    """
    cells = F.adaptive_avg_pool3d(attn_map, (grid[0], grid[1], grid[2])).mean(dim=1, keepdim=True)
    low = cells.amin(dim=(1, 2, 3, 4), keepdim=True)
    span = cells.amax(dim=(1, 2, 3, 4), keepdim=True) - low
    informative = attn_valid & (span.flatten() > _FLAT)
    weights = (cells - low) / span.clamp_min(_FLAT)
    return TokenWeights(torch.where(per_sample(informative), weights, 1.0), informative)


def weighted_mean(tokens: Tensor, weights: Tensor) -> Tensor:
    """Returns sum(weights * tokens) / sum(weights), (B, D).

    Args:
        tokens: (B, D, T', H', W').
        weights: (B, 1, T', H', W'), not negative, and not all 0.
    """
    return (tokens * weights).sum(dim=(2, 3, 4)) / weights.sum(dim=(2, 3, 4))


def per_sample(mask: Tensor) -> Tensor:
    """Views (B,) so that it goes with a map or with tokens."""
    return mask.view(-1, 1, 1, 1, 1)


class Guided(NamedTuple):
    """What guidance makes of the tokens: (B, D) features, and the gate where there is one."""

    pooled: Tensor
    gate: Tensor | None


class Guidance(nn.Module, ABC):
    """Pools tokens under a map.

    Every type is built with the same arguments and takes those that it needs.

    Args:
        channels: D.
        attn_in_channels: C.
        hidden_dim: Width of an MLP on the map's average.
        sigmoid_gate: Whether a gate over places is learned rather than linear.

    Attributes:
        learns_gate: Whether ``sigmoid_gate`` makes a difference.
    """

    learns_gate: ClassVar[bool] = False

    def __init__(
        self, channels: int, attn_in_channels: int, hidden_dim: int, sigmoid_gate: bool
    ) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, tokens: Tensor, attn_map: Tensor, attn_valid: Tensor) -> Guided:
        """Pools (B, D, T', H', W') under (B, C, T, H, W), valid where (B,) is True."""


class MapGate(nn.Module):
    """A gate in [0, 1] for each feature, from the map's average over time and space.

    Args:
        channels: Features to gate.
        attn_in_channels: C.
        hidden_dim: Width of the hidden layer.
    """

    def __init__(self, channels: int, attn_in_channels: int, hidden_dim: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(attn_in_channels, hidden_dim),
            nn.ReLU(inplace=True),
            nn.Linear(hidden_dim, channels),
            nn.Sigmoid(),
        )

    def forward(self, attn_map: Tensor, attn_valid: Tensor) -> Tensor:
        """Returns (B, channels); 1 where the map is invalid or constant."""
        flat = attn_map.mean(dim=1).flatten(1)
        informative = attn_valid & (flat.amax(dim=1) - flat.amin(dim=1) > _FLAT)
        gate = self.layers(attn_map.mean(dim=(2, 3, 4)))
        return torch.where(informative[:, None], gate, 1.0)


class ChannelGuidance(Guidance):
    """``channel``: one gate per token channel from the map's average; mean pooling."""

    def __init__(
        self, channels: int, attn_in_channels: int, hidden_dim: int, sigmoid_gate: bool
    ) -> None:
        super().__init__(channels, attn_in_channels, hidden_dim, sigmoid_gate)
        self.map_gate = MapGate(channels, attn_in_channels, hidden_dim)

    def forward(self, tokens: Tensor, attn_map: Tensor, attn_valid: Tensor) -> Guided:
        gate = self.map_gate(attn_map, attn_valid)
        return Guided(tokens.mean(dim=(2, 3, 4)) * gate, gate)


class SpatioTemporalGuidance(Guidance):
    """``spatiotemporal``: tokens * (1 + alpha * g), pooled by weights g; alpha is learned.

    g = w, the normalised map (linear gate), or g = sigmoid(small convolution of w).
    """

    learns_gate = True

    def __init__(
        self, channels: int, attn_in_channels: int, hidden_dim: int, sigmoid_gate: bool
    ) -> None:
        super().__init__(channels, attn_in_channels, hidden_dim, sigmoid_gate)
        self.alpha = nn.Parameter(torch.ones(()))
        self.gate = (
            nn.Sequential(nn.Conv3d(1, 8, 3, padding=1), nn.ReLU(inplace=True), nn.Conv3d(8, 1, 1))
            if sigmoid_gate
            else None
        )

    def forward(self, tokens: Tensor, attn_map: Tensor, attn_valid: Tensor) -> Guided:
        weights, informative = token_weights(attn_map, attn_valid, tokens.shape[2:])
        gate = weights if self.gate is None else torch.sigmoid(self.gate(weights))
        informed = per_sample(informative)
        gate = torch.where(informed, gate, 1.0)
        gain = torch.where(informed, self.alpha * gate, 0.0)
        return Guided(weighted_mean(tokens * (1 + gain), gate), gate)


class WeightedPoolGuidance(Guidance):
    """``weighted_pool``: pooled by the normalised map; no gate."""

    def forward(self, tokens: Tensor, attn_map: Tensor, attn_valid: Tensor) -> Guided:
        weights, _ = token_weights(attn_map, attn_valid, tokens.shape[2:])
        return Guided(weighted_mean(tokens, weights), None)


GUIDANCE = Registry(
    "vaclip.guidance",
    "model.map_guided_type",
    Guidance,
    {
        "channel": "vaclip.models.guidance:ChannelGuidance",
        "spatiotemporal": "vaclip.models.guidance:SpatioTemporalGuidance",
        "weighted_pool": "vaclip.models.guidance:WeightedPoolGuidance",
    },
)
"""Each is built from the arguments of `Guidance`."""
