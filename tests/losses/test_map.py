from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy, pearsonr

from vaclip.losses.map import map_loss

ALL = torch.ones(4, dtype=torch.bool)


def draw(rows=4, seed=0, sharpness=3.0):
    """Predicted maps that sum to 1, and maps in [0, 1] of which some places are 0."""
    generator = torch.Generator().manual_seed(seed)
    scores = sharpness * torch.randn(rows, 24, generator=generator, dtype=torch.float64)
    weights = torch.rand(rows, 1, 2, 3, 4, generator=generator, dtype=torch.float64)
    return scores.softmax(dim=1).view(rows, 1, 2, 3, 4), (weights - 0.3).clamp_min(0)


def naive_map_loss(predicted, weights, informative, lambda_cc):
    losses = []
    for row in np.flatnonzero(informative):
        guess, target = predicted[row].numpy().ravel(), weights[row].numpy().ravel()
        target = target / target.sum()
        losses.append(entropy(target, guess) + lambda_cc * (1 - pearsonr(target, guess)[0]))
    return np.mean(losses)


@pytest.mark.parametrize("informative", [[True] * 4, [False, True, True, False]])
@pytest.mark.parametrize("lambda_cc", [0.0, 1.0, 2.5])
def test_against_scipy(informative, lambda_cc):
    predicted, weights = draw()
    loss = map_loss(predicted, weights, torch.tensor(informative), lambda_cc).item()
    assert loss == pytest.approx(naive_map_loss(predicted, weights, informative, lambda_cc))


def test_it_is_0_for_the_clinicians_own_map_of_any_amount():
    _, weights = draw()
    own = weights / weights.sum(dim=(1, 2, 3, 4), keepdim=True)
    for gain in (1.0, 0.2):
        assert map_loss(own, gain * weights, ALL).item() == pytest.approx(0, abs=1e-12)


def test_a_uniform_guess_costs_what_the_map_lacks_of_the_largest_entropy():
    _, weights = draw()
    uniform = torch.full_like(weights, 1 / 24)
    lacking = [np.log(24) - entropy(row.numpy().ravel()) for row in weights]
    loss = map_loss(uniform, weights, ALL, 1.0).item()
    assert loss == pytest.approx(np.mean(lacking) + 1)  # and is not correlated with it


@given(seed=st.integers(0, 10_000), sharpness=st.floats(0.0, 500))
@settings(max_examples=30, deadline=None)
def test_any_scores_give_a_loss_that_is_finite_and_not_negative(seed, sharpness):
    predicted, weights = (value.float() for value in draw(seed=seed, sharpness=sharpness))
    predicted.requires_grad_()
    loss = map_loss(predicted, weights, ALL)
    loss.backward()
    assert loss.isfinite()
    assert loss.item() >= -1e-5
    assert predicted.grad.isfinite().all()


def test_uninformative_rows_are_ignored():
    predicted, weights = draw()
    keep = torch.tensor([True, False, True, False])
    expected = map_loss(predicted, weights, keep)
    predicted[1], weights[3] = torch.nan, torch.nan
    predicted.requires_grad_()
    loss = map_loss(predicted, weights, keep)
    loss.backward()
    torch.testing.assert_close(loss, expected)
    assert (predicted.grad.flatten(1).abs().sum(dim=1) > 0).tolist() == keep.tolist()


def test_without_an_informative_row_the_loss_is_0_and_connected():
    predicted, weights = draw()
    predicted.requires_grad_()
    loss = map_loss(predicted, weights, ~ALL)
    loss.backward()
    assert loss.item() == 0
    assert (predicted.grad == 0).all()


def test_gradcheck():
    predicted, weights = draw(2, sharpness=0.5)
    informative = torch.tensor([True, False])
    predicted.requires_grad_()
    assert torch.autograd.gradcheck(lambda a: map_loss(a, weights, informative), (predicted,))
