"""Large contrastive batches on small machines: the model a few segments at a time."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from vaclip import keys
from vaclip.data.transforms import model_inputs
from vaclip.models import VideoAttentionCLIP


def forward_in_chunks(
    model: VideoAttentionCLIP,
    batch: dict[str, Tensor],
    chunk: int,
    *,
    embed: bool,
    keep_tokens: bool,
    keep_map: bool = False,
    map_given: Tensor | None = None,
) -> dict[str, Tensor]:
    """Runs the model on ``chunk`` segments at a time, keeping no activations between them.

    The two passes of GradCache (Gao et al. 2021): the first gives the outputs of
    the whole batch, on which the loss is computed; in the backward pass each chunk is run once
    more, and takes the gradient of its outputs to the weights. Memory grows with ``chunk``, not
    with the batch (but for the inputs and the small outputs), for one more forward pass.

    Batch normalisation sees ``chunk`` segments at a time, in both passes the same, and counts
    each once in its running mean and variance. In evaluation mode the gradient is that of one pass.

    Args:
        model: The model.
        batch: As `prepare_batch` gives it.
        chunk: Segments at a time.
        embed: See `VideoAttentionCLIP.forward`.
        keep_tokens: Whether the loss needs the tokens, by far the largest output.
        keep_map: Whether the loss needs the predicted map.
        map_given: See `VideoAttentionCLIP.forward`.

    Returns:
        The outputs that a loss reads.
    """
    wanted = [keys.LOGITS]
    wanted += [keys.VIDEO_EMBED, keys.ATTN_EMBED] if embed else []
    wanted += [keys.VIDEO_TOKENS] if keep_tokens else []
    wanted += [keys.PREDICTED_MAP] if keep_map else []

    def run(
        video: Tensor, attn_map: Tensor, attn_valid: Tensor, given: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        outputs = model(video, attn_map, attn_valid, map_given=given, embed=embed)
        return tuple(outputs[name] for name in wanted)

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), frozen_statistics(model)

    inputs = [whole.split(chunk) for whole in model_inputs(batch)]
    if map_given is not None:
        inputs.append(map_given.split(chunk))
    parts = [
        checkpoint(run, *part, use_reentrant=False, context_fn=contexts)
        for part in zip(*inputs, strict=True)
    ]
    return {
        name: torch.cat(pieces)
        for name, pieces in zip(wanted, zip(*parts, strict=True), strict=True)
    }


@contextmanager
def frozen_statistics(model: nn.Module) -> Generator[None]:
    """Keeps batch normalisation from counting what it sees in its running statistics."""
    layers = [layer for layer in model.modules() if isinstance(layer, _BatchNorm)]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = 0.0
    try:
        yield
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
