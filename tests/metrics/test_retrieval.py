"""Retrieval against loops, full sorts and every order of breaking ties."""

from __future__ import annotations

import math
import tracemalloc
from collections import Counter
from fractions import Fraction
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vaclip.metrics.retrieval import (
    own_target_standing,
    retrieval_chance,
    retrieval_metrics,
    unit_rows,
)

SETTINGS = settings(max_examples=30)
AXES = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.6, 0.8]])
WAYS = ("v2a", "a2v")
PREFIXES = ("retrieval", "retrieval_unique")
NAMES = {
    f"{prefix}_{value}_{way}"
    for prefix in PREFIXES
    for value in ("r1", "r5", "median_rank")
    for way in (*WAYS, "chance")
}


def units(rng, *shape):
    draws = rng.normal(size=shape)
    return draws / np.linalg.norm(draws, axis=-1, keepdims=True)


def per_query(values):
    """The keys that depend on the ranking, without the chance levels."""
    return {name: value for name, value in values.items() if not name.endswith("chance")}


# --- where the own target stands -----------------------------------------------------------------


def naive_places(queries, targets, own):
    """For each query, the ranks (from 1) that its own target takes over all tie-breaks."""
    places = []
    for query, row in zip(queries, own, strict=True):
        similarity = [float(query @ target) for target in targets]
        better = sum(s > similarity[row] + 1e-6 for s in similarity)
        tied = sum(abs(s - similarity[row]) <= 1e-6 for s in similarity)
        places.append(range(better + 1, better + tied + 1))
    return places


@st.composite
def searches(draw):
    """Queries and targets of coarse coordinates, so that ties occur, and whose target is whose."""
    n, m = draw(st.integers(1, 25)), draw(st.integers(1, 25))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    corners = unit_rows(rng.integers(-1, 2, (n + m, 3)) + np.array([0.0, 0.0, 0.25]))
    return corners[:n], corners[n:], rng.integers(0, m, n)


@given(case=searches())
@SETTINGS
def test_standing_against_a_loop(case):
    standing = own_target_standing(*case)
    places = naive_places(*case)
    assert standing.better.tolist() == [p[0] - 1 for p in places]
    assert standing.tied.tolist() == [len(p) for p in places]


@given(seed=st.integers(0, 10_000), n=st.integers(1, 30), k=st.integers(1, 8))
@SETTINGS
def test_recall_and_rank_against_a_full_sort(seed, n, k):
    queries, targets = units(np.random.default_rng(seed), 2, n, 4)
    ranks = [
        1 + sorted(range(n), key=lambda j, q=query: -float(q @ targets[j])).index(i)
        for i, query in enumerate(queries)
    ]
    standing = own_target_standing(queries, targets, np.arange(n))
    assert standing.median_rank(np.ones(n)) == np.median(ranks)
    assert standing.recall(k).tolist() == [float(rank <= k) for rank in ranks]


@given(
    pairs=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=5),
    k=st.integers(1, 6),
)
@SETTINGS
def test_ties_count_by_expectation(pairs, k):
    """The mean over every order in which targets that tie may be listed."""
    queries, targets = (AXES[list(side)] for side in zip(*pairs, strict=True))
    n = len(pairs)
    similarity = np.round(queries @ targets.T, 9)
    ranks = np.array(
        [
            [
                1 + sorted(range(n), key=lambda j, i=i: (-similarity[i, j], order[j])).index(i)
                for i in range(n)
            ]
            for order in permutations(range(n))
        ]
    )
    standing = own_target_standing(queries, targets, np.arange(n))
    assert standing.median_rank(np.ones(n)) == np.median(ranks)
    np.testing.assert_allclose(standing.recall(k), (ranks <= k).mean(axis=0), atol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 5, 16, 17, 33])
@pytest.mark.parametrize("m", [1, 3, 16, 31])
@pytest.mark.parametrize("block", [1, 7, 16, 64, 250, 10_000])
def test_blocks_are_the_full_matrix(n, m, block):
    rng = np.random.default_rng(n * m)
    rows, own = unit_rows(rng.integers(-2, 3, (n + m, 3)) + 0.125), rng.integers(0, m, n)
    queries, targets = rows[:n], rows[n:]
    difference = queries @ targets.T
    difference -= difference[np.arange(n), own][:, None]
    standing = own_target_standing(queries, targets, own, block=block)
    assert standing.better.tolist() == (difference > 1e-6).sum(axis=1).tolist()
    assert standing.tied.tolist() == (abs(difference) <= 1e-6).sum(axis=1).tolist()


# --- memory --------------------------------------------------------------------------------------


def peak_bytes(function, *args, **kwargs):
    """What NumPy and Python allocate at most while a function runs."""
    tracemalloc.start()
    try:
        function(*args, **kwargs)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


N = 3000
FULL = N * N * 8


def test_the_full_matrix_is_never_allocated():
    queries, targets = units(np.random.default_rng(0), 2, N, 8)
    own = np.arange(N)
    assert peak_bytes(own_target_standing, queries, targets, own, block=2**24) >= FULL
    assert peak_bytes(own_target_standing, queries, targets, own, block=2**16) < FULL / 30


def test_all_metrics_are_computed_in_blocks(monkeypatch):
    video, attn = units(np.random.default_rng(0), 2, N, 8)
    maps = np.arange(N) // 2
    whole = retrieval_metrics(video, attn, maps)
    monkeypatch.setitem(own_target_standing.__kwdefaults__, "block", 2**16)
    assert peak_bytes(retrieval_metrics, video, attn, maps) < FULL / 30
    assert retrieval_metrics(video, attn, maps) == pytest.approx(whole)


# --- metrics of a split --------------------------------------------------------------------------


def naive_values(places_by_target):
    """Recalls and median rank over tie-breaks, queries of a target, and targets."""
    recalls = {
        f"r{k}": np.mean(
            [np.mean([np.mean([p <= k for p in ps]) for ps in own]) for own in places_by_target]
        )
        for k in (1, 5)
    }
    # The middle of all ranks, each with its exact share.
    share = Counter()
    for own in places_by_target:
        for ps in own:
            for place in ps:
                share[place] += Fraction(1, len(places_by_target) * len(own) * len(ps))
    below, middles = Fraction(0), []
    for place in sorted(share):
        if below <= Fraction(1, 2) <= below + share[place]:
            middles.append(place)
        below += share[place]
    middle = sum(middles) / len(middles)
    return {**recalls, "median_rank": middle}


def naive_metrics(video, attn, map_ids):
    n, maps = len(video), sorted(set(map_ids.tolist()))
    values = {}
    for way, queries, others in (("v2a", video, attn), ("a2v", attn, video)):
        places = naive_places(queries, others, range(n))
        for name, value in naive_values([[place] for place in places]).items():
            values[f"retrieval_{name}_{way}"] = value

        sums = [sum(others[i] for i in range(n) if map_ids[i] == one) for one in maps]
        prototypes = [row / math.sqrt(float(row @ row)) for row in sums]
        places = naive_places(queries, prototypes, [maps.index(one) for one in map_ids])
        by_map = [[places[i] for i in range(n) if map_ids[i] == one] for one in maps]
        for name, value in naive_values(by_map).items():
            values[f"retrieval_unique_{name}_{way}"] = value
    for prefix, count in (("retrieval", n), ("retrieval_unique", len(maps))):
        for k in (1, 5):
            values[f"{prefix}_r{k}_chance"] = np.mean([place < k for place in range(count)])
        values[f"{prefix}_median_rank_chance"] = np.mean(range(1, count + 1))
    return values


@st.composite
def splits(draw, largest=20):
    """Embeddings of both sides that go together more or less, and maps that repeat unevenly."""
    n = draw(st.integers(1, largest))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    map_of = rng.integers(0, draw(st.integers(1, n)), n)
    own = rng.normal(size=(n, 4))[map_of]
    video, attn = (unit_rows(own + rng.normal(size=(n, 4))) for _ in WAYS)
    return video, attn, map_of**2 - 3


@given(case=splits())
@SETTINGS
def test_metrics_against_the_description(case):
    ours = retrieval_metrics(*case)
    assert set(ours) == NAMES
    assert ours == pytest.approx(naive_metrics(*case))


@pytest.mark.parametrize("n", [1, 3, 4, 9])
@pytest.mark.parametrize("maps", [1, 3])
def test_equal_embeddings_score_chance_in_every_key(n, maps):
    """Also where they differ by rounding."""
    rng = np.random.default_rng(0)
    video, attn = np.tile(AXES[3], (2, n, 1)).astype(np.float32)
    video += rng.uniform(-1e-7, 1e-7, video.shape).astype(np.float32)
    attn += rng.uniform(-1e-7, 1e-7, attn.shape).astype(np.float32)
    map_ids = np.minimum(np.arange(n), maps - 1)
    ours = retrieval_metrics(video, attn, map_ids)
    for prefix, count in (("retrieval", n), ("retrieval_unique", min(n, maps))):
        for way in (*WAYS, "chance"):
            for k in (1, 5):
                assert ours[f"{prefix}_r{k}_{way}"] == pytest.approx(min(1, k / count))
            assert ours[f"{prefix}_median_rank_{way}"] == pytest.approx((count + 1) / 2)


@pytest.mark.parametrize("counts", [(50, 9, 3, 1, 1, 1, 1), (1, 2, 40, 1), (5, 80)])
@pytest.mark.parametrize("direction", WAYS)
@pytest.mark.parametrize("commonest", ["first", "last", "anywhere"])
def test_a_constant_ranking_of_maps_scores_chance(counts, direction, commonest):
    """Whatever the query is: also an order by how common a map is flatters nobody."""
    maps = len(counts)
    map_ids = np.repeat(np.arange(maps), counts)
    query = np.array([1.0, 0.0])
    order = {  # maps from the most to the least similar
        "first": np.argsort(-np.array(counts)),
        "last": np.argsort(counts),
        "anywhere": np.random.default_rng(0).permutation(maps),
    }[commonest]
    angle = (np.argsort(order) + 1) * math.pi / (maps + 1)
    targets = np.stack([np.cos(angle), np.sin(angle)], axis=1)[map_ids]
    queries = np.tile(query, (len(map_ids), 1))
    sides = (queries, targets) if direction == "v2a" else (targets, queries)
    ours = retrieval_metrics(*sides, map_ids)
    for way in WAYS:  # the other way all targets tie
        for k in (1, 5):
            assert ours[f"retrieval_unique_r{k}_{way}"] == pytest.approx(min(1, k / maps))
        assert ours[f"retrieval_unique_median_rank_{way}"] == pytest.approx((maps + 1) / 2)


def test_perfect_alignment():
    embeds = units(np.random.default_rng(0), 12, 8)
    ours = retrieval_metrics(embeds, embeds, np.arange(12))
    assert all(value == 1 for value in per_query(ours).values())
    assert ours["retrieval_r1_chance"] == 1 / 12


def test_perfect_alignment_of_maps_that_repeat():
    """Which clip of those with one map it is cannot be told; which map it is can."""
    map_ids = np.array([0, 0, 0, 0, 1, 1, 2, 3])
    embeds = units(np.random.default_rng(0), 4, 8)[map_ids]
    ours = retrieval_metrics(embeds, embeds, map_ids)
    assert all(v == 1 for name, v in per_query(ours).items() if "unique" in name)
    for way in WAYS:
        assert ours[f"retrieval_r1_{way}"] == pytest.approx((4 / 4 + 2 / 2 + 1 + 1) / 8)
        assert ours[f"retrieval_median_rank_{way}"] == 1.5  # of 1 x 4, 2 x 2, 3, 4


@given(seed=st.integers(0, 10_000), n=st.integers(1, 20))
@SETTINGS
def test_distinct_maps_make_unique_and_per_clip_the_same(seed, n):
    rng = np.random.default_rng(seed)
    ours = retrieval_metrics(*units(rng, 2, n, 3), rng.permutation(n))
    for name in NAMES:
        assert ours[name] == pytest.approx(ours[name.replace("_unique", "")]), name


def test_a_common_map_counts_as_much_as_a_rare_one():
    """Four clips of map 0 find it, the one of map 1 does not: 1/2, not 4/5."""
    video, attn = AXES[[0, 0, 0, 0, 0]], AXES[[0, 0, 0, 0, 1]]
    ours = retrieval_metrics(video, attn, np.array([0, 0, 0, 0, 1]))
    assert ours["retrieval_unique_r1_v2a"] == 1 / 2
    assert ours["retrieval_unique_median_rank_v2a"] == (1 + 2) / 2
    assert ours["retrieval_unique_r1_chance"] == 1 / 2


def test_without_rows_every_value_is_nan():
    empty = retrieval_metrics(np.zeros((0, 4)), np.zeros((0, 4)), np.zeros(0, int))
    assert set(empty) == NAMES
    assert all(map(math.isnan, empty.values()))
    assert math.isnan(retrieval_chance(0, 1))


def test_one_row_is_always_found():
    ours = retrieval_metrics(AXES[:1], AXES[2:3], np.array([7]))
    assert set(ours) == NAMES
    assert set(ours.values()) == {1.0}


@pytest.mark.parametrize(("n", "k", "chance"), [(1, 1, 1), (4, 1, 1 / 4), (7, 5, 5 / 7), (3, 5, 1)])
def test_chance(n, k, chance):
    assert retrieval_chance(n, k) == pytest.approx(chance)


@given(case=splits(), seed=st.integers(0, 1000))
@SETTINGS
def test_neither_order_nor_names_of_maps_matter(case, seed):
    video, attn, map_ids = case
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(video))
    _, number = np.unique(map_ids, return_inverse=True)
    names = rng.choice(1000, len(video), replace=False)
    shuffled = retrieval_metrics(video[order], attn[order], names[number][order])
    assert shuffled == pytest.approx(retrieval_metrics(video, attn, map_ids))


@given(case=splits())
@SETTINGS
def test_swapping_the_sides_swaps_the_directions(case):
    video, attn, map_ids = case
    ours, swapped = retrieval_metrics(*case), retrieval_metrics(attn, video, map_ids)
    other_way = {"v2a": "a2v", "a2v": "v2a", "chance": "chance"}
    for name, value in ours.items():
        stem, _, way = name.rpartition("_")
        assert swapped[f"{stem}_{other_way[way]}"] == pytest.approx(value), name


def test_single_precision_is_as_good_as_double():
    rng = np.random.default_rng(0)
    video, attn = units(rng, 2, 120, 16)
    video[60:], attn[60:] = video[:60], attn[:60]  # exact ties
    map_ids = rng.integers(0, 30, 120)
    single = retrieval_metrics(video.astype(np.float32), attn.astype(np.float32), map_ids)
    assert single == pytest.approx(retrieval_metrics(video, attn, map_ids))


def test_unit_rows():
    rows = unit_rows(np.array([[3.0, 4.0], [0.0, -2.0], [0.0, 0.0]]))
    np.testing.assert_allclose(rows, [[0.6, 0.8], [0.0, -1.0], [0.0, 0.0]])
