"""What every loss term must keep to, whatever it computes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from vaclip import keys
from vaclip.losses import ClipLoss, CompositeLoss
from vaclip.losses.contrastive import FORMS, POSITIVES
from vaclip.models.guidance import token_weights

CE, TOKEN, MAP, DISTILL = (
    (name, None, None) for name in (keys.LOSS_CE, keys.LOSS_TOKEN, keys.LOSS_MAP, keys.LOSS_DISTILL)
)
TERMS = [
    CE,
    (keys.LOSS_CLIP, "paired", "softmax"),
    (keys.LOSS_CLIP, "paired", "sigmoid"),
    (keys.LOSS_CLIP, "same_map", "softmax"),
    (keys.LOSS_CLIP, "same_map", "sigmoid"),
    (keys.LOSS_CLIP, "soft_map", "softmax"),
    (keys.LOSS_CLIP, "soft_map", "sigmoid"),
    TOKEN,
    MAP,
    DISTILL,
]
EVERY_TERM = pytest.mark.parametrize("term", TERMS, ids=lambda term: "-".join(filter(None, term)))
READS = {
    keys.LOSS_CE: [keys.LOGITS],
    keys.LOSS_CLIP: [keys.VIDEO_EMBED, keys.ATTN_EMBED],
    keys.LOSS_TOKEN: [keys.VIDEO_TOKENS],
    keys.LOSS_MAP: [keys.PREDICTED_MAP],
    keys.LOSS_DISTILL: [keys.LOGITS],
}
GRID = (2, 4, 4)


def test_every_term_is_here():
    names = {name for key, name in vars(keys).items() if key.startswith("LOSS_")}
    assert {name for name, _, _ in TERMS} == names - {keys.LOSS_TOTAL}
    clip = {(rule, form) for name, rule, form in TERMS if name == keys.LOSS_CLIP}
    assert clip == {(rule, form) for rule in POSITIVES for form in FORMS}


def make_batch(rows=6):
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(rows, *shape, generator=generator, dtype=torch.float64)

    numbers = torch.arange(rows)
    return {
        keys.LOGITS: draw(3),
        keys.VIDEO_EMBED: F.normalize(draw(5), dim=1),
        keys.ATTN_EMBED: F.normalize(draw(5), dim=1),
        keys.VIDEO_TOKENS: draw(7, *GRID),
        keys.ATTN_MAP: draw(1, 4, 16, 16).sigmoid(),
        keys.PREDICTED_MAP: draw(32).softmax(dim=1).view(rows, 1, *GRID),
        keys.ATTN_VALID: numbers != 2,
        keys.TEACHER_LOGITS: draw(3),
        keys.LABEL: numbers % 3,
        keys.MAP_ID: torch.tensor([0, 1, 0, 2, 1, 3])[:rows],
        keys.PATIENT: torch.tensor([0, 0, 1, 1, 2, 3])[:rows],
    }


def compute(term, batch):
    """The term, and its gradient to each of the model's outputs that it reads."""
    name, positives, form = term
    weights = float(name == keys.LOSS_CLIP), float(name == keys.LOSS_TOKEN)
    clip = ClipLoss(positives or "same_map", form or "softmax").to(batch[keys.LOGITS].dtype)
    facts = clip.pair_facts(
        *(batch[key] for key in (keys.ATTN_VALID, keys.MAP_ID, keys.PATIENT, keys.ATTN_MAP))
    )
    on_tokens = token_weights(batch[keys.ATTN_MAP], batch[keys.ATTN_VALID], GRID)
    read = {key: batch[key].clone().requires_grad_() for key in READS[name]}
    loss = CompositeLoss(
        *weights,
        clip,
        lambda_map=float(name == keys.LOSS_MAP),
        lambda_distill=float(name == keys.LOSS_DISTILL),
    )
    teacher = batch[keys.TEACHER_LOGITS]
    terms = loss({**batch, **read}, batch[keys.LABEL], facts, on_tokens, teacher)
    terms[name].backward()
    return terms[name].detach(), {key: value.grad for key, value in read.items()}


def assert_finite(term, batch):
    value, grads = compute(term, batch)
    assert value.shape == ()
    assert value.isfinite()
    for key, grad in grads.items():
        assert grad is not None, f"not connected to {key}"
        assert grad.isfinite().all(), key


@EVERY_TERM
def test_it_is_a_finite_scalar_that_moves_what_it_reads(term):
    batch = make_batch()
    assert_finite(term, batch)
    value, grads = compute(term, batch)
    assert value > 0
    for key, grad in grads.items():
        assert grad.abs().sum() > 0, key


@EVERY_TERM
def test_a_step_against_the_gradient_lowers_it(term):
    batch = make_batch()
    value, grads = compute(term, batch)
    lower = {**batch, **{key: batch[key] - 1e-4 * grad for key, grad in grads.items()}}
    assert compute(term, lower)[0] < value


@EVERY_TERM
@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_the_batch_makes_no_difference(term, seed):
    batch = make_batch()
    order = torch.randperm(6, generator=torch.Generator().manual_seed(seed))
    value, grads = compute(term, batch)
    ours, our_grads = compute(term, {key: rows[order] for key, rows in batch.items()})
    torch.testing.assert_close(ours, value)
    for key, grad in grads.items():
        torch.testing.assert_close(our_grads[key], grad[order])


def identical_embeddings(batch):
    same = torch.eye(5, dtype=torch.float64)[:1].repeat(6, 1)
    return {**batch, keys.VIDEO_EMBED: same, keys.ATTN_EMBED: same}


DEGENERATE = {
    "identical embeddings": identical_embeddings,
    "zero embeddings": lambda batch: {
        **batch,
        keys.VIDEO_EMBED: 0 * batch[keys.VIDEO_EMBED],
        keys.ATTN_EMBED: 0 * batch[keys.ATTN_EMBED],
    },
    "zero maps": lambda batch: {**batch, keys.ATTN_MAP: 0 * batch[keys.ATTN_MAP]},
    "flat maps": lambda batch: {**batch, keys.ATTN_MAP: 0 * batch[keys.ATTN_MAP] + 1},
    "flat predictions": lambda batch: {
        **batch,
        keys.PREDICTED_MAP: 0 * batch[keys.PREDICTED_MAP] + 1 / 32,
    },
    "certain predictions": lambda batch: {
        **batch,
        keys.PREDICTED_MAP: 0 * batch[keys.PREDICTED_MAP] + (torch.arange(32) == 5).view(GRID),
    },
    "zero tokens": lambda batch: {**batch, keys.VIDEO_TOKENS: 0 * batch[keys.VIDEO_TOKENS]},
    "no valid map": lambda batch: {**batch, keys.ATTN_VALID: batch[keys.ATTN_VALID] & False},
    "one valid map": lambda batch: {**batch, keys.ATTN_VALID: torch.arange(6) == 3},
    "one patient": lambda batch: {**batch, keys.PATIENT: 0 * batch[keys.PATIENT]},
    "one map": lambda batch: {**batch, keys.MAP_ID: 0 * batch[keys.MAP_ID]},
    "one row": lambda batch: {key: rows[:1] for key, rows in batch.items()},
    "an extreme teacher": lambda batch: {
        **batch,
        keys.TEACHER_LOGITS: 1e6 * batch[keys.TEACHER_LOGITS],
    },
    "extreme logits": lambda batch: {**batch, keys.LOGITS: 1e6 * batch[keys.LOGITS]},
}


@EVERY_TERM
@pytest.mark.parametrize("case", list(DEGENERATE))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_degenerate_input_stays_finite(term, case, dtype):
    batch = DEGENERATE[case](make_batch())
    assert_finite(term, {k: v.to(dtype) if v.is_floating_point() else v for k, v in batch.items()})
