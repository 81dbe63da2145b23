from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from vaclip.evaluation.closure import closure
from vaclip.evaluation.inference import StandardError


def difference(first, second, value, error, df=1e9, jobs=15):
    """What `closure` reads of a contrast."""
    return SimpleNamespace(
        first=first,
        second=second,
        difference=value,
        error=StandardError(error, df),
        jobs=jobs,
        jobs_of_either=15,
    )


def three(part, whole, covariance, **more):
    """The contrasts of two differences (value, error) with a covariance."""
    apart = math.sqrt(part[1] ** 2 + whole[1] ** 2 - 2 * covariance)
    return (
        difference("P2", "B0", *part, **more),
        difference("B3", "B0", *whole, **more),
        difference("P2", "B3", part[0] - whole[0], apart, **more),
    )


def test_the_ratio_and_its_parts_are_named():
    found = closure(*three((0.2, 0.01), (0.4, 0.01), 0.0))
    assert found.value == pytest.approx(0.5)
    assert (found.taught, found.baseline, found.method) == ("P2", "B0", "B3")
    assert found.interval.low < 0.5 < found.interval.high


@pytest.mark.parametrize("correlation", [-0.5, 0.0, 0.7])
@pytest.mark.parametrize("df", [4.0, 30.0])
def test_the_ends_are_the_ratios_that_a_t_test_just_does_not_reject(correlation, df):
    errors = (0.05, 0.07)
    found = closure(*three((0.15, errors[0]), (0.4, errors[1]), correlation * 0.0035, df=df))
    for end in (found.interval.low, found.interval.high):
        error = math.sqrt(0.05**2 - 2 * end * correlation * 0.0035 + end**2 * 0.07**2)
        t = (0.15 - end * 0.4) / error
        assert 2 * stats.t.sf(abs(t), df) == pytest.approx(0.05)


def test_the_interval_holds_the_true_ratio_as_often_as_it_says():
    random = np.random.default_rng(0)
    covariance = np.array([[0.0016, 0.0008], [0.0008, 0.0025]])
    drawn = random.multivariate_normal([0.21, 0.3], covariance, 2000)
    held = 0
    for part, whole in drawn:
        interval = closure(*three((part, 0.04), (whole, 0.05), 0.0008)).interval
        held += interval.low < 0.7 < interval.high
    assert held / len(drawn) == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize(
    ("whole", "jobs"),
    [((0.1, 0.06), 15), ((0.0, 0.01), 15), ((-0.4, 0.05), 15), ((0.4, 0.05), 14),
     ((math.nan, math.nan), 15)],
)  # fmt: skip
def test_without_a_clear_gain_or_with_a_hole_there_is_no_ratio(whole, jobs):
    part, full, apart = three((0.2, 0.05), whole, 0.0)
    found = closure(replace_jobs(part, jobs), full, apart)
    assert math.isnan(found.value)
    assert math.isnan(found.interval.low)
    assert "cannot be told" in str(found)


def replace_jobs(contrast, jobs):
    return SimpleNamespace(**{**vars(contrast), "jobs": jobs})
