"""Lines and points of many places, against the distance to each of them in a loop."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from vaclip.maps.outlines import Key, draw_shape
from vaclip.maps.source import Grid

SIZE = (80, 120)
GRID = Grid(np.arange(1), np.zeros(1), 0.1, 1, True, SIZE, (40, 60), 0.1)
HALF_A_LEVEL = 0.5 / 255


def naive(points, joined):
    """The definition, a segment after the other."""
    rows, columns = np.mgrid[0 : GRID.size[0], 0 : GRID.size[1]]
    place = np.stack([(columns + 0.5) * 2, (rows + 0.5) * 2], axis=-1)
    pairs = pairwise(points) if joined else zip(points, points, strict=True)
    nearest = np.full(GRID.size, np.inf)
    for start, end in pairs:
        along = end - start
        share = (place - start) @ along / max(along @ along, 1e-300)
        foot = start + np.clip(share, 0, 1)[..., None] * along
        np.minimum(nearest, ((place - foot) ** 2).sum(axis=-1), out=nearest)
    return np.exp(-0.5 * nearest / (0.1 * SIZE[0]) ** 2)


def drawn(kind, points):
    return draw_shape(kind, Key(0, tuple(map(tuple, points.tolist()))), SIZE, GRID)


def walk(random, count, step):
    return np.array([60, 40]) + np.cumsum(random.normal(0, step, (count, 2)), axis=0)


@pytest.mark.parametrize("count", [2, 40, 900])
def test_long_segments_are_exact(count):
    random = np.random.default_rng(count)
    points = random.uniform(-20, 140, (count, 2))
    np.testing.assert_allclose(drawn("polyline", points), naive(points, True), atol=1e-6)


@pytest.mark.parametrize("step", [0.05, 0.3, 0.8, 3.0])  # short ones have up to 0.8 pixels
def test_short_segments_miss_less_than_half_a_grey_level(step):
    points = walk(np.random.default_rng(1), 1500, step)
    off = np.abs(drawn("polyline", points) - naive(points, True))
    assert off.max() < HALF_A_LEVEL


def test_a_spike_that_points_at_a_place_is_no_longer_than_it_is():
    teeth = np.arange(400) * 0.4
    points = np.stack([teeth, 40 + 0.7 * (np.arange(400) % 2)], axis=1)
    off = np.abs(drawn("polyline", points) - naive(points, True))
    assert off.max() < HALF_A_LEVEL


@pytest.mark.parametrize("count", [1, 2000])
def test_points_are_exact(count):
    points = np.random.default_rng(count).uniform(-20, 140, (count, 2))
    np.testing.assert_allclose(drawn("points", points), naive(points, False), atol=1e-6)
    if count == 1:
        np.testing.assert_allclose(drawn("polyline", points), naive(points, False), atol=1e-6)
