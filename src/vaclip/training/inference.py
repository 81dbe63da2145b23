"""Runs a model on segments, outside of a trainer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from vaclip.data.dataset import SegmentDataset, collate
from vaclip.data.transforms import model_inputs, prepare_batch
from vaclip.models import VideoAttentionCLIP

Tensors = dict[str, Tensor]


@torch.inference_mode()
def predict_segments(
    model: VideoAttentionCLIP,
    segments: SegmentDataset | Sequence[Tensors],
    batch_size: int,
    device: str = "cpu",
    *,
    embed: bool = True,
) -> Iterator[tuple[Tensors, Tensors]]:
    """Yields (batch, outputs) of segments in their order, both on the device.

    Args:
        model: In evaluation mode, on the device.
        segments: As `SegmentDataset` gives them.
        batch_size: Segments that are run at a time.
        device: Of torch.
        embed: Whether the outputs have embeddings.
    """
    # A list has what the loader needs of a dataset.
    for loaded in DataLoader(segments, batch_size, collate_fn=collate):  # ty: ignore[invalid-argument-type]
        batch = prepare_batch({name: value.to(device) for name, value in loaded.items()})
        yield batch, model(*model_inputs(batch), embed=embed)
