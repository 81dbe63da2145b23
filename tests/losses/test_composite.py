from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from vaclip import keys
from vaclip.losses import ClipLoss, CompositeLoss
from vaclip.losses.distill import distill_loss
from vaclip.losses.map import map_loss
from vaclip.losses.pairs import PairFacts
from vaclip.losses.token import token_loss

B = 4
LABEL = torch.tensor([0, 2, 1, 2])
VALID = torch.tensor([True, False, True, True])
FACTS = PairFacts(VALID, torch.tensor([0, 1, 2, 0]), torch.tensor([0, 1, 2, 1]))
CLIP_LOGGED = {keys.CLIP_NEGATIVES, keys.CLIP_SKIPPED, keys.CLIP_TEMPERATURE}


@pytest.fixture
def outputs():
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, generator=generator)

    return {
        keys.LOGITS: draw(B, 3),
        keys.VIDEO_EMBED: F.normalize(draw(B, 5), dim=1),
        keys.ATTN_EMBED: F.normalize(draw(B, 5), dim=1),
        keys.VIDEO_TOKENS: draw(B, 6, 2, 2, 2),
    }


@pytest.fixture
def token_map():
    return torch.rand(B, 1, 2, 2, 2, generator=torch.Generator().manual_seed(1)), VALID


@pytest.mark.parametrize("clip_weight", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("lambda_token", [0.0, 0.1, 2.0])
@pytest.mark.parametrize("form", [None, "softmax", "sigmoid"])
def test_sums_named_terms(outputs, token_map, clip_weight, lambda_token, form):
    clip = None if form is None else ClipLoss("paired", form, temperature=0.5)
    terms = CompositeLoss(clip_weight, lambda_token, clip)(outputs, LABEL, FACTS, token_map)
    log_probs = outputs[keys.LOGITS].double().log_softmax(dim=1)
    expected = {keys.LOSS_CE: -sum(log_probs[i, LABEL[i]].item() for i in range(B)) / B}
    if clip_weight:
        embeds = outputs[keys.VIDEO_EMBED], outputs[keys.ATTN_EMBED]
        alone = (clip or ClipLoss())(*embeds, FACTS)
        assert set(alone) >= CLIP_LOGGED
        expected |= {name: value.item() for name, value in alone.items()}
    if lambda_token:
        expected[keys.LOSS_TOKEN] = token_loss(outputs[keys.VIDEO_TOKENS], *token_map).item()
    weights = {keys.LOSS_CE: 1, keys.LOSS_CLIP: clip_weight, keys.LOSS_TOKEN: lambda_token}
    expected[keys.LOSS_TOTAL] = sum(
        weight * expected.get(name, 0) for name, weight in weights.items()
    )
    assert {name: value.item() for name, value in terms.items()} == pytest.approx(expected)


def test_a_term_of_weight_0_needs_nothing_and_learns_nothing():
    loss = CompositeLoss(0.0, 0.0)
    terms = loss({keys.LOGITS: torch.zeros(B, 3)}, LABEL)
    assert set(terms) == {keys.LOSS_CE, keys.LOSS_TOTAL}
    assert terms[keys.LOSS_TOTAL].item() == pytest.approx(math.log(3))
    assert not any(parameter.requires_grad for parameter in loss.parameters())


def test_what_is_learned():
    learned = [name for name, p in CompositeLoss().named_parameters() if p.requires_grad]
    assert learned == ["clip.log_scale"]


@pytest.mark.parametrize("lambda_cc", [0.0, 2.0])
def test_the_map_term_is_weighed_as_told(outputs, token_map, lambda_cc):
    predicted = torch.rand(B, 1, 2, 2, 2)
    outputs[keys.PREDICTED_MAP] = predicted / predicted.sum(dim=(1, 2, 3, 4), keepdim=True)
    loss = CompositeLoss(0.0, lambda_map=0.3, lambda_map_cc=lambda_cc)
    terms = loss(outputs, LABEL, token_map=token_map)
    alone = map_loss(outputs[keys.PREDICTED_MAP], *token_map, lambda_cc)
    assert terms[keys.LOSS_MAP].item() == pytest.approx(alone.item())
    total = terms[keys.LOSS_CE] + 0.3 * alone
    assert terms[keys.LOSS_TOTAL].item() == pytest.approx(total.item())


def test_the_distillation_term_is_weighed_as_told(outputs):
    teacher = torch.randn(B, 3)
    terms = CompositeLoss(0.0, lambda_distill=0.3, distill_temperature=4.0)(
        outputs, LABEL, teacher=teacher
    )
    alone = distill_loss(outputs[keys.LOGITS], teacher, 4.0)
    assert terms[keys.LOSS_DISTILL].item() == pytest.approx(alone.item())
    total = terms[keys.LOSS_CE] + 0.3 * alone
    assert terms[keys.LOSS_TOTAL].item() == pytest.approx(total.item())


def test_only_the_terms_are_in_the_gradient(outputs, token_map):
    """What is logged beside them is not minimised."""
    outputs = {name: value.requires_grad_() for name, value in outputs.items()}
    terms = CompositeLoss(1.0, 0.1, ClipLoss(form="sigmoid"))(outputs, LABEL, FACTS, token_map)
    with_gradient = {name for name, value in terms.items() if value.requires_grad}
    assert with_gradient == {keys.LOSS_CE, keys.LOSS_CLIP, keys.LOSS_TOKEN, keys.LOSS_TOTAL}


def test_the_clip_term_needs_the_facts(outputs):
    with pytest.raises(ValueError, match="facts"):
        CompositeLoss(1.0, 0.0)(outputs, LABEL)


def test_the_distillation_term_needs_a_teacher():
    with pytest.raises(ValueError, match="teacher"):
        CompositeLoss(0.0, lambda_distill=1.0)({keys.LOGITS: torch.zeros(B, 3)}, LABEL)


@pytest.mark.parametrize("weight", ["lambda_token", "lambda_map"])
def test_terms_on_tokens_need_the_map(outputs, weight):
    with pytest.raises(ValueError, match="token_map"):
        CompositeLoss(0.0, **{weight: 0.1})(outputs, LABEL)
