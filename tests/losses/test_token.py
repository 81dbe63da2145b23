from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vaclip.losses.token import token_loss


def draw(rows=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(rows, 5, 2, 3, 4, generator=generator, dtype=torch.float64)
    weights = torch.rand(rows, 1, 2, 3, 4, generator=generator, dtype=torch.float64)
    return tokens, weights


def naive_token_loss(tokens, weights, informative):
    losses = []
    for row in np.flatnonzero(informative):
        energy = (tokens[row].numpy() ** 2).mean(axis=0).ravel()
        losses.append(1 - np.corrcoef(energy, weights[row].numpy().ravel())[0, 1])
    return np.mean(losses)


@pytest.mark.parametrize("informative", [[True] * 4, [False, True, True, False]])
@pytest.mark.parametrize("seed", range(3))
def test_against_numpy(informative, seed):
    tokens, weights = draw(seed=seed)
    loss = token_loss(tokens, weights, torch.tensor(informative)).item()
    assert loss == pytest.approx(naive_token_loss(tokens, weights, informative), rel=1e-10)


@given(seed=st.integers(0, 10_000), sharpness=st.floats(0.01, 20))
@settings(max_examples=30, deadline=None)
def test_range(seed, sharpness):
    tokens, weights = draw(2, seed)
    loss = token_loss(tokens, weights**sharpness, torch.tensor([True, True])).item()
    assert -1e-9 <= loss <= 2 + 1e-9


@pytest.mark.parametrize(("gain", "shift", "expected"), [(3.0, 0.5, 0.0), (-3.0, 5.0, 2.0)])
def test_energy_that_follows_or_opposes_the_map(gain, shift, expected):
    _, weights = draw()
    tokens = (gain * weights + shift).sqrt().repeat(1, 5, 1, 1, 1)
    loss = token_loss(tokens, weights, torch.ones(4, dtype=torch.bool)).item()
    assert loss == pytest.approx(expected, abs=1e-9)


def test_uninformative_rows_are_ignored():
    tokens, weights = draw()
    keep = torch.tensor([True, False, True, False])
    expected = token_loss(tokens, weights, keep)
    tokens[1], weights[3] = 100.0, torch.nan
    tokens.requires_grad_()
    loss = token_loss(tokens, weights, keep)
    loss.backward()
    torch.testing.assert_close(loss, expected)
    assert (tokens.grad.flatten(1).abs().sum(dim=1) > 0).tolist() == keep.tolist()


def test_without_an_informative_row_the_loss_is_0_and_connected():
    tokens, weights = draw()
    tokens.requires_grad_()
    loss = token_loss(tokens, weights, torch.zeros(4, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0
    assert (tokens.grad == 0).all()


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_flat_energy_is_uncorrelated_and_its_gradient_finite(level):
    _, weights = draw()
    tokens = torch.full((4, 5, 2, 3, 4), level, dtype=torch.float64, requires_grad=True)
    loss = token_loss(tokens, weights, torch.ones(4, dtype=torch.bool))
    loss.backward()
    assert loss.item() == pytest.approx(1)
    assert tokens.grad.isfinite().all()


def test_gradcheck():
    tokens, weights = draw(2)
    informative = torch.tensor([True, False])
    tokens.requires_grad_()
    assert torch.autograd.gradcheck(lambda t: token_loss(t, weights, informative), (tokens,))
