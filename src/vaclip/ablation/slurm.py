"""The jobs of a study in Slurm's queue.

Settings and submission are those of Hydra's plugin ``submitit_slurm``. It is not used to wait: it
gives up at the first job that was cancelled or timed out, and asks ``sacct``, which knows nothing
on a cluster without accounting. Here ``squeue`` is asked, and every job ends as it ends.
"""

from __future__ import annotations

import logging
import os
import subprocess
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaclip.ablation.job import DONE_FILE, load_job
from vaclip.ablation.plan import Job
from vaclip.ablation.pool import write_jobs
from vaclip.ablation.queued_job import TIMED_OUT, QueuedJob
from vaclip.ablation.worker import FAILED_FILE, SHARED_DISK_S, job_folder, note_failure
from vaclip.errors import VaclipError
from vaclip.files import read_json, write_json

_LOG = logging.getLogger(__name__)
LOGS = "launcher"
"""Folder of what Slurm's jobs say, in that of the study."""
QUEUE_FILE = f"{LOGS}/slurm.json"
"""Slurm's number of each job, for the study that follows one that was killed."""
_LONGEST_WAIT_S = 30.0
_REASONS = {
    "BOOT_FAIL": "its node failed in Slurm",
    "CANCELLED": "cancelled in Slurm",
    "DEADLINE": TIMED_OUT,
    "NODE_FAIL": "its node failed in Slurm",
    "OUT_OF_MEMORY": "out of memory in Slurm; give it more by hydra.launcher.mem_gb=GIB",
    "PREEMPTED": "preempted in Slurm by another job",
    "REVOKED": "cancelled in Slurm",
    "TIMEOUT": TIMED_OUT,
}
_FORGOTTEN = ""
_ENDED = {*_REASONS, "COMPLETED", "FAILED", _FORGOTTEN}
_WAITING = {"PENDING", "REQUEUED", _FORGOTTEN}
_OF_ALL_QUEUES = {
    "name", "timeout_min", "mem_gb", "nodes", "cpus_per_task", "gpus_per_node", "tasks_per_node",
    "stderr_to_stdout",
}  # fmt: skip
"""Settings that submitit knows without a prefix."""


@dataclass
class _Queued:
    """A job of the study that has not ended yet, as far as it is known here."""

    job: Job
    ran: bool = False
    ended_at: float | None = None


def run_in_slurm(
    study: Path,
    jobs: Sequence[Job],
    settings: Mapping[str, Any],
    *,
    started: Callable[[Job], None],
    finished: Callable[[Job, bool], None],
) -> None:
    """Queues jobs and waits until each has ended, however it did.

    Where this ends early, by a signal or an error, the jobs that are left are cancelled. Those
    that a study left behind which was killed are waited for, and not queued a second time.

    Args:
        study: Folder of the study.
        jobs: What to run.
        settings: ``hydra.launcher`` of ``hydra/launcher=submitit_slurm``.
        started: Called when a job starts.
        finished: Called with whether it succeeded.

    Raises:
        VaclipError: If Slurm takes no jobs, or still runs some as they were before they changed.
    """
    by_number = _left_behind(study, jobs)
    new = [job for job in jobs if job not in by_number.values()]
    if new:
        by_number |= _submitted(study, new, settings)
    queue = {number: _Queued(job) for number, job in by_number.items()}
    begun = time.monotonic()
    try:
        write_json(study / QUEUE_FILE, {job.name: number for number, job in by_number.items()})
        while queue:
            time.sleep(min(_LONGEST_WAIT_S, 1 + (time.monotonic() - begun) / 20))
            for number, state in _states([*queue]).items():
                queued = queue[number]
                if state not in _WAITING and not queued.ran:
                    queued.ran = True
                    started(queued.job)
                if _has_ended(study, queued, state):
                    del queue[number]
                    finished(queued.job, _succeeded(study, number, queued, state))
    finally:
        if queue:
            subprocess.run(["scancel", *queue], check=False)


def _has_ended(study: Path, queued: _Queued, state: str) -> bool:
    """Whether a job has ended, and what its node wrote of that is seen here."""
    if state not in _ENDED:
        queued.ended_at = None  # queued again, if it had ended
        return False
    folder = job_folder(study, queued.job.name)
    if state in _REASONS or (folder / DONE_FILE).exists() or (folder / FAILED_FILE).exists():
        return True
    queued.ended_at = queued.ended_at or time.monotonic()
    return time.monotonic() - queued.ended_at > SHARED_DISK_S


def _succeeded(study: Path, number: str, queued: _Queued, state: str) -> bool:
    """Whether a job that ended is done; else its reason is noted, where nobody did."""
    folder = job_folder(study, queued.job.name)
    if (folder / DONE_FILE).exists():
        return True
    if state in _REASONS:
        note_failure(folder, _REASONS[state])
    elif (folder / FAILED_FILE).exists() or state == "COMPLETED":
        pass  # it said why; or another process runs it
    elif queued.ran:
        note_failure(folder, _last_word(study, number))
    else:  # of a job that never ran Slurm forgets everything
        note_failure(folder, _REASONS["CANCELLED"])
    return False


def _last_word(study: Path, number: str) -> str:
    """Returns the reason of a job that failed before it could say one."""
    log = study / LOGS / number / f"{number}_0_log.err"
    said = log.read_text(errors="replace").strip() if log.exists() else ""
    if "User defined signal" in said:  # warned of its limit before it listened
        return TIMED_OUT
    return f"ended in Slurm: {said.splitlines()[-1] if said else f'it said nothing in {log}'}"


def _states(numbers: Iterable[str]) -> dict[str, str]:
    """Returns the state of each of Slurm's jobs, by number; of none where it does not answer."""
    arrays = sorted({number.partition("_")[0] for number in numbers})
    command = ["squeue", "--noheader", "--array", "--states=all", "--format=%i %T"]
    asked = subprocess.run(
        [*command, f"--jobs={','.join(arrays)}"], capture_output=True, text=True, check=False
    )
    if asked.returncode and "Invalid job id" not in asked.stderr:
        _LOG.warning("Slurm does not answer and is asked again: %s", asked.stderr.strip())
        return {}
    found = dict(line.split() for line in asked.stdout.splitlines())
    return {number: found.get(number, _FORGOTTEN) for number in numbers}


def _left_behind(study: Path, jobs: Sequence[Job]) -> dict[str, Job]:
    """Returns the jobs that are in the queue since the study was killed, by Slurm's number."""
    path = study / QUEUE_FILE
    if not path.exists():
        return {}
    numbers = read_json(path, str(path))
    by_number = {numbers[job.name]: job for job in jobs if job.name in numbers}
    states = _states(by_number) if by_number else {}
    left = {n: by_number[n] for n, state in states.items() if state not in _ENDED}
    if changed := [n for n, job in left.items() if load_job(job_folder(study, job.name)) != job]:
        raise VaclipError(
            "Slurm still runs jobs of this study as they were before their settings changed; wait "
            f"for them, or cancel them: scancel {' '.join(changed)}"
        )
    return left


def _submitted(study: Path, jobs: Sequence[Job], settings: Mapping[str, Any]) -> dict[str, Job]:
    """Queues jobs as one array, and returns them by Slurm's number."""
    import submitit

    given = {
        name if name in _OF_ALL_QUEUES else f"slurm_{name}": value
        for name, value in settings.items()
        if name not in ("_target_", "submitit_folder", "max_num_timeout")
    }
    if settings["cpus_per_task"]:  # since Slurm 22.05 `srun` does not take it from `sbatch`
        given["slurm_srun_args"] = [f"--cpus-per-task={settings['cpus_per_task']}"]
    write_jobs(study, jobs)
    try:
        executor = submitit.AutoExecutor(
            study.resolve() / LOGS / "%j",
            cluster="slurm",
            slurm_max_num_timeout=settings["max_num_timeout"],
        )
        executor.update_parameters(**given)
        with _as_if_in_no_job():
            queued = executor.submit_array([QueuedJob(study.resolve(), job.name) for job in jobs])
    except RuntimeError as error:  # those of submitit are such
        raise VaclipError(f"Slurm takes no jobs: {error}") from error
    return {one.job_id: job for one, job in zip(queued, jobs, strict=True)}


@contextmanager
def _as_if_in_no_job() -> Generator[None]:
    """Hides the variables of the job that a study runs in, which jobs of its own would inherit."""
    from submitit.helpers import clean_env

    conf = os.environ.get("SLURM_CONF")
    if "SLURM_JOB_ID" not in os.environ:  # what is set there is meant: SBATCH_ACCOUNT
        yield
        return
    with clean_env():
        if conf is not None:
            os.environ["SLURM_CONF"] = conf
        yield
