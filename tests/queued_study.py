"""A study whose jobs a queue runs: its command started, its jobs found, its result compared."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pandas as pd

from slurm_cluster import wait_until
from vaclip import keys
from vaclip.ablation.worker import available_cores

# Three trainings of some seconds, and a test of the second with other maps.
SMALL = ["study=smoke", "study.arms=[B0,B3,K_withheld,B1]", "study.folds=[0]",
         "study.noise_arms=[]", "study.look_clips=1", "trainer.accelerator=cpu",
         "trainer.max_epochs=20"]  # fmt: skip


@contextmanager
def commands_in(home: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Yields ``start(environment, *words)``, which starts a command of vaclip in a folder.

    The cache lies there, too.
    """
    with ExitStack() as ending:

        def start(environment: dict[str, str], *words: str) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [sys.executable, "-m", "vaclip", *words],
                cwd=home, env={**environment, "VACLIP_CACHE": str(home / "cache")},
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip
            ending.callback(process.kill)  # where a test fails before its end
            return process

        yield start


def run_undisturbed(start, *words: str) -> None:
    """Runs a study on this machine, whose jobs have one thread as those in a queue have."""
    process = start(dict(os.environ), "study", *words, f"study.jobs={available_cores()}")
    output, _ = process.communicate()
    assert process.returncode == 0, output


def workers_of(folder: Path) -> dict[int, int]:
    """Returns the processes in which jobs of a study run, each with the one that started it."""
    listed = subprocess.run(
        ["ps", "-ww", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True
    )
    found = re.findall(rf"(\d+) +(\d+) \S+ -m vaclip.ablation.worker {folder}\n", listed.stdout)
    return {int(process): int(parent) for process, parent in found}


def halt_worker(folder: Path, job: str) -> None:
    """Waits until the first job trains, and makes it sleep, so that it stays in the queue."""
    last = folder / "jobs" / job / "fold_0" / "checkpoints" / "last.ckpt"
    wait_until(last.exists, f"{job} to train")
    (worker,) = workers_of(folder)
    os.kill(worker, signal.SIGSTOP)


def states(folder: Path) -> dict[str, tuple[str, str]]:
    table = pd.read_csv(folder / keys.JOBS_FILE, keep_default_na=False)
    return {row.arm: (row.state, row.reason) for row in table.itertuples()}


def assert_same_study(start, one: Path, other: Path) -> None:
    """Predictions and report are byte for byte those of another study."""
    # The page says how long trainings took, and on which day the study was planned.
    for name in (keys.JOBS_FILE, keys.STUDY_PLAN_FILE):
        shutil.copy(other / name, one)
    process = start(dict(os.environ), "report", str(one))
    output, _ = process.communicate()
    assert process.returncode == 0, output
    files = {p.relative_to(other) for p in (other / "report").rglob("*") if p.is_file()}
    assert len(files) > 10
    for file in files | {Path(keys.PREDICTIONS_FILE)}:
        assert (one / file).read_bytes() == (other / file).read_bytes(), file
