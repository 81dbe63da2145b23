"""One arm: config in, a finished run folder out."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from vaclip import keys
from vaclip.config import Config, uses_maps
from vaclip.console import say
from vaclip.data.datamodule import FoldData, allow_open_files
from vaclip.data.dataset import SegmentDataset
from vaclip.data.splits import SplitPlan
from vaclip.errors import VaclipError
from vaclip.features import EncoderInfo
from vaclip.files import write_json
from vaclip.models import VideoAttentionCLIP
from vaclip.models.clip import part_packages
from vaclip.runs.abstain import record_curves
from vaclip.runs.crossfit import crossfitted, with_ridge
from vaclip.runs.examples import log_examples
from vaclip.runs.folder import (
    checkpoint_path,
    compared_settings,
    fold_folder,
    last_checkpoint,
    open_run_folder,
    read_config,
    write_yaml,
)
from vaclip.runs.launched import first_process_first, joined_processes
from vaclip.runs.loggers import end_run
from vaclip.runs.loss import build_loss, class_weights
from vaclip.runs.prepare import (
    PreparedStudy,
    check_map_settings,
    check_maps,
    chosen_annotators,
    describe_study,
    open_study,
    prepare_fold,
    prepare_study,
    report_maps,
    split_plan,
    training_augmentation,
    training_prior,
    uses_video,
)
from vaclip.runs.results import fold_predictions, majority_guess, write_summary
from vaclip.runs.shards import prepare_shards
from vaclip.runs.tokens import encoder_arguments, frozen_encoder, with_tokens
from vaclip.runs.trainer import fold_trainer, silent_trainer
from vaclip.runs.tune import chosen_settings, tuned
from vaclip.study.clip_table import clip_column
from vaclip.study.study import Study
from vaclip.training.memory import keep_freed_memory
from vaclip.training.module import Optimisation, VaclipModule

OF_TRAINING = (
    "lambda_token", "lambda_map", "lambda_map_cc", "map_dropout", "map_crossfit", "lambda_distill",
    "distill_temperature", "distill_crossfit",
)  # fmt: skip
"""What is set beside the model and is none of its arguments."""


@dataclass(frozen=True)
class RunResult:
    """What a run leaves.

    Attributes:
        folder: The run folder.
        metrics: For each fold: ``test`` metrics by their logged names, ``majority`` the same
            for a constant guess of the commonest training class, and what else is in
            ``test_metrics.json``.
    """

    folder: Path
    metrics: dict[int, dict[str, Any]]


@dataclass(frozen=True)
class OpenRun:
    """A run that has its folder, its study and its split plan."""

    config: Config
    folder: Path
    prepared: PreparedStudy
    plan: SplitPlan


def run(config: Config) -> RunResult:
    """Trains on the chosen folds and tests each once.

    A fold that is finished already (in a resumed run) is not touched again.

    Raises:
        VaclipError: For any mistake of the user: settings, study, resume.
    """
    with open_run(config) as opened:
        return finish_run(opened)


@contextmanager
def open_run(config: Config, *, workers: int = -1, go_on: bool = False) -> Generator[OpenRun]:
    """Checks all settings, prepares the study and opens the run folder, for this training alone.

    Args:
        config: The settings.
        workers: Processes that decode; -1 for one a core.
        go_on: As `open_run_folder`.

    Raises:
        VaclipError: For any mistake of the user.
    """
    L.seed_everything(config.seed, workers=True, verbose=False)
    keep_freed_memory()
    with joined_processes(config):
        with first_process_first():
            study = check_settings(config)
            plan = split_plan(config, study)
            if config.data.shards:
                prepared = prepare_shards(config)
            else:
                prepared = prepare_study(config.data, study, workers=workers)
                prepared = with_tokens(config, prepared, workers=workers)
            check_maps(config, prepared)
        with open_run_folder(config, go_on=go_on) as folder:
            say(f"Run folder: {folder}")
            with first_process_first():
                _save_origin(plan, prepared, folder)
            yield OpenRun(config, folder, prepared, plan)


def check_settings(config: Config) -> Study:
    """Checks what shows before anything is decoded, and returns the study.

    Raises:
        VaclipError: For a mistake in the settings, or in the study.
    """
    allow_open_files(config.data.num_workers)
    build_loss(config)
    check_map_settings(config)
    study = open_study(config.data)
    encoder = frozen_encoder(config)
    build_model(config, study, None if encoder is None else encoder.info)
    return study


def finish_run(opened: OpenRun) -> RunResult:
    """Trains and tests the folds that are not finished yet, and writes the summary."""
    report_maps(opened.prepared)
    split = opened.config.split
    chosen = range(split.folds) if split.fold == "all" else [int(split.fold)]
    metrics = {fold: _run_fold(opened, fold) for fold in chosen}
    if getattr(rank_zero_only, "rank", 0) == 0:
        write_summary(opened.folder, metrics)
    return RunResult(opened.folder, metrics)


def retest_fold(opened: OpenRun, config: Config, fold: int, out: Path) -> None:
    """Tests the chosen model of a finished fold under other settings of the test maps.

    Args:
        opened: The run that trained it.
        config: The settings of the run but for ``arm`` and what concerns the test alone.
        fold: Which.
        out: Folder for the prediction table and the metrics; one that has them, made with these
            settings, is left alone.
    """
    settings = dataclasses.asdict(config)
    done = out / keys.FOLD_METRICS_FILE
    if done.exists() and compared_settings(read_config(out)) == compared_settings(settings):
        return
    done.unlink(missing_ok=True)
    write_yaml(out / keys.CONFIG_FILE, settings)
    prepared = opened.prepared
    study = prepared.study
    if chosen_annotators(config.data, study) != chosen_annotators(opened.config.data, study):
        prepared = with_tokens(config, prepare_study(config.data, study, workers=1), workers=1)
    batches = fold_data(config, prepare_fold(config, prepared, opened.plan.folds[fold]))
    trained = fold_folder(opened.folder, fold)
    module = build_module(chosen_settings(config, fold, trained / keys.TRIALS_FILE), prepared)
    _load_best(module, trained)
    trainer = silent_trainer(config, enable_checkpointing=False)
    test = trainer.test(module, datamodule=batches, verbose=False)[0]
    if module.trainer.is_global_zero:
        tables = {"test": module.tables["test"]}
        fold_predictions(tables, batches.datasets, config, study, fold, prepared.encoder).save(out)
        write_json(done, {"test": dict(test)})


def _save_origin(plan: SplitPlan, prepared: PreparedStudy, folder: Path) -> None:
    """Writes the plan and what the study is made of, or compares them with what is there."""
    origin = describe_study(prepared)
    if not (folder / keys.PLAN_FILE).exists():
        write_json(folder / keys.STUDY_FILE, origin)
        plan.save(folder / keys.PLAN_FILE)
        return
    before = json.loads((folder / keys.STUDY_FILE).read_text(encoding="utf-8"))
    if before != origin or SplitPlan.load(folder / keys.PLAN_FILE) != plan:
        raise VaclipError(
            f"the study changed since the run in {folder} began (classes, clips, labels, videos "
            "or maps); start a new run"
        )


def model_arguments(
    config: Config, study: Study, encoder: EncoderInfo | None = None
) -> dict[str, Any]:
    """Returns the arguments of `VideoAttentionCLIP`, which checkpoints keep."""
    arguments = dataclasses.asdict(config.model) | {"model_class_num": len(study.classes)}
    for name in OF_TRAINING:
        del arguments[name]
    return arguments | encoder_arguments(config, encoder)


def build_model(
    config: Config, study: Study, encoder: EncoderInfo | None = None
) -> VideoAttentionCLIP:
    """Builds the model for a study, on the tokens of a frozen encoder or on pixels.

    Raises:
        VaclipError: If the settings name an unknown part or contradict the study.
    """
    stated, classes = config.model.model_class_num, study.classes
    if stated not in (None, len(classes)):
        raise VaclipError(
            f"model.model_class_num is {stated}, but the study has {len(classes)} classes "
            f"({', '.join(classes)}); leave it out to take the study's"
        )
    model = VideoAttentionCLIP(**model_arguments(config, study, encoder))
    if config.model.lambda_token > 0 and not model.video_encoder.gives_tokens:
        raise VaclipError(
            f"model.lambda_token needs tokens, which model.clip_backbone="
            f"{config.model.clip_backbone} does not give; use 3dcnn or model.lambda_token=0"
        )
    if config.model.map_guided_sigmoid_gate and not (
        model.guidance is not None and model.guidance.learns_gate
    ):
        raise VaclipError(
            "model.map_guided_sigmoid_gate=true does nothing here; it needs model.map_guided=true, "
            "a model.map_guided_type whose gate can be learned (spatiotemporal) and a "
            "model.clip_backbone that gives tokens (3dcnn)"
        )
    return model


def build_module(
    config: Config, prepared: PreparedStudy, class_weight: Tensor | None = None
) -> VaclipModule:
    """Builds what is trained, from the seed alone."""
    L.seed_everything(config.seed, workers=True, verbose=False)
    model = build_model(config, prepared.study, prepared.encoder)
    return VaclipModule(
        model,
        build_loss(config, class_weight),
        Optimisation(
            config.optim.lr,
            config.optim.weight_decay,
            config.optim.warmup_share,
            config.features.finetune_rate,
        ),
        augmentation=training_augmentation(config.data),
        grad_cache_chunk=config.loss.grad_cache_chunk,
        map_dropout=config.model.map_dropout,
        seed=config.seed,
        clip_ids=clip_column(prepared.study.clips, "clip_id"),
        metadata={
            "model": model_arguments(config, prepared.study, prepared.encoder),
            "encoder": dataclasses.asdict(prepared.encoder) if prepared.encoder else None,
            "packages": part_packages(config.model.clip_backbone, config.model.map_guided_type),
            "classes": list(prepared.study.classes),
            "study": prepared.study.name,
            "annotators": list(prepared.annotators),
            "config": dataclasses.asdict(config),
        },
    )


def fold_data(config: Config, datasets: dict[str, SegmentDataset]) -> FoldData:
    """Returns the batches of a fold, of what the model reads."""
    video, maps = uses_video(config), uses_maps(config)
    return FoldData(
        {split: own.showing(video=video, maps=maps) for split, own in datasets.items()},
        batch_size=config.data.batch_size,
        seed=config.seed,
        num_workers=config.data.num_workers,
        shard_window=config.data.shard_window,
    )


def _load_best(module: VaclipModule, folder: Path) -> int:
    """Loads the weights of a fold's chosen checkpoint, and returns its epoch."""
    path = checkpoint_path(folder, "best")
    chosen = torch.load(path, map_location="cpu", weights_only=True)
    module.load_state_dict(chosen["state_dict"])
    return int(chosen["epoch"])


def _run_fold(opened: OpenRun, fold: int) -> dict[str, Any]:
    config, prepared = opened.config, opened.prepared
    folder = fold_folder(opened.folder, fold)
    done = folder / keys.FOLD_METRICS_FILE
    if done.exists():
        return json.loads(done.read_text(encoding="utf-8"))
    started = time.monotonic()
    datasets = prepare_fold(config, prepared, opened.plan.folds[fold])

    def train_model(taught: Config, segments: SegmentDataset | None) -> VideoAttentionCLIP:
        module = build_module(taught, prepared)
        if segments is not None:
            trainer = silent_trainer(taught, enable_checkpointing=False, limit_val_batches=0)
            trainer.fit(module, datamodule=fold_data(taught, {"train": segments}))
        return module.model.eval()

    datasets["train"], ridge = crossfitted(config, datasets["train"], folder, train_model)
    batches = fold_data(config, datasets)
    weights = class_weights(config, datasets["train"], len(prepared.study.classes))

    def build(chosen: Config) -> VaclipModule:
        module = build_module(chosen, prepared, weights)
        if ridge is not None:
            with_ridge(module.model, ridge)
        return module

    if config.tune.trials:
        seen = fold_data(config, {split: datasets[split] for split in ("train", "val")})
        config = tuned(config, fold, seen, build, folder / keys.TRIALS_FILE)
    module = build(config)
    module.metadata["prior_map"] = training_prior(config.model, datasets["train"].items)
    best_epoch, val, test = _trained_and_tested(config, module, batches, folder)
    result = {
        "val": val,
        "test": test,
        "majority": majority_guess(datasets),
        "best_epoch": best_epoch,
        "seconds": round(time.monotonic() - started, 1),
    }
    if uses_maps(config):
        result["segments_without_valid_map"] = {
            split: int((~table[keys.ATTN_VALID]).sum()) for split, table in module.tables.items()
        }
    if module.trainer.is_global_zero:
        tables = {split: module.tables[split] for split in ("val", "test")}
        predictions = fold_predictions(
            tables, datasets, config, prepared.study, fold, prepared.encoder
        )
        predictions.save(folder)
        record_curves(predictions, config.arm, folder)
        write_json(done, result)
    return result


def _trained_and_tested(
    config: Config, module: VaclipModule, batches: FoldData, folder: Path
) -> tuple[int, dict[str, float], dict[str, float]]:
    """Trains the module, and makes it that of its best epoch.

    Returns:
        The best epoch, and the metrics of validation and test.
    """
    trainer = fold_trainer(config, folder)
    with first_process_first():  # it throws a damaged one away
        resumed = last_checkpoint(folder)
    try:
        trainer.fit(module, datamodule=batches, ckpt_path=resumed, weights_only=True)
        best_epoch = _load_best(module, folder)
        # Shards hold no pictures.
        shows = config.log.examples and uses_video(config) and not config.data.shards
        if shows and trainer.is_global_zero:
            shown = batches.datasets["val"], config.log.examples, best_epoch
            log_examples(trainer, module.model.eval(), *shown)
        val = trainer.validate(module, datamodule=batches, verbose=False)[0]
        test = trainer.test(module, datamodule=batches, verbose=False)[0]
    finally:
        end_run(trainer.loggers)
    return best_epoch, dict(val), dict(test)
