"""A video backbone and a guidance type."""

import torch
from torch import Tensor, nn

from vaclip.models.encoders import Encoded, VideoEncoder
from vaclip.models.guidance import Guidance, Guided, token_weights, weighted_mean


class MotionCNN(VideoEncoder):
    """``motion``: two convolutions on what changes from frame to frame.

    Args:
        width: Channels of the first convolution; the tokens have twice as many.
    """

    gives_tokens = True

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.out_channels = 2 * width
        self.layers = nn.Sequential(
            nn.Conv3d(3, width, (3, 5, 5), (2, 4, 4), (1, 2, 2)),
            nn.ReLU(),
            nn.Conv3d(width, 2 * width, 3, 2, 1),
            nn.ReLU(),
        )

    def forward(self, video: Tensor) -> Encoded:
        tokens = self.layers(torch.diff(video, dim=2, prepend=video[:, :, :1]))
        return Encoded(tokens.mean(dim=(2, 3, 4)), tokens)


class HardPoolGuidance(Guidance):
    """``hard_pool``: the mean of the tokens where the map is above half of its range."""

    def forward(self, tokens: Tensor, attn_map: Tensor, attn_valid: Tensor) -> Guided:
        weights, _ = token_weights(attn_map, attn_valid, tokens.shape[2:])
        return Guided(weighted_mean(tokens, (weights > 0.5).to(tokens.dtype)), None)
