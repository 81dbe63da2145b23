"""``features``: what is trained on the tokens of a frozen encoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vaclip.models.encoders.base import Encoded, VideoEncoder
from vaclip.models.encoders.cnn3d import conv_block_3d


class FrozenFeatures(VideoEncoder):
    """Brings frozen tokens to a width, and mixes them in time.

    Takes (B, D, T', H', W') in place of a video, and keeps the grid.

    Args:
        width: Channels of its tokens.
        channels: D.
        dropout: Share of the frozen channels that training leaves out, anew for each segment.
        noise: Standard deviation of what training adds to all tokens of a step alike, channel by
            channel; they have one of 1 before.
    """

    gives_tokens = True

    def __init__(
        self, width: int = 64, *, channels: int = 3, dropout: float = 0.0, noise: float = 0.0
    ) -> None:
        super().__init__()
        self.out_channels = width
        self.noise = noise
        self.adapter = nn.Sequential(
            nn.Dropout3d(dropout), nn.Conv3d(channels, width, 1, bias=False), nn.BatchNorm3d(width)
        )
        # A picture encoder's tokens know nothing of motion: neighbours in time, each channel apart.
        self.mix = conv_block_3d(width, width, (3, 1, 1), (1, 1, 1), groups=width)

    def forward(self, video: Tensor) -> Encoded:
        tokens = self.adapter(video)
        if self.training and self.noise:
            # One draw for all places of a step: of many, pooling would leave next to nothing.
            drawn = torch.randn_like(tokens[..., :1, :1])
            tokens = tokens + self.noise * drawn
        tokens = tokens.relu()
        tokens = tokens + self.mix(tokens)
        return Encoded(tokens.mean(dim=(2, 3, 4)), tokens)
