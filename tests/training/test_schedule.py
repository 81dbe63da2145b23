from __future__ import annotations

import math

import pytest

from vaclip.training.module import warmup_cosine


@pytest.mark.parametrize(("warmup", "steps"), [(0, 10), (4, 20), (1, 2), (9, 10)])
def test_closed_form(warmup, steps):
    for step in range(steps + 1):
        rising = (step + 1) / (warmup + 1)
        falling = math.cos(math.pi / 2 * (step - warmup) / (steps - warmup)) ** 2
        expected = rising if step < warmup else falling
        assert warmup_cosine(step, warmup, steps) == pytest.approx(expected)


def test_starts_above_0_peaks_after_the_warm_up_and_ends_at_0():
    factors = [warmup_cosine(step, 5, 50) for step in range(51)]
    assert factors[0] > 0
    assert factors.index(1.0) == 5
    assert factors[:6] == sorted(factors[:6])
    assert factors[5:] == sorted(factors[5:], reverse=True)
    assert factors[50] == pytest.approx(0, abs=1e-12)


def test_steps_beyond_the_end_stay_at_0():
    assert warmup_cosine(12, 2, 10) == pytest.approx(0, abs=1e-12)


def test_all_warm_up():
    assert [warmup_cosine(step, 3, 3) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]
