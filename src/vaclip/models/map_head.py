"""A map that the model predicts itself, to stand where a clinician's would."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vaclip.models.guidance import per_sample, token_weights

MAP_SOURCES = ("given", "predicted", "mixed")
MAP_HEADS = ("trained", "ridge")


class MapHead(nn.Module):
    """Where would a clinician look? Reads the tokens of any encoder.

    a = softmax(s / temperature) over the grid of the segment, with s from two convolutions.

    Args:
        channels: D.
        hidden_dim: Width of the hidden layer.
        temperature: Above 0; smaller makes a sharper map of the same scores.
    """

    def __init__(self, channels: int, hidden_dim: int, temperature: float = 1.0) -> None:
        super().__init__()
        self.temperature = temperature
        self.layers = nn.Sequential(
            nn.Conv3d(channels, hidden_dim, 1),
            nn.ReLU(inplace=True),
            nn.Conv3d(hidden_dim, 1, 3, padding=1, bias=False),  # the softmax takes no constant
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Maps (B, D, T', H', W') to (B, 1, T', H', W'), which sums to 1 over a segment's grid."""
        scores = self.layers(tokens)
        return (scores.flatten(1) / self.temperature).softmax(dim=1).view_as(scores)


class RidgeHead(nn.Module):
    """Where would a clinician look? A linear regression on the tokens of a frozen encoder.

    a = max(w x + b, 0) over its sum on the grid of the segment; the same everywhere where no token
    is above 0. Nothing is trained: `vaclip.training.ridge` fits w and b in closed form.

    Args:
        channels: Of the frozen tokens.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(channels))
        self.register_buffer("bias", torch.zeros(()))

    def forward(self, tokens: Tensor) -> Tensor:
        """Maps (B, D, T', H', W') to (B, 1, T', H', W'), which sums to 1 over a segment's grid."""
        scores = torch.einsum("bdthw,d->bthw", tokens, self.weight) + self.bias
        scores = scores.clamp_min(0).unsqueeze(1)
        nothing = per_sample(scores.amax(dim=(1, 2, 3, 4)) == 0)
        scores = torch.where(nothing, 1.0, scores)
        return scores / scores.sum(dim=(1, 2, 3, 4), keepdim=True)


def guiding_map(predicted: Tensor, attn_map: Tensor, given: Tensor) -> Tensor:
    """Puts predicted maps where a clinician's is not given, or is constant.

    Args:
        predicted: (B, 1, T', H', W'), from `MapHead`.
        attn_map: (B, C, T, H, W) in [0, 1].
        given: (B,) bool: whose map is used.

    Returns:
        (B, C, T', H', W') in [0, 1], as a guidance type reads a map. It is 1 at its largest value,
        so that the same map guides alike whoever drew it.
    """
    weights, informative = token_weights(attn_map, given, predicted.shape[2:])
    own = predicted / predicted.amax(dim=(1, 2, 3, 4), keepdim=True)
    guide = torch.where(per_sample(informative), weights.to(own.dtype), own)
    return guide.expand(-1, attn_map.shape[1], -1, -1, -1)
