"""VideoAttentionCLIP: every encoder x guidance x classifier source."""

from __future__ import annotations

import importlib
from itertools import product
from pathlib import Path

import pytest
import torch

from vaclip import keys
from vaclip.errors import VaclipError
from vaclip.losses import CompositeLoss
from vaclip.losses.pairs import PairFacts
from vaclip.models import VideoAttentionCLIP
from vaclip.models.clip import CLASSIFIER_SOURCES
from vaclip.models.encoders import ENCODERS
from vaclip.models.guidance import GUIDANCE, token_weights
from vaclip.training.module import Optimisation, VaclipModule

B, T, H, W, F, E, K = 6, 8, 18, 16, 12, 10, 3
GRID = (2, 3, 2)  # 3dcnn: a token has strides of 4 frames and 8 x 8 pixels
GUIDED = [None, *((name, False) for name in GUIDANCE.builtin), ("spatiotemporal", True)]
CASES = list(product(sorted(ENCODERS.builtin), GUIDED, CLASSIFIER_SOURCES))


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """Tiny tensors gain nothing from threads, and lose much where other tests run beside."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def case_id(case):
    backbone, guided, source = case
    name = "plain" if guided is None else f"{guided[0]}{'_sigmoid' if guided[1] else ''}"
    return f"{backbone}-{name}-{source}"


def each_case(keep=lambda backbone, guided, source: True):
    return pytest.mark.parametrize("case", [c for c in CASES if keep(*c)], ids=case_id)


def build(case, **overrides):
    backbone, guided, source = case
    torch.manual_seed(0)
    arguments = {
        "clip_backbone": backbone,
        "clip_feature_dim": F,
        "clip_embed_dim": E,
        "map_guided": guided is not None,
        "map_guided_hidden_dim": 8,
        "clip_classifier_source": source,
        "backbone_width": 4,
    }
    if guided is not None:
        arguments |= {"map_guided_type": guided[0], "map_guided_sigmoid_gate": guided[1]}
    return VideoAttentionCLIP(K, **(arguments | overrides))


def batch(seed=0, attn_channels=1):
    generator = torch.Generator().manual_seed(seed)
    video = torch.randn(B, 3, T, H, W, generator=generator)
    attn_map = torch.rand(B, attn_channels, T, H, W, generator=generator)
    attn_map[:, :, :, :8, :8] *= 0.1
    valid = torch.tensor([True, True, False, True, True, True])
    return video, attn_map, valid


def backward(model, inputs, *, clip_weight, lambda_token):
    """One training step's gradient; returns the names of parameters that got none."""
    _, attn_map, valid = inputs
    outputs = model.train()(*inputs, embed=clip_weight > 0)
    on_tokens = None
    if lambda_token:
        on_tokens = token_weights(attn_map, valid, outputs[keys.VIDEO_TOKENS].shape[2:])
    loss = CompositeLoss(clip_weight, lambda_token)
    facts = PairFacts(valid, torch.arange(B), torch.arange(B))
    loss(outputs, torch.arange(B) % K, facts, on_tokens)[keys.LOSS_TOTAL].backward()
    return {name for name, parameter in model.named_parameters() if parameter.grad is None}


def lambda_tokens(model):
    return 0.1 if model.video_encoder.gives_tokens else 0.0


@each_case()
def test_outputs_have_the_shapes_of_the_keys(case):
    backbone, guided, _ = case
    model = build(case).eval()
    outputs = model(*batch())
    width = model.video_encoder.out_channels
    expected = {
        keys.LOGITS: (B, K),
        keys.VIDEO_FEAT: (B, F),
        keys.ATTN_FEAT: (B, F),
        keys.VIDEO_EMBED: (B, E),
        keys.ATTN_EMBED: (B, E),
    }
    if model.video_encoder.gives_tokens:
        # Frozen tokens keep their grid; the batch stands for them here.
        grid = (T, H, W) if backbone == "features" else GRID
        expected[keys.VIDEO_TOKENS] = (B, width, *grid)
        if guided and guided[0] == "channel":
            expected[keys.VIDEO_GATE] = (B, width)
        if guided and guided[0] == "spatiotemporal":
            expected[keys.VIDEO_GATE] = (B, 1, *grid)
    assert {name: tuple(value.shape) for name, value in outputs.items()} == expected
    for name in (keys.VIDEO_EMBED, keys.ATTN_EMBED):
        torch.testing.assert_close(outputs[name].norm(dim=1), torch.ones(B))


@each_case()
def test_without_embeddings_the_diagnosis_is_the_same(case):
    model = build(case).eval()
    whole, short = model(*batch()), model(*batch(), embed=False)
    torch.testing.assert_close(short[keys.LOGITS], whole[keys.LOGITS])
    dropped = {keys.VIDEO_EMBED, keys.ATTN_EMBED} | (
        {keys.ATTN_FEAT} if case[2] == "video" else set()
    )
    assert set(whole) - set(short) == dropped


@each_case()
def test_the_gradient_of_the_loss_reaches_every_parameter(case):
    model = build(case)
    model.freeze_unused(align=True, token_loss=model.video_encoder.gives_tokens)
    backward(model, batch(), clip_weight=1.0, lambda_token=lambda_tokens(model))
    missed = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert missed == []


@pytest.mark.parametrize("with_token_loss", [False, True])
@each_case()
def test_freeze_unused_freezes_exactly_what_gets_no_gradient(case, with_token_loss):
    whole = build(case)
    with_token_loss = with_token_loss and whole.video_encoder.gives_tokens
    lambda_token = 0.1 if with_token_loss else 0.0
    without_gradient = backward(whole, batch(), clip_weight=0.0, lambda_token=lambda_token)
    model = build(case)
    model.freeze_unused(align=False, token_loss=with_token_loss)
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen == without_gradient
    assert backward(model, batch(), clip_weight=0.0, lambda_token=lambda_token) == frozen


@pytest.mark.parametrize("clip_weight", [0.0, 1.0])
@each_case()
def test_a_batch_without_any_map_trains_too(case, clip_weight):
    """DDP waits for every parameter that requires a gradient, whatever the batch."""
    model = build(case)
    lambda_token = lambda_tokens(model)
    model.freeze_unused(align=clip_weight > 0, token_loss=lambda_token > 0)
    video, attn_map, valid = batch()
    inputs = (video, torch.zeros_like(attn_map), torch.zeros_like(valid))
    missed = backward(model, inputs, clip_weight=clip_weight, lambda_token=lambda_token)
    assert missed == {name for name, p in model.named_parameters() if not p.requires_grad}
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


@each_case()
def test_a_row_does_not_depend_on_its_batch(case):
    model = build(case).eval()
    inputs = batch()
    together = model(*inputs)
    for row in range(B):
        alone = model(*(value[row : row + 1] for value in inputs))
        for name, value in alone.items():
            torch.testing.assert_close(
                value, together[name][row : row + 1], rtol=1e-4, atol=1e-5, msg=name
            )


@each_case()
def test_diagnosis_needs_map_tells_the_truth(case):
    _, guided, source = case
    model = build(case).eval()
    video, attn_map, valid = batch()
    logits = model(video, attn_map, valid)[keys.LOGITS]
    other = model(video, attn_map.flip(-1) ** 2, valid)[keys.LOGITS]
    assert model.diagnosis_needs_map == (guided is not None or source != "video")
    changed = (logits - other).abs().amax(dim=1) > 1e-6
    if model.diagnosis_needs_map:
        assert changed[valid].all()
    else:
        assert not changed.any()


@each_case(lambda backbone, guided, source: source != "attn")
def test_the_diagnosis_does_not_depend_on_an_invalid_map(case):
    model = build(case).eval()
    video, attn_map, _ = batch()
    invalid = torch.zeros(B, dtype=torch.bool)
    logits = model(video, attn_map, invalid)[keys.LOGITS]
    other = model(video, 1 - attn_map, invalid)[keys.LOGITS]
    torch.testing.assert_close(other, logits, rtol=0, atol=0)


@each_case(lambda backbone, guided, source: guided is not None)
def test_an_invalid_or_constant_map_gives_the_feature_of_the_unguided_model(case):
    backbone, _, source = case
    plain = build((backbone, None, source)).eval()
    model = build(case).eval()
    model.load_state_dict(plain.state_dict(), strict=False)
    video, attn_map, valid = batch()
    expected = plain(video, attn_map, valid)[keys.VIDEO_FEAT]
    invalid = model(video, attn_map, torch.zeros_like(valid))[keys.VIDEO_FEAT]
    constant = model(video, torch.full_like(attn_map, 0.6), valid)[keys.VIDEO_FEAT]
    torch.testing.assert_close(invalid, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(constant, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("source", CLASSIFIER_SOURCES)
def test_what_the_classifier_reads(source):
    model = build(("3dcnn", None, source)).eval()
    inputs = batch()
    outputs = model(*inputs)
    video, attn, valid = outputs[keys.VIDEO_FEAT], outputs[keys.ATTN_FEAT], inputs[2][:, None]
    fusion = torch.where(valid, (video + attn) / 2, video)
    feature = {"video": video, "attn": attn, "fusion": fusion}
    expected = feature[source] @ model.classifier.weight.T + model.classifier.bias
    torch.testing.assert_close(outputs[keys.LOGITS], expected)


@each_case()
def test_without_attn_valid_all_maps_are_valid(case):
    model = build(case).eval()
    video, attn_map, valid = batch()
    expected = model(video, attn_map, torch.ones_like(valid))
    for name, value in model(video, attn_map).items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=0)


@pytest.mark.parametrize("guided", GUIDED, ids=str)
def test_several_map_channels(guided):
    model = build(("3dcnn", guided, "fusion"), attn_in_channels=2).eval()
    assert model(*batch(attn_channels=2))[keys.LOGITS].shape == (B, K)


@pytest.mark.parametrize(
    ("argument", "wrong", "right"),
    [
        ("clip_backbone", "3dcn", "3dcnn"),
        ("map_guided_type", "spatio_temporal", "spatiotemporal"),
        ("clip_classifier_source", "vidio", "video"),
    ],
)
def test_an_unknown_name_is_explained(argument, wrong, right):
    with pytest.raises(VaclipError) as caught:
        VideoAttentionCLIP(K, **{argument: wrong})
    assert f"model.{argument} is '{wrong}'" in str(caught.value)
    assert f"Did you mean '{right}'?" in str(caught.value)


@pytest.mark.parametrize("backbone", sorted(ENCODERS.builtin))
def test_every_backbone_can_be_trained(backbone):
    model = build((backbone, None, "video"))
    assert VaclipModule(model, CompositeLoss(), Optimisation()).model is model


def test_the_alias_is_the_same_class(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2])
    alias = importlib.import_module("project.models.clip_align")
    assert alias.VideoAttentionCLIP is VideoAttentionCLIP
    video, attn_map, _ = batch()
    assert alias.VideoAttentionCLIP(K).eval()(video, attn_map)[keys.LOGITS].shape == (B, K)
