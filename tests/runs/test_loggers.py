"""What a training tells TensorBoard, wandb and mlflow, without a network."""

from __future__ import annotations

import csv
import math

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import vaclip as vc
from conftest import SMALL_RUN, write_tiny_study
from vaclip.errors import VaclipError
from vaclip.runs.examples import overlays


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def study(home):
    return vc.load_study(write_tiny_study(home / "study"))


def trained(home, study, name, *more, arm="B3"):
    settings = [
        *SMALL_RUN,
        "trainer.max_epochs=2",
        f"data.cache_dir={home / 'cache'}",
        f"runs_dir={home}",
        *more,
    ]
    return vc.train(study, arm=arm, overrides=settings, folder=home / name)


def board_of(run):
    board = EventAccumulator(str(run.folder / "fold_0/logs/attempt_0"), {"images": 0})
    board.Reload()
    return board


@pytest.fixture(scope="module")
def plain(home, study):
    return trained(home, study, "plain", arm="P2")


def test_the_validation_loss_is_the_sum_of_its_terms(plain):
    with (plain.folder / "fold_0/logs/attempt_0/metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["val/loss"]]
    assert len(rows) >= 2
    weight = plain.config["model"]["lambda_map"]
    for row in rows:
        expected = float(row["val/ce"]) + weight * float(row["val/map"])
        assert float(row["val/loss"]) == pytest.approx(expected, rel=1e-5)
        # a clip is one segment here, and no class weighs more than another
        assert float(row["val/ce"]) == pytest.approx(float(row["val/clip/log_loss"]), rel=1e-4)


def test_tensorboard_has_examples_by_the_best_epoch_and_the_settings(plain):
    board = board_of(plain)
    tags = board.Tags()["images"]
    assert len(tags) == 2
    assert all(tag.startswith("val/example_") for tag in tags)
    (picture,) = board.Images(tags[0])
    assert (picture.width, picture.height) == (4 * 32, 3 * 32)  # frames, map, predicted map


def test_without_examples_there_are_none(home, study):
    assert board_of(trained(home, study, "none", "log.examples=0")).Tags()["images"] == []


def test_an_overlay_reddens_where_the_map_is():
    frames = np.full((2, 4, 4, 3), 100, np.uint8)
    attn = np.zeros((2, 4, 4), np.uint8)
    attn[:, :2] = 255
    picture = overlays({"frames": frames, "map": attn}).astype(int)
    assert picture.shape == (8, 8, 3)
    assert (picture[:4] == 100).all()
    assert (picture[4:6, :, 0] > 150).all()
    assert (picture[6:] == 100).all()


def test_mlflow_keeps_metrics_and_settings_in_a_folder(home, study, monkeypatch):
    tracking = pytest.importorskip("mlflow.tracking", reason="mlflow is not installed")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    run = trained(home, study, "with_mlflow", "log.also=[mlflow]")
    client = tracking.MlflowClient(f"sqlite:///{home / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("vaclip")
    (kept,) = client.search_runs([experiment.experiment_id])
    assert kept.info.run_name == "with_mlflow/fold_0"
    assert kept.data.params["data.frames"] == "8"
    history = [one.value for one in client.get_metric_history(kept.info.run_id, "val/loss")]
    assert len(history) >= 2
    assert all(map(math.isfinite, history))
    assert str(home) not in " ".join(kept.data.params.values())
    assert run.folds == [0]


def test_wandb_writes_a_run_that_can_be_sent_later(home, study, monkeypatch):
    pytest.importorskip("wandb", reason="wandb is not installed")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    run = trained(home, study, "with_wandb", "log.also=[wandb]")
    (kept,) = (run.folder / "fold_0/logs/wandb").glob("offline-run-*/run-*.wandb")
    content = kept.read_bytes()
    for word in (b"val/loss", b"with_wandb/fold_0"):
        assert word in content
    assert str(home / "cache").encode() not in content


def test_a_missing_package_is_named(home, study, monkeypatch):
    monkeypatch.setattr("vaclip.runs.loggers.find_spec", lambda name: None)
    with pytest.raises(VaclipError, match=r"vaclip\[wandb\]"):
        trained(home, study, "missing", "log.also=[wandb]")


def test_loggers_make_no_difference_to_a_result(home, study, plain):
    with_all = trained(home, study, "again", "log.examples=0", arm="P2")
    left, right = (run.predictions.frame for run in (plain, with_all))
    assert left.filter(like="prob_").equals(right.filter(like="prob_"))
