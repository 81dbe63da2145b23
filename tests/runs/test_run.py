"""Whole runs on a tiny cohort: what a run folder holds, resuming, repeating, refusing."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from composed import make_config
from vaclip import VaclipError, keys
from vaclip.data.splits import SplitPlan
from vaclip.evaluation.evaluate import evaluate
from vaclip.evaluation.predictions import Predictions
from vaclip.metrics.functional import classification_metrics
from vaclip.models import VideoAttentionCLIP
from vaclip.runs.folder import open_run_folder
from vaclip.runs.predict import load_predictor
from vaclip.runs.results import fold_summary
from vaclip.runs.run import build_loss, run
from vaclip.training.module import MONITOR, VaclipModule

REQUIRED = [
    *(
        f"test/{prefix}_{value}_{way}"
        for prefix in ("retrieval", "retrieval_unique")
        for value in ("r1", "r5", "median_rank")
        for way in ("v2a", "a2v", "chance")
    ),
    *(f"test/align_sim_{name}" for name in ("correct", "incorrect", "gap", "corr")),
    *(
        f"test/{unit}/{name}"
        for unit in ("clip", "patient")
        for name in ("acc_macro", "acc_micro", "f1_macro", "auroc_macro", "auroc_micro")
    ),
]


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
    assert {name.replace("test/", "val/") for name in REQUIRED} <= logged
    assert not list(result.folder.rglob(".tmp-*"))


def test_tensorboard_lists_the_settings_beside_the_monitored_metric(finished):
    result, config = finished
    board = EventAccumulator(str(result.folder / "fold_0/logs/attempt_0")).Reload()
    assert set(board.PluginTagToContent("hparams")) == {
        "_hparams_/experiment", "_hparams_/session_start_info", "_hparams_/session_end_info"
    }  # fmt: skip
    content = board.PluginTagToContent("hparams")["_hparams_/session_start_info"]
    started = HParamsPluginData.FromString(content).session_start_info
    assert started.hparams["optim.lr"].number_value == pytest.approx(config.optim.lr)
    values = [event.value for event in board.Scalars(MONITOR)]
    assert math.isnan(values[0])
    assert np.isfinite(values[1:]).all()
    assert len(values) > 2
    kept = yaml.unsafe_load((result.folder / "fold_0/logs/attempt_0/hparams.yaml").read_text())
    assert kept["model.clip_backbone"] == config.model.clip_backbone


def logged_by_epoch(result, name):
    table = pd.read_csv(result.folder / "fold_0" / "logs" / "attempt_0" / "metrics.csv")
    return table.loc[table[name].notna()].groupby("epoch")[name].first() if name in table else None


def test_what_the_clip_term_says_of_itself_is_logged(finished):
    result, config = finished
    temperature = logged_by_epoch(result, "train/clip_temperature")
    assert temperature.index.tolist() == [0, 1]
    assert temperature.tolist() == pytest.approx([0.07, 0.07], rel=0.05)
    assert temperature[0] != temperature[1]  # it is learned
    negatives = logged_by_epoch(result, "train/clip_negatives")
    assert all(1 <= value <= config.data.batch_size - 1 for value in negatives)
    skipped = logged_by_epoch(result, "train/clip_rows_skipped")
    assert all(0 <= value < 1 for value in skipped)
    assert logged_by_epoch(result, "train/clip_bias") is None  # of the sigmoid form alone


def test_metrics_are_those_of_the_prediction_table(finished):
    result, _ = finished
    table = pd.read_parquet(result.folder / "predictions.parquet")
    assert list(table.columns[: len(keys.PREDICTION_COLUMNS)]) == list(keys.PREDICTION_COLUMNS)
    assert set(table["split"]) == {"val", "test"}
    probs = [name for name in table if name.startswith("prob_")]
    classes = [name.removeprefix("prob_") for name in probs]
    np.testing.assert_allclose(table[probs].sum(axis=1), 1, rtol=1e-5)
    stated = json.loads((result.folder / "fold_0" / "test_metrics.json").read_text())
    for split in ("val", "test"):
        by_patient = (
            table[table["split"] == split].groupby(["patient_id", "label", "clip_id"])[probs].mean()
            .groupby(["patient_id", "label"]).mean()
        )  # fmt: skip
        labels = np.array([classes.index(label) for _, label in by_patient.index])
        for name, value in classification_metrics(by_patient.to_numpy(), labels).items():
            shown = stated[split][f"{split}/patient/{name}"]
            assert math.isnan(value) if shown is None else shown == pytest.approx(value, abs=1e-5)


def test_the_report_of_a_run_says_what_the_run_said(finished):
    """One table, one meaning: diagnosis, retrieval and alignment, per clip and per patient."""
    result, config = finished
    said = {name.removeprefix("test/"): value for name, value in result.metrics[0]["test"].items()}
    predictions = Predictions.load(result.folder)
    again = predictions.model_clips(config.arm, 0, config.seed).metrics()
    assert again == pytest.approx(said, nan_ok=True)
    judged = evaluate(predictions, n_resamples=2, n_permutations=2)
    for unit in ("patient", "clip"):
        own = judged.scores[unit][config.arm]
        for name in ("acc_macro", "f1_macro", "auroc_micro", "log_loss"):
            assert own.scores[name].mean == pytest.approx(said[f"{unit}/{name}"], nan_ok=True)
    for name, (mean, _) in judged.scores["clip"][config.arm].alignment.items():
        assert mean == pytest.approx(said[name], nan_ok=True)
    assert {name: found.mean for name, found in judged.retrieval[config.arm].items()} == (
        pytest.approx({name: value for name, value in said.items() if "retrieval" in name})
    )


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


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory: pytest.TempPathFactory, cache):
    """A run whose model is spoilt in its second and last epoch."""
    start = VaclipModule.on_train_epoch_start

    def spoil(self) -> None:
        start(self)
        if self.current_epoch == 1:
            with torch.no_grad():
                self.model.classifier.weight.mul_(1e4)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(VaclipModule, "on_train_epoch_start", spoil)
        return run(make_config(tmp_path_factory.mktemp("runs"), "experiment=B3"))


def test_the_last_checkpoint_is_the_last_also_where_it_is_not_the_best(spoilt):
    folder = spoilt.folder / "fold_0" / "checkpoints"
    epochs = {
        name: torch.load(folder / f"{name}.ckpt", weights_only=True)["epoch"]
        for name in ("best", "last")
    }
    assert epochs == {"best": 0, "last": 1}
    assert spoilt.metrics[0]["best_epoch"] == 0
    assert sorted(path.name for path in folder.iterdir()) == ["best.ckpt", "last.ckpt"]


def test_val_metrics_are_stated_beside_those_of_the_test_from_the_best_epoch(spoilt):
    stated = json.loads((spoilt.folder / "fold_0" / "test_metrics.json").read_text())
    assert set(stated["val"]) == {name.replace("test/", "val/") for name in stated["test"]}
    by_epoch = logged_by_epoch(spoilt, "val/patient/log_loss")
    best, last = by_epoch[0], by_epoch[1]
    assert best < 3 < last
    assert stated["val"]["val/patient/log_loss"] == pytest.approx(best, abs=1e-5)
    assert stated["test"]["test/patient/log_loss"] < 3


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
    with pytest.raises(VaclipError, match=r"other settings: optim\.lr"), open_run_folder(changed):
        pass


def test_nothing_to_resume_is_said(tmp_path):
    config = make_config(tmp_path, "resume=true")
    with pytest.raises(VaclipError, match="no unfinished run"), open_run_folder(config):
        pass
    config.run_dir = str(tmp_path)
    with pytest.raises(VaclipError, match="holds no run to resume"), open_run_folder(config):
        pass


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
    with pytest.raises(VaclipError, match=r"no clip of the study is annotated.*map_guided=false"):
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
        *(
            (["model.map_guided_sigmoid_gate=true", why], "sigmoid_gate=true does nothing here")
            for why in (
                "model.map_guided=false",
                "model.clip_backbone=2dcnn",
                "model.map_guided_type=channel",
                "model.map_guided_type=weighted_pool",
            )
        ),
        (["split.folds=6"], "class .* has only 5 patient.*at most 5 folds are possible"),
        (["data=folder"], "needs data.root"),
        (["data=folder", "data.root=nowhere"], "study.yaml: there is no such file"),
    ],
)
def test_a_setting_that_contradicts_the_study_is_refused(tmp_path, overrides, message):
    with pytest.raises(VaclipError, match=f"(?s){message}"):
        run(make_config(tmp_path, *overrides))
    assert not list(tmp_path.glob("*/fold_0/checkpoints"))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("loss.clip_positives", "same", "use one of paired, same_map, soft_map"),
        ("loss.clip_positives", "soft_maps", "Did you mean 'soft_map'"),
        ("loss.clip_loss", "siglip", "use one of softmax, sigmoid"),
        ("loss.clip_temperature", "0.001", "use 0.01 to 1"),
        ("loss.clip_temperature", "2", "use 0.01 to 1"),
        ("loss.clip_temperature", "0", "it must be above 0"),
        ("loss.soft_map_temperature", "0", "it must be above 0"),
        ("loss.clip_chunk", "0", "it must be above 0"),
        ("loss.grad_cache_chunk", "0", "it must be above 0"),
        ("loss.grad_cache_chunk", "-1", "it must be above 0"),
        ("data.control", "centr", "use one of shuffled, .*Did you mean 'centre'"),
        ("data.test_control", "none", "use one of shuffled"),
    ],
)
def test_a_bad_choice_shows_before_anything_is_decoded(tmp_path, monkeypatch, key, value, message):
    monkeypatch.setattr("vaclip.runs.run.prepare_study", lambda *_: pytest.fail("decodes"))
    with pytest.raises(VaclipError, match=rf"^{key} is '?{value}.*{message}"):
        run(make_config(tmp_path, f"{key}={value}"))
    assert not list(tmp_path.iterdir())


def test_every_setting_of_the_loss_reaches_it(tmp_path):
    chosen = {
        "clip_weight": 0.5,
        "clip_positives": "soft_map",
        "clip_loss": "sigmoid",
        "mask_same_patient": False,
        "clip_temperature": 0.25,
        "learn_temperature": False,
        "clip_bias": -3.0,
        "soft_map_temperature": 0.75,
        "clip_chunk": 17,
        "grad_cache_chunk": 5,
        "class_weight": "balanced",
        "label_smoothing": 0.125,
    }
    overrides = [f"loss.{name}={value}" for name, value in chosen.items()]
    config = make_config(tmp_path, *overrides, "model.lambda_token=0.125")
    assert dataclasses.asdict(config.loss) == chosen
    loss = build_loss(config, torch.ones(3))
    assert (loss.clip_weight, loss.lambda_token, loss.label_smoothing) == (0.5, 0.125, 0.125)
    assert loss.class_weight.tolist() == [1, 1, 1]
    clip = loss.clip
    assert (clip.positives, clip.form, clip.mask_same_patient) == ("soft_map", "sigmoid", False)
    assert (clip.soft_temperature, clip.chunk) == (0.75, 17)
    assert clip.log_scale.exp().item() == pytest.approx(1 / 0.25)
    assert clip.bias.item() == -3
    assert (clip.log_scale.requires_grad, clip.bias.requires_grad) == (False, True)


def test_the_sigmoid_form_logs_its_bias(tmp_path):
    sigmoid = ("loss.clip_loss=sigmoid", "loss.learn_temperature=false", "trainer.max_epochs=1")
    result = run(make_config(tmp_path, *sigmoid))
    (bias,) = logged_by_epoch(result, "train/clip_bias")
    assert bias == pytest.approx(-10, abs=0.05)
    assert bias != -10  # it is learned; the temperature here is not
    (temperature,) = logged_by_epoch(result, "train/clip_temperature")
    assert temperature == pytest.approx(0.07, abs=1e-6)


@pytest.mark.parametrize("arm", ["B1", "B4"])
def test_training_sees_as_many_segments_at_a_time_as_grad_cache_chunk_says(
    tmp_path, monkeypatch, arm
):
    sizes = []
    forward = VideoAttentionCLIP.forward

    def counted(self, video, *args, **kwargs):
        if self.training:
            sizes.append(len(video))
        return forward(self, video, *args, **kwargs)

    monkeypatch.setattr(VideoAttentionCLIP, "forward", counted)
    chunked = ("loss.grad_cache_chunk=4", "data.batch_size=9", "trainer.max_epochs=1")
    result = run(make_config(tmp_path, f"experiment={arm}", *chunked))
    steps = [sizes[:6], sizes[6:]]
    for step in steps:  # 9 segments, once for the loss and once more for its gradient
        assert step[:3] == [4, 4, 1]
        assert sorted(step[3:]) == [1, 4, 4]
    assert 0 <= result.metrics[0]["test"]["test/patient/acc_macro"] <= 1
    assert all(value > 0 for value in logged_by_epoch(result, "train/clip"))


def test_a_run_goes_on_after_its_data_moved(tmp_path, tiny_study):
    study = tiny_study(patients_per_class=3)
    words = ("data=folder", "split.folds=3", "trainer.max_epochs=1")
    result = run(make_config(tmp_path, *words, f"data.root={study}"))
    (result.folder / "metrics.json").unlink()
    moved = shutil.move(study, tmp_path / "moved")
    named = make_config(
        tmp_path, *words, f"data.root={moved}", f"run_dir={result.folder}", "resume=true"
    )
    assert run(named).metrics == result.metrics
    (result.folder / "metrics.json").unlink()
    with pytest.raises(VaclipError, match="no unfinished run with these settings"):  # another's?
        run(dataclasses.replace(named, run_dir=None))


def test_a_changed_study_is_noticed_on_resume(tmp_path, tiny_study, monkeypatch):
    study = tiny_study(patients_per_class=4)
    folder = ("data=folder", f"data.root={study}", "split.folds=3", "trainer.max_epochs=1")
    result = run(make_config(tmp_path, *folder))
    shutil.rmtree(result.folder / "fold_0")
    (result.folder / "metrics.json").unlink()
    lines = (study / "clips.csv").read_text().splitlines()
    (study / "clips.csv").write_text("\n".join(lines[:-1]) + "\n")
    gone = lines[-1].split(",")[0]
    annotations = [x for x in (study / "attention.csv").read_text().splitlines() if gone not in x]
    (study / "attention.csv").write_text("\n".join(annotations) + "\n")
    with pytest.raises(VaclipError, match="the study changed since the run"):
        run(make_config(tmp_path, *folder, "resume=true"))


@pytest.mark.parametrize("change", ["order of classes", "annotations", "a video"])
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
    elif change == "annotations":
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
    assert len(untrained) == 2 * 3 * 3 + 4
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


# --- control maps --------------------------------------------------------------------------------


def predictions(folder, split):
    table = pd.read_parquet(folder / "predictions.parquet")
    return table[table["split"] == split].set_index(["clip_id", "segment"]).sort_index()


def test_withholding_maps_changes_the_test_patients_alone(finished, tmp_path):
    full, _ = finished
    withheld = run(make_config(tmp_path, "experiment=K_withheld"))
    probs = [name for name in predictions(full.folder, "val") if name.startswith("prob_")]
    for split, same in (("val", True), ("test", False)):
        one, other = (predictions(result.folder, split) for result in (full, withheld))
        assert np.allclose(one[probs], other[probs]) == same
        assert np.allclose(one["align_sim"], other["align_sim"]) == same
    assert predictions(withheld.folder, "test")["map_id"].nunique() == 1


def test_shuffled_maps_are_those_of_other_patients_of_the_split(finished, tmp_path):
    full, _ = finished
    shuffled = run(make_config(tmp_path, "experiment=K_shuffled"))
    with pytest.raises(VaclipError, match=r"trained with control maps \(data.control=shuffled\)"):
        load_predictor(shuffled.folder / "fold_0" / "checkpoints" / "best.ckpt")
    for split in ("val", "test"):
        one, other = (predictions(result.folder, split) for result in (full, shuffled))
        assert set(one["map_label"]) == {""}
        assert set(other["map_label"]) <= set(one["label"])
        clips = [table.groupby("clip_id").first() for table in (one, other)]
        assert sorted(clips[0]["map_id"]) == sorted(clips[1]["map_id"])
        assert not np.allclose(one["align_sim"], other["align_sim"])


def test_swapped_maps_name_the_class_of_whom_they_are_of(finished, tmp_path):
    full, _ = finished
    swapped = run(make_config(tmp_path, "experiment=K_swapped"))
    owners = predictions(full.folder, "test").groupby("clip_id").first()
    label_of = owners.groupby("map_id")["label"].agg(set)
    shown = predictions(swapped.folder, "test").groupby("clip_id").first()
    assert all(row.map_label in label_of[row.map_id] for row in shown.itertuples())
    assert sorted(shown["map_label"]) == sorted(owners["label"])
    assert set(predictions(swapped.folder, "val")["map_label"]) == {""}


@pytest.mark.parametrize("kind", ["uniform", "centre"])
def test_one_map_for_all_leaves_nothing_to_contrast_and_says_so(tmp_path, caplog, kind):
    by_map = "loss.clip_positives=same_map"
    result = run(make_config(tmp_path, f"experiment=K_{kind}", by_map))
    assert "nothing to compare" in caplog.text
    assert logged_by_epoch(result, "train/clip_rows_skipped").iloc[-1] == 1
