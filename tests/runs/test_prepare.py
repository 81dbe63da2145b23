"""Which patients and which maps a fold gets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from composed import make_config
from conftest import write_tiny_study
from vaclip import VaclipError, keys
from vaclip.maps import MapNoise
from vaclip.maps.source import KEYPOINT_SIGMA
from vaclip.runs.prepare import (
    chosen_annotators,
    open_study,
    prepare_fold,
    prepare_study,
    split_plan,
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`ann` annotations every clip, `bob` those of every second patient, elsewhere."""
    return write_tiny_study(tmp_path_factory.mktemp("study") / "tiny")


@pytest.fixture
def folds_of(root: Path, tmp_path: Path):
    """Returns ``fold(*overrides)``: the datasets of fold 0 by split."""

    def fold(*overrides: str):
        where = ["data=folder", f"data.root={root}", f"data.cache_dir={root.parent / 'cache'}"]
        config = make_config(tmp_path, *where, "split.folds=5", *overrides)
        study = open_study(config.data)
        prepared = prepare_study(config.data, study, workers=1)
        return prepare_fold(config, prepared, split_plan(config, study).folds[0])

    return fold


def maps_of(dataset) -> dict[int, np.ndarray]:
    return {int(s[keys.CLIP_ROW]): s[keys.ATTN_MAP].numpy() for s in dataset}


def same(one: dict[int, np.ndarray], other: dict[int, np.ndarray]) -> list[bool]:
    assert one.keys() == other.keys()
    return [np.array_equal(one[clip], other[clip]) for clip in one]


def patients_of(dataset) -> set[str]:
    return {item.cached.clip.patient_id for item in dataset.items}


def test_the_width_of_a_joint_has_one_default(tmp_path):
    assert make_config(tmp_path).data.keypoint_sigma == KEYPOINT_SIGMA


def test_a_share_of_the_training_patients_leaves_the_other_splits_alone(folds_of):
    whole, half = folds_of(), folds_of("split.train_fraction=0.5")
    assert patients_of(half["train"]) < patients_of(whole["train"])
    assert len(patients_of(half["train"])) == 6  # of 3 x 3, class by class, rounded up
    for split in ("val", "test"):
        assert patients_of(half[split]) == patients_of(whole[split])


def test_labels_are_permuted_where_nobody_is_tested(folds_of):
    own, permuted = folds_of(), folds_of("data.permute_labels=true")
    labels = {
        name: {split: [item.label for item in fold[split].items] for split in fold}
        for name, fold in (("own", own), ("permuted", permuted))
    }
    assert labels["permuted"]["test"] == labels["own"]["test"]
    assert labels["permuted"]["train"] != labels["own"]["train"]
    for split in ("train", "val"):
        assert sorted(labels["permuted"][split]) == sorted(labels["own"][split])
        assert all(same(maps_of(own[split]), maps_of(permuted[split])))


def test_maps_are_shuffled_among_the_patients_that_are_trained_on(folds_of):
    half = folds_of("split.train_fraction=0.5", "data.control=shuffled", "data.annotators=[ann]")
    own = {item.map_id for item in folds_of("data.annotators=[ann]")["train"].items}
    assert {item.map_id for item in half["train"].items} <= own
    donors = {item.cached.attn for item in half["train"].items}
    plain = folds_of("split.train_fraction=0.5", "data.annotators=[ann]")["train"]
    assert donors == {item.cached.attn for item in plain.items}


def test_training_sees_one_annotator_and_the_test_another(folds_of):
    ann, bob = folds_of("data.annotators=[ann]"), folds_of("data.annotators=[bob]")
    crossed = folds_of("data.train_annotators=[ann]", "data.test_annotators=[bob]")
    for split in ("train", "val"):
        assert all(same(maps_of(crossed[split]), maps_of(ann[split])))
        assert not any(same(maps_of(crossed[split]), maps_of(bob[split])))
    assert all(same(maps_of(crossed["test"]), maps_of(bob["test"])))


def test_a_clip_that_the_tests_annotator_did_not_annotation_has_no_map(folds_of):
    folds = [folds_of("data.test_annotators=[bob]", f"split.seed={seed}") for seed in range(4)]
    unannotated = [
        segment for fold in folds for segment in fold["test"] if not segment[keys.ATTN_VALID]
    ]
    assert unannotated
    assert all(segment[keys.MAP_ID] == -1 for segment in unannotated)
    assert not any(segment[keys.ATTN_MAP].any() for segment in unannotated)


def test_noise_changes_the_maps_of_the_test_patients_alone(folds_of):
    plain = folds_of()
    noisy = folds_of("data.test_noise=displacement", "data.test_noise_strength=0.2", "seed=3")
    for split in ("train", "val"):
        assert all(same(maps_of(noisy[split]), maps_of(plain[split])))
    expected = {
        clip: MapNoise("displacement", 0.2, seed=3)(attn, clip)
        for clip, attn in maps_of(plain["test"]).items()
    }
    assert all(same(maps_of(noisy["test"]), expected))
    assert not all(same(maps_of(noisy["test"]), maps_of(plain["test"])))


def test_noise_comes_on_top_of_a_control(folds_of):
    control = folds_of("data.test_control=centre")
    both = folds_of("data.test_control=centre", "data.test_noise=dropout",
                    "data.test_noise_strength=1.0")  # fmt: skip
    assert all(attn.any() for attn in maps_of(control["test"]).values())
    assert not any(attn.any() for attn in maps_of(both["test"]).values())
    assert not torch.stack([segment[keys.ATTN_VALID] for segment in both["test"]]).any()
    assert all(same(maps_of(both["train"]), maps_of(control["train"])))


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], (("ann", "bob"), ("ann", "bob"))),
        (["data.annotators=[bob]"], (("bob",), ("bob",))),
        (["data.train_annotators=[bob]"], (("bob",), ("bob",))),
        (["data.test_annotators=[bob]"], (("ann", "bob"), ("bob",))),
        (["data.annotators=[ann]", "data.test_annotators=[bob]"], (("ann",), ("bob",))),
    ],
)
def test_whose_annotations_count(root, tmp_path, overrides, expected):
    config = make_config(tmp_path, "data=folder", f"data.root={root}", *overrides)
    assert chosen_annotators(config.data, open_study(config.data)) == expected


@pytest.mark.parametrize("key", ["annotators", "train_annotators", "test_annotators"])
def test_an_annotator_who_does_not_exist_is_named(folds_of, key):
    with pytest.raises(VaclipError, match=rf"data\.{key} names 'anna'.*Did you mean 'ann'"):
        folds_of(f"data.{key}=[anna]")


def test_channels_must_fit(folds_of):
    with pytest.raises(VaclipError, match="one channel an annotator"):
        folds_of("data.combine=stack", "model.attn_in_channels=2", "data.test_annotators=[bob]")
