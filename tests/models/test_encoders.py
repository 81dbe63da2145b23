"""What every registered video encoder promises; a new one needs a line in CASES.

Those of installed packages are tested too, but for the numbers in CASES.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch

from vaclip.models.encoders import ENCODERS


@dataclass(frozen=True)
class Case:
    """An encoder's own numbers.

    Attributes:
        channels: D for a width of 4.
        grid: Token grid of (T, H, W); None where there are no tokens.
        order_matters: Whether reversing the frames may change the feature.
    """

    channels: int
    grid: Callable[[int, int, int], tuple[int, int, int]] | None
    order_matters: bool


CASES = {
    "3dcnn": Case(16, lambda t, h, w: (math.ceil(t / 4), math.ceil(h / 8), math.ceil(w / 8)), True),
    "2dcnn": Case(16, None, False),
    "cnn_lstm": Case(16, None, True),
    "features": Case(4, lambda t, h, w: (t, h, w), True),
}
SIZES = [(1, 16, 16), (2, 17, 16), (7, 19, 33), (8, 32, 24)]


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """Tiny tensors gain nothing from threads, and lose much where other tests run beside."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_every_registered_encoder_has_a_case():
    assert set(CASES) == set(ENCODERS.builtin)


@pytest.fixture(params=ENCODERS.names())
def name(request):
    return request.param


@pytest.fixture
def encoder(name):
    torch.manual_seed(0)
    encoder = ENCODERS.build(name, width=4)
    # Running statistics other than 0 and 1, as after training.
    encoder(torch.randn(4, 3, 8, 16, 16))
    return encoder


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_shapes_and_the_mean_of_the_tokens(name, encoder, size):
    pooled, tokens = encoder.eval()(torch.randn(2, 3, *size))
    assert pooled.shape == (2, encoder.out_channels)
    assert encoder.gives_tokens == (tokens is not None)
    if case := CASES.get(name):
        assert encoder.out_channels == case.channels
        assert encoder.gives_tokens == (case.grid is not None)
    if tokens is not None:
        grid = case.grid(*size) if case else tokens.shape[2:]
        assert tokens.shape == (2, encoder.out_channels, *grid)
        assert tokens.dim() == 5
        torch.testing.assert_close(tokens.flatten(2).mean(dim=2), pooled)


def test_the_gradient_reaches_every_parameter(encoder):
    encoder.zero_grad()
    pooled = encoder.train()(torch.randn(4, 3, 8, 16, 16)).pooled
    (pooled * torch.randn_like(pooled)).square().sum().backward()
    missed = [n for n, p in encoder.named_parameters() if p.grad is None or not p.grad.any()]
    assert missed == []


def test_a_row_does_not_depend_on_its_batch(encoder):
    video = torch.randn(4, 3, 8, 20, 18)
    encoder.eval()
    together = encoder(video)
    for row in range(4):
        alone = encoder(video[row : row + 1])
        for whole, part in zip(together, alone, strict=True):
            if whole is not None:
                torch.testing.assert_close(part, whole[row : row + 1], rtol=1e-4, atol=1e-5)


def test_memory_format_changes_no_value(encoder):
    video = torch.randn(2, 3, 8, 24, 20)
    encoder.eval()
    plain = encoder(video).pooled
    last = encoder(video.to(memory_format=torch.channels_last_3d)).pooled
    for parameter in encoder.parameters():
        if parameter.dim() == 5:
            parameter.data = parameter.data.to(memory_format=torch.channels_last_3d)
    both = encoder(video.to(memory_format=torch.channels_last_3d)).pooled
    torch.testing.assert_close(last, plain, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(both, plain, rtol=1e-4, atol=1e-5)


def test_the_order_of_frames(name, encoder):
    if name not in CASES:
        pytest.skip("of another package: both are allowed")
    video = torch.randn(2, 3, 8, 16, 16)
    encoder.eval()
    forward, backward = encoder(video).pooled, encoder(video.flip(2)).pooled
    assert torch.allclose(forward, backward, atol=1e-5) == (not CASES[name].order_matters)
