"""``3dcnn``: a small 3D CNN; the default backbone."""

from __future__ import annotations

from torch import Tensor, nn

from vaclip.models.encoders.base import Encoded, VideoEncoder


def conv_block_3d(
    in_channels: int,
    out_channels: int,
    kernel: tuple[int, int, int],
    stride: tuple[int, int, int],
    groups: int = 1,
) -> nn.Sequential:
    """Returns convolution ("same" padding), batch normalisation and ReLU."""
    padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
    return nn.Sequential(
        nn.Conv3d(in_channels, out_channels, kernel, stride, padding, groups=groups, bias=False),
        nn.BatchNorm3d(out_channels),
        nn.ReLU(inplace=True),
    )


class CNN3D(VideoEncoder):
    """Four convolutions; one token covers 4 frames x 8 x 8 pixels of stride.

    The stem already halves space and time, because on a CPU most of the step is spent at the
    largest resolution (``benchmarks/cpu_step.py`` shows the share).

    Args:
        width: Channels of the stem; the tokens have four times as many.
    """

    gives_tokens = True

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.out_channels = 4 * width
        self.layers = nn.Sequential(
            conv_block_3d(3, width, (3, 5, 5), (2, 2, 2)),
            conv_block_3d(width, 2 * width, (3, 3, 3), (1, 2, 2)),
            conv_block_3d(2 * width, 4 * width, (3, 3, 3), (2, 2, 2)),
            conv_block_3d(4 * width, 4 * width, (3, 3, 3), (1, 1, 1)),
        )

    def forward(self, video: Tensor) -> Encoded:
        tokens = self.layers(video)
        return Encoded(tokens.mean(dim=(2, 3, 4)), tokens)
