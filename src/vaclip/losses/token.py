"""The token-level loss: the video encoder should respond where the clinician looks."""

from __future__ import annotations

from torch import Tensor

from vaclip.losses.correlation import correlation
from vaclip.losses.processes import mean_over_processes


def token_loss(tokens: Tensor, weights: Tensor, informative: Tensor) -> Tensor:
    """1 - Pearson correlation, over each segment's token grid, of token energy and map.

    The energy of a token is the mean of its squared channels. It is taken before guidance,
    so that the gate itself cannot satisfy the loss.

    Args:
        tokens: (B, D, T', H', W').
        weights: (B, 1, T', H', W'), the map on the token grid.
        informative: (B,) bool; other segments are left out.

    Returns:
        The mean over the informative segments (of all processes), in [0, 2]; 0 (connected to
        the graph) where there is none.
    """
    energy = tokens[informative].square().mean(dim=1).flatten(1)
    losses = 1 - correlation(energy, weights[informative].flatten(1))
    return mean_over_processes(losses.sum(), informative.sum())
