"""Frozen encoders whose tokens are known in closed form, and cached clips to give them."""

from __future__ import annotations

from torch import Tensor, nn

from vaclip.features.base import EncoderInfo, FrozenEncoder

SIDE, GRID = 32, 4


class Means(nn.Module):
    """The mean colour of each cell, in all of its samples."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.step = step

    def forward(self, pictures: Tensor) -> Tensor:
        cell = SIDE // GRID
        if pictures.dim() == 4:
            return nn.functional.avg_pool2d(pictures, cell)
        return nn.functional.avg_pool3d(pictures, (self.step, cell, cell))


class MeanEncoder(FrozenEncoder):
    """Its tokens are `Means`; ``window`` is more than 1 for one of videos."""

    def __init__(self, window: int = 1, step: int = 1, **more: object) -> None:
        self.loaded = 0
        facts = {
            "source": "means",
            "weights": f"{window}-{step}",
            "mean": (0.0,) * 3,
            "std": (1 / 255,) * 3,
        } | more
        self.info = EncoderInfo(size=(SIDE, SIDE), channels=3, grid=(GRID, GRID),
                                window=window, step=step, **facts)  # fmt: skip

    def network(self) -> nn.Module:
        self.loaded += 1
        return Means(self.info.step)
