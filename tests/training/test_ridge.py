"""The closed form against scikit-learn, and whose tokens chose what."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge as SklearnRidge

from vaclip import VaclipError, keys
from vaclip.models.guidance import token_weights
from vaclip.training.ridge import STRENGTHS, fit_ridge, map_moments, ridge, squared_error

CHANNELS = 5


def draw(rows, seed=0, noise=1.0):
    """Correlated channels of unlike size, about means that are not 0."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(rows, CHANNELS)) @ random.normal(size=(CHANNELS, CHANNELS))
    x = x * [1, 10, 0.1, 2, 1] + [3, -20, 0, 1, 5]
    return x, x @ [0.5, -0.1, 2.0, 0.0, 0.3] + noise * random.normal(size=rows)


def moments_of(x, y):
    rows = torch.from_numpy(np.column_stack([x, np.ones(len(x)), y]))
    return rows.T @ rows


def sklearn_ridge(x, y, strength):
    scatter = ((x - x.mean(axis=0)) ** 2).sum(axis=0)
    return SklearnRidge(alpha=strength * scatter.mean()).fit(x, y)


@pytest.mark.parametrize("strength", [1e-4, 0.1, 1.0, 30.0])
def test_against_scikit_learn(strength):
    x, y = draw(40)
    found, expected = ridge(moments_of(x, y), strength), sklearn_ridge(x, y, strength)
    np.testing.assert_allclose(found.weight, expected.coef_, rtol=1e-6, atol=1e-9)
    assert found.bias.item() == pytest.approx(expected.intercept_)


def test_fewer_tokens_than_channels_are_enough():
    x, y = draw(3)
    expected = sklearn_ridge(x, y, 0.1)
    np.testing.assert_allclose(ridge(moments_of(x, y), 0.1).weight, expected.coef_, rtol=1e-6)


def test_errors_on_others_follow_from_their_moments():
    (x, y), (other_x, other_y) = draw(30), draw(20, seed=1)
    fit, expected = ridge(moments_of(x, y), 1.0), sklearn_ridge(x, y, 1.0)
    wanted = ((other_y - expected.predict(other_x)) ** 2).sum()
    assert squared_error(moments_of(other_x, other_y), fit).item() == pytest.approx(wanted)


@pytest.mark.parametrize(("noise", "seed"), [(0.01, 0), (3.0, 1), (300.0, 2), (300.0, 5)])
def test_the_strength_is_the_one_that_predicts_the_parts_that_were_left_out(noise, seed):
    data = [draw(6 + part, seed=100 * seed + part, noise=noise) for part in range(4)]
    errors = []
    for strength in STRENGTHS:
        error = 0.0
        for part in range(4):
            others = data[:part] + data[part + 1 :]
            x, y = (np.concatenate(side) for side in zip(*others, strict=True))
            left_x, left_y = data[part]
            error += ((left_y - sklearn_ridge(x, y, strength).predict(left_x)) ** 2).sum()
        errors.append(error)
    found = fit_ridge([moments_of(*own) for own in data])
    assert found.strength == STRENGTHS[int(np.argmin(errors))]
    x, y = (np.concatenate(side) for side in zip(*data, strict=True))
    np.testing.assert_allclose(
        found.weight, sklearn_ridge(x, y, found.strength).coef_, rtol=1e-5, atol=1e-9
    )


def test_what_is_noise_is_penalised_more():
    parts = [[moments_of(*draw(10, part, noise)) for part in range(3)] for noise in (0.01, 1000.0)]
    assert fit_ridge(parts[0]).strength < fit_ridge(parts[1]).strength


def test_moments_are_of_the_tokens_of_maps_that_say_something():
    generator = torch.Generator().manual_seed(0)
    maps = torch.randint(0, 256, (5, 1, 4, 8, 8), generator=generator, dtype=torch.uint8)
    maps[1] = 7  # constant
    segments = [
        {
            keys.VIDEO_TOKENS: torch.randn(CHANNELS, 2, 4, 4, generator=generator).half(),
            keys.ATTN_MAP: maps[row],
            keys.ATTN_VALID: torch.tensor(row != 3),
        }
        for row in range(5)
    ]
    valid = torch.tensor([True, True, True, False, True])
    target = token_weights(maps.float() / 255, valid, (2, 4, 4)).weights
    x, y = [], []
    for row in (0, 2, 4):
        x.append(segments[row][keys.VIDEO_TOKENS].float().flatten(1).T.numpy())
        y.append(target[row].flatten().numpy())
    wanted = moments_of(np.concatenate(x), np.concatenate(y))
    torch.testing.assert_close(map_moments(segments, 2), wanted.double(), rtol=1e-5, atol=1e-5)


def test_parts_without_maps():
    some, none = moments_of(*draw(5)), torch.zeros(CHANNELS + 2, CHANNELS + 2).double()
    assert fit_ridge([some, none, some]).strength in STRENGTHS
    for parts in ([none, none, none], [some, none, none], [some]):
        with pytest.raises(VaclipError, match="too few training patients with a map"):
            fit_ridge(parts)
