"""The jobs of a study as tasks of Ray.

Settings are those of Hydra's plugin for Ray. It is not used to wait: it gives up at the first job
whose process was killed, and wants Ray's dashboard and AWS's client. Here every job ends as it
ends.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vaclip.ablation.job import DONE_FILE
from vaclip.ablation.plan import Job
from vaclip.ablation.pool import write_jobs
from vaclip.ablation.worker import SHARED_DISK_S, Worker, job_folder, note_failure
from vaclip.errors import VaclipError

_SETTINGS = "hydra.launcher.ray"
_OF_A_START = ("num_cpus", "num_gpus", "object_store_memory")
"""What `ray.init` refuses where it joins a Ray that runs."""
_RESOURCES = {"num_cpus": "CPU", "num_gpus": "GPU", "memory": "memory"}
_ANSWER_S = 10.0
_WAIT_S = 1.0


def run_in_ray(
    study: Path,
    jobs: Sequence[Job],
    settings: Mapping[str, Any],
    *,
    started: Callable[[Job], None],
    finished: Callable[[Job, bool], None],
) -> None:
    """Hands jobs to Ray and waits until each has ended, however it did.

    Where this ends early, by a signal or an error, the jobs that are left end with it.

    Args:
        study: Folder of the study.
        jobs: What to run.
        settings: ``hydra.launcher`` of ``hydra/launcher=ray``.
        started: Called when a job starts.
        finished: Called with whether it succeeded.

    Raises:
        VaclipError: If Ray cannot be started or joined, or cannot run such tasks.
    """
    write_jobs(study, jobs)
    # In the main thread Ray would take the signals, and swallow what they raise.
    with ThreadPoolExecutor(1) as aside, _running_ray(settings["ray"]["init"], aside):
        tasks = aside.submit(_submitted, study, jobs, settings["ray"]).result()
        waiting = {*tasks}
        while tasks:
            for task, ended in aside.submit(_heard, [*tasks]).result():
                if task in waiting:
                    waiting.remove(task)
                    started(tasks[task])
                if ended is not None:
                    job = tasks.pop(task)
                    finished(job, _succeeded(study, job, ended))


@contextmanager
def _running_ray(init: Mapping[str, Any], aside: ThreadPoolExecutor) -> Generator[None]:
    """Joins a Ray, or starts one for this study alone; leaves it, or ends all of it."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # read as Ray is imported
    given = dict(init)
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as private:
        if given["address"] is None:
            # Who else is on this machine has no business in it; Ray would keep a token for good.
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
            # Its workers are else of so low a priority that they starve beside other processes.
            given |= {"address": "local", "_temp_dir": private}
            given |= {"_system_config": {"worker_niceness": 0}}
        else:
            given = {name: value for name, value in given.items() if name not in _OF_A_START}
        try:
            aside.submit(_start, given).result()
            # Ray aborts the process some seconds after a SIGTERM, unless Python has it back.
            signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))
            yield
        finally:
            aside.submit(_stop).result()


def _start(given: Mapping[str, Any]) -> None:
    import ray

    host, _, port = given["address"].rpartition(":")
    try:
        if port.isdecimal():  # where nothing answers Ray tries for minutes
            socket.create_connection((host, int(port)), timeout=_ANSWER_S).close()
        ray.init(**given)
    except (AssertionError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise VaclipError(f"Ray does not start, see {_SETTINGS}.init: {error}") from error


def _stop() -> None:
    import ray

    ray.shutdown()


def _submitted(study: Path, jobs: Sequence[Job], settings: Mapping[str, Any]) -> dict[Any, Job]:
    """Queues jobs, and returns them by Ray's task."""
    import ray

    remote = settings["remote"]
    try:
        task = ray.remote(**remote)(_run)
    except (TypeError, ValueError) as error:
        raise VaclipError(f"{_SETTINGS}.remote: {error}") from error
    if settings["init"]["address"] is None:  # a cluster may grow
        there = ray.cluster_resources()
        for option, resource in _RESOURCES.items():
            if (remote.get(option) or 0) > (has := there.get(resource, 0)):
                raise VaclipError(
                    f"{_SETTINGS}.remote.{option} is {remote[option]}, and Ray has {has:g} here"
                )
    threads = max(1, int(remote["num_cpus"] or 1))
    cache = os.environ.get("VACLIP_CACHE")
    return {task.remote(study.resolve(), job.name, threads, cache): job for job in jobs}


def _run(study: Path, name: str, threads: int, cache: str | None) -> Iterator[bool | None]:
    """Runs a job in a worker of Ray.

    Yields:
        None as it starts, then whether it succeeded.
    """
    yield None
    if cache is not None:  # a node has the variables of whoever started it
        os.environ["VACLIP_CACHE"] = cache
    worker = Worker(study, threads)
    try:
        yield worker.run(name)
    finally:
        worker.end()


def _heard(tasks: list[Any]) -> list[tuple[Any, bool | str | None]]:
    """Waits a while, and returns what tasks said: as `_run` yields it, or why they are lost."""
    import ray
    from ray.exceptions import RayError

    def heard(task: Any) -> Any:
        try:
            return ray.get(next(task))
        except RayError as error:
            return _reason(error)

    ready, _ = ray.wait(tasks, timeout=_WAIT_S)
    return [(task, heard(task)) for task in ready]


def _reason(error: Exception) -> str:
    from ray import exceptions

    if isinstance(error, exceptions.OutOfMemoryError):
        return f"out of memory in Ray; reserve it by +{_SETTINGS}.remote.memory=BYTES"
    if isinstance(error, exceptions.WorkerCrashedError):
        return "its worker of Ray was killed, perhaps for want of memory"
    if isinstance(error, exceptions.NodeDiedError):
        return "its node was lost in Ray"
    return f"ended in Ray: {str(error).strip().splitlines()[-1]}"


def _succeeded(study: Path, job: Job, ended: bool | str) -> bool:
    """Whether a job that ended is done; else its reason is noted, where nobody did."""
    folder = job_folder(study, job.name)
    since = time.monotonic()
    while ended is True and not (folder / DONE_FILE).exists():
        if time.monotonic() - since > SHARED_DISK_S:
            ended = f"it was done on a node, and nothing of it came to {folder}: no shared disk?"
        time.sleep(0.1)
    if isinstance(ended, str):
        note_failure(folder, ended)
    return ended is True
