"""From cached uint8 to what the model takes, with one geometry for video and map."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vaclip import keys

MEAN, STD = 0.45, 0.225  # of natural video over all channels, as in common video models


@dataclass(frozen=True)
class Augmentation:
    """Random changes of a training segment, the same for all its frames.

    Attributes:
        crop: Side of the random window, as a share of the picture's, in (0, 1].
        brightness: Largest change of brightness, as a share of white.
        contrast: Largest relative change of contrast.
        flip: Whether to mirror half of the segments left to right. Off by default: sides
            have a meaning in clinical pictures.
    """

    crop: float = 0.875
    brightness: float = 0.1
    contrast: float = 0.2
    flip: bool = False


@dataclass(frozen=True)
class Crop:
    """A window in pixels, perhaps mirrored; it is not resized, because models take any size."""

    top: int
    left: int
    height: int
    width: int
    mirrored: bool = False

    def apply(self, pictures: Tensor) -> Tensor:
        """Cuts (..., H, W): video and map alike."""
        rows = slice(self.top, self.top + self.height)
        columns = slice(self.left, self.left + self.width)
        cut = pictures[..., rows, columns]
        return cut.flip(-1) if self.mirrored else cut


def random_crop(
    size: tuple[int, int], augmentation: Augmentation, generator: torch.Generator
) -> Crop:
    """Draws where the window of a picture of (H, W) lies; its size is always the same."""
    down, right, mirror = torch.rand(3, generator=generator).tolist()
    height, width = (max(1, round(augmentation.crop * side)) for side in size)
    top, left = round(down * (size[0] - height)), round(right * (size[1] - width))
    return Crop(top, left, height, width, augmentation.flip and mirror < 0.5)


def prepare_batch(
    batch: dict[str, Tensor],
    augmentation: Augmentation | None = None,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """Turns uint8 to float and normalises the video, with random light where asked for.

    Args:
        batch: As collated.
        augmentation: Of light (crops are made where segments are loaded); None for none.
        generator: On the CPU; the source of all randomness.

    Returns:
        The batch with ``video`` normalised and maps in [0, 1]; or with frozen tokens, which have no
        light, as float.
    """
    shown = [name for name in (keys.ATTN_MAP, keys.GUIDE_MAP) if name in batch]
    maps = {name: batch[name].float().mul_(1 / 255) for name in shown}
    if keys.VIDEO_TOKENS in batch:
        return {**batch, keys.VIDEO_TOKENS: batch[keys.VIDEO_TOKENS].float(), **maps}
    video = batch[keys.VIDEO]
    gain, shift = torch.ones(2, len(video), 1, 1, 1, 1)
    shift = 0 * shift
    if augmentation is not None:
        draws = 2 * torch.rand(2, *gain.shape, generator=generator) - 1
        gain = 1 + augmentation.contrast * draws[0]
        shift = augmentation.brightness * draws[1]
    # Contrast about mid-grey, brightness and normalisation are one affine map of the pixels:
    # ((x / 255 - 1/2) * gain + 1/2 + shift - MEAN) / STD.
    factor = gain / (255 * STD)
    offset = (0.5 - 0.5 * gain + shift - MEAN) / STD
    normalised = video.float().mul_(factor.to(video.device)).add_(offset.to(video.device))
    return {**batch, keys.VIDEO: normalised, **maps}


def model_inputs(batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Returns what a model is called with: video or frozen tokens, map, and where it is valid."""
    seen = keys.VIDEO_TOKENS if keys.VIDEO_TOKENS in batch else keys.VIDEO
    return batch[seen], batch[keys.ATTN_MAP], batch[keys.ATTN_VALID]
