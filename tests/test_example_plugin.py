"""The package in ``examples/plugin``, installed: every process finds its parts by their names."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from conftest import write_rows, write_tiny_study
from vaclip import keys

PLUGIN = Path(__file__).parents[1] / "examples" / "plugin"
PARTS = ("model.clip_backbone=motion", "model.map_guided_type=hard_pool")
QUICK = ("trainer.accelerator=cpu", "trainer.enable_progress_bar=false")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the commands run in: the package in ``site``, a study in ``study``."""
    home = tmp_path_factory.mktemp("home")
    shutil.copytree(PLUGIN, home / "plugin")  # a build leaves files beside the sources
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
         "--no-index", "--no-deps", "--no-build-isolation", "--target", "site", "./plugin"],
        cwd=home, check=True,
    )  # fmt: skip
    assert (home / "site" / "vaclip_example_plugin" / "models.py").is_file()
    study = write_tiny_study(home / "study")
    (study / "attention.csv").unlink()
    clips = pd.read_csv(study / "clips.csv")
    write_rows(
        home / "readings.csv",
        [
            {"clip": clip_id, "annotator": "reader", "x": 0.3, "y": 0.2 * (1 + row % 3), "r": 0.2}
            for row, clip_id in enumerate(clips["clip_id"])
        ],
    )
    return home


def command(
    home: Path, *words: str, module: str = "vaclip", installed: bool = True, status: int = 0
) -> str:
    """Runs a command in a process of its own; returns what it said."""
    path = [str(home / "site")] * installed + [os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, path)),
        "VACLIP_CACHE": str(home / "cache"),
    }
    done = subprocess.run(
        [sys.executable, "-m", module, *words], cwd=home, env=environment, timeout=280,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert done.returncode == status, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def imported(home: Path) -> str:
    """What its importer said; its annotations of its kind of map are in the study now."""
    return command(home, "data", "import", "discs", "readings.csv", "--into", "study")


@pytest.fixture(scope="module")
def checkpoint(home: Path, imported: str) -> Path:
    """Of a model with its backbone and its guidance."""
    folder = ("data=folder", "data.root=study", "split.folds=3", "run_dir=run")
    command(home, "train", "debug=smoke", *folder, *PARTS, *QUICK)
    return home / "run" / "fold_0" / "checkpoints" / "best.ckpt"


def test_its_importer_is_listed_and_adds_its_kind_of_map(home, imported):
    assert "15 annotations of kind disc" in imported
    rows = pd.read_csv(home / "study" / "attention.csv")
    assert rows.loc[0, ["annotator", "kind", "value"]].tolist() == ["reader", "disc", "0.3 0.2 0.2"]
    assert "15 clips: 0 error(s)" in command(home, "data", "check", "study")
    assert "a table of discs" in command(home, "data", "import", "--help")


def test_without_the_package_its_kind_is_unknown(home, imported):
    said = command(home, "data", "check", "study", installed=False, status=1)
    assert "attention.csv:2:kind: the kind of map is 'disc'; use one of " in said
    assert "install the package that adds it" in said


@pytest.mark.slow
def test_its_backbone_and_guidance_are_trained(checkpoint):
    content = torch.load(checkpoint, weights_only=True)
    assert content["state_dict"]["model.video_encoder.layers.2.weight"].shape[:2] == (16, 8)
    test = pd.read_parquet(checkpoint.parents[1] / keys.PREDICTIONS_FILE)
    assert test[keys.PRED_SIM].notna().all(), "every clip has its map"


@pytest.mark.slow
def test_a_checkpoint_finds_its_backbone_again_or_names_the_package(home, checkpoint):
    video = "study/videos/limping-0-0.mkv"
    words = ("predict", "--checkpoint", str(checkpoint), video)
    assert "limping-0-0" in command(home, *words, "--attention", "study")
    said = command(home, *words, installed=False, status=1)
    assert "'motion'" in said or "'hard_pool'" in said
    assert "It was trained with vaclip-example-plugin 0.1" in said


def test_the_contracts_of_models_are_tested_with_it(home):
    models = Path(__file__).parent / "models"
    tests = [str(models / name) for name in ("test_encoders.py", "test_guidance.py")]
    said = command(home, "-q", "-k", "motion or hard_pool", *tests, module="pytest")
    passed, skipped = map(int, re.search(r"(\d+) passed, (\d+) skipped", said).groups())
    assert passed >= 20
    assert skipped < 5


@pytest.mark.slow
def test_the_jobs_of_a_study_find_it(home, imported):
    command(
        home, "study", "study=smoke", "study.arms=[B0,B3]", "study.folds=[0]", "run_dir=a_study",
        "study.noise_arms=[]", "data=folder", "data.root=study", "split.folds=3", PARTS[0], *QUICK,
    )  # fmt: skip
    jobs = pd.read_csv(home / "a_study" / keys.JOBS_FILE)
    assert jobs["state"].tolist() == ["done"] * len(jobs), jobs["reason"].tolist()
    (saved, *_) = sorted((home / "a_study").glob("jobs/*/fold_0/checkpoints/best.ckpt"))
    weights = torch.load(saved, weights_only=True)["state_dict"]
    assert "model.video_encoder.layers.2.weight" in weights
