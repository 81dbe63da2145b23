"""How long a training will take, from a few of its steps."""

from __future__ import annotations

import statistics
import time
from typing import Any

import lightning as L

from vaclip.config import Config
from vaclip.runs.prepare import PreparedStudy, prepare_fold, split_plan
from vaclip.runs.run import build_module, fold_data
from vaclip.runs.tokens import with_tokens
from vaclip.runs.trainer import silent_trainer

_STEPS = 6
_START_S = 2.0  # opening the cache, testing


class _StepTimes(L.Callback):
    def __init__(self) -> None:
        self.started, self.seconds = 0.0, list[float]()

    def on_train_batch_start(self, *args: Any, **kwargs: Any) -> None:
        self.started = time.monotonic()

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        self.seconds.append(time.monotonic() - self.started)


def training_seconds(config: Config, prepared: PreparedStudy) -> float:
    """Estimates how long one training on one fold takes on this machine.

    Args:
        config: Its settings.
        prepared: The study.
    """
    prepared = with_tokens(config, prepared)
    patients = split_plan(config, prepared.study).folds[int(config.split.fold)]
    batches = fold_data(config, prepare_fold(config, prepared, patients))
    module = build_module(config, prepared)
    times = _StepTimes()
    trainer = silent_trainer(config, fast_dev_run=_STEPS, callbacks=[times])
    trainer.fit(module, datamodule=batches)
    steps, limit = len(batches.train_dataloader()), config.trainer.limit_train_batches
    steps = min(steps, limit) if isinstance(limit, int) else int(steps * limit)
    trainings = 1 + config.tune.trials
    epochs = trainings * config.trainer.max_epochs
    return _START_S + epochs * steps * statistics.median(times.seconds)
