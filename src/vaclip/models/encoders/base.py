"""What every video encoder gives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar, NamedTuple

from torch import Tensor, nn


class Encoded(NamedTuple):
    """Features of a batch of segments.

    Attributes:
        pooled: (B, D).
        tokens: (B, D, T', H', W'), of which ``pooled`` is the mean; None where the encoder
            keeps no place and time.
    """

    pooled: Tensor
    tokens: Tensor | None


class VideoEncoder(nn.Module, ABC):
    """Encodes normalised video (B, 3, T, H, W) of any T, H, W from 16 pixels up.

    Every encoder is built as ``Encoder(width=...)``, and its parameters are set up from the
    global random state: no download, no file. The row of a segment does not depend on its
    batch in evaluation mode, and a gradient reaches every parameter.

    Args:
        width: ``model.backbone_width``, the channels of the first layer. An encoder of one size
            takes it and leaves it.

    Attributes:
        out_channels: D, set by the constructor.
        gives_tokens: Whether ``Encoded.tokens`` is set, which map-guided pooling and the token
            term need.
    """

    out_channels: int
    gives_tokens: ClassVar[bool]

    def __init__(self, width: int = 16) -> None:
        super().__init__()

    def pretrained(self) -> Iterator[nn.Parameter]:
        """Yields the trained parameters that were trained before, elsewhere; by default none."""
        yield from ()

    @abstractmethod
    def forward(self, video: Tensor) -> Encoded:
        """Encodes (B, 3, T, H, W)."""
