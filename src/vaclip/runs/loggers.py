"""Loggers beside CSV and TensorBoard, by Lightning's own classes; none calls out by itself."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from filelock import FileLock
from lightning.pytorch.loggers import Logger, MLFlowLogger, WandbLogger

from vaclip.config import Config
from vaclip.errors import VaclipError
from vaclip.files import user_path

_PROJECT = "vaclip"


def further_loggers(names: Sequence[str], config: Config, folder: Path) -> list[Logger]:
    """Returns the loggers of a fold that ``log.also`` asks for.

    wandb writes to the fold's ``logs``, from where ``wandb sync`` sends it, unless the variable
    ``WANDB_MODE`` is ``online``. mlflow writes to ``mlflow.db`` in ``runs_dir``, unless
    ``MLFLOW_TRACKING_URI`` says where else.

    Args:
        names: Of ``wandb`` and ``mlflow``.
        config: The settings of the run.
        folder: Of the fold.

    Raises:
        VaclipError: If a package is missing.
    """
    if missing := [name for name in names if find_spec(name) is None]:
        (name, *_) = missing
        raise VaclipError(f"log.also={name} needs its package: pip install 'vaclip[{name}]'")
    run = f"{folder.parent.name}/{folder.name}"
    logs = folder / "logs"
    made: list[Logger] = []
    if "wandb" in names:
        logs.mkdir(parents=True, exist_ok=True)
        offline = os.environ.get("WANDB_MODE", "offline") != "online"
        made.append(WandbLogger(run, logs, offline=offline, project=_PROJECT, group=config.arm))
    if "mlflow" in names:
        made.append(_mlflow(run, user_path(config.runs_dir).resolve()))
    return made


def _mlflow(run: str, runs: Path) -> MLFlowLogger:
    from mlflow.tracking import MlflowClient

    address = os.environ.get("MLFLOW_TRACKING_URI")
    if address is None:
        runs.mkdir(parents=True, exist_ok=True)
        address = f"sqlite:///{runs / 'mlflow.db'}"
        with FileLock(runs / "mlflow.db.lock"):  # several jobs of a study may begin at once
            MlflowClient(address).search_experiments(max_results=1)  # which makes the tables
    at = (runs / "mlflow_artifacts").as_uri()
    return MLFlowLogger(_PROJECT, run_name=run, tracking_uri=address, artifact_location=at)


def end_run(loggers: Sequence[Logger]) -> None:
    """Ends what a logger leaves open: wandb writes the rest then, and gives the next a new run."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.experiment.finish()
