"""Settings chosen within a fold, by a random search on its validation patients.

The search is given a function that trains and scores on validation, and never sees the test
patients. It draws from a declared grid, without repeats, and alike for all arms of a fold and seed,
so that the draw favours none. With so few trials a cleverer sampler is none: Optuna's TPE draws its
first ten at random, too. A sweeper of Hydra would stand outside of the folds, and its one choice
for all of them would have been made on patients that some fold tests.
"""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import lightning as L
import pandas as pd
from lightning.pytorch.utilities import rank_zero_only

from vaclip.config import Config, TuneConfig
from vaclip.data.datamodule import FoldData
from vaclip.files import write_csv
from vaclip.runs.trainer import silent_trainer, stopping
from vaclip.seeds import mix_seed
from vaclip.training.module import MONITOR, NotFiniteError, VaclipModule

_LR, _DECAY, _SCORE = "optim.lr", "optim.weight_decay", "val_log_loss"
_LOG = logging.getLogger(__name__)


class BestScore(L.Callback):
    """Keeps the log loss on validation of the best epoch, whose model a run would choose."""

    def __init__(self) -> None:
        self.value = math.inf

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.value = min(self.value, float(trainer.callback_metrics[MONITOR]))


def tuned(
    config: Config,
    fold: int,
    seen: FoldData,
    build: Callable[[Config], VaclipModule],
    file: Path,
) -> Config:
    """Returns the settings of a fold, chosen on what is seen: its training and validation.

    Args:
        config: The settings as they are.
        fold: Which.
        seen: Segments of the two splits.
        build: Gives what is trained.
        file: See `search`.
    """

    def score(trial: Config) -> float:
        best = BestScore()
        trainer = silent_trainer(
            trial,
            enable_checkpointing=False,
            num_sanity_val_steps=0,
            callbacks=[best, *stopping(trial)],
        )
        trainer.fit(build(trial), datamodule=seen)
        return best.value

    return search(config, fold, score, file)


def search(config: Config, fold: int, score: Callable[[Config], float], file: Path) -> Config:
    """Tries settings, and returns the configuration with the best.

    Args:
        config: With the settings as they are, which are the first trial.
        fold: Which; with the seed it fixes what is drawn, so that all arms try the same.
        score: Trains, and returns the log loss on validation.
        file: Where each trial is recorded; those that are there already are not run again.
    """
    done = pd.read_csv(file) if file.exists() else pd.DataFrame()
    rows: list[dict[str, Any]] = done.drop(columns="chosen", errors="ignore").to_dict("records")
    trials = _trials(config, fold)
    for values in trials[len(rows) :]:
        started = time.monotonic()
        try:
            found = score(_changed(config, values))
        except NotFiniteError:  # too high a learning rate is a bad trial, and no failure
            found = math.inf
        seconds = round(time.monotonic() - started, 1)
        rows.append({"trial": len(rows), **values, _SCORE: found, "seconds": seconds})
        if getattr(rank_zero_only, "rank", 0) == 0:
            table = pd.DataFrame(rows)
            write_csv(table.assign(chosen=table.index == _best(rows)), file)
        _LOG.info("trial %d of %d: log loss on validation %.4f", len(rows), len(trials), found)
    return _changed(config, trials[_best(rows)])


def chosen_settings(config: Config, fold: int, file: Path) -> Config:
    """Returns a configuration with what was chosen for a fold that is finished."""
    if not config.tune.trials:
        return config
    table = pd.read_csv(file)
    return _changed(config, _trials(config, fold)[int(table.loc[table["chosen"], "trial"].item())])


def _best(rows: list[dict[str, Any]]) -> int:
    """Returns the number of the best trial; of equal ones the first."""
    return min(range(len(rows)), key=lambda number: rows[number][_SCORE])


def _trials(config: Config, fold: int) -> list[dict[str, float]]:
    """Returns the settings of each trial, by key."""
    tune, own = config.tune, (1.0, 1.0, 1.0)
    others = [factors for factors in _grid(tune) if factors != own]
    drawn = random.Random(mix_seed(config.seed, fold)).sample(others, tune.trials - 1)
    width = _width(config)
    before = config.features.width if width == "features.width" else config.model.backbone_width
    return [
        {
            _LR: config.optim.lr * lr,
            _DECAY: config.optim.weight_decay * decay,
            width: max(1, round(before * wide)),
        }
        for lr, decay, wide in (own, *drawn)
    ]


def _grid(tune: TuneConfig) -> list[tuple[float, float, float]]:
    return list(product(tune.lr, tune.weight_decay, tune.width))


def _width(config: Config) -> str:
    """Returns the key of the width of what is trained."""
    return "model.backbone_width" if config.features.source is None else "features.width"


def _changed(config: Config, values: dict[str, float]) -> Config:
    optim = replace(config.optim, lr=values[_LR], weight_decay=values[_DECAY])
    config, width = replace(config, optim=optim), _width(config)
    if width == "features.width":
        return replace(config, features=replace(config.features, width=int(values[width])))
    return replace(config, model=replace(config.model, backbone_width=int(values[width])))
