from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import softmax
from scipy.stats import entropy

from vaclip.losses.distill import distill_loss


def draw(rows=5, classes=4, scale=3.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (
        scale * torch.randn(rows, classes, generator=generator, dtype=torch.float64)
        for _ in range(2)
    )


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 8.0])
def test_against_scipy(temperature):
    own, teacher = draw()
    divergences = [
        entropy(softmax(t / temperature), softmax(s / temperature))
        for s, t in zip(own.numpy(), teacher.numpy(), strict=True)
    ]
    expected = temperature**2 * np.mean(divergences)
    assert distill_loss(own, teacher, temperature).item() == pytest.approx(expected)


def test_a_closed_form_of_two_classes():
    """A teacher who is sure of nothing, and a student of log odds d: log cosh(d / 2)."""
    for odds in (0.0, 0.7, -3.0):
        own = torch.tensor([[odds, 0.0]], dtype=torch.float64)
        loss = distill_loss(own, torch.zeros_like(own), temperature=1.0)
        assert loss.item() == pytest.approx(math.log(math.cosh(odds / 2)), abs=1e-12)


def test_a_certain_teacher_at_temperature_1_is_a_label():
    own, _ = draw()
    label = torch.tensor([0, 3, 1, 1, 2])
    teacher = 1e4 * torch.nn.functional.one_hot(label, 4).double()
    expected = torch.nn.functional.cross_entropy(own, label)
    assert distill_loss(own, teacher, 1.0).item() == pytest.approx(expected.item())


def test_the_gradient_is_of_hintons_equation_2():
    """T (softmax(s / T) - softmax(t / T)) a row, in the mean over rows."""
    own, teacher = draw()
    own.requires_grad_()
    teacher.requires_grad_()
    distill_loss(own, teacher, 3.0).backward()
    wanted = 3.0 * ((own / 3).softmax(dim=1) - (teacher / 3).softmax(dim=1)) / len(own)
    torch.testing.assert_close(own.grad, wanted.detach())
    assert teacher.grad is None


def test_at_a_high_temperature_centred_logits_are_matched():
    """The limit of Hinton's equation 4: half the mean squared difference of the logits."""
    own, teacher = (logits - logits.mean(dim=1, keepdim=True) for logits in draw())
    limit = ((own - teacher) ** 2).mean() / 2
    assert distill_loss(own, teacher, 1e4).item() == pytest.approx(limit.item(), rel=1e-3)


def test_it_is_0_exactly_for_the_teachers_own_diagnosis():
    own, teacher = draw()
    assert distill_loss(teacher + 5, teacher, 2.0).item() == pytest.approx(0, abs=1e-12)
    assert distill_loss(own, teacher, 2.0).item() > 0.1
