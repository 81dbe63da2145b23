"""Runs the jobs of a study, several at a time, each in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import IO, cast

from vaclip.ablation.job import BUSY_STATUS, DONE_FILE, save_job
from vaclip.ablation.plan import Job
from vaclip.compose import quoted
from vaclip.errors import VaclipError
from vaclip.files import read_json, write_json

FAILED_FILE = "failed.json"
LOG_FILE = "job.log"
_POLL_S = 0.1
_LONGEST_REASON = 500
_ALIKE = 3  # so many first jobs that fail for one reason say what the others would
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def available_cores() -> int:
    """The CPU cores that this process may use, where the system can tell."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def threads_each(at_once: int) -> int:
    """The threads of each of several jobs that share the cores."""
    return max(1, available_cores() // at_once)


def job_folder(study: Path, name: str) -> Path:
    """Returns the folder of a job."""
    return study / "jobs" / name


def start_job(folder: Path, threads: int, stop: threading.Event | None = None) -> bool:
    """Runs a job in a process and waits for it.

    Its output goes to ``job.log``; where it fails, the reason goes to ``failed.json``.

    Args:
        folder: Of the job.
        threads: That it may use.
        stop: Set to have the job killed.

    Returns:
        Whether it succeeded.
    """
    stop = stop or threading.Event()
    (folder / FAILED_FILE).unlink(missing_ok=True)
    environment = {**os.environ, **dict.fromkeys(_THREADS, str(threads)), "PYTHONUTF8": "1"}
    for name in ("LOCAL_RANK", "VACLIP_RUN_DIR"):  # of a run that is distributed
        environment.pop(name, None)
    command = [sys.executable, "-m", "vaclip.ablation.job", str(folder)]
    with (folder / LOG_FILE).open("ab") as log:
        before = log.tell()  # what earlier attempts said
        process = subprocess.Popen(
            # The pipe tells the job when this process is gone.
            command, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, env=environment,
        )  # fmt: skip
        try:
            while process.poll() is None and not stop.wait(_POLL_S):
                pass
        finally:
            process.kill()
            code = process.wait()
    if stop.is_set() or code == BUSY_STATUS:
        return False
    if code == 0 and (folder / DONE_FILE).exists():
        return True
    write_json(folder / FAILED_FILE, {"reason": _reason(folder / LOG_FILE, before, code)})
    return False


def _reason(log: Path, before: int, code: int) -> str:
    if code < 0:
        name = signal.Signals(-code).name
        return f"killed by {name}" + (", perhaps for want of memory" if name == "SIGKILL" else "")
    text = log.read_bytes()[before:].decode("utf-8", errors="replace")
    said = [line.strip() for line in text.splitlines() if line.strip()]
    last = max((n for n, line in enumerate(said) if line.startswith("error: ")), default=-1)
    # What the user can mend is told whole; of another error the last line names it.
    told = " ".join(said[last:]).removeprefix("error: ") if said else f"exit status {code}"
    return told if len(told) <= _LONGEST_REASON else f"{told[:_LONGEST_REASON]} ..."


def failed_reason(folder: Path) -> str | None:
    """Returns why the last attempt at a job failed; None where it did not."""
    failed = folder / FAILED_FILE
    return read_json(failed, FAILED_FILE)["reason"] if failed.exists() else None


def alike_reason(study: Path, name: str) -> str | None:
    """Returns why a job failed without its name in it, so that equal causes read alike."""
    reason = failed_reason(job_folder(study, name))
    return reason and reason.replace(name, "JOB")


def run_jobs(
    study: Path,
    jobs: Sequence[Job],
    at_once: int,
    *,
    started: Callable[[Job], None],
    finished: Callable[[Job, bool], None],
) -> None:
    """Runs jobs in local processes, in order; a job that fails does not stop the others.

    Args:
        study: Folder of the study.
        jobs: What to run.
        at_once: How many; each gets its share of the CPU cores.
        started: Called, in a thread, when a job starts.
        finished: Called with whether it succeeded.

    Raises:
        VaclipError: If the first three all fail for one reason, which the others then share.
    """
    threads = threads_each(at_once)
    stop = threading.Event()

    def run(job: Job) -> bool:
        started(job)
        return start_job(job_folder(study, job.name), threads, stop)

    for job in jobs:
        save_job(job, job_folder(study, job.name))
    with ThreadPoolExecutor(at_once) as pool:
        try:
            futures = {pool.submit(run, job): job for job in jobs}
            reasons: list[str | None] = []
            for future in as_completed(futures):
                job = futures[future]
                finished(job, future.result())
                reason = alike_reason(study, job.name)
                reasons.append(reason)
                if reason and len(jobs) > len(reasons) == _ALIKE and len(set(reasons)) == 1:
                    raise VaclipError(
                        f"the first {_ALIKE} jobs failed for one reason, so no other was run; "
                        f"mend it and run the same command again: {reason}"
                    )
        finally:  # also after Ctrl-C: nothing goes on unseen
            stop.set()
            pool.shutdown(cancel_futures=True)


def launch_jobs(
    study: Path, jobs: Sequence[Job], launcher: Sequence[str], threads: int | None = None
) -> None:
    """Hands jobs to a launcher of Hydra, such as a cluster's, and waits for it.

    Args:
        study: Folder of the study.
        jobs: What to run.
        launcher: Hydra's words for it, as ``hydra/launcher=submitit_slurm`` and
            ``hydra.launcher.partition=gpu``.
        threads: That each job may use; None: all cores that it is given.

    Raises:
        VaclipError: If the launcher fails; a job that fails does not make it fail.
    """
    for job in jobs:
        save_job(job, job_folder(study, job.name))
        (job_folder(study, job.name) / FAILED_FILE).unlink(missing_ok=True)  # of another time
    command = [
        sys.executable, "-m", "vaclip.commands.launch", "--multirun",
        f"folder={quoted(str(study.resolve()))}",
        f"job={','.join(job.name for job in jobs)}", f"threads={threads or 'null'}", *launcher,
    ]  # fmt: skip
    # The pipe tells the launcher when this process is gone: it then ends all of its group.
    process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    try:
        code = process.wait()
    finally:
        cast(IO[bytes], process.stdin).close()
        process.wait()
    if code:
        raise VaclipError(
            f"Hydra's launcher ({' '.join(launcher)}) failed with status {code}; see above"
        )
