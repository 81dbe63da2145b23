"""The LightningModule: stops on a bad loss, learns, and names its metrics."""

from __future__ import annotations

import logging
import math
from types import SimpleNamespace

import lightning as L
import pytest
import torch
from torch.utils.data import DataLoader

from vaclip import VaclipError, keys
from vaclip.losses import ClipLoss, CompositeLoss
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
        keys.SESSION: numbers,
        keys.CLIP_ROW: numbers,
        keys.SEGMENT: torch.zeros_like(numbers),
        keys.MAP_ID: numbers,
    }


def make_module(
    *,
    clip: ClipLoss | None = None,
    map_source: str = "given",
    map_dropout: float = 1.0,
    grad_cache_chunk: int | None = None,
    **weights: float,
) -> VaclipModule:
    torch.manual_seed(0)
    model = VideoAttentionCLIP(
        2,
        clip_feature_dim=16,
        clip_embed_dim=8,
        map_guided=True,
        map_source=map_source,
        backbone_width=4,
    )
    return VaclipModule(
        model,
        CompositeLoss(clip=clip, **weights),
        Optimisation(weight_decay=0.3),
        grad_cache_chunk=grad_cache_chunk,
        map_dropout=map_dropout,
        clip_ids=["first", "second", "third", "fourth"],
    )


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


# --- The loss's own parameters -------------------------------------------------------------------


def optimizer_of(module, monkeypatch):
    trainer = SimpleNamespace(estimated_stepping_batches=10)
    monkeypatch.setattr(VaclipModule, "trainer", trainer)
    return module.configure_optimizers()["optimizer"]


@pytest.mark.parametrize(
    ("form", "learn_temperature", "learned"),
    [
        ("softmax", True, {"log_scale"}),
        ("sigmoid", True, {"log_scale", "bias"}),
        ("sigmoid", False, {"bias"}),
        ("softmax", False, set()),
    ],
)
def test_temperature_and_bias_are_learned_without_decay(
    form, learn_temperature, learned, monkeypatch
):
    clip = ClipLoss(form=form, learn_temperature=learn_temperature)
    module = make_module(clip=clip)
    decay = {
        parameter: group["weight_decay"]
        for group in optimizer_of(module, monkeypatch).param_groups
        for parameter in group["params"]
    }
    scalars = {name: decay.pop(p) for name, p in clip.named_parameters() if p in decay}
    assert scalars == dict.fromkeys(learned, 0.0)
    assert decay == dict.fromkeys(module.model.parameters(), 0.3)


def test_without_clip_term_only_what_is_used_is_optimised(monkeypatch):
    module = make_module(clip_weight=0.0)
    (group,) = optimizer_of(module, monkeypatch).param_groups
    assert set(group["params"]) == {p for p in module.model.parameters() if p.requires_grad}


@pytest.mark.parametrize("form", ["softmax", "sigmoid"])
def test_a_step_moves_what_is_learned(module, form):
    module.loss = CompositeLoss(clip=ClipLoss(form=form))
    learned = [p for p in module.loss.parameters() if p.requires_grad]
    before = [p.item() for p in learned]
    optimizer = torch.optim.SGD(learned, lr=0.1)
    module.training_step(make_batch(), 0).backward()
    optimizer.step()
    assert len(learned) == (2 if form == "sigmoid" else 1)
    assert all(p.item() != value for p, value in zip(learned, before, strict=True))


# --- A whole fit ---------------------------------------------------------------------------------


def fit(module, epochs=1, **changes):
    """Trains on two batches; returns what was logged."""
    batches = [{**make_batch(), **changes}] * 2
    trainer = L.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, DataLoader(batches, batch_size=None))
    return {name: value.item() for name, value in trainer.callback_metrics.items()}


def test_terms_temperature_and_negatives_are_logged():
    logged = fit(make_module(lambda_token=0.1, clip=ClipLoss(form="sigmoid")))
    assert set(logged) == {
        f"train/{name}"
        for name in (
            keys.LOSS_CE,
            keys.LOSS_CLIP,
            keys.LOSS_TOKEN,
            keys.LOSS_TOTAL,
            keys.CLIP_NEGATIVES,
            keys.CLIP_SKIPPED,
            keys.CLIP_TEMPERATURE,
            keys.CLIP_BIAS,
        )
    }
    assert logged[f"train/{keys.CLIP_NEGATIVES}"] == 3
    assert logged[f"train/{keys.CLIP_SKIPPED}"] == 0
    assert logged[f"train/{keys.CLIP_TEMPERATURE}"] == pytest.approx(0.07, rel=0.1)


NOTHING_TO_COMPARE = "nothing to compare"
SAME = torch.zeros(4, dtype=torch.int64)


@pytest.mark.parametrize(
    ("changes", "clip", "warned"),
    [
        ({keys.MAP_ID: SAME}, {}, True),
        ({keys.PATIENT: SAME}, {}, True),
        ({keys.ATTN_VALID: SAME.bool()}, {}, True),
        ({keys.PATIENT: SAME}, {"mask_same_patient": False}, False),
        ({keys.MAP_ID: SAME}, {"positives": "paired"}, False),
        ({keys.MAP_ID: torch.tensor([0, 0, 0, 1])}, {}, False),
        ({}, {}, False),
    ],
)
def test_it_warns_where_nothing_can_be_compared(changes, clip, warned, caplog):
    with caplog.at_level(logging.WARNING, logger="vaclip"):
        logged = fit(make_module(clip=ClipLoss(**{"positives": "same_map", **clip})), **changes)
    assert (logged[f"train/{keys.CLIP_SKIPPED}"] == 1) == warned
    assert (NOTHING_TO_COMPARE in caplog.text) == warned


def test_it_warns_once(caplog):
    fit(make_module(clip=ClipLoss("same_map")), epochs=2, **{keys.MAP_ID: SAME})
    assert caplog.text.count(NOTHING_TO_COMPARE) == 1


def test_it_does_not_warn_without_clip_term(caplog):
    fit(make_module(clip_weight=0.0), **{keys.MAP_ID: SAME})
    assert NOTHING_TO_COMPARE not in caplog.text


def test_logged_terms_are_not_weighed_by_the_share_of_a_process(module, monkeypatch):
    """They average over processes as they are; Lightning would weigh them by ``batch_size``."""
    said = []
    monkeypatch.setattr(module, "log_dict", lambda values, **how: said.append(how))
    for segments in (4, 3):
        module.training_step(make_batch(segments), 0)
    assert said[0] == said[1]
    assert said[0]["sync_dist"]


# --- Predicted maps ------------------------------------------------------------------------------


@pytest.mark.parametrize(("start", "expected"), [(1.0, [0, 0, 0]), (0.0, [1, 0.5, 0]),
                                                 (0.4, [0.6, 0.3, 0])])  # fmt: skip
def test_ever_fewer_segments_are_guided_by_the_given_map(monkeypatch, start, expected):
    module = make_module(map_source="predicted", map_dropout=start)
    monkeypatch.setattr(VaclipModule, "trainer", SimpleNamespace(max_epochs=3))
    generator = torch.Generator().manual_seed(0)
    for epoch, share in enumerate(expected):
        monkeypatch.setattr(VaclipModule, "current_epoch", epoch)
        shown = module._shown_maps(4000, generator).float().mean().item()
        assert shown == pytest.approx(share, abs=0.04)
        assert (shown == share) == (share in (0, 1))


def test_a_model_of_given_maps_draws_nothing(module):
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    assert module._shown_maps(4, generator) is None
    assert torch.equal(generator.get_state(), before)


@pytest.mark.parametrize("chunk", [None, 3])
def test_the_map_term_is_logged_and_trains_the_head(chunk):
    module = make_module(
        clip_weight=0.0, lambda_map=1.0, map_source="predicted", grad_cache_chunk=chunk
    )
    before = [p.clone() for p in module.model.map_head.parameters()]
    logged = fit(module, epochs=2)
    assert {f"train/{name}" for name in (keys.LOSS_CE, keys.LOSS_MAP, keys.LOSS_TOTAL)} == set(
        logged
    )
    assert logged["train/map"] > 0
    for old, new in zip(before, module.model.map_head.parameters(), strict=True):
        assert not torch.equal(old, new)
