from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaclip.annotate.order import LONGEST_GAP, Showing, deal


def cohort(*counts):
    """By clip the patient: as many clips of each patient as said."""
    return {f"c{p}_{n}": f"p{p}" for p, count in enumerate(counts) for n in range(count)}


@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=25),
    st.integers(0, 99),
    st.sampled_from([0.0, 0.1, 0.5, 1.0]),
)
def test_every_clip_is_shown_once_and_some_again_at_a_distance(counts, seed, again):
    patients = cohort(*counts)
    order = deal(patients, "rater", seed, again)
    assert sorted(one.clip_id for one in order if one.time == 1) == sorted(patients)
    second = [one.clip_id for one in order if one.time == 2]
    assert len(second) == len(set(second))
    gap = min(LONGEST_GAP, len(patients) // 2)
    assert len(second) == min(round(again * len(patients)), len(patients) - gap)
    for clip_id in second:
        first, later = (order.index(Showing(clip_id, time)) for time in (1, 2))
        assert later - first - 1 >= gap


@given(st.lists(st.integers(1, 6), min_size=2, max_size=25), st.integers(0, 99))
def test_no_patient_follows_himself_where_that_is_possible(counts, seed):
    patients = cohort(*counts)
    order = deal(patients, "rater", seed, again=0)
    follows = sum(patients[a.clip_id] == patients[b.clip_id] for a, b in pairwise(order))
    most = max(counts)
    # With m clips of one patient and r of all others, r + 1 of the m can stand apart.
    assert follows == max(0, most - (sum(counts) - most) - 1)


def test_a_clip_that_is_shown_again_keeps_from_its_patient():
    patients = cohort(*[2] * 40)
    for seed in range(20):
        order = deal(patients, "rater", seed, 0.1)
        assert len(order) == 88
        assert all(patients[a.clip_id] != patients[b.clip_id] for a, b in pairwise(order))


def test_annotator_and_seed_decide_the_order_alone():
    patients = cohort(*[1] * 30)
    assert deal(patients, "anna") == deal(dict(reversed(patients.items())), "anna")
    assert deal(patients, "anna") != deal(patients, "ben")
    assert deal(patients, "anna") != deal(patients, "anna", seed=1)


def test_the_first_clip_is_any():
    patients = cohort(*[1] * 5)
    first = Counter(deal(patients, "x", seed, 0)[0].clip_id for seed in range(500))
    # 500 draws of 5: 100 each, standard deviation 9.
    assert all(60 < count < 140 for count in first.values())
    assert len(first) == 5


@pytest.mark.parametrize("again", [0.0, 1.0])
def test_a_single_clip(again):
    order = deal({"a": "p"}, "rater", again=again)
    assert order[0] == Showing("a")
