"""``2dcnn``: a small CNN on each frame, then the mean over time."""

from __future__ import annotations

from torch import Tensor, nn

from vaclip.models.encoders.base import Encoded, VideoEncoder


def conv_block_2d(in_channels: int, out_channels: int, kernel: int, stride: int) -> nn.Sequential:
    """Returns convolution ("same" padding), batch normalisation and ReLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


class FrameCNN(nn.Module):
    """(B, 3, T, H, W) to one feature a frame, (B, T, D).

    Args:
        width: Channels of the stem; D is four times as many.
    """

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.out_channels = 4 * width
        self.layers = nn.Sequential(
            conv_block_2d(3, width, 5, 2),
            conv_block_2d(width, 2 * width, 3, 2),
            conv_block_2d(2 * width, 4 * width, 3, 2),
            conv_block_2d(4 * width, 4 * width, 3, 1),
        )

    def forward(self, video: Tensor) -> Tensor:
        """Encodes (B, 3, T, H, W) to (B, T, D)."""
        batch, _, frames = video.shape[:3]
        pictures = video.transpose(1, 2).flatten(0, 1)
        return self.layers(pictures).mean(dim=(2, 3)).unflatten(0, (batch, frames))


class CNN2D(VideoEncoder):
    """Frames are encoded one by one; the order of frames makes no difference.

    Args:
        width: Channels of the stem.
    """

    gives_tokens = False

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.frame_cnn = FrameCNN(width)
        self.out_channels = self.frame_cnn.out_channels

    def forward(self, video: Tensor) -> Encoded:
        return Encoded(self.frame_cnn(video).mean(dim=1), None)
