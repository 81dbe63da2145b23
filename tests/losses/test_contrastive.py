from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from vaclip.losses.contrastive import clip_loss


def embeddings(n, dim=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    draws = torch.randn(2, n, dim, generator=generator, dtype=torch.float64)
    return F.normalize(draws, dim=-1).unbind()


def naive_clip_loss(video, attn, valid, temperature):
    rows = [i for i in range(len(video)) if valid[i]]
    total = 0.0
    for i in rows:
        own = math.exp(float(video[i] @ attn[i]) / temperature)
        to_map = sum(math.exp(float(video[i] @ attn[j]) / temperature) for j in rows)
        to_video = sum(math.exp(float(video[j] @ attn[i]) / temperature) for j in rows)
        total -= math.log(own / to_map) + math.log(own / to_video)
    return total / (2 * len(rows))


@pytest.mark.parametrize("temperature", [0.07, 0.5, 2.0])
@pytest.mark.parametrize("invalid", [[], [0], [1, 4, 5]])
def test_against_a_naive_double_loop(temperature, invalid):
    video, attn = embeddings(7)
    valid = torch.tensor([i not in invalid for i in range(7)])
    expected = naive_clip_loss(video, attn, valid, temperature)
    assert clip_loss(video, attn, valid, temperature).item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("n", [2, 3, 8])
def test_equal_embeddings_give_log_n(n):
    same = torch.tensor([[1.0, 0.0]], dtype=torch.float64).repeat(n, 1)
    loss = clip_loss(same, same, torch.ones(n, dtype=torch.bool), 0.07)
    assert loss.item() == pytest.approx(math.log(n))


@pytest.mark.parametrize("n", [2, 5])
@pytest.mark.parametrize("temperature", [0.3, 1.0])
def test_orthogonal_pairs(n, temperature):
    """Own similarity 1, all others 0: log(1 + (N - 1) exp(-1 / temperature))."""
    axes = torch.eye(n, dtype=torch.float64)
    loss = clip_loss(axes, axes, torch.ones(n, dtype=torch.bool), temperature)
    assert loss.item() == pytest.approx(math.log1p((n - 1) * math.exp(-1 / temperature)))


def test_the_order_of_rows_and_the_sides_make_no_difference():
    video, attn = embeddings(6)
    valid = torch.tensor([True, True, False, True, True, True])
    expected = clip_loss(video, attn, valid, 0.1)
    order = torch.tensor([3, 0, 5, 2, 4, 1])
    torch.testing.assert_close(clip_loss(video[order], attn[order], valid[order], 0.1), expected)
    torch.testing.assert_close(clip_loss(attn, video, valid, 0.1), expected)


def test_an_invalid_row_gets_no_gradient():
    video, attn = (side.requires_grad_() for side in embeddings(4))
    clip_loss(video, attn, torch.tensor([True, True, False, True]), 0.1).backward()
    for side in (video, attn):
        assert (side.grad.abs().sum(dim=1) > 0).tolist() == [True, True, False, True]


@pytest.mark.parametrize("valid", [[False, False, False], [False, True, False]])
def test_without_a_negative_the_loss_is_0_and_connected(valid):
    video, attn = (side.requires_grad_() for side in embeddings(3))
    loss = clip_loss(video, attn, torch.tensor(valid), 0.07)
    loss.backward()
    assert loss.item() == 0
    assert (video.grad == 0).all()
    assert (attn.grad == 0).all()


@pytest.mark.parametrize("valid", [[True] * 4, [True, False, True, True]])
def test_gradcheck(valid):
    video, attn = (side.requires_grad_() for side in embeddings(4, 3))
    keep = torch.tensor(valid)
    assert torch.autograd.gradcheck(lambda v, a: clip_loss(v, a, keep, 0.5), (video, attn))
