"""The gallery: which cases, which nearest maps, and pictures that are what the model saw."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from composed import make_config
from vaclip import VaclipError, keys
from vaclip.ablation.gallery import (
    KINDS,
    choose_cases,
    nearest_maps,
    one_a_clip,
    write_gallery,
)
from vaclip.config import Config
from vaclip.files import read_arrays
from vaclip.metrics.modules import PROBS
from vaclip.models import VideoAttentionCLIP
from vaclip.runs.folder import checkpoint_path, fold_folder
from vaclip.runs.prepare import open_study, prepare_fold, prepare_study, split_plan
from vaclip.runs.run import build_module, run
from vaclip.training.module import CHECKPOINT_KEY
from vaclip.training.pictures import segment_pictures

# --- choosing ------------------------------------------------------------------------------------


def table_of(probs, labels, patients, valid=None):
    """One segment a clip, two classes; ``probs`` are those of class 0."""
    rows = len(probs)
    return {
        PROBS: np.stack([probs, 1 - np.array(probs)], axis=1),
        keys.LABEL: np.array(labels),
        keys.PATIENT: np.array(patients),
        keys.CLIP_ROW: np.arange(rows),
        keys.SEGMENT: np.zeros(rows, int),
        keys.ATTN_VALID: np.ones(rows, bool) if valid is None else np.array(valid),
    }


def test_cases_are_the_extremes_and_none_comes_twice():
    probs = [0.9, 0.8, 0.7, 0.95, 0.1, 0.2, 0.3, 0.4]
    table = table_of(probs, labels=[0] * 8, patients=range(8))
    similarity = np.array([0.0, 0.1, 0.2, 0.9, -0.9, 0.3, 0.4, 0.8])
    # Aligned: 3 and 7 most, 4 and 0 least. Of the others 1 and 2 are right, 5 and 6 wrong.
    assert choose_cases(table, similarity, np.arange(8)) == [
        (1, "right"), (2, "right"), (5, "wrong"), (6, "wrong"),
        (3, "most aligned"), (7, "most aligned"), (4, "least aligned"), (0, "least aligned"),
    ]  # fmt: skip


def test_only_the_given_rows_are_chosen():
    table = table_of([0.9, 0.8, 0.7, 0.6], labels=[0] * 4, patients=range(4))
    undefined = np.full(4, np.nan)
    assert choose_cases(table, undefined, np.array([1, 3])) == [(1, "right")]


def test_two_of_a_kind_are_of_two_patients_where_there_are_two():
    undefined, probs = np.full(8, np.nan), [0.98, 0.97, 0.96, 0.95, 0.94, 0.93, 0.92, 0.91]
    table = table_of(probs, labels=[0] * 8, patients=[5, 5, 5, 6, 6, 6, 6, 6])
    assert choose_cases(table, undefined, np.arange(8)) == [(0, "right"), (3, "right")]
    table = table_of(probs, labels=[0] * 8, patients=[5] * 8)
    assert choose_cases(table, undefined, np.arange(8)) == [(0, "right"), (1, "right")]


def test_few_clips_are_shared_out_to_the_kinds():
    table = table_of([0.9, 0.8, 0.1], labels=[0] * 3, patients=range(3))
    chosen = choose_cases(table, np.array([0.5, 0.6, 0.1]), np.arange(3))
    assert chosen == [(0, "right"), (1, "most aligned"), (2, "least aligned")]


def test_a_clip_shows_its_first_segment_that_has_a_map():
    table = {
        keys.CLIP_ROW: np.array([3, 3, 3, 5, 5, 9]),
        keys.SEGMENT: np.array([0, 1, 2, 0, 1, 0]),
        keys.ATTN_VALID: np.array([False, True, True, False, False, True]),
    }
    assert one_a_clip(table).tolist() == [1, 3, 5]


def test_nearest_maps_are_those_of_a_naive_loop():
    random = np.random.default_rng(0)
    table = {
        keys.VIDEO_EMBED: random.normal(size=(30, 4)).astype(np.float32),
        keys.ATTN_EMBED: random.normal(size=(30, 4)).astype(np.float32),
        keys.MAP_ID: random.integers(0, 8, 30),
        keys.ATTN_VALID: random.random(30) < 0.8,
    }
    rows = np.arange(0, 30, 2)
    for row in (0, 7):
        video = table[keys.VIDEO_EMBED][row]
        best: dict[int, tuple[float, int]] = {}
        for other in rows:
            if table[keys.ATTN_VALID][other]:
                attn = table[keys.ATTN_EMBED][other]
                cosine = video @ attn / np.linalg.norm(video) / np.linalg.norm(attn)
                map_id = int(table[keys.MAP_ID][other])
                best[map_id] = max(best.get(map_id, (-2, -1)), (float(cosine), int(other)))
        expected = sorted(best.values(), reverse=True)[:5]
        found = nearest_maps(table, row, rows)
        assert [other for other, _ in found] == [other for _, other in expected]
        assert [value for _, value in found] == pytest.approx([value for value, _ in expected])


# --- pictures ------------------------------------------------------------------------------------


def half_annotated_segment(frames=8, side=16):
    attn = torch.zeros(1, frames, side, side, dtype=torch.uint8)
    attn[..., : side // 2] = 200
    brightness = torch.arange(frames, dtype=torch.uint8)[None, :, None, None]
    return {
        keys.VIDEO: brightness.expand(3, frames, side, side),
        keys.ATTN_MAP: attn,
        keys.ATTN_VALID: torch.tensor(True),
    }


def pictures_of(segment, **settings):
    torch.manual_seed(0)
    model = VideoAttentionCLIP(2, backbone_width=8, **settings).eval()
    return segment_pictures(model, segment, "cpu")


@pytest.mark.parametrize(("frames", "shown"), [(5, list(range(5))), (31, list(range(0, 31, 2)))])
def test_frames_and_map_are_spread_over_the_segment(frames, shown):
    segment = half_annotated_segment(frames)
    pictures = pictures_of(segment)
    assert pictures["frames"].shape == (len(shown), 16, 16, 3)
    assert pictures["frames"][:, 0, 0, 0].tolist() == shown
    np.testing.assert_array_equal(pictures["map"], segment[keys.ATTN_MAP][0, shown].numpy())


@pytest.mark.parametrize("kind", ["spatiotemporal", "weighted_pool"])
def test_what_a_model_predicts_is_shown_and_no_gate_that_it_does_not_use(kind):
    settings = {"map_guided": True, "map_guided_type": kind, "map_source": "predicted"}
    pictures = pictures_of(half_annotated_segment(), **settings)
    assert pictures["predicted"].shape == pictures["map"].shape
    assert pictures["predicted"].max() == 255
    assert ("gate" in pictures) == (kind == "spatiotemporal")


@pytest.mark.parametrize("kind", ["spatiotemporal", "weighted_pool"])
def test_the_gate_lies_where_the_map_does(kind):
    pictures = pictures_of(half_annotated_segment(), map_guided=True, map_guided_type=kind)
    assert pictures["gate"].shape == pictures["map"].shape
    assert pictures["gate"].dtype == np.uint8
    assert (pictures["gate"][..., 0] == 255).all()
    assert (pictures["gate"][..., -1] == 0).all()


def test_a_learned_gate_is_shown_as_it_is():
    settings = {"map_guided": True, "map_guided_sigmoid_gate": True}
    gate = pictures_of(half_annotated_segment(), **settings)["gate"]
    assert 0 < gate.min() < gate.max() < 255  # not stretched


def test_without_a_map_every_place_weighs_the_same():
    segment = half_annotated_segment()
    segment = {**segment, keys.ATTN_MAP: 0 * segment[keys.ATTN_MAP]}
    segment[keys.ATTN_VALID] = torch.tensor(False)
    assert (pictures_of(segment, map_guided=True)["gate"] == 255).all()


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"map_guided": True, "map_guided_type": "channel"},
        {"map_guided": True, "clip_backbone": "2dcnn"},
    ],
)
def test_a_model_without_weights_of_places_has_no_gate(settings):
    assert set(pictures_of(half_annotated_segment(), **settings)) == {"frames", "map"}


# --- the whole -----------------------------------------------------------------------------------


def settings_for(runs: Path, experiment: str) -> Config:
    short = ("split.folds=3", "trainer.max_epochs=1")
    return make_config(runs, f"experiment={experiment}", *short)


def prepared_for(config):
    return prepare_study(config.data, open_study(config.data), workers=1)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory):
    """A trained run of the full method, its settings and its gallery."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VACLIP_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("LOCAL_RANK", raising=False)
        config = settings_for(tmp_path_factory.mktemp("runs"), "B3")
        folder = run(config).folder
        out = tmp_path_factory.mktemp("study")
        prepared = prepared_for(config)
        write_gallery(config, prepared, folder, 0, out)
        yield folder, config, prepared, out


def test_cases_say_what_the_prediction_table_says(finished):
    folder, config, _, out = finished
    gallery = json.loads((out / keys.GALLERY_FILE).read_text())
    assert {name: gallery[name] for name in ("arm", "fold", "seed")} == {
        "arm": "B3",
        "fold": 0,
        "seed": config.seed,
    }
    cases = gallery["cases"]
    assert [KINDS.index(case["why"]) for case in cases] == sorted(
        KINDS.index(case["why"]) for case in cases
    )
    assert len({case["clip_id"] for case in cases}) == len(cases) >= 3
    table = pd.read_parquet(folder / "fold_0" / keys.PREDICTIONS_FILE)
    table = table[table["split"] == "test"].set_index(["clip_id", "segment"])
    for case in cases:
        row = table.loc[(case["clip_id"], case["segment"])]
        assert (row["patient_id"], row["label"]) == (case["patient_id"], case["label"])
        assert row["align_sim"] == pytest.approx(case["similarity"], abs=1e-5)
        for name, value in case["probs"].items():
            assert row[f"prob_{name}"] == pytest.approx(value, abs=1e-5)
        likeliest = max(case["probs"], key=case["probs"].__getitem__)
        if case["why"] in ("right", "wrong"):
            assert (likeliest == case["label"]) == (case["why"] == "right")
    best = max(cases, key=lambda case: case["similarity"])
    assert best["why"] == "most aligned"


def test_nearest_maps_are_distinct_and_in_order(finished):
    folder, _, _, out = finished
    map_ids = pd.read_parquet(folder / "fold_0" / keys.PREDICTIONS_FILE)
    map_ids = map_ids[map_ids["split"] == "test"].groupby("clip_id")["map_id"].first()
    for case in json.loads((out / keys.GALLERY_FILE).read_text())["cases"]:
        nearest = case["nearest"]
        similarity = [one["similarity"] for one in nearest]
        assert similarity == sorted(similarity, reverse=True)
        ids = [map_ids[one["clip_id"]] for one in nearest]
        assert len(set(ids)) == len(ids) == min(5, map_ids.nunique())
        same = [one["same_map"] for one in nearest]
        assert same == [map_id == map_ids[case["clip_id"]] for map_id in ids]


def test_pictures_are_those_of_the_segment(finished):
    _, config, prepared, out = finished
    datasets = prepare_fold(config, prepared, split_plan(config, prepared.study).folds[0])
    segments = list(datasets["test"])
    rows = {clip.clip_id: row for row, clip in enumerate(prepared.study.clips)}

    def segment_of(clip_id, number):
        return next(
            one
            for one in segments
            if (one[keys.CLIP_ROW], one[keys.SEGMENT]) == (rows[clip_id], number)
        )

    for case in json.loads((out / keys.GALLERY_FILE).read_text())["cases"]:
        pictures = read_arrays(out / case["file"])
        assert all(array.dtype == np.uint8 for array in pictures.values())
        assert pictures["gate"].shape == pictures["map"].shape == (8, 32, 32)
        segment = segment_of(case["clip_id"], case["segment"])
        video = segment[keys.VIDEO].permute(1, 2, 3, 0).numpy()
        np.testing.assert_array_equal(pictures["frames"], video)
        np.testing.assert_array_equal(pictures["map"], segment[keys.ATTN_MAP][0].numpy())
        assert pictures["nearest"].shape == (len(case["nearest"]), 32, 32)
        assert pictures["nearest"].any(axis=(1, 2)).all()


def test_it_is_the_same_twice_and_leaves_nothing_old(finished, tmp_path):
    folder, config, prepared, out = finished
    (tmp_path / "gallery").mkdir()
    (tmp_path / "gallery" / "case_99.npz").write_bytes(b"old")
    write_gallery(config, prepared, folder, 0, tmp_path)
    written, again = (
        {file.relative_to(root): file.read_bytes() for file in root.rglob("*") if file.is_file()}
        for root in (out, tmp_path)
    )
    assert written == again


def test_no_gallery_stands_where_it_could_not_be_finished(finished, tmp_path, monkeypatch):
    folder, config, prepared, _ = finished
    write_gallery(config, prepared, folder, 0, tmp_path)
    monkeypatch.setattr("vaclip.ablation.gallery.np.savez_compressed", None)
    with pytest.raises(TypeError):
        write_gallery(config, prepared, folder, 0, tmp_path)
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]


def test_without_a_trained_alignment_nothing_is_said_of_it(finished, tmp_path):
    _, trained, prepared, _ = finished
    config = settings_for(Path(trained.runs_dir), "B0")
    module = build_module(config, prepared)
    checkpoint = checkpoint_path(fold_folder(tmp_path, 1), "best")
    checkpoint.parent.mkdir(parents=True)
    torch.save({"state_dict": module.state_dict(), CHECKPOINT_KEY: module.metadata}, checkpoint)
    write_gallery(config, prepared, tmp_path, 1, tmp_path)
    gallery = json.loads((tmp_path / keys.GALLERY_FILE).read_text())
    assert gallery["fold"] == 1
    assert {case["why"] for case in gallery["cases"]} <= {"right", "wrong"}
    for case in gallery["cases"]:
        assert case["similarity"] is None
        assert case["nearest"] == []
        pictures = read_arrays(tmp_path / case["file"])
        assert pictures["nearest"].shape == (0, 32, 32)
        assert "gate" not in pictures


def test_a_run_without_a_checkpoint_is_refused(finished, tmp_path):
    _, config, prepared, _ = finished
    with pytest.raises(VaclipError, match="cannot be used as a checkpoint"):
        write_gallery(config, prepared, tmp_path, 0, tmp_path / "out")
    assert not (tmp_path / "out").exists()
