"""What every video encoder gives."""

from __future__ import annotations

from abc import ABC, abstractmethod
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

    Attributes:
        out_channels: D.
        gives_tokens: Whether ``Encoded.tokens`` is set, which map-guided pooling needs.
    """

    out_channels: int
    gives_tokens: ClassVar[bool]

    @abstractmethod
    def forward(self, video: Tensor) -> Encoded:
        """Encodes (B, 3, T, H, W)."""
