"""Small models and segments of either kind: pixels, or the tokens of a frozen encoder."""

from __future__ import annotations

import torch

from vaclip.models import VideoAttentionCLIP

B, K, T, H, W = 3, 3, 8, 24, 32
GRID = (2, 3, 4)
CHANNELS = 5


def build(backbone="3dcnn", **overrides):
    torch.manual_seed(0)
    if backbone == "features":
        overrides |= {"backbone_options": {"channels": CHANNELS}}
    small = {"clip_feature_dim": 12, "clip_embed_dim": 6, "map_guided_hidden_dim": 8,
             "backbone_width": 4}  # fmt: skip
    model = VideoAttentionCLIP(K, clip_backbone=backbone, **(small | overrides))
    with torch.no_grad():  # statistics as of some training
        model.train()(*segments(backbone, seed=9))
    return model.eval()


def segments(backbone="3dcnn", seed=0, n=B):
    generator = torch.Generator().manual_seed(seed)
    shape = (CHANNELS, *GRID) if backbone == "features" else (3, T, H, W)
    seen = torch.randn(n, *shape, generator=generator)
    attn_map = torch.rand(n, 1, T, H, W, generator=generator)
    return seen, attn_map, torch.ones(n, dtype=torch.bool)
