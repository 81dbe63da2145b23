"""Runs the jobs of a study, several processes at a time."""

from __future__ import annotations

import queue
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import IO, cast

from vaclip.ablation.job import save_job
from vaclip.ablation.plan import Job
from vaclip.ablation.worker import FAILED_FILE, Worker, available_cores, job_folder
from vaclip.compose import quoted
from vaclip.errors import VaclipError
from vaclip.files import read_json

_ALIKE = 3  # so many first jobs that fail for one reason say what the others would


def threads_each(at_once: int) -> int:
    """The threads of each of several jobs that share the cores."""
    return max(1, available_cores() // at_once)


def write_jobs(study: Path, jobs: Sequence[Job]) -> None:
    """Writes what each job is to its folder, and forgets why it failed another time."""
    for job in jobs:
        folder = job_folder(study, job.name)
        save_job(job, folder)
        (folder / FAILED_FILE).unlink(missing_ok=True)


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
    workers = [Worker(study, threads_each(at_once)) for _ in range(at_once)]
    free: queue.SimpleQueue[Worker] = queue.SimpleQueue()
    for worker in workers:
        free.put(worker)

    def run(job: Job) -> bool:
        worker = free.get()
        started(job)
        try:
            return worker.run(job.name)
        finally:
            free.put(worker)

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
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in workers:
                worker.end()


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
    write_jobs(study, jobs)
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
