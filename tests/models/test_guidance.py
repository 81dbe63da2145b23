"""What every guidance type promises; a new one needs a line in CASES.

Those of installed packages are tested too, but for what is said in CASES.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vaclip.models.guidance import (
    GUIDANCE,
    MapGate,
    SpatioTemporalGuidance,
    WeightedPoolGuidance,
    token_weights,
    weighted_mean,
)

CHANNELS = 6
# (type, sigmoid gate) -> shape of the gate, without B.
CASES = {
    ("channel", False): lambda grid: (CHANNELS,),
    ("spatiotemporal", False): lambda grid: (1, *grid),
    ("spatiotemporal", True): lambda grid: (1, *grid),
    ("weighted_pool", False): None,
}
OTHERS = [(name, False) for name in GUIDANCE.names() if name not in GUIDANCE.builtin]


def test_every_registered_type_has_a_case():
    assert {name for name, _ in CASES} == set(GUIDANCE.builtin)


def build(case, attn_channels=1):
    torch.manual_seed(0)
    name, sigmoid = case
    return GUIDANCE.build(
        name,
        channels=CHANNELS,
        attn_in_channels=attn_channels,
        hidden_dim=8,
        sigmoid_gate=sigmoid,
    )


def plain_mean(tokens):
    return tokens.flatten(2).mean(dim=2)


def batch(size=3, grid=(2, 3, 4), attn_channels=1, seed=0):
    """Tokens and maps of twice the frames and eight times the side."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(size, CHANNELS, *grid, generator=generator)
    pixels = (2 * grid[0], 8 * grid[1], 8 * grid[2])
    attn_map = torch.rand(size, attn_channels, *pixels, generator=generator)
    return tokens, attn_map, torch.ones(size, dtype=torch.bool)


@pytest.fixture(params=[*sorted(CASES), *OTHERS], ids=lambda case: f"{case[0]}-{case[1]}")
def case(request):
    return request.param


class TestContract:
    @pytest.mark.parametrize("grid", [(1, 2, 2), (2, 3, 4), (4, 5, 1)], ids=str)
    @pytest.mark.parametrize("attn_channels", [1, 2])
    def test_shapes_and_range(self, case, grid, attn_channels):
        pooled, gate = build(case, attn_channels)(*batch(3, grid, attn_channels))
        assert pooled.shape == (3, CHANNELS)
        if case in CASES:
            assert (gate is None) == (CASES[case] is None)
        if gate is not None:
            shapes = [CASES[case](grid)] if case in CASES else [(CHANNELS,), (1, *grid)]
            assert tuple(gate.shape[1:]) in shapes
            assert len(gate) == 3
            assert gate.min() >= 0
            assert gate.max() <= 1

    @pytest.mark.parametrize("level", [0.0, 0.37, 1.0])
    def test_a_constant_map_guides_nothing(self, case, level):
        tokens, attn_map, valid = batch()
        pooled = build(case)(tokens, torch.full_like(attn_map, level), valid).pooled
        torch.testing.assert_close(pooled, plain_mean(tokens))

    def test_an_invalid_map_guides_nothing_and_a_valid_one_does(self, case):
        tokens, attn_map, _ = batch()
        pooled = build(case)(tokens, attn_map, torch.tensor([True, False, True])).pooled
        expected = plain_mean(tokens)
        torch.testing.assert_close(pooled[1], expected[1])
        assert not torch.allclose(pooled[0], expected[0], atol=1e-3)
        assert not torch.allclose(pooled[2], expected[2], atol=1e-3)

    def test_a_row_does_not_depend_on_its_batch(self, case):
        guidance = build(case)
        tokens, attn_map, _ = batch(4)
        valid = torch.tensor([True, False, True, True])
        attn_map[2] = 0.5
        together = guidance(tokens, attn_map, valid).pooled
        for row in range(4):
            own = slice(row, row + 1)
            alone = guidance(tokens[own], attn_map[own], valid[own]).pooled
            torch.testing.assert_close(alone, together[own])

    @pytest.mark.parametrize("informed", [True, False])
    def test_gradients(self, case, informed):
        """An informative map moves every parameter; without one they are 0, never NaN."""
        guidance = build(case)
        tokens, attn_map, valid = batch()
        tokens.requires_grad_()
        attn_map = attn_map if informed else torch.zeros_like(attn_map)
        guidance(tokens, attn_map, valid).pooled.square().sum().backward()
        assert tokens.grad.isfinite().all()
        assert tokens.grad.any()
        for name, parameter in guidance.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.any() == informed, name

    @pytest.mark.parametrize(("gain", "shift"), [(0.3, 0.0), (1.0, 0.2), (0.25, 0.6)])
    def test_only_pooling_ignores_the_amount_of_the_map(self, case, gain, shift):
        if case in OTHERS:
            pytest.skip("of another package: both are allowed")
        guidance = build(case)
        tokens, attn_map, valid = batch()
        expected = guidance(tokens, attn_map, valid).pooled
        pooled = guidance(tokens, gain * attn_map + shift, valid).pooled
        same = torch.allclose(pooled, expected, rtol=1e-3, atol=1e-4)
        assert same == (case[0] != "channel"), "`channel` alone reads the amount"


# --- token_weights -------------------------------------------------------------------------------


def naive_cells(attn_map, grid):
    """Mean over channels and cells [floor(i L / G), ceil((i + 1) L / G))."""
    sides = attn_map.shape[2:]
    spans = [
        [(i * side // n, math.ceil((i + 1) * side / n)) for i in range(n)]
        for side, n in zip(sides, grid, strict=True)
    ]
    cells = np.zeros((len(attn_map), 1, *grid))
    for b in range(len(attn_map)):
        for i, (t0, t1) in enumerate(spans[0]):
            for j, (y0, y1) in enumerate(spans[1]):
                for k, (x0, x1) in enumerate(spans[2]):
                    cells[b, 0, i, j, k] = attn_map[b, :, t0:t1, y0:y1, x0:x1].mean()
    return cells


@pytest.mark.parametrize(("size", "grid"), [((8, 16, 24), (2, 2, 3)), ((7, 17, 19), (2, 3, 3))])
def test_token_weights_against_a_naive_loop(size, grid):
    attn_map = torch.rand(2, 3, *size, dtype=torch.float64)
    weights, informative = token_weights(attn_map, torch.tensor([True, True]), grid)
    for row, cells in enumerate(naive_cells(attn_map.numpy(), grid)):
        expected = (cells - cells.min()) / (cells.max() - cells.min())
        np.testing.assert_allclose(weights[row].numpy(), expected, atol=1e-12)
    assert informative.tolist() == [True, True]


MAPS = hnp.arrays(np.float64, (2, 1, 2, 2, 3), elements=st.floats(0, 1, width=32))


@given(attn_map=MAPS, valid=st.tuples(st.booleans(), st.booleans()))
@settings(max_examples=60, deadline=None)
def test_token_weights_fill_0_to_1_or_are_uniform(attn_map, valid):
    weights, informative = token_weights(torch.from_numpy(attn_map), torch.tensor(valid), (2, 2, 3))
    for row in range(2):
        own, span = weights[row].numpy(), np.ptp(attn_map[row])
        if not valid[row] or span < 0.9e-4:
            assert not informative[row]
            assert (own == 1).all()
        elif span > 1.1e-4:
            assert informative[row]
            assert own.min() == 0
            assert own.max() == pytest.approx(1)
            assert (np.diff(own.ravel()[np.argsort(attn_map[row].ravel())]) >= 0).all()


def test_the_faintest_grey_level_over_a_token_counts():
    attn_map = torch.zeros(1, 1, 2, 16, 16)
    attn_map[..., :8, :8] = 1 / 255
    assert token_weights(attn_map, torch.tensor([True]), (1, 2, 2)).informative.all()


# --- formulas ------------------------------------------------------------------------------------


def naive_weighted_mean(tokens, weights):
    pooled = np.zeros(tokens.shape[:2])
    for b, d in np.ndindex(*pooled.shape):
        total = mass = 0.0
        for place in np.ndindex(*tokens.shape[2:]):
            total += tokens[b, d][place] * weights[b, 0][place]
            mass += weights[b, 0][place]
        pooled[b, d] = total / mass
    return pooled


def test_weighted_mean_against_a_naive_loop():
    tokens = torch.randn(2, 3, 2, 3, 4, dtype=torch.float64)
    weights = torch.rand(2, 1, 2, 3, 4, dtype=torch.float64)
    expected = naive_weighted_mean(tokens.numpy(), weights.numpy())
    np.testing.assert_allclose(weighted_mean(tokens, weights).numpy(), expected, rtol=1e-12)


def test_weighted_pool_reads_only_the_annotated_place():
    tokens, attn_map, valid = batch(grid=(2, 2, 2))
    attn_map[:] = 0
    attn_map[:, :, 2:, :8, 8:] = 0.7  # the token (1, 0, 1)
    pooled = WeightedPoolGuidance(CHANNELS, 1, 8, False)(tokens, attn_map, valid).pooled
    torch.testing.assert_close(pooled, tokens[:, :, 1, 0, 1])


@pytest.mark.parametrize("sigmoid", [False, True])
@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.4, 2.5])
def test_spatiotemporal_against_a_naive_loop(sigmoid, alpha):
    torch.manual_seed(1)
    guidance = SpatioTemporalGuidance(CHANNELS, 1, 8, sigmoid).double()
    with torch.no_grad():
        guidance.alpha.fill_(alpha)
    tokens, attn_map, valid = (x.double() if x.is_floating_point() else x for x in batch())
    cells = naive_cells(attn_map.numpy(), (2, 3, 4))
    low, high = (f(cells, axis=(1, 2, 3, 4), keepdims=True) for f in (np.min, np.max))
    gate = (cells - low) / (high - low)
    if sigmoid:
        gate = 1 / (1 + np.exp(-guidance.gate(torch.from_numpy(gate)).detach().numpy()))
    expected = naive_weighted_mean(tokens.numpy() * (1 + alpha * gate), gate)
    pooled, given_gate = guidance(tokens, attn_map, valid)
    np.testing.assert_allclose(given_gate.detach().numpy(), gate, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(pooled.detach().numpy(), expected, rtol=1e-9)


def test_channel_gates_the_plain_mean():
    tokens, attn_map, valid = batch()
    pooled, gate = build(("channel", False))(tokens, attn_map, valid)
    torch.testing.assert_close(pooled, plain_mean(tokens) * gate)
    assert gate.std(dim=1).min() > 0, "one gate a channel"


def test_the_map_gate_is_an_mlp_of_the_average():
    gate = MapGate(5, 2, 7)
    attn_map = torch.rand(3, 2, 4, 6, 8)
    first, _, second, _ = gate.layers
    mean = torch.stack([attn_map[:, c].flatten(1).mean(dim=1) for c in range(2)], dim=1)
    hidden = (mean @ first.weight.T + first.bias).clamp_min(0)
    expected = 1 / (1 + torch.exp(-(hidden @ second.weight.T + second.bias)))
    torch.testing.assert_close(gate(attn_map, torch.ones(3, dtype=torch.bool)), expected)
    assert (gate(attn_map, torch.zeros(3, dtype=torch.bool)) == 1).all()
