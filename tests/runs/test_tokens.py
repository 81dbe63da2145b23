"""Whole runs on the tokens of a frozen encoder: every arm, resumed, predicted, shown."""

from __future__ import annotations

import dataclasses
import json
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from composed import make_config
from conftest import write_tiny_study
from encoder_models import ABOUT, save_program
from resumed_runs import whole_and_resumed
from vaclip import VaclipError, keys
from vaclip.ablation.gallery import write_gallery
from vaclip.config import Config
from vaclip.evaluation.predictions import Predictions
from vaclip.features import cache as token_cache
from vaclip.runs.predict import load_predictor, predict_videos
from vaclip.runs.prepare import open_study, prepare_fold, prepare_study, split_plan
from vaclip.runs.run import run
from vaclip.runs.tokens import with_tokens


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A study, and a program that encodes its pictures under a licence that forbids sales."""
    home = tmp_path_factory.mktemp("home")
    write_tiny_study(home / "data", patients_per_class=3)
    save_program(home / "patches.pt2", ABOUT | {"licence": "CC-BY-NC-4.0"})
    return home


def settings_for(home: Path, *more: str) -> Config:
    return make_config(
        home / "runs", "data=folder", f"data.root={home / 'data'}", "split.folds=3",
        f"data.cache_dir={home / 'cache'}", "model.clip_backbone=features",
        f"features.source=export:{home / 'patches.pt2'}", "features.width=8", *more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def finished(home):
    """A run with guidance, alignment and the token term."""
    config = settings_for(home, "experiment=B4", "features.every=2", "features.grid=[2,4]")
    return run(config), config


def test_the_run_is_of_tokens(finished, home):
    result, _ = finished
    saved = torch.load(result.folder / "fold_0/checkpoints/best.ckpt", weights_only=True)
    weights = saved["state_dict"]
    assert weights["model.video_encoder.adapter.1.weight"].shape == (8, 6, 1, 1, 1)
    assert saved["vaclip"]["encoder"]["licence"] == "CC-BY-NC-4.0"
    metrics = json.loads((result.folder / "metrics.json").read_text())
    assert np.isfinite(metrics["folds"]["0"]["test"]["test/align_sim_gap"])
    files = list((home / "cache/segments/tokens").glob("*/*/tokens.npy"))
    assert {np.load(file).shape for file in files} >= {(8, 2, 4, 6)}  # 16 samples at 8 a second


def test_the_licence_stands_in_the_run_and_in_its_table(finished):
    result, _ = finished
    environment = json.loads((result.folder / "environment.json").read_text())
    assert environment["weights"]["source"] == "export:patches.pt2"
    assert environment["weights"]["licence"] == "CC-BY-NC-4.0"
    for folder in (result.folder, result.folder / "fold_0"):
        table = pd.read_parquet(folder / keys.PREDICTIONS_FILE)
        assert table.attrs[keys.PRED_WEIGHTS] == {"B4": "export:patches.pt2 (CC-BY-NC-4.0)"}


def test_a_checkpoint_predicts_what_its_run_did(finished, home):
    result, _ = finished
    found = Predictions.load(result.folder).clips.set_index(keys.PRED_CLIP)
    predictor = load_predictor(result.folder / "fold_0/checkpoints/best.ckpt")
    videos = [home / f"data/videos/{clip}.mkv" for clip in found.index]
    predicted = predict_videos(predictor, videos, attention=home / "data")
    assert predicted.failures == []
    probs = ["prob_steady", "prob_limping", "prob_shuffling"]
    told = predicted.table.set_index(keys.PRED_CLIP).loc[found.index, probs]
    np.testing.assert_allclose(told, found[probs], atol=1e-5)


def test_checkpoints_on_two_encoders_predict_side_by_side(finished, home):
    result, _ = finished
    source = save_program(home / "others.pt2", ABOUT | {"std": [0.5] * 3, "mean": [0.2] * 3})
    more = ("experiment=B4", "features.every=2", "features.grid=[2,4]")
    other = run(settings_for(home, *more, f"features.source={source}"))
    probs = ["prob_steady", "prob_limping", "prob_shuffling"]
    predictors = [
        load_predictor(own.folder / "fold_0/checkpoints/best.ckpt") for own in (result, other)
    ]
    wanted = [
        Predictions.load(own.folder).clips.set_index(keys.PRED_CLIP) for own in (result, other)
    ]
    assert not np.allclose(wanted[0][probs], wanted[1][probs], atol=1e-3)
    for clip in wanted[0].index[:3]:  # by turns
        for predictor, table in zip(predictors, wanted, strict=True):
            video = home / f"data/videos/{clip}.mkv"
            told = predict_videos(predictor, [video], attention=home / "data").table
            np.testing.assert_allclose(told.loc[0, probs], table.loc[clip, probs], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("trials", [0, 2])
def test_two_processes_train_and_test_on_tokens_together(finished, home, trials):
    """As on pixels (tests/commands/test_main.py): every segment is tested once, none twice."""
    result, config = finished
    folder = home / f"ddp_{trials}"
    words = [
        "debug=smoke", "trainer.enable_progress_bar=false", "trainer.accelerator=cpu",
        "experiment=B4", "data=folder", f"data.root={home / 'data'}", "split.folds=3",
        f"data.cache_dir={home / 'cache'}", "model.clip_backbone=features",
        f"features.source={config.features.source}", "features.width=8", "features.every=2",
        "features.grid=[2,4]", f"run_dir={folder}", f"tune.trials={trials}", "trainer.devices=2",
        "trainer.strategy=ddp",
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "vaclip", "train", *words],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    columns = ["split", "clip_id", "segment"]
    tables = [pd.read_parquet(f / keys.PREDICTIONS_FILE) for f in (folder, result.folder)]
    two, one = (table[columns].sort_values(columns).to_numpy().tolist() for table in tables)
    assert two == one
    assert np.isfinite(tables[0]["prob_steady"]).all()
    saved = [
        torch.load(f / "fold_0/checkpoints/last.ckpt", weights_only=True)
        for f in (folder, result.folder)
    ]
    assert len(list(folder.rglob(keys.TRIALS_FILE))) == (trials > 0)
    assert saved[0]["state_dict"].keys() == saved[1]["state_dict"].keys()
    assert 0 < saved[0]["global_step"] <= saved[1]["global_step"]  # each step has twice the rows


@pytest.mark.parametrize(
    "arm",
    ["B0", "B2", "C1", "C2", "C3_sigmoid", "K_shuffled", "K_map_only", "P0", "P2", "P_prior"],
)
def test_every_kind_of_arm_trains_on_tokens(home, arm, monkeypatch):
    if list((home / "cache/segments/tokens").glob("*/*/tokens.npy")):
        monkeypatch.setattr(token_cache, "decode_clip", lambda *_, **__: pytest.fail("encodes"))
    more = ("features.every=2", "features.grid=[2,4]", "trainer.max_epochs=1")
    folder = run(settings_for(home, f"experiment={arm}", *more)).folder
    table = pd.read_parquet(folder / keys.PREDICTIONS_FILE)
    assert set(table["split"]) == {"val", "test"}
    assert np.isfinite(table["prob_steady"]).all()


def test_chunks_of_a_batch_and_noise_at_test(home):
    result = run(settings_for(
        home, "experiment=B3", "loss.grad_cache_chunk=2", "data.test_noise=displacement",
        "data.test_noise_strength=0.1", "trainer.max_epochs=1",
    ))  # fmt: skip
    assert np.isfinite(pd.read_parquet(result.folder / keys.PREDICTIONS_FILE)["prob_steady"]).all()


def test_a_resumed_run_ends_as_one_that_was_not_stopped(home, tmp_path, monkeypatch):
    words = ("experiment=B1", "features.jitter=1", "features.noise=0.2", "trainer.max_epochs=3")
    one, other = whole_and_resumed(
        lambda place: settings_for(home, *words, place), tmp_path, monkeypatch
    )
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_gallery_shows_pictures_where_the_model_saw_tokens(finished, tmp_path):
    result, config = finished
    prepared = with_tokens(config, prepare_study(config.data, open_study(config.data), workers=1))
    write_gallery(config, prepared, result.folder, 0, tmp_path)
    cases = json.loads((tmp_path / keys.GALLERY_FILE).read_text())["cases"]
    fold = split_plan(config, prepared.study).folds[0]
    segments = prepare_fold(config, prepared, fold)["test"]
    assert cases
    for case in cases:
        pictures = np.load(tmp_path / case["file"])
        assert pictures["frames"].shape == (8, *segments[0][keys.ATTN_MAP].shape[2:], 3)
        assert pictures["gate"].shape == pictures["frames"].shape[:3]
        assert pictures["frames"].std() > 0


def test_a_licence_that_forbids_sales_is_warned_of(home, caplog):
    config = settings_for(home)
    with caplog.at_level(logging.WARNING):
        with_tokens(config, prepare_study(config.data, open_study(config.data), workers=1))
    assert "CC-BY-NC-4.0: not for commercial use" in caplog.text


def test_the_study_of_a_run_is_told_by_its_encoder_too(home, tmp_path, finished):
    result, config = finished
    save_program(tmp_path / "patches.pt2", ABOUT | {"std": [1.0] * 3})
    other = dataclasses.replace(
        config, run_dir=str(result.folder), resume=True,
        features=dataclasses.replace(config.features, grid=[2, 2]),
    )  # fmt: skip
    with pytest.raises(VaclipError, match=r"run with other settings: features\.grid"):
        run(other)
    hashes = []
    for grid in ("[2,2]", "[2,4]"):
        folder = run(
            settings_for(home, "experiment=B0", f"features.grid={grid}", "trainer.max_epochs=1")
        ).folder
        hashes.append(json.loads((folder / "study.json").read_text())["content_hash"])
    assert hashes[0] != hashes[1]


# --- mistakes ------------------------------------------------------------------------------------


def test_a_checkpoint_whose_encoder_changed_or_went(finished, home):
    result, _ = finished
    checkpoint = result.folder / "fold_0/checkpoints/best.ckpt"
    program = home / "patches.pt2"
    before = program.read_bytes()
    try:
        save_program(program, ABOUT | {"mean": [0.1] * 3})
        with pytest.raises(VaclipError, match="has other weights now"):
            load_predictor(checkpoint)
        program.unlink()
        with pytest.raises(
            VaclipError, match=r"reads the tokens of a frozen encoder: .*no such file"
        ):
            load_predictor(checkpoint)
    finally:
        program.write_bytes(before)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["features.every=3"], r"features\.every=3 must divide data\.frames=8"),
        (["features.source=null"], r"needs features\.source; see backbone=lite0"),
        (["model.clip_backbone=3dcnn"], "is not used by model.clip_backbone=3dcnn"),
        (["data.augment.flip=true"], r"data\.augment\.flip changes pictures"),
        (["features.grid=[8,8]"], r"features\.grid is \[8, 8\]"),
        (["features.source=lite9"], "Did you mean 'lite0'"),
    ],
)
def test_settings_that_contradict_each_other(home, words, told):
    with pytest.raises(VaclipError, match=told):
        run(settings_for(home, *words))


def test_frames_that_windows_do_not_divide(home, tmp_path):
    from encoder_models import save_model

    source = save_model(tmp_path / "mae", "videomae")
    with pytest.raises(VaclipError, match=r"data\.frames is 7, but a token of .* covers 2 samples"):
        run(settings_for(home, f"features.source={source}", "data.frames=7"))


def test_without_augmentation_nothing_is_drawn(home):
    from vaclip.runs.tokens import encoder_arguments, frozen_encoder

    for enabled, drawn in (("true", 0.1), ("false", 0.0)):
        config = settings_for(home, f"data.augment.enabled={enabled}")
        info = frozen_encoder(config).info
        options = encoder_arguments(config, info)["backbone_options"]
        assert options == {"channels": 6, "dropout": drawn, "noise": drawn}
