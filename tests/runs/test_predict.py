"""Predicting new patients: whose map guides, strays, and the predicted maps."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import vaclip as vc
from conftest import CLASSES, write_tiny_study
from vaclip import VaclipError
from vaclip.models import VideoAttentionCLIP
from vaclip.runs.predict import Predictor, load_predictor, predict_videos

PROBS = [f"prob_{name}" for name in CLASSES]
MIXED = [
    "model.map_source=mixed",
    "model.map_dropout=0",
    "model.lambda_map=1",
    "loss.clip_weight=0",
]


@pytest.fixture
def study(trained):
    return trained.study


def predictor(run):
    return load_predictor(run.checkpoint())


def of_test(run, study):
    """The videos of the test patients, and what the run said of them."""
    frame = run.predictions.frame
    frame = frame[frame["split"] == "test"]
    clips = {clip.clip_id: clip.video for clip in study.clips}
    expected = frame.groupby("clip_id")[PROBS].mean()
    return [clips[name] for name in expected.index], expected


def by_stem(table):
    """Without a study a clip is called by its path."""
    return table.set_index(table["video"].map(lambda name: Path(name).stem))[PROBS]


def test_a_taught_model_needs_neither_map_nor_label(trained, study, tmp_path):
    """Copies of test patients' videos, of which nothing is known, are predicted as in the test."""
    run = trained("P2")
    videos, expected = of_test(run, study)
    for video in videos:
        shutil.copy(video, tmp_path)
    found = predict_videos(predictor(run), [tmp_path])
    assert found.failures == []
    assert set(found.table["map"]) == {"predicted"}
    pd.testing.assert_frame_equal(
        by_stem(found.table).loc[expected.index], expected, check_dtype=False, check_names=False,
        atol=1e-5,
    )  # fmt: skip
    for row, maps in zip(found.table.itertuples(), found.maps, strict=True):
        assert maps.shape == (row.segments, 2, 4, 4)
        np.testing.assert_allclose(maps.sum(axis=(1, 2, 3)), 1, rtol=1e-5)


def test_a_taught_model_ignores_the_maps_of_a_study(trained, study):
    model = predictor(trained("P2"))
    videos = [clip.video for clip in study.clips[:3]]
    alone, beside = (
        predict_videos(model, videos, attention=maps).table[PROBS] for maps in (None, study)
    )
    pd.testing.assert_frame_equal(alone, beside)


def test_a_mixed_model_takes_the_given_map_where_there_is_one(trained, study, tmp_path):
    model = predictor(trained("B3", *MIXED))
    root = write_tiny_study(tmp_path / "bare")
    rows = (root / "attention.csv").read_text().splitlines()
    (root / "attention.csv").write_text("\n".join(r for r in rows if "steady-0-0" not in r) + "\n")
    bare = vc.load_study(root)
    videos = [clip.video for clip in bare.clips if clip.patient_id in ("steady-0", "steady-1")]
    given = predict_videos(model, videos, attention=bare).table.set_index("clip_id")
    alone = by_stem(predict_videos(model, videos).table)
    assert given["map"].to_dict() == {"steady-0-0": "predicted", "steady-1-0": "given"}
    differs = (given[PROBS] - alone).abs().max(axis=1)
    assert differs["steady-0-0"] < 1e-6
    assert differs["steady-1-0"] > 1e-6
    chosen = predict_videos(model, videos, attention=bare, map_from="predicted").table
    assert (chosen.set_index("clip_id")[PROBS] - alone).abs().to_numpy().max() < 1e-6


def test_the_prior_map_of_the_checkpoint_is_that_of_its_training_patients(trained, study):
    """P_prior needs nothing of a new patient, and predicts as in its test."""
    run = trained("P_prior")
    model = predictor(run)
    assert model.map_choices == ("prior",)
    videos, expected = of_test(run, study)
    found = model.predict(videos, attention=study)
    assert set(found["map"]) == {"prior"}
    pd.testing.assert_frame_equal(
        found.loc[expected.index, PROBS], expected, check_dtype=False, check_names=False, atol=1e-5
    )


def test_a_guided_model_may_be_given_the_prior_map_or_none(trained, study):
    run = trained("B3")
    model = predictor(run)
    assert model.map_choices == ("given", "none", "prior")
    videos, _ = of_test(run, study)
    found = {
        kind: predict_videos(model, videos, attention=study, map_from=kind).table
        for kind in model.map_choices
    }
    for kind, table in found.items():
        assert set(table["map"]) == {kind}
    assert not np.allclose(found["none"][PROBS], found["prior"][PROBS], atol=1e-6)
    without = predict_videos(model, videos, map_from="none").table
    np.testing.assert_allclose(without[PROBS], found["none"][PROBS], atol=1e-6)


def make_predictor(control=None, prior=True, **arguments):
    model = VideoAttentionCLIP(3, backbone_width=2, clip_feature_dim=4, **arguments)
    own = np.zeros((1, 8, 8), np.uint8) if prior else None
    return Predictor(model, Path("a.ckpt"), CLASSES, {}, 1, (), True, "cpu", own, control)


GUIDED = {"map_guided": True}


@pytest.mark.parametrize(
    ("arguments", "choices"),
    [
        ({}, ("none",)),
        ({"map_source": "predicted"}, ("none",)),
        (GUIDED, ("given", "none", "prior")),
        (GUIDED | {"prior": False}, ("given", "none")),
        (GUIDED | {"clip_backbone": "2dcnn"}, ("given", "none", "prior")),
        (GUIDED | {"map_source": "mixed"}, ("predicted", "given", "prior")),
        (GUIDED | {"map_source": "predicted"}, ("predicted",)),
        (GUIDED | {"control": "prior"}, ("prior",)),
        ({"clip_classifier_source": "attn"}, ("given",)),
        ({"clip_classifier_source": "fusion"}, ("given", "none")),
    ],
)
def test_whose_map_can_guide(arguments, choices):
    model = make_predictor(**arguments)
    assert model.map_choices == choices
    needs = "needs an attention map" if choices[0] == "given" else "needs video alone"
    assert needs in repr(model)
    for kind in {"given", "predicted", "prior", "none"} - set(choices):
        with pytest.raises(VaclipError, match=rf"--map {kind}; it can by {choices[0]}"):
            predict_videos(model, ["nowhere"], map_from=kind)


def test_strays_do_not_stop_the_others(trained, study, tmp_path):
    video = study.clips[0].video
    (tmp_path / "stray.mp4").write_bytes(b"no video")
    shutil.copy(study.clips[1].video, tmp_path / "copy.mkv")
    files = [tmp_path / "stray.mp4", video, tmp_path / "copy.mkv"]
    alone = predict_videos(predictor(trained("P2")), files)
    assert alone.table["video"].tolist() == list(map(str, files[1:]))
    assert len(alone.failures) == 1
    assert "stray.mp4" in alone.failures[0]
    named = predict_videos(predictor(trained("B3")), files, attention=study)
    assert named.table["clip_id"].tolist() == [clip.clip_id for clip in study.clips[:2]]
    assert "stray.mp4: clips.csv of the study tiny has no such video" in named.failures[0]


def test_maps_are_a_column_where_they_are_asked_for(trained, study):
    video = study.clips[0].video
    found = predictor(trained("P2")).predict([video], maps=True)
    assert found["predicted_map"].iloc[0].shape == (found["segments"].iloc[0], 2, 4, 4)
    assert "predicted_map" not in predictor(trained("P2")).predict([video])
    with pytest.raises(VaclipError, match="predicts no map"):
        predictor(trained("B3")).predict([video], attention=study, maps=True)


def test_the_prior_is_kept_where_a_given_map_guides(trained):
    kept = torch.load(trained("B3").checkpoint(), weights_only=True)["vaclip"]["prior_map"]
    assert kept.shape == (1, 32, 32)
    assert kept.max() == 255
    assert torch.load(trained("P2").checkpoint(), weights_only=True)["vaclip"]["prior_map"] is None


def test_a_predictor_without_a_prior_is_what_older_checkpoints_give(trained):
    model = predictor(trained("B3"))
    assert "prior" not in dataclasses.replace(model, prior=None).map_choices
