from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vaclip import VaclipError
from vaclip.data.arrays import map_array
from vaclip.data.cache import CachedClip
from vaclip.data.control_maps import with_control_maps
from vaclip.data.items import ClipItem
from vaclip.data.prior_map import prior_map
from vaclip.maps import CONTROLS, SHUFFLED
from vaclip.study.study import Clip

SIZE = (6, 8)


def make_items(root, patients, samples=5, without=()):
    """A clip for each entry of ``patients``; its map is filled with its row."""
    items = []
    for row, patient in enumerate(patients):
        length = samples if isinstance(samples, int) else samples[row]
        path = root / "made" / str(row) / "map.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        content = np.full((1, length, *SIZE), row + 1, np.uint8)
        content[0, :, 0, 0] = np.arange(length)  # so that time shows
        np.save(path, content)
        clip = Clip(f"c{row}", path, f"p{patient}", "a")
        attn = None if row in without else path
        cached = CachedClip(clip, path, length, attn)
        items.append(ClipItem(cached, row, row % 2, patient, row, patient))
    return items


def control(items, kind, root, groups=None, seed=0):
    groups = groups or [{item.cached.clip.patient_id for item in items}]
    return with_control_maps(items, groups, kind, fps=4.0, seed=seed, root=root / "cache")


@pytest.mark.parametrize("kind", CONTROLS)
def test_clips_keep_everything_but_the_map(tmp_path, kind):
    items = make_items(tmp_path, [0, 0, 1, 1, 2, 3, 3], without=[4])
    changed = control(items, kind, tmp_path)
    for before, after in zip(items, changed, strict=True):
        same = ("row", "label", "patient")
        assert [getattr(before, n) for n in same] == [getattr(after, n) for n in same]
        assert after.cached.clip == before.cached.clip
        assert after.cached.frames == before.cached.frames
        if before.cached.attn is None and kind != "prior":
            assert after == before
        else:
            assert map_array(after.cached.attn).shape == (1, before.cached.samples, *SIZE)
    assert changed == control(items, kind, tmp_path)


@given(
    counts=st.lists(st.integers(1, 5), min_size=2, max_size=8), seed=st.integers(0, 100)
)  # fmt: skip
@settings(max_examples=25, deadline=None)
def test_shuffling_permutes_maps_between_patients(tmp_path_factory, counts, seed):
    patients = [p for p, count in enumerate(counts) for _ in range(count)]
    root = tmp_path_factory.mktemp("shuffled")
    items = make_items(root, patients)
    changed = control(items, "shuffled", root, seed=seed)
    donors = [item.map_id for item in changed]
    if 2 * max(counts) <= len(patients):
        assert sorted(donors) == list(range(len(items)))
    assert all(patients[d] != item.patient for d, item in zip(donors, changed, strict=True))
    assert [item.map_label for item in changed] == [items[d].label for d in donors]
    shown = [int(map_array(item.cached.attn)[0, 0, 1, 1]) - 1 for item in changed]
    assert shown == donors


def test_who_has_most_maps_gets_those_of_the_others_about_equally_often(tmp_path):
    items = make_items(tmp_path, [0, 1, 1, 1, 1, 1, 2])
    donors = [item.map_id for item in control(items, "shuffled", tmp_path)]
    used = Counter(donors[1:6])
    assert set(used) == {0, 6}
    assert sorted(used.values()) == [2, 3]
    assert len({donors[0], donors[6]} & set(range(1, 6))) == 2


@given(
    patients=st.lists(st.integers(0, 5), min_size=4, max_size=20), seed=st.integers(0, 100)
)  # fmt: skip
@settings(max_examples=25, deadline=None)
def test_shuffling_within_a_class_keeps_the_class(tmp_path_factory, patients, seed):
    """Labels alternate, so that patients have clips of both classes: each stays in its own."""
    root = tmp_path_factory.mktemp("within")
    items = make_items(root, patients)
    halves = [patients[label::2] for label in (0, 1)]
    if any(len(set(half)) == 1 for half in halves):
        with pytest.raises(VaclipError, match="one patient has all maps of class 'a' in a split"):
            control(items, "shuffled_within_class", root, seed=seed)
        return
    changed = control(items, "shuffled_within_class", root, seed=seed)
    for half, items_of in zip(halves, (changed[0::2], changed[1::2]), strict=True):
        donors = [item.map_id for item in items_of]
        assert all(items[d].label == item.label for d, item in zip(donors, items_of, strict=True))
        assert all(patients[d] != item.patient for d, item in zip(donors, items_of, strict=True))
        assert all(item.map_label == item.label for item in items_of)
        if 2 * max(Counter(half).values()) <= len(half):
            assert len(set(donors)) == len(donors)


@pytest.mark.parametrize("kind", SHUFFLED)
def test_one_patient_has_nobody_to_take_a_map_from(tmp_path, kind):
    items = make_items(tmp_path, [0, 0, 0, 1, 1], without=[3, 4])
    with pytest.raises(VaclipError, match=r"one patient has all maps of .* use fewer folds"):
        control(items, kind, tmp_path)
    assert control(items[3:], kind, tmp_path) == items[3:]  # without any map there is no donor


def test_shuffling_stays_within_a_split_and_differs_by_seed(tmp_path):
    items = make_items(tmp_path, list(range(20)))
    groups = [{f"p{p}" for p in range(12)}, {f"p{p}" for p in range(12, 20)}]
    first, second = (
        [item.map_id for item in control(items, "shuffled", tmp_path, groups, seed)]
        for seed in (0, 1)
    )
    assert sorted(first[:12]) == list(range(12))
    assert sorted(first[12:]) == list(range(12, 20))
    assert first != second


def test_shuffling_is_blind_to_the_class(tmp_path):
    """Two classes, half each: a donor has the same class about as often as chance says."""
    items = make_items(tmp_path, list(range(30)))
    same = Counter()
    for seed in range(60):
        changed = control(items, "shuffled", tmp_path, seed=seed)
        same.update(item.map_id % 2 == item.label for item in changed)
    assert 0.43 < same[True] / same.total() < 0.53  # 14 of 29 others, and 4 standard errors


def test_a_donor_of_another_length_is_stretched(tmp_path):
    items = make_items(tmp_path, [0, 1], samples=[4, 8])
    short, long = control(items, "shuffled", tmp_path)
    assert map_array(short.cached.attn)[0, :, 0, 0].tolist() == [0, 2, 4, 6]
    assert map_array(long.cached.attn)[0, :, 0, 0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize(
    ("kind", "distinct"), [("uniform", 1), ("centre", 1), ("prior", 1), ("random", 6)]
)
def test_identities_of_drawn_maps(tmp_path, kind, distinct):
    items = make_items(tmp_path, range(6))
    changed = control(items, kind, tmp_path)
    assert len({item.map_id for item in changed}) == distinct
    contents = {map_array(item.cached.attn).numpy().tobytes() for item in changed}
    assert len(contents) == distinct


# --- The mean map of the training patients -------------------------------------------------------


def spot(item, place, value):
    """Overwrites a clip's map: ``value`` at one place on all samples, and nothing elsewhere."""
    content = np.zeros((1, item.cached.samples, *SIZE), np.uint8)
    content[0, :, *place] = value
    np.save(item.cached.attn, content)


def test_the_prior_is_the_mean_of_patients_and_not_of_clips(tmp_path):
    items = make_items(tmp_path, [0, 0, 0, 1], samples=[2, 4, 6, 3])
    for item in items[:3]:
        spot(item, (1, 2), 200)
    spot(items[3], (4, 5), 100)
    prior = prior_map(items, {"p0", "p1"})
    expected = np.zeros((1, *SIZE))
    expected[0, 1, 2], expected[0, 4, 5] = 255, 127.5  # 200 of one patient, 100 of the other
    np.testing.assert_allclose(prior, expected, atol=0.51)


def test_the_prior_is_made_of_training_patients_alone_and_given_to_all(tmp_path):
    items = make_items(tmp_path, [0, 1, 2, 3], samples=[4, 5, 6, 5], without=[2])
    for item, place in zip(items, [(0, 0), (1, 1), (2, 2), (3, 3)], strict=True):
        if item.cached.attn is not None:
            spot(item, place, 90)
    groups = [{"p0", "p1"}, {"p2"}, {"p3"}]
    changed = control(items, "prior", tmp_path, groups)
    for before, after in zip(items, changed, strict=True):
        shown = map_array(after.cached.attn).numpy()
        assert shown.shape == (1, before.cached.samples, *SIZE)
        assert {tuple(map(int, place)) for place in np.argwhere(shown[0, 0])} == {(0, 0), (1, 1)}
        assert (shown == shown[:, :1]).all()
    spot(items[3], (5, 5), 255)  # a test patient's map is no matter
    again = control(items, "prior", tmp_path, groups)
    assert [item.cached.attn for item in again] == [item.cached.attn for item in changed]


def test_without_a_training_map_there_is_no_prior(tmp_path):
    items = make_items(tmp_path, [0, 1], without=[0])
    with pytest.raises(VaclipError, match="no training patient has a map"):
        control(items, "prior", tmp_path, [{"p0"}, {"p1"}])
