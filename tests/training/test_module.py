"""The LightningModule: stops on a bad loss, learns, and names its metrics."""

from __future__ import annotations

import math

import pytest
import torch

from vaclip import VaclipError, keys
from vaclip.losses import CompositeLoss
from vaclip.models import VideoAttentionCLIP
from vaclip.training.module import Optimisation, VaclipModule


def make_batch(segments: int = 4) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shape = (segments, 8, 32, 32)
    video = torch.randint(0, 256, (*shape, 3), dtype=torch.uint8, generator=generator)
    attn = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    numbers = torch.arange(segments)
    return {
        keys.VIDEO: video.permute(0, 4, 1, 2, 3),
        keys.ATTN_MAP: attn[:, None],
        keys.ATTN_VALID: torch.ones(segments, dtype=torch.bool),
        keys.LABEL: numbers % 2,
        keys.PATIENT: numbers,
        keys.CLIP: numbers,
        keys.SEGMENT: torch.zeros_like(numbers),
        keys.MAP_ID: numbers,
    }


def make_module(**loss: float) -> VaclipModule:
    torch.manual_seed(0)
    model = VideoAttentionCLIP(
        2, clip_feature_dim=16, clip_embed_dim=8, map_guided=True, backbone_width=4
    )
    names = ["first", "second", "third", "fourth"]
    return VaclipModule(model, CompositeLoss(**loss), Optimisation(), clip_ids=names)


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> VaclipModule:
    module = make_module(clip_weight=1.0, lambda_token=0.1)
    monkeypatch.setattr(VaclipModule, "global_rank", 0)
    monkeypatch.setattr(VaclipModule, "current_epoch", 3)
    monkeypatch.setattr(module, "log_dict", lambda *args, **kwargs: None)
    return module


def test_a_step_lowers_the_loss_on_its_own_batch(module):
    batch = make_batch()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01)
    losses = []
    for _ in range(5):
        loss = module.training_step(batch, 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_a_loss_that_is_not_finite_stops_and_names_the_clips(module):
    batch = make_batch()
    with torch.no_grad():
        module.model.classifier.bias.fill_(math.nan)
    with pytest.raises(VaclipError, match=r"not finite.*epoch 3.*first, fourth, second, third|"
                       r"not finite.*epoch 3.*first, second, third, fourth"):  # fmt: skip
        module.training_step(batch, 0)


def test_light_depends_on_seed_epoch_and_step_alone(module):
    seeds = {module._draw_seed(step) for step in range(100)}
    assert len(seeds) == 100
    again = make_module()
    assert again.seed == module.seed
    assert {again._draw_seed(step) for step in range(100)} == seeds


def test_without_clip_term_the_map_branch_is_frozen():
    module = make_module(clip_weight=0.0)
    assert not any(p.requires_grad for p in module.model.attn_encoder.parameters())
    assert all(p.requires_grad for p in module.model.video_encoder.parameters())
