"""Lightning's trainer, as runs use it."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import (
    EarlyStopping,
    LearningRateMonitor,
    ModelCheckpoint,
    RichProgressBar,
)
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.plugins.environments import ClusterEnvironment, LightningEnvironment
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from vaclip.config import Config
from vaclip.errors import VaclipError
from vaclip.files import without_folder
from vaclip.runs.folder import checkpoint_path, compared_settings
from vaclip.runs.launched import cluster_environment
from vaclip.runs.loggers import further_loggers
from vaclip.training.checkpoint import AtomicCheckpointIO
from vaclip.training.module import MONITOR


def _environment(config: Config) -> ClusterEnvironment:
    """Returns what started the processes of a run, and tells Lightning which one this is.

    By itself Lightning would ask the variables of Slurm or MPI, which speak of the job around it,
    of however many tasks that may be.
    """
    environment = cluster_environment(config)
    alone = isinstance(environment, LightningEnvironment)
    rank = environment.local_rank() if alone else environment.global_rank()
    rank_zero_only.rank = rank  # ty: ignore[missing-attribute]
    return environment


def fold_trainer(config: Config, folder: Path) -> L.Trainer:
    """Returns the trainer of a fold, which keeps checkpoints and logs in its folder.

    Raises:
        VaclipError: If Lightning refuses its settings.
    """
    settings = dataclasses.asdict(config.trainer)
    best, last = (checkpoint_path(folder, which).resolve() for which in ("best", "last"))
    callbacks: list[L.Callback] = [
        ModelCheckpoint(
            best.parent,
            filename=best.stem,
            monitor=MONITOR,
            auto_insert_metric_name=False,
            enable_version_counter=False,
        ),
        # Not `save_last` of the above, which saves the last only when it is also the best.
        ModelCheckpoint(
            last.parent,
            filename=last.stem,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        ),
        LearningRateMonitor("epoch"),
    ]
    callbacks += stopping(config)
    if config.trainer.enable_progress_bar:
        callbacks.append(RichProgressBar())
    # A resumed run logs beside what it had logged before, so that nothing is overwritten.
    attempt = f"attempt_{len(list((folder / 'logs').glob('attempt_*')))}"
    csv = CSVLogger(folder / "logs", name="", version=attempt)
    board = TensorBoardLogger(folder / "logs", name="", version=attempt, default_hp_metric=False)
    settings_shown = compared_settings(dataclasses.asdict(config)).items()
    shown = {key: without_folder(key, value) for key, value in settings_shown}
    csv.log_hyperparams(shown)
    # TensorBoard lists a run beside a metric, which must be named before it has a value.
    board.log_hyperparams(shown, {MONITOR: math.nan})
    more = further_loggers(config.log.also, config, folder)
    for logger in more:
        logger.log_hyperparams(shown)
    try:
        return L.Trainer(
            **settings,
            plugins=[AtomicCheckpointIO(), _environment(config)],
            default_root_dir=folder,
            callbacks=callbacks,
            logger=[csv, board, *more],
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,  # `FoldData` shares out the segments itself
        )
    except (MisconfigurationException, ValueError) as error:
        raise VaclipError(f"Lightning refuses the trainer settings: {error}") from error


def stopping(config: Config) -> list[L.Callback]:
    """Returns what ends a training early, where the settings ask for it."""
    patience = config.optim.patience
    return [] if patience is None else [EarlyStopping(MONITOR, patience=patience)]


def silent_trainer(config: Config, **more: Any) -> L.Trainer:
    """Returns a trainer that leaves nothing behind."""
    settings = dataclasses.asdict(config.trainer) | more
    settings |= {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    return L.Trainer(**settings, plugins=[_environment(config)], use_distributed_sampler=False)
