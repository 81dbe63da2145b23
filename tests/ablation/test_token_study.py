"""A study whose arms read the tokens of two frozen encoders."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch

from conftest import write_tiny_study
from encoder_models import ABOUT, save_program
from vaclip import keys
from vaclip.ablation.ablation import open_study_folder, plain_config, plan_study
from vaclip.ablation.job import run_job, save_job
from vaclip.ablation.look import write_looks
from vaclip.ablation.worker import job_folder
from vaclip.compose import compose_settings
from vaclip.config import StudyRunConfig
from vaclip.data.cache_content import cache_entries
from vaclip.features import cache as token_cache
from vaclip.reports.gather import read_folder
from vaclip.reports.page import write_report

OWN = """
# @package _global_
arm: B0_other
about:
  method: another encoder
  question: is it the weights?
  cost: the same
model:
  map_guided: false
loss:
  clip_weight: 0.0
features:
  source: export:{}
"""

BACKBONE = """
# @package _global_
model:
  clip_backbone: features
features:
  source: export:{}
  width: 8
  every: 2
"""


@pytest.fixture(scope="module")
def ablation(tmp_path_factory):
    """A study of two arms, planned: the cache is filled, and nothing is trained."""
    home = tmp_path_factory.mktemp("home")
    write_tiny_study(home / "data", patients_per_class=3)
    save_program(home / "patches.pt2", ABOUT | {"licence": "MIT"})
    save_program(home / "others.pt2", ABOUT | {"licence": "CC-BY-NC-4.0", "std": [1.0] * 3})
    (home / "own/experiment").mkdir(parents=True)
    (home / "own/experiment/B0_other.yaml").write_text(OWN.format(home / "others.pt2"))
    (home / "own/backbone").mkdir()
    (home / "own/backbone/patches.yaml").write_text(BACKBONE.format(home / "patches.pt2"))
    words = [
        "study=smoke", "data=folder", f"data.root={home / 'data'}",
        f"data.cache_dir={home / 'cache'}", f"runs_dir={home / 'runs'}", "split.folds=3",
        "study.folds=[0]", "study.noise_arms=[]", "study.annotator_arms=[]",
        "trainer.accelerator=cpu", "trainer.max_epochs=1", "backbone=patches",
        "study.arms=[B0,B0_other]", "study.roles.method=B0_other",
    ]  # fmt: skip

    def compose(arm, seed):
        composed = [*words, f"experiment={arm}", f"seed={seed}"]
        return plain_config(compose_settings(composed, "study", config_dir=home / "own"))

    settings = compose_settings(words, "study", config_dir=home / "own")
    assert isinstance(settings, StudyRunConfig)
    return plan_study(settings, compose)


def test_the_cache_is_filled_for_every_encoder_before_the_first_job(ablation):
    root = ablation.config.data.cache_dir
    sources = [e.source for e in cache_entries(root) if e.kind == "tokens"]
    assert {source.rpartition("/")[2] for source in sources} == {"patches.pt2", "others.pt2"}
    assert len(sources) == 2 * len(ablation.prepared.study.clips)


def test_jobs_encode_nothing_and_the_study_names_the_weights(ablation, monkeypatch):
    monkeypatch.setattr(token_cache, "decode_clip", lambda *_, **__: pytest.fail("encodes"))
    open_study_folder(ablation)
    for job in ablation.jobs:
        save_job(job, job_folder(ablation.folder, job.name))
        run_job(job_folder(ablation.folder, job.name))
    ablation.collect(ablation.complete())
    table = pd.read_parquet(ablation.folder / keys.PREDICTIONS_FILE)
    assert table.attrs[keys.PRED_WEIGHTS] == {
        "B0": "export:patches.pt2 (MIT)", "B0_other": "export:others.pt2 (CC-BY-NC-4.0)",
    }  # fmt: skip
    assert table["arm"].unique().tolist() == ["B0", "B0_other"]

    about = json.loads((ablation.folder / keys.ARMS_FILE).read_text())["arms"]
    weights = torch.load(
        job_folder(ablation.folder, ablation.jobs[0].name) / "fold_0/checkpoints/best.ckpt",
        weights_only=True,
    )["state_dict"]
    trained = sum(
        value.numel()
        for name, value in weights.items()
        if name.startswith(("model.video_encoder", "model.video_feature", "model.classifier"))
        and "running" not in name
        and "num_batches" not in name
    )
    assert about[0]["model"] == (
        f"Trains {trained / 1e6:.2f} million parameters on the frozen tokens of "
        "export:patches.pt2 (MIT)."
    )
    jobs = pd.read_csv(ablation.folder / keys.JOBS_FILE)
    assert (jobs["seconds"] > 0).all()


def test_the_report_shows_weights_licence_and_time_and_no_folder(ablation):
    if not (ablation.folder / keys.PREDICTIONS_FILE).exists():
        pytest.skip("needs the test before")
    page = write_report(ablation.folder).read_text("utf-8")
    assert "export:others.pt2 (CC-BY-NC-4.0)" in page
    assert "A training and its tests:" in page
    assert "source: export:patches.pt2" in page
    assert str(ablation.config.data.cache_dir).rpartition("/")[0] not in page
    assert np.isfinite(read_folder(ablation.folder).jobs["seconds"]).all()


def test_where_models_look_is_told_on_each_encoders_tokens(ablation):
    if not (ablation.folder / keys.PREDICTIONS_FILE).exists():
        pytest.skip("needs the tests before")
    write_looks(ablation, ablation.complete())
    table = pd.read_csv(ablation.folder / keys.LOOK_FILE)
    for arm in ("B0", "B0_other"):
        maps = set(table.loc[table["arm"] == arm, "map"])
        assert {"gradcam", "integrated_gradients", "occlusion", "prior"} <= maps
