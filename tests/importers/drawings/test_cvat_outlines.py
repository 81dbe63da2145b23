"""Outlines between CVAT's key frames: closed forms, and a naive reading of the rule."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vaclip.importers.drawings.cvat_outlines import outlines_between

SQUARE = [(0, 0), (10, 0), (10, 10), (0, 10)]


def between(before, after, share, *, closed):
    arrays = (np.array(one, float) for one in (before, after))
    (outline,) = outlines_between(*arrays, [share], closed=closed)
    return [tuple(corner) for corner in outline.tolist()]


def test_equal_outlines_move_corner_by_corner():
    after = [(x + 4, y + 8) for x, y in SQUARE]
    assert between(SQUARE, after, 0.25, closed=True) == [(x + 1, y + 2) for x, y in SQUARE]


def test_a_new_corner_grows_out_of_its_neighbour():
    after = [(20, 0), (25, 0), (30, 0), (30, 10), (20, 10)]
    assert between(SQUARE, after, 0.2, closed=True) == [(4.5, 0), (14, 0), (14, 10), (4, 10)]
    grown = [(8, 0), (10, 0), (18, 0), (18, 10), (8, 10)]
    assert between(SQUARE, after, 0.4, closed=True) == grown


def test_a_line_may_end_in_one_point():
    """All corners move to it, and those nearer than half of 5 to the last one are left out."""
    line = [(0, 0), (5, 0), (10, 0)]
    assert between(line, [(0, 0)], 0.5, closed=False) == [(0, 0), (2.5, 0), (5, 0)]
    assert between(line, [(0, 0)], 0.9, closed=False) == [(0.5, 0)]


def length(corners):
    return sum(math.dist(a, b) for a, b in pairwise(corners))


def nearest(value, among):
    return min(range(len(among)), key=lambda i: (abs(value - among[i]), i))


def reduced(corners, apart):
    kept = corners[:1]
    for corner in corners[1:-1]:
        kept += [corner] * (math.dist(kept[-1], corner) >= apart)
    kept += corners[1:][-1:]
    if len(corners) > 1 and len(kept) == 2 and math.dist(*kept) < apart:
        return [tuple(np.mean(kept, axis=0))]
    return kept


def naive(before, after, share, *, closed):
    if closed:
        before, after = ([*one, one[0]] for one in (before, after))
    places = [
        [length(one[: i + 1]) / (length(one) or 1) for i in range(len(one))]
        for one in (before, after)
    ]
    matched = [[nearest(place, places[1])] for place in places[0]]
    used = {j for one in matched for j in one}
    for j in set(range(len(after))) - used:
        matched[nearest(places[1][j], places[0])].append(j)
    outline, i = [], 0
    while i < len(before):
        last = i
        partners = sorted(matched[i])
        if len(partners) == 1:
            while last + 1 < len(before) and matched[last + 1] == partners:
                last += 1
            run = before[i : last + 1]
        else:
            run = after[partners[0] : partners[-1] + 1]
        moved = [
            tuple(np.array(before[a]) + share * (np.array(after[j]) - before[a]))
            for a in range(i, last + 1)
            for j in partners
        ]
        outline += reduced(moved, length(run) / (2 * len(run)))
        i = last + 1
    return outline[:-1] if closed else outline


corner = st.tuples(st.integers(0, 30), st.integers(0, 30))
corners = st.lists(corner, min_size=3, max_size=8)


@settings(max_examples=300, deadline=None)
@given(st.booleans(), corners, corners)
def test_as_the_rule_read_naively(closed, before, after):
    expected = naive(before, after, 0.3, closed=closed)
    if len(expected) < 3 and closed:
        return  # no polygon is left: then all corners are kept
    found = between(before, after, 0.3, closed=closed)
    assert found == [pytest.approx(one) for one in expected]
