from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from vaclip import keys
from vaclip.losses import CompositeLoss
from vaclip.losses.contrastive import clip_loss
from vaclip.losses.token import token_loss

B = 4
LABEL = torch.tensor([0, 2, 1, 2])
VALID = torch.tensor([True, False, True, True])


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
@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_sums_named_terms(outputs, token_map, clip_weight, lambda_token, temperature):
    terms = CompositeLoss(clip_weight, lambda_token, temperature)(outputs, LABEL, VALID, token_map)
    log_probs = outputs[keys.LOGITS].double().log_softmax(dim=1)
    expected = {keys.LOSS_CE: -sum(log_probs[i, LABEL[i]].item() for i in range(B)) / B}
    if clip_weight:
        embeds = outputs[keys.VIDEO_EMBED], outputs[keys.ATTN_EMBED]
        expected[keys.LOSS_CLIP] = clip_loss(*embeds, VALID, temperature).item()
    if lambda_token:
        expected[keys.LOSS_TOKEN] = token_loss(outputs[keys.VIDEO_TOKENS], *token_map).item()
    weights = {keys.LOSS_CE: 1, keys.LOSS_CLIP: clip_weight, keys.LOSS_TOKEN: lambda_token}
    expected[keys.LOSS_TOTAL] = sum(weights[name] * value for name, value in expected.items())
    assert {name: value.item() for name, value in terms.items()} == pytest.approx(expected)


def test_a_term_of_weight_0_needs_nothing():
    logits = torch.zeros(B, 3)
    terms = CompositeLoss(0.0, 0.0)({keys.LOGITS: logits}, LABEL, VALID)
    assert set(terms) == {keys.LOSS_CE, keys.LOSS_TOTAL}
    assert terms[keys.LOSS_TOTAL].item() == pytest.approx(math.log(3))


def test_the_token_term_needs_the_map(outputs):
    with pytest.raises(ValueError, match="token_map"):
        CompositeLoss(0.0, 0.1)(outputs, LABEL, VALID)
