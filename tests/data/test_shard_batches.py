"""Properties of the batches from shards, over cohorts of any shape and any number of processes."""

from __future__ import annotations

from collections import Counter
from itertools import chain

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from vaclip.data.batches import SpreadBatches
from vaclip.data.shard_batches import ShardBatches
from vaclip.errors import VaclipError

SETTINGS = settings(max_examples=60)
EPOCHS = 4


@st.composite
def cohorts(draw):
    """Patients of 1 to 12 segments in shards of 1 to 6 patients, in random order of segments.

    Returns:
        (patients, labels, shards), and how they are read: batch_size, window, processes.
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    per_shard = draw(st.lists(st.integers(1, 6), min_size=1, max_size=14))
    counts = rng.integers(1, 13, sum(per_shard))
    shard_of = np.repeat(rng.permutation(100)[: len(per_shard)], per_shard)
    patients = np.repeat(rng.permutation(len(counts)), counts)
    shards, labels = np.repeat(shard_of, counts), rng.integers(0, 3, len(counts))[patients]
    order = rng.permutation(len(patients))
    how = {
        "batch_size": draw(st.integers(1, 16)),
        "window": draw(st.integers(1, 5)),
        "processes": draw(st.integers(1, min(4, len(per_shard)))),
        "seed": draw(st.integers(0, 3)),
    }
    return (patients[order], labels[order], shards[order]), how


def ranks(cohort, how):
    """The batches of each process, where the shards are even enough."""
    try:
        return [
            ShardBatches(*cohort, **how, epochs=EPOCHS, rank=rank)
            for rank in range(how["processes"])
        ]
    except VaclipError:
        assume(False)


def drawn(batches, epoch, start=0):
    return [[segment for _, segment in batch] for batch in batches.batches(epoch, start)]


@SETTINGS
@given(cohorts(), st.integers(0, EPOCHS - 1))
def test_each_segment_comes_once_in_an_epoch(cohort, epoch):
    columns, how = cohort
    made = [drawn(own, epoch) for own in ranks(columns, how)]
    counted = Counter(chain.from_iterable(chain.from_iterable(made)))
    assert counted == Counter(range(len(columns[0])))


@SETTINGS
@given(cohorts())
def test_every_process_and_epoch_has_as_many_steps(cohort):
    columns, how = cohort
    made = ranks(columns, how)
    for epoch in range(EPOCHS):
        sizes = [[len(batch) for batch in drawn(own, epoch)] for own in made]
        assert {len(own) for own in sizes} == {len(made[0])}
        assert all(1 <= size <= how["batch_size"] for own in sizes for size in own)


@SETTINGS
@given(cohorts(), st.integers(0, EPOCHS - 1))
def test_a_process_reads_its_own_shards_window_by_window(cohort, epoch):
    columns, how = cohort
    made = ranks(columns, how)
    windows = made[0].shards(epoch)
    names = np.unique(columns[2])
    everyone = sorted(shard for window in windows for own in window for shard in own)
    assert everyone == list(range(len(names)))
    sizes = [sum(map(len, window)) for window in windows]
    assert max(sizes) - min(sizes) <= 1
    wanted = how["window"] * how["processes"]
    assert min(sizes) >= min(len(names), wanted)
    assert len(sizes) == max(1, len(names) // wanted)
    for rank, own in enumerate(made):
        left = [set(names[window[rank]]) for window in windows]
        for batch in drawn(own, epoch):
            read = set(columns[2][batch])
            while not read <= left[0]:  # the window is over
                left.pop(0)
        assert len(left) == 1


@SETTINGS
@given(cohorts(), st.integers(0, EPOCHS - 1))
def test_patients_are_spread_over_the_steps_of_their_window(cohort, epoch):
    columns, how = cohort
    patients, labels, shards = columns
    names = np.unique(shards)
    for rank, own in enumerate(ranks(columns, how)):
        batches = drawn(own, epoch)
        for window, steps in zip(own.shards(epoch), own._steps(epoch), strict=True):
            here, batches = batches[:steps], batches[steps:]
            inside = np.isin(shards, names[window[rank]])
            for facts in (patients, labels):
                for value in np.unique(facts[inside]):
                    n = np.sum(inside & (facts == value))
                    found = {np.sum(facts[batch] == value) for batch in here}
                    assert found <= {n // steps, -(-n // steps)}


@SETTINGS
@given(cohorts(), st.integers(0, EPOCHS - 1), st.integers(0, 60))
def test_an_epoch_goes_on_at_any_step(cohort, epoch, start):
    columns, how = cohort
    for own in ranks(columns, how):
        assert drawn(own, epoch, start) == drawn(own, epoch)[start:]


@SETTINGS
@given(cohorts())
def test_seed_and_epoch_alone_decide(cohort):
    columns, how = cohort
    one, again = (ranks(columns, how)[0] for _ in range(2))
    one.set_epoch(2)
    assert [[n for _, n in batch] for batch in one] == drawn(again, 2)
    assert {epoch for batch in one for epoch, _ in batch} == {2}


def test_epochs_differ_in_windows_and_in_order():
    patients = np.repeat(np.arange(64), 3)
    own = ShardBatches(patients, patients % 2, patients // 4, 4, window=2, epochs=3)
    assert own.shards(0) != own.shards(1)
    assert drawn(own, 0) != drawn(own, 1)


@SETTINGS
@given(cohorts(), st.integers(0, 3))
def test_one_process_and_one_window_are_as_without_shards(cohort, epoch):
    (patients, labels, shards), how = cohort
    size, seed = how["batch_size"], how["seed"]
    order = np.argsort(shards, kind="stable")  # as an epoch of one shard has them
    patients, labels = patients[order], labels[order]
    plain = SpreadBatches(patients, labels, size, seed=seed)
    plain.set_epoch(epoch)
    own = ShardBatches(patients, labels, np.zeros_like(shards), size, window=1, epochs=4, seed=seed)
    own.set_epoch(epoch)
    assert list(own) == list(plain)


def test_too_few_shards_are_refused():
    with pytest.raises(VaclipError, match=r"in 2 shard\(s\), too few for 3 processes"):
        ShardBatches([0, 1, 2], [0, 0, 0], [0, 0, 1], 1, window=1, epochs=1, processes=3)


def test_shards_that_are_too_uneven_are_refused():
    patients = np.repeat([0, 1], [90, 1])
    with pytest.raises(VaclipError, match="would have none in some step"):
        ShardBatches(patients, patients, patients, 16, window=1, epochs=2, processes=2)
