"""Properties of the training batches, over cohorts of any shape and any number of processes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning.fabric.utilities.data import _set_sampler_epoch
from torch.utils.data import DataLoader

from vaclip.data.batches import SpreadBatches
from vaclip.errors import VaclipError

SETTINGS = settings(max_examples=60)


@dataclass(frozen=True)
class Cohort:
    """Patient and class of each segment, and how they are to be shared out."""

    patients: list[int]
    labels: list[int]
    batch_size: int
    processes: int

    @property
    def steps(self) -> int:
        """As few as hold all segments."""
        steps = 1
        while steps * self.batch_size * self.processes < len(self.patients):
            steps += 1
        return steps


@st.composite
def cohorts(draw, several_classes=False):
    """Uneven patients in random order, of which each process gets some in each step."""
    counts = draw(st.lists(st.integers(1, 12), min_size=1, max_size=12))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    names = rng.choice(100, len(counts), replace=False)
    classes = draw(st.integers(1, 4))
    patients = np.repeat(names, counts)
    label_of = rng.integers(0, classes, 100)
    labels = rng.integers(0, classes, len(patients)) if several_classes else label_of[patients]
    order = rng.permutation(len(patients))
    most = min(4, len(patients))
    cohort = Cohort(
        patients[order].tolist(),
        (10 - 3 * labels[order]).tolist(),
        draw(st.integers(1, 10)),
        draw(st.integers(1, most)),
    )
    if len(patients) < cohort.steps * cohort.processes:  # then `SpreadBatches` refuses
        return Cohort(cohort.patients, cohort.labels, cohort.batch_size, 1)
    return cohort


def batches(cohort, rank=0, epoch=0, seed=0, **changed):
    """One process's batches of one epoch, without the epoch that stands by each number."""
    made = SpreadBatches(
        cohort.patients,
        cohort.labels,
        changed.get("batch_size", cohort.batch_size),
        processes=changed.get("processes", cohort.processes),
        rank=rank,
        seed=seed,
    )
    made.set_epoch(epoch)
    drawn = list(made)
    assert len(drawn) == len(made)
    assert {said for batch in drawn for said, _ in batch} == {epoch}
    return [[number for _, number in batch] for batch in drawn]


def steps_of(cohort, **options):
    """For each step, the batch of each process."""
    ranks = [batches(cohort, rank, **options) for rank in range(cohort.processes)]
    return list(zip(*ranks, strict=True))


def counts_by_step(cohort, of):
    """For each value in ``of``, how many segments have it in each step, over all processes."""
    steps = [Counter(of[n] for n in chain(*shares)) for shares in steps_of(cohort)]
    return {value: [step[value] for step in steps] for value in set(of)}


def assert_even(counts_by_value, of):
    for value, counts in counts_by_value.items():
        share = Counter(of)[value] / len(counts)
        assert all(abs(count - share) < 1 for count in counts), (value, counts)  # floor or ceiling


@given(cohort=cohorts(), epoch=st.integers(0, 3))
@SETTINGS
def test_every_segment_comes_once_an_epoch(cohort, epoch):
    shares = chain(*steps_of(cohort, epoch=epoch))
    assert sorted(chain(*shares)) == list(range(len(cohort.patients)))


@given(cohort=cohorts())
@SETTINGS
def test_each_process_has_as_many_steps_as_are_needed(cohort):
    for rank in range(cohort.processes):
        assert len(batches(cohort, rank)) == cohort.steps


@given(cohort=cohorts())
@SETTINGS
def test_sizes_differ_by_one_and_are_never_too_large(cohort):
    sizes = [[len(share) for share in shares] for shares in steps_of(cohort)]
    totals = [sum(step) for step in sizes]
    assert max(totals) - min(totals) <= 1
    assert max(chain(*sizes)) <= cohort.batch_size
    for step in sizes:
        assert max(step) - min(step) <= 1
        assert min(step) >= 1


@given(cohort=cohorts())
@SETTINGS
def test_a_step_has_as_few_segments_of_a_patient_as_can_be(cohort):
    assert_even(counts_by_step(cohort, cohort.patients), cohort.patients)


@given(cohort=cohorts(several_classes=True))
@SETTINGS
def test_patients_of_several_classes_are_spread_as_well(cohort):
    assert_even(counts_by_step(cohort, cohort.patients), cohort.patients)


@given(cohort=cohorts())
@SETTINGS
def test_a_step_has_the_even_share_of_each_class(cohort):
    assert_even(counts_by_step(cohort, cohort.labels), cohort.labels)


@given(cohort=cohorts(several_classes=True))
@SETTINGS
def test_patients_of_several_classes_break_no_class_apart(cohort):
    classes = {}
    for patient, label in zip(cohort.patients, cohort.labels, strict=True):
        classes.setdefault(patient, set()).add(label)
    pure = [
        label if len(classes[patient]) == 1 else "mixed"
        for patient, label in zip(cohort.patients, cohort.labels, strict=True)
    ]
    assert_even(counts_by_step(cohort, pure), pure)


@given(cohort=cohorts())
@SETTINGS
def test_the_processes_share_a_step_evenly(cohort):
    """Also each patient's and each class's segments of it."""
    for shares in steps_of(cohort):
        for of in (cohort.patients, cohort.labels):
            whole = Counter(of[number] for number in chain(*shares))
            for share in shares:
                own = Counter(of[number] for number in share)
                assert all(abs(own[v] - whole[v] / len(shares)) < 1 for v in whole)


@given(cohort=cohorts(several_classes=True), epoch=st.integers(0, 3), seed=st.integers(0, 3))
@SETTINGS
def test_processes_are_together_one_with_a_larger_batch(cohort, epoch, seed):
    larger = cohort.batch_size * cohort.processes
    one = batches(cohort, epoch=epoch, seed=seed, batch_size=larger, processes=1)
    together = [list(chain(*shares)) for shares in steps_of(cohort, epoch=epoch, seed=seed)]
    assert list(map(sorted, together)) == list(map(sorted, one))


@given(cohort=cohorts(), epoch=st.integers(0, 3), seed=st.integers(0, 3))
@SETTINGS
def test_seed_and_epoch_alone_decide(cohort, epoch, seed):
    np.random.seed(epoch)  # noqa: NPY002 - it must not matter
    used = SpreadBatches(cohort.patients, cohort.labels, cohort.batch_size, seed=seed)
    used.set_epoch(epoch + 1)
    list(used)
    used.set_epoch(epoch)
    fresh = batches(cohort, epoch=epoch, seed=seed, processes=1)
    for _ in range(2):
        assert [[number for _, number in batch] for batch in used] == fresh


LARGE = Cohort(
    patients=np.repeat(np.arange(20), 3).tolist(),
    labels=np.repeat(np.arange(20) % 4, 3).tolist(),
    batch_size=7,
    processes=1,
)


def test_epochs_and_seeds_differ():
    drawn = [
        batches(LARGE, epoch=epoch, seed=seed) for epoch, seed in [(0, 0), (1, 0), (2, 0), (0, 1)]
    ]
    as_sets = [{frozenset(batch) for batch in one} for one in drawn]
    for number, one in enumerate(as_sets):  # other batches, not the same ones in another order
        assert all(not one & other for other in as_sets[:number])


def pairs_that_meet(cohort, of, epochs):
    """Which two values of ``of`` come together in a step."""
    met = set()
    for epoch in range(epochs):
        for batch in batches(cohort, epoch=epoch):
            met |= {frozenset((of[a], of[b])) for a in batch for b in batch if of[a] != of[b]}
    return met


def test_over_epochs_every_two_patients_meet():
    """No order of the cohort decides who is contrasted with whom; nor do the next ones."""
    met = pairs_that_meet(LARGE, LARGE.patients, epochs=60)
    assert len(met) == 20 * 19 / 2


def test_over_epochs_every_two_segments_of_a_patient_meet():
    cohort = Cohort([0] * 12, [0] * 12, batch_size=3, processes=1)
    met = pairs_that_meet(cohort, range(12), epochs=80)
    assert len(met) == 12 * 11 / 2


def test_over_epochs_every_two_classes_meet():
    """Dealt in always the same order, classes 0 and 2 would be together, and 1 and 3."""
    cohort = Cohort(list(range(8)), [0, 0, 1, 1, 2, 2, 3, 3], batch_size=2, processes=1)
    met = pairs_that_meet(cohort, cohort.labels, epochs=40)
    assert len(met) == 4 * 3 / 2


def test_over_epochs_each_step_is_among_the_larger_and_the_smaller_ones():
    sizes = [[len(batch) for batch in batches(LARGE, epoch=epoch)] for epoch in range(40)]
    assert all(set(of_step) == {6, 7} for of_step in zip(*sizes, strict=True))


@pytest.mark.parametrize(
    ("segments", "batch_size", "processes"), [(1, 4, 2), (3, 8, 4), (3, 1, 2), (7, 1, 4)]
)
def test_a_process_without_a_segment_is_refused(segments, batch_size, processes):
    for rank in range(processes):
        with pytest.raises(VaclipError, match=rf"data\.batch_size={batch_size}\b"):
            SpreadBatches(
                [0] * segments, [0] * segments, batch_size, processes=processes, rank=rank
            )


@pytest.mark.parametrize(
    ("segments", "batch_size", "processes"), [(1, 4, 1), (2, 4, 2), (4, 1, 2), (5, 2, 2)]
)
def test_one_segment_a_process_and_step_is_enough(segments, batch_size, processes):
    cohort = Cohort([0] * segments, [0] * segments, batch_size, processes)
    shares = list(chain(*steps_of(cohort)))
    assert min(map(len, shares)) == 1


def test_lightning_tells_the_epoch():
    """By a function of its own, which looks for samplers where a loader may have them."""
    made = SpreadBatches(LARGE.patients, LARGE.labels, LARGE.batch_size, seed=3)
    loader = DataLoader(range(60), batch_sampler=made, collate_fn=list)
    for epoch in (4, 1):
        _set_sampler_epoch(loader, epoch)
        drawn = [[number for _, number in batch] for batch in made]
        assert drawn == batches(LARGE, epoch=epoch, seed=3)
        assert {said for batch in made for said, _ in batch} == {epoch}
