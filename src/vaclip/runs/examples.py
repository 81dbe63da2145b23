"""A few validation segments under their maps, for TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping

import lightning as L
import numpy as np
from lightning.pytorch.loggers import TensorBoardLogger
from numpy.typing import NDArray

from vaclip import keys
from vaclip.data.dataset import SegmentDataset
from vaclip.maps.overlay import overlay
from vaclip.models import VideoAttentionCLIP
from vaclip.training.pictures import segment_pictures, spread

_STILLS = 4  # side by side


def log_examples(
    trainer: L.Trainer, model: VideoAttentionCLIP, segments: SegmentDataset, count: int, epoch: int
) -> None:
    """Writes overlays to TensorBoard, one picture an example: a row a map, stills side by side.

    Args:
        trainer: Whose TensorBoard.
        model: In evaluation mode.
        segments: Examples are spread over them.
        count: How many.
        epoch: That the model is of.
    """
    device = str(next(model.parameters()).device)
    for board in (one for one in trainer.loggers if isinstance(one, TensorBoardLogger)):
        for row in spread(len(segments), count).tolist():
            segment = {**segments[row], keys.VIDEO: segments.video(row)}
            picture = overlays(segment_pictures(model, segment, device))
            board.experiment.add_image(f"val/example_{row}", picture, epoch, dataformats="HWC")


def overlays(pictures: Mapping[str, NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Lays out what `segment_pictures` gives: frames alone, then under each map.

    Returns:
        (H, W, 3).
    """
    frames = pictures["frames"]
    picked = spread(len(frames), _STILLS)
    maps = {name: own for name, own in pictures.items() if name != "frames"}
    under = [overlay(frames, own.astype(np.float32) / 255) for own in maps.values()]
    strips = [np.concatenate([*one[picked]], axis=1) for one in (frames, *under)]
    return np.concatenate(strips)
