"""The CLIP objective between videos and attention maps."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def clip_loss(video_embed: Tensor, attn_embed: Tensor, valid: Tensor, temperature: float) -> Tensor:
    """Symmetric cross-entropy over the similarity matrix (Radford et al. 2021, figure 3).

    With s_ij = <v_i, a_j> / temperature over the N valid rows,
    loss = - 1/2N sum_i [log softmax_j(s_ij)_i + log softmax_j(s_ji)_i].

    Args:
        video_embed: (B, E), unit length.
        attn_embed: (B, E), unit length.
        valid: (B,) bool; rows without a valid map are left out on both sides.
        temperature: Above 0.

    Returns:
        A scalar; 0 (connected to the graph) where fewer than two rows are valid, because a
        single pair has no negative.
    """
    video, attn = video_embed[valid], attn_embed[valid]
    if len(video) < 2:
        return 0.0 * (video_embed.sum() + attn_embed.sum())
    similarity = video @ attn.T / temperature
    target = torch.arange(len(video), device=video.device)
    return 0.5 * (F.cross_entropy(similarity, target) + F.cross_entropy(similarity.T, target))
