"""The run folder: where it is, what it says of its origin, and which run to resume."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import logging
import os
import pickle
import platform
import subprocess
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import torch
import yaml

from vaclip import keys
from vaclip.config import ABOUT, Config
from vaclip.errors import VaclipError
from vaclip.files import atomic_file, user_path, write_json
from vaclip.locks import folder_lock
from vaclip.processes import is_first_process
from vaclip.runs.launched import first_process_first
from vaclip.runs.tokens import frozen_encoder
from vaclip.settings import flat_settings

_LOG = logging.getLogger(__name__)

_RUN_DIR_VARIABLE = "VACLIP_RUN_DIR"
# Settings that make no difference to the result.
NOT_COMPARED = ABOUT | frozenset(
    {
        "run_dir",
        "runs_dir",
        "resume",
        "data.num_workers",
        "data.shards",
        "data.root",  # where it lies: what it holds is compared by study.json
        "data.cache_dir",
        "features.limit_gb",
        "features.shard_mb",
        "data.decode_limit_s",
        "trainer.enable_progress_bar",
        "log.also",
        "log.examples",
    }
)


@contextmanager
def open_run_folder(config: Config, *, go_on: bool = False) -> Generator[Path]:
    """Makes a run folder, or finds the one to resume, and keeps it to this training.

    Its further processes use the folder of the first.

    Args:
        config: The settings.
        go_on: Whether to resume ``run_dir`` where it holds a run, though ``resume`` is off.

    Raises:
        VaclipError: If the folder holds another run, another process runs it, or there is no run
            to resume.
    """
    with ExitStack() as kept:
        with first_process_first() as told:
            if is_first_process():
                told.append(kept.enter_context(_own_folder(config, go_on)))
        if not told and _RUN_DIR_VARIABLE not in os.environ:
            raise VaclipError(
                "several processes were started by a launcher that vaclip does not know; use "
                "torchrun or srun, or start one, which starts trainer.devices=N of this machine"
            )
        # Lightning started this process, unless it was told.
        yield told[0] if told else Path(os.environ[_RUN_DIR_VARIABLE])


@contextmanager
def _own_folder(config: Config, go_on: bool) -> Generator[Path]:
    folder = _chosen_folder(config)
    with folder_lock(folder):
        begun = (folder / keys.CONFIG_FILE).exists()
        if config.resume or (go_on and begun):
            _check_same_settings(config, folder)
        elif begun:
            raise VaclipError(
                f"{folder} holds a run already; use resume=true to go on, or another run_dir"
            )
        else:
            write_yaml(folder / keys.CONFIG_FILE, dataclasses.asdict(config))
            write_json(folder / keys.ENVIRONMENT_FILE, describe_environment(config))
        os.environ[_RUN_DIR_VARIABLE] = str(folder.resolve())
        yield folder


def fold_folder(run_dir: Path, fold: int) -> Path:
    """Returns the folder of one fold."""
    return run_dir / f"fold_{fold}"


def checkpoint_path(fold_dir: Path, which: Literal["best", "last"]) -> Path:
    """Returns a checkpoint of a fold, whose folder is given."""
    return fold_dir / "checkpoints" / f"{which}.ckpt"


def last_checkpoint(fold_dir: Path) -> Path | None:
    """Returns the checkpoint that a fold resumes from; None where none can be read.

    Raises:
        VaclipError: If the run was moved: Lightning would forget which checkpoint was the best.
    """
    checkpoint = checkpoint_path(fold_dir, "last")
    if not checkpoint.exists():
        return None
    try:
        content = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError):
        _LOG.warning("%s was cut off as it was written; the fold is trained anew", checkpoint.name)
        checkpoint.unlink()
        return None
    for state in content["callbacks"].values():
        if "dirpath" in state and Path(state["dirpath"]) != checkpoint.parent.resolve():
            raise VaclipError(
                f"the run was begun in {state['dirpath']} and moved; move it back to resume it"
            )
    return checkpoint


def _chosen_folder(config: Config) -> Path:
    if config.run_dir:
        folder = user_path(config.run_dir)
        if config.resume and not (folder / keys.CONFIG_FILE).is_file():
            raise VaclipError(f"{folder} holds no run to resume: {keys.CONFIG_FILE} is missing")
        return folder
    if config.resume:
        return _newest_unfinished(config)
    name = f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{config.arm}"
    return _new_folder(user_path(config.runs_dir), name)


def _new_folder(parent: Path, name: str) -> Path:
    parent.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        folder = parent / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir()
            return folder
        except FileExistsError:
            number += 1


def _check_same_settings(config: Config, folder: Path) -> None:
    if different := _differences(config, read_config(folder)):
        raise VaclipError(
            f"{folder} was run with other settings: {', '.join(different)}; "
            "resume with the same ones, or start a new run"
        )


def _newest_unfinished(config: Config) -> Path:
    runs = user_path(config.runs_dir)
    candidates = [path.parent for path in runs.glob(f"*/{keys.CONFIG_FILE}")]
    for folder in sorted(candidates, key=lambda path: path.name, reverse=True):
        finished = (folder / keys.METRICS_FILE).exists()
        try:
            before = read_config(folder)
        except VaclipError as error:  # of whatever run; this one may lie elsewhere
            _LOG.warning("left out: %s", error)
            continue
        places = flat_settings(before)
        same_data = all(
            places.get(f"data.{name}") == getattr(config.data, name) for name in ("root", "shards")
        )
        if not finished and same_data and not _differences(config, before):
            return folder
    raise VaclipError(
        f"no unfinished run with these settings under {runs}; name it with run_dir=PATH"
    )


def read_config(folder: Path) -> dict[str, Any]:
    """Reads the settings that a run folder was made with."""
    path = folder / keys.CONFIG_FILE
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise VaclipError(f"{folder} is no run folder: {path.name} cannot be read") from error
    return content if isinstance(content, dict) else {}


def _differences(config: Config, other: dict[str, Any]) -> list[str]:
    return unequal_keys(*map(compared_settings, (dataclasses.asdict(config), other)))


def unequal_keys(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Returns the keys whose values differ, or that one of them lacks, sorted."""
    return sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))


def compared_settings(tree: dict[str, Any]) -> dict[str, Any]:
    """Returns the settings that make a difference to the result, by dotted key."""
    flat = flat_settings(tree)
    return {key: value for key, value in flat.items() if key not in NOT_COMPARED}


def write_yaml(path: Path, content: dict[str, Any]) -> None:
    """Writes YAML, whole or not at all."""
    with atomic_file(path) as temporary:
        temporary.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def describe_environment(config: Config) -> dict[str, Any]:
    """Returns what a reader needs to repeat the run: versions, revision, machine, seed."""
    versions = {d.metadata["Name"]: d.version for d in importlib.metadata.distributions()}
    return {
        "command": sys.argv,
        "seed": config.seed,
        "split_seed": config.split.seed,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cpu_threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "git": _git_revision(),
        **_weights(config),
        "packages": dict(sorted(versions.items(), key=lambda item: item[0].lower())),
    }


def _weights(config: Config) -> dict[str, Any]:
    """Returns the weights that a run takes over, if it does: where they are from, and what for."""
    if (encoder := frozen_encoder(config)) is None:
        return {}
    info = encoder.info
    return {"weights": {"source": info.name, "licence": info.licence, "hash": info.weights}}


def _git_revision() -> dict[str, Any] | None:
    """Returns the revision of the checkout that the code runs from; None outside of one."""
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(here), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return {
            "revision": git("rev-parse", "HEAD"),
            "uncommitted_changes": bool(git("status", "--porcelain", "--untracked-files=no")),
        }
    except (OSError, subprocess.CalledProcessError):
        return None
