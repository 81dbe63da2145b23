"""The attention-map encoder and the projection into the shared embedding space."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from vaclip.models.encoders.cnn3d import conv_block_3d

_MAP_SIDE = 16
_MAP_TIME_STEP = 4


class AttentionEncoder(nn.Module):
    """A small 3D CNN on the map, (B, C, T, H, W) to (B, F).

    A map is smooth, so it is first averaged down to 16 x 16 and a quarter of the frames.

    Args:
        in_channels: C.
        feature_dim: F.
        width: Channels of the first layer.
    """

    def __init__(self, in_channels: int, feature_dim: int, width: int = 16) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            conv_block_3d(in_channels, width, (3, 3, 3), (1, 1, 1)),
            conv_block_3d(width, 2 * width, (3, 3, 3), (1, 2, 2)),
            conv_block_3d(2 * width, 4 * width, (3, 3, 3), (1, 2, 2)),
        )
        # The place matters for a map, so the last 4 x 4 grid is kept apart, not averaged.
        self.project = nn.Linear(4 * width * 16, feature_dim)

    def forward(self, attn_map: Tensor) -> Tensor:
        """Encodes (B, C, T, H, W) to (B, F)."""
        steps = max(1, attn_map.shape[2] // _MAP_TIME_STEP)
        small = F.adaptive_avg_pool3d(attn_map, (steps, _MAP_SIDE, _MAP_SIDE))
        grid = self.layers(small).mean(dim=2)
        return self.project(grid.flatten(1))


class ProjectionHead(nn.Module):
    """A two-layer MLP to the embedding space, (B, F) to (B, E) of unit length.

    Args:
        feature_dim: F.
        embed_dim: E.
    """

    def __init__(self, feature_dim: int, embed_dim: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(feature_dim, feature_dim), nn.GELU(), nn.Linear(feature_dim, embed_dim)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Projects (B, F) to (B, E), L2-normalised."""
        return F.normalize(self.layers(features), dim=-1)
