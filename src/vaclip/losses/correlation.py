"""Pearson correlation with a gradient that stays finite."""

from __future__ import annotations

from torch import Tensor


def correlation(one: Tensor, other: Tensor) -> Tensor:
    """Returns the correlation of each row of (N, M) with the other's, (N,); 0 where one is flat."""
    one = one - one.mean(dim=1, keepdim=True)
    other = other - other.mean(dim=1, keepdim=True)
    covariance = (one * other).sum(dim=1)
    norms = one.norm(dim=1) * other.norm(dim=1)
    return covariance / norms.clamp_min(1e-12)
