"""What a trained model looked at, on its token grid.

Letters: B segments, T' x H' x W' token grid. A segment is what the model is called with
(`vaclip.data.transforms.model_inputs`): its video, or the tokens of a frozen encoder; its map; and
whether that is valid. All maps are (B, 1, T', H', W') and not negative. But for the first two they
show what speaks for the class that the model chose; what speaks against it is 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from vaclip import keys
from vaclip.models import VideoAttentionCLIP
from vaclip.models.encoders import Encoded

MAPS: Final = ("predicted", "gate", "gradcam", "integrated_gradients", "occlusion")
"""``predicted``: the map that the model predicts; ``gate``: the weights that it makes of that one.
A gate that is made of a given map shows this map and is left out."""
TUBES: Final = (2, 6, 6)
"""At most so many parts of time, height and width are occluded one at a time."""
_STEPS = 32  # of the path of integrated gradients

Segments: TypeAlias = tuple[Tensor, Tensor, Tensor]


def why_no_place(model: VideoAttentionCLIP) -> str:
    """Returns why it cannot be told where a model looks; empty where it can."""
    if not model.video_encoder.gives_tokens:
        return "its video encoder keeps no place; one that gives tokens does, such as 3dcnn"
    if model.classifier_source == "attn":
        return "its diagnosis reads the attention map and not the video"
    return ""


def look(
    model: VideoAttentionCLIP, segments: Segments, *, occlude: bool = True, batch_size: int = 32
) -> tuple[dict[str, Tensor], Tensor]:
    """Returns by name those of `MAPS` that a model has.

    Args:
        model: In evaluation mode, with tokens.
        segments: On its device.
        occlude: Whether to make the map of occlusion, which costs far more than the others.
        batch_size: Of occluded segments that are run at a time.

    Returns:
        The maps, and (B, K) the probabilities.
    """
    with torch.no_grad():
        outputs = model(*segments, embed=False)
    label = outputs[keys.LOGITS].argmax(dim=1)
    maps = {}
    if keys.PREDICTED_MAP in outputs:
        maps["predicted"] = outputs[keys.PREDICTED_MAP]
    gate = model.place_gate(segments, outputs)
    if gate is not None and model.map_source == "predicted":
        maps["gate"] = gate
    maps["gradcam"] = gradcam(model, segments, label)
    maps["integrated_gradients"] = integrated_gradients(model, segments, label)
    if occlude:
        tube_of = tubes(outputs[keys.VIDEO_TOKENS].shape[2:])
        maps["occlusion"] = occlusion(model, segments, label, tube_of, batch_size=batch_size)
    return maps, outputs[keys.LOGITS].softmax(dim=1)


def gradcam(model: VideoAttentionCLIP, segments: Segments, label: Tensor) -> Tensor:
    """Grad-CAM on the tokens (Selvaraju et al. 2017).

    Each channel counts by the mean gradient of the class's logit over the grid.

    Args:
        model: See `look`.
        segments: See `look`.
        label: (B,) the class.
    """
    tokens = _tokens(model, segments)
    slope = _slope(model, tokens, segments, label).mean(dim=(2, 3, 4), keepdim=True)
    return (slope * tokens).sum(dim=1, keepdim=True).relu()


def integrated_gradients(
    model: VideoAttentionCLIP, segments: Segments, label: Tensor, *, steps: int = _STEPS
) -> Tensor:
    """Integrated gradients (Sundararajan et al. 2017) of the class's logit, summed over channels.

    The path leads to the tokens from their mean over the segment, at which no place stands out.

    Args:
        model: See `look`.
        segments: See `look`.
        label: (B,) the class.
        steps: Of the path.
    """
    return attributions(model, segments, label, steps).sum(dim=1, keepdim=True).relu()


def attributions(
    model: VideoAttentionCLIP, segments: Segments, label: Tensor, steps: int
) -> Tensor:
    """Integrated gradients, (B, D, T', H', W'); their sum is what the logit gains on the path."""
    tokens = _tokens(model, segments)
    away = tokens - tokens.mean(dim=(2, 3, 4), keepdim=True)
    slope = torch.zeros_like(tokens)
    for step in range(steps):
        left = 1 - (step + 0.5) / steps  # the midpoint rule
        slope += _slope(model, tokens - left * away, segments, label) / steps
    return away * slope


@torch.no_grad()
def occlusion(
    model: VideoAttentionCLIP,
    segments: Segments,
    label: Tensor,
    tube_of: Tensor,
    *,
    batch_size: int = 32,
) -> Tensor:
    """What the class's logit loses where a tube is covered (Zeiler and Fergus 2014).

    Args:
        model: See `look`.
        segments: See `look`.
        label: (B,) the class.
        tube_of: (T', H', W'), see `tubes`.
        batch_size: Segments that are run at a time.
    """
    tube_of = tube_of.to(label.device)
    count = int(tube_of.max()) + 1
    numbers = torch.arange(count, device=label.device)
    keep = tube_of != numbers.view(-1, 1, 1, 1)  # (count, T', H', W')
    maps = []
    for row in range(len(label)):
        own = [part[row : row + 1] for part in segments]
        one = label[row : row + 1]
        whole = class_logits(model, (own[0], own[1], own[2]), one)
        loss = [
            whole - class_logits(model, covered(own, part), one.expand(len(part)))
            for part in keep.split(batch_size)
        ]
        maps.append(torch.cat(loss).relu()[tube_of])
    return torch.stack(maps)[:, None]


def tubes(grid: Sequence[int], most: Sequence[int] = TUBES) -> Tensor:
    """Numbers the tubes of a token grid, which is cut into parts of about the same size.

    Args:
        grid: (T', H', W').
        most: Parts of each side at most.

    Returns:
        (T', H', W') int64, from 0 on.
    """
    counts = [min(side, parts) for side, parts in zip(grid, most, strict=True)]
    time, row, column = (
        torch.arange(side) * count // side for side, count in zip(grid, counts, strict=True)
    )
    return (time[:, None, None] * counts[1] + row[:, None]) * counts[2] + column


def covered(segment: Sequence[Tensor], keep: Tensor) -> Segments:
    """Puts the mean over the segment in place of all that is not kept.

    Args:
        segment: One segment, see `look`.
        keep: (N, T', H', W') bool, on the token grid.

    Returns:
        N segments.
    """
    seen, attn_map, attn_valid = segment
    shown = F.interpolate(keep[:, None].float(), size=seen.shape[2:], mode="nearest-exact") > 0.5
    mean = seen.mean(dim=(2, 3, 4), keepdim=True)
    several = attn_map.expand(len(keep), -1, -1, -1, -1), attn_valid.expand(len(keep))
    return torch.where(shown, seen, mean), *several


def class_logits(model: VideoAttentionCLIP, segments: Segments, label: Tensor) -> Tensor:
    """Returns (B,) the logit of each segment's class."""
    logits = model(*segments, embed=False)[keys.LOGITS]
    return logits.gather(1, label[:, None])[:, 0]


@torch.no_grad()
def _tokens(model: VideoAttentionCLIP, segments: Segments) -> Tensor:
    tokens = model.video_encoder(segments[0]).tokens
    assert tokens is not None, "see why_no_place"
    return tokens


def _slope(model: VideoAttentionCLIP, tokens: Tensor, segments: Segments, label: Tensor) -> Tensor:
    """The gradient of the class's logit at some tokens."""
    tokens = tokens.detach().requires_grad_()
    encoded = Encoded(tokens.mean(dim=(2, 3, 4)), tokens)
    logits = model.read(encoded, *segments[1:], video=segments[0], embed=False)[keys.LOGITS]
    return torch.autograd.grad(logits.gather(1, label[:, None]).sum(), tokens)[0]
