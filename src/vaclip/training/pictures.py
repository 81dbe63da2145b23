"""What a model saw of a segment, and where it looked, as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vaclip import keys
from vaclip.data.transforms import model_inputs
from vaclip.models import VideoAttentionCLIP
from vaclip.training.inference import predict_segments

_FRAMES = 16  # of a segment, at most


def segment_pictures(
    model: VideoAttentionCLIP, segment: dict[str, Tensor], device: str
) -> dict[str, Any]:
    """Draws what the model saw, in frames spread over a segment.

    Args:
        model: The model.
        segment: As `SegmentDataset` gives it, with its video.
        device: Where the model is.

    Returns:
        ``frames`` (N, H, W, 3), ``map`` (N, H, W); where guidance weighs places, ``gate``
        (N, H, W): its weights in [0, 1], times 255; where the model predicts maps,
        ``predicted`` (N, H, W), 255 at its largest. N is 16, or T if that is less. All are uint8.
    """
    pictures, shape = stills(segment), segment[keys.ATTN_MAP].shape[1:]
    ((batch, outputs),) = predict_segments(model, [segment], 1, device, embed=False)
    if keys.PREDICTED_MAP in outputs:
        predicted = outputs[keys.PREDICTED_MAP]
        pictures["predicted"] = grid_stills(predicted / predicted.amax(), shape)
    if (gate := model.place_gate(model_inputs(batch), outputs)) is not None:
        pictures["gate"] = grid_stills(gate, shape)
    return pictures


def stills(segment: dict[str, Tensor]) -> dict[str, Any]:
    """Returns ``frames`` and ``map`` of `segment_pictures`."""
    attn = segment[keys.ATTN_MAP].float().mean(dim=0)
    picked = spread(len(attn))
    return {
        "frames": segment[keys.VIDEO].permute(1, 2, 3, 0).numpy()[picked],
        "map": attn.round().byte().numpy()[picked],
    }


def grid_stills(weights: Tensor, shape: Sequence[int]) -> NDArray[np.uint8]:
    """Returns (N, H, W): weights on a token grid, times 255, over the same frames.

    Args:
        weights: (1, 1, T', H', W') in [0, 1].
        shape: (T, H, W) of the segment.
    """
    over_frames = F.interpolate(weights.float(), size=tuple(shape), mode="trilinear")[0, 0]
    return (over_frames * 255).round().byte().cpu().numpy()[spread(shape[0])]


def spread(count: int, most: int = _FRAMES) -> NDArray[np.int64]:
    """Returns which of ``count`` things are taken, evenly spread, where ``most`` may be."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)
