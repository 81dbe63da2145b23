"""``features.finetune=1``: an encoder whose last block is trained along, on pixels."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaclip.data.transforms import MEAN, STD
from vaclip.features import open_encoder
from vaclip.models.encoders.base import Encoded
from vaclip.models.encoders.features import FrozenFeatures


class FinetunedFeatures(FrozenFeatures):
    """Encodes a video, (B, 3, T, H, W), with an encoder of which the last block is trained.

    What comes before the block stays frozen, and the whole encoder in evaluation mode: a batch of
    few patients would spoil the statistics of its normalisation.

    Args:
        width: Channels of its tokens.
        source: ``features.source``.
        every: A picture encoder sees every so many samples.
        grid: (H', W') that tokens are averaged to; None for the encoder's own.
        more: As `FrozenFeatures`.

    Raises:
        VaclipError: If the encoder cannot be used, or its last block is not known.
    """

    def __init__(
        self,
        width: int = 64,
        *,
        source: str,
        every: int = 1,
        grid: Sequence[int] | None = None,
        **more: Any,
    ) -> None:
        with tempfile.TemporaryDirectory(prefix="vaclip-") as scratch:
            encoder = open_encoder(source, Path(scratch))
        super().__init__(width, channels=encoder.info.channels, **more)
        # So that all else begins as it does on cached tokens.
        with torch.random.fork_rng(devices=[]):
            self.encoder = encoder.network().requires_grad_(False)
        self._block = encoder.last_block(self.encoder)
        for module in self._block:
            module.requires_grad_(True)
        self.info, self.every = encoder.info, every
        self.grid = grid or encoder.info.grid

    def train(self, mode: bool = True) -> FinetunedFeatures:
        super().train(mode)
        self.encoder.eval()
        return self

    def pretrained(self) -> Iterator[nn.Parameter]:
        for module in self._block:
            yield from module.parameters()

    def forward(self, video: Tensor) -> Encoded:
        return super().forward(self.tokens(video))

    def tokens(self, video: Tensor) -> Tensor:
        """Returns (B, D, T', H', W') of a normalised video, as `vaclip.features.cache` makes them.

        A window that the segment does not fill holds the segment's last picture.
        """
        info = self.info
        steps = video.shape[2] // (info.step * self.every)
        shown = self._shown(video[:, :, :: self.every])
        missing = -shown.shape[2] % info.window
        filling = shown[:, :, -1:].expand(-1, -1, missing, -1, -1)
        windows = torch.cat([shown, filling], dim=2).unflatten(2, (-1, info.window))
        each = windows.transpose(1, 2).flatten(0, 1)
        alone = info.window == 1
        tokens = self.encoder(each[:, :, 0]).unsqueeze(2) if alone else self.encoder(each)
        joined = tokens.unflatten(0, (video.shape[0], -1)).transpose(1, 2).flatten(2, 3)
        height, width = self.grid
        return F.adaptive_avg_pool3d(joined[:, :, :steps], (steps, height, width))

    def _shown(self, video: Tensor) -> Tensor:
        """Normalises pixels as the encoder wants them, and enlarges a crop to its size."""
        info = self.info
        mean, std = (video.new_tensor(own).view(3, 1, 1, 1) for own in (info.mean, info.std))
        video = (video * STD + MEAN - mean) / std
        if video.shape[3:] == info.size:
            return video
        return F.interpolate(video, (video.shape[2], *info.size), mode="trilinear")
