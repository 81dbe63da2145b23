"""Whole runs on a tiny cohort: what a run folder holds, resuming, repeating, refusing."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from hydra import compose, initialize_config_module

from vaclip import VaclipError, keys
from vaclip.config import Config, typed_config
from vaclip.data.splits import SplitPlan
from vaclip.metrics.functional import classification_metrics
from vaclip.studies.folder import open_run_folder
from vaclip.studies.results import fold_summary
from vaclip.studies.run import run
from vaclip.training.module import VaclipModule

REQUIRED = [
    *(f"test/retrieval_r{k}_{way}" for k in (1, 5) for way in ("v2a", "a2v")),
    *(f"test/align_sim_{name}" for name in ("correct", "incorrect", "gap", "corr")),
    *(
        f"test/{unit}/{name}"
        for unit in ("clip", "patient")
        for name in ("acc_macro", "acc_micro", "f1_macro", "auroc_macro", "auroc_micro")
    ),
    "test/retrieval_r1_chance",
    "test/retrieval_r5_chance",
]


def make_config(runs: Path, *overrides: str) -> Config:
    with initialize_config_module("vaclip.conf", version_base="1.3"):
        composed = compose(
            "config",
            [
                "debug=smoke",
                f"runs_dir={runs}",
                "trainer.enable_progress_bar=false",
                "trainer.accelerator=cpu",
                "trainer.devices=1",
                *overrides,
            ],
        )
    return typed_config(composed)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory):
    """One cache for the module: the smoke cohort is made once."""
    patch = pytest.MonkeyPatch()
    patch.setenv("VACLIP_CACHE", str(tmp_path_factory.mktemp("cache")))
    patch.delenv("LOCAL_RANK", raising=False)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, cache):
    """A finished run of the full method, and its settings."""
    config = make_config(tmp_path_factory.mktemp("runs"), "experiment=B3")
    return run(config), config


def test_the_run_folder_holds_everything(finished):
    result, config = finished
    fold = result.folder / "fold_0"
    environment = json.loads((result.folder / "environment.json").read_text())
    assert environment["seed"] == config.seed
    assert environment["packages"]["torch"] == torch.__version__.split("+")[0] or (
        environment["packages"]["torch"] == torch.__version__
    )
    assert (result.folder / "config.yaml").read_text().startswith("arm: B3")
    for name in ("checkpoints/best.ckpt", "checkpoints/last.ckpt", "test_metrics.json"):
        assert (fold / name).is_file()
    logs = fold / "logs" / "attempt_0"
    assert list(logs.glob("events.out.tfevents.*"))
    logged = set(pd.read_csv(logs / "metrics.csv").columns)
    assert set(REQUIRED) <= logged
    assert not list(result.folder.rglob(".tmp-*"))


def test_metrics_are_those_of_the_prediction_table(finished):
    result, _ = finished
    table = pd.read_parquet(result.folder / "predictions.parquet")
    assert list(table.columns[: len(keys.PREDICTION_COLUMNS)]) == list(keys.PREDICTION_COLUMNS)
    assert set(table["split"]) == {"val", "test"}
    test = table[table["split"] == "test"]
    probs = [name for name in table if name.startswith("prob_")]
    np.testing.assert_allclose(test[probs].sum(axis=1), 1, rtol=1e-5)
    classes = [name.removeprefix("prob_") for name in probs]
    by_patient = (
        test.groupby(["patient_id", "label", "clip_id"])[probs].mean()
        .groupby(["patient_id", "label"]).mean()
    )  # fmt: skip
    labels = np.array([classes.index(label) for _, label in by_patient.index])
    expected = classification_metrics(by_patient.to_numpy(), labels)
    stated = json.loads((result.folder / "fold_0" / "test_metrics.json").read_text())["test"]
    for name, value in expected.items():
        shown = stated[f"test/patient/{name}"]
        assert math.isnan(value) if shown is None else shown == pytest.approx(value, abs=1e-5)


def test_the_plan_in_the_folder_is_the_one_that_was_used(finished):
    result, _ = finished
    plan = SplitPlan.load(result.folder / "split_plan.json")
    table = pd.read_parquet(result.folder / "predictions.parquet")
    for split in ("val", "test"):
        used = set(table.loc[table["split"] == split, "patient_id"])
        assert used == set(plan.folds[0][split])


def test_checkpoints_load_without_running_code(finished):
    result, _ = finished
    for name in ("best", "last"):
        path = result.folder / "fold_0" / "checkpoints" / f"{name}.ckpt"
        assert "state_dict" in torch.load(path, weights_only=True)


def test_the_last_checkpoint_is_the_last_also_where_it_is_not_the_best(finished):
    result, _ = finished
    folder = result.folder / "fold_0" / "checkpoints"
    epochs = {
        name: torch.load(folder / f"{name}.ckpt", weights_only=True)["epoch"]
        for name in ("best", "last")
    }
    assert epochs == {"best": 0, "last": 1}  # if the first epoch is not the best, test another
    assert result.metrics[0]["best_epoch"] == 0
    assert sorted(path.name for path in folder.iterdir()) == ["best.ckpt", "last.ckpt"]


def test_the_same_seed_gives_the_same_metrics_twice(finished, tmp_path):
    result, _ = finished
    again = run(make_config(tmp_path, "experiment=B3"))
    assert_same_metrics(result.metrics[0]["test"], again.metrics[0]["test"])
    other = run(make_config(tmp_path, "experiment=B3", "seed=1"))
    assert other.metrics[0]["test"] != again.metrics[0]["test"]


def assert_same_metrics(one: dict[str, float], other: dict[str, float]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        assert one[name] == pytest.approx(other[name], abs=1e-5, nan_ok=True), name


class KilledError(Exception):
    """Stands for a kill signal."""


@pytest.mark.parametrize("at", [(1, 0), (1, 1)], ids=["between epochs", "within an epoch"])
def test_a_killed_run_resumes_to_the_same_result(finished, tmp_path, monkeypatch, at):
    result, _ = finished
    config = make_config(tmp_path, "experiment=B3")
    step = VaclipModule.training_step

    def dying_step(self, batch, batch_idx):
        if (self.current_epoch, batch_idx) == at:
            raise KilledError
        return step(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(VaclipModule, "training_step", dying_step)
        with pytest.raises(KilledError):
            run(config)
    started: list[int] = []

    def counted_step(self, batch, batch_idx):
        started.append(self.current_epoch)
        return step(self, batch, batch_idx)

    monkeypatch.setattr(VaclipModule, "training_step", counted_step)
    resumed = run(make_config(tmp_path, "experiment=B3", "resume=true"))
    assert started[0] == 1  # the first epoch is not trained again
    assert len(list(tmp_path.iterdir())) == 1  # and no new folder was made
    assert_same_metrics(result.metrics[0]["test"], resumed.metrics[0]["test"])
    weights = [
        torch.load(folder / "fold_0/checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for folder in (result.folder, resumed.folder)
    ]
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-5, atol=1e-7)


def test_a_finished_run_is_not_trained_or_tested_again(finished, monkeypatch):
    result, config = finished
    monkeypatch.setattr(VaclipModule, "training_step", None)
    monkeypatch.setattr(VaclipModule, "test_step", None)
    overrides = ("experiment=B3", "resume=true", f"run_dir={result.folder}")
    again = run(make_config(Path(config.runs_dir), *overrides))
    stated = {k: v for k, v in again.metrics[0]["test"].items() if v is not None}
    assert stated == {k: v for k, v in result.metrics[0]["test"].items() if not math.isnan(v)}


def test_resuming_with_other_settings_is_refused(finished):
    result, config = finished
    changed = make_config(
        Path(config.runs_dir), "experiment=B3", "resume=true", f"run_dir={result.folder}",
        "optim.lr=0.5",
    )  # fmt: skip
    with pytest.raises(VaclipError, match=r"other settings: optim\.lr"):
        open_run_folder(changed)


def test_nothing_to_resume_is_said(tmp_path):
    with pytest.raises(VaclipError, match="no unfinished run"):
        open_run_folder(make_config(tmp_path, "resume=true"))


def test_a_folder_that_holds_a_run_is_not_written_over(finished):
    result, config = finished
    overrides = ("experiment=B3", f"run_dir={result.folder}")
    with pytest.raises(VaclipError, match="holds a run already"):
        run(make_config(Path(config.runs_dir), *overrides))


def test_all_folds_test_every_clip_once(tmp_path):
    config = make_config(tmp_path, "split.fold=all", "split.folds=3", "trainer.max_epochs=1")
    result = run(config)
    table = pd.read_parquet(result.folder / "predictions.parquet")
    tested = table[table["split"] == "test"]
    assert not tested.duplicated(["clip_id", "segment"]).any()
    assert tested["clip_id"].nunique() == 15
    summary = json.loads((result.folder / "metrics.json").read_text())["summary"]
    values = [fold["test"]["test/clip/acc_micro"] for fold in result.metrics.values()]
    assert summary["test/clip/acc_micro"]["mean"] == pytest.approx(np.mean(values))
    assert summary["test/clip/acc_micro"]["std"] == pytest.approx(np.std(values, ddof=1))


def test_the_summary_leaves_out_what_is_undefined():
    summary = fold_summary({0: {"test": {"x": 0.5}}, 1: {"test": {"x": None}}})
    assert summary["x"]["mean"] == 0.5
    assert summary["x"]["folds"] == 1


def test_video_only_needs_no_attention(tmp_path, tiny_study):
    study = tiny_study(patients_per_class=3)
    (study / "attention.csv").unlink()
    folder = ("data=folder", f"data.root={study}", "split.folds=3", "trainer.max_epochs=1")
    with pytest.raises(VaclipError, match=r"no clip of the study is marked.*map_guided=false"):
        run(make_config(tmp_path, *folder))
    result = run(make_config(tmp_path, *folder, "model.map_guided=false", "loss.clip_weight=0"))
    assert math.isnan(result.metrics[0]["test"]["test/retrieval_r1_v2a"])
    assert 0 <= result.metrics[0]["test"]["test/patient/acc_macro"] <= 1


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.model_class_num=7"], "model.model_class_num is 7, but the study has 3"),
        (["data.annotators=[rater9]"], "names 'rater9'.*Did you mean 'rater"),
        (["data.combine=stack"], "model.attn_in_channels is 1, but data.combine=stack gives 2"),
        (["model.clip_backbone=2dcnn", "model.lambda_token=0.1"], "lambda_token needs tokens"),
        (["split.folds=6"], "class .* has only 5 patient.*at most 5 folds are possible"),
        (["data=folder"], "needs data.root"),
        (["data=folder", "data.root=nowhere"], "study.yaml: there is no such file"),
    ],
)
def test_a_setting_that_contradicts_the_study_is_refused(tmp_path, overrides, message):
    with pytest.raises(VaclipError, match=f"(?s){message}"):
        run(make_config(tmp_path, *overrides))
    assert not list(tmp_path.glob("*/fold_0/checkpoints"))


def test_a_changed_study_is_noticed_on_resume(tmp_path, tiny_study, monkeypatch):
    study = tiny_study(patients_per_class=4)
    folder = ("data=folder", f"data.root={study}", "split.folds=3", "trainer.max_epochs=1")
    result = run(make_config(tmp_path, *folder))
    shutil.rmtree(result.folder / "fold_0")
    (result.folder / "metrics.json").unlink()
    lines = (study / "clips.csv").read_text().splitlines()
    (study / "clips.csv").write_text("\n".join(lines[:-1]) + "\n")
    gone = lines[-1].split(",")[0]
    marks = [x for x in (study / "attention.csv").read_text().splitlines() if gone not in x]
    (study / "attention.csv").write_text("\n".join(marks) + "\n")
    with pytest.raises(VaclipError, match="the study changed since the run"):
        run(make_config(tmp_path, *folder, "resume=true"))


@pytest.mark.parametrize("change", ["order of classes", "marks", "a video"])
def test_a_change_that_leaves_the_splits_alone_is_noticed_too(tmp_path, tiny_study, change):
    study = tiny_study(patients_per_class=3)
    folder = ("data=folder", f"data.root={study}", "split.folds=3", "trainer.max_epochs=1")
    result = run(make_config(tmp_path, *folder))
    shutil.rmtree(result.folder / "fold_0")
    (result.folder / "metrics.json").unlink()
    if change == "order of classes":
        head = yaml.safe_load((study / "study.yaml").read_text())
        head["classes"].reverse()
        (study / "study.yaml").write_text(yaml.safe_dump(head))
    elif change == "marks":
        lines = (study / "attention.csv").read_text().splitlines()
        (study / "attention.csv").write_text("\n".join(lines[:-1]) + "\n")
    else:
        videos = pd.read_csv(study / "clips.csv")["video"]
        (study / videos[0]).write_bytes((study / videos[1]).read_bytes())
    with pytest.raises(VaclipError, match="the study changed since the run"):
        run(make_config(tmp_path, *folder, "resume=true"))


def test_a_moved_run_is_not_resumed(tmp_path, monkeypatch):
    config = make_config(tmp_path / "here", "experiment=B3")
    monkeypatch.setattr(VaclipModule, "on_test_epoch_end", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(config)
    (tmp_path / "here").rename(tmp_path / "there")
    with pytest.raises(VaclipError, match="move it back to resume"):
        run(make_config(tmp_path / "there", "experiment=B3", "resume=true"))


def test_alignment_that_was_not_trained_is_undefined(tmp_path):
    result = run(make_config(tmp_path, "experiment=B2", "trainer.max_epochs=1"))
    test = result.metrics[0]["test"]
    untrained = [name for name in REQUIRED if name.startswith(("test/retrieval", "test/align"))]
    assert len(untrained) == 10
    assert all(math.isnan(test[name]) for name in untrained)
    assert pd.read_parquet(result.folder / "predictions.parquet")["align_sim"].isna().all()


def test_trainer_settings_that_lightning_refuses(tmp_path):
    with pytest.raises(VaclipError, match="Lightning refuses the trainer settings"):
        run(make_config(tmp_path, "trainer.accelerator=abacus"))


def test_the_majority_guess_is_scored_on_the_same_patients(finished):
    result, _ = finished
    majority = result.metrics[0]["majority"]
    assert majority["test/patient/acc_macro"] == pytest.approx(1 / 3)
    assert majority["test/clip/auroc_macro"] == pytest.approx(0.5)


@pytest.mark.parametrize("arm", ["B1", "B2", "B4", "C1", "C2", "C3_linear", "C3_sigmoid"])
def test_every_arm_runs(tmp_path, arm):
    result = run(make_config(tmp_path, f"experiment={arm}", "trainer.max_epochs=1"))
    assert set(REQUIRED) <= result.metrics[0]["test"].keys()
    assert set(pd.read_parquet(result.folder / "predictions.parquet")["arm"]) == {arm}
