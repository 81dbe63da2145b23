"""The map loss: the predicted map should be where the clinician looks."""

from __future__ import annotations

import torch
from torch import Tensor

from vaclip.losses.correlation import correlation
from vaclip.losses.processes import mean_over_processes


def map_loss(
    predicted: Tensor, weights: Tensor, informative: Tensor, lambda_cc: float = 1.0
) -> Tensor:
    """KL(m || a) + lambda_cc * (1 - CC(m, a)) over each segment's token grid.

    m is the clinician's map, scaled to sum to 1; a the predicted one. Both are common measures of
    saliency (Bylinskii et al. 2019); KL alone rests on the places where m is large, CC on all.

    Args:
        predicted: a, (B, 1, T', H', W'), not negative, sums to 1 over the grid.
        weights: (B, 1, T', H', W'), the clinician's map on the token grid, not negative.
        informative: (B,) bool; other segments are left out.
        lambda_cc: Weight of the correlation.

    Returns:
        The mean over the informative segments (of all processes), not negative; 0 (connected to
        the graph) where there is none.
    """
    guess = predicted[informative].flatten(1)
    target = weights[informative].flatten(1)
    target = target / target.sum(dim=1, keepdim=True)
    log_guess = guess.clamp_min(torch.finfo(guess.dtype).tiny).log()
    divergence = (torch.special.xlogy(target, target) - target * log_guess).sum(dim=1)
    losses = divergence + lambda_cc * (1 - correlation(target, guess))
    return mean_over_processes(losses.sum(), informative.sum())
