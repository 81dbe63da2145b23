"""A process that runs jobs of a study one after the other: ``python -m vaclip.ablation.worker``.

To start Python and import torch takes as long as to train on frozen tokens, so a process is kept
for the next job. A job that fails, of whatever, ends it.
"""

from __future__ import annotations

import argparse
import gc
import os
import queue
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, cast

from vaclip.console import setup_logging
from vaclip.errors import VaclipError
from vaclip.files import write_json
from vaclip.locks import BusyError
from vaclip.signals import stoppable

FAILED_FILE = "failed.json"
SHARED_DISK_S = 15.0
"""Until a file that another machine wrote is seen here."""
LOG_FILE = "job.log"
_BUSY_STATUS = 75  # EX_TEMPFAIL of sysexits.h
_DONE = b"done\n"
_JOBS_EACH = 25  # then a fresh process: what a library loses of memory goes with the old one
_LONGEST_REASON = 500
_PERHAPS = {
    "SIGKILL": ", perhaps for want of memory",
    "SIGBUS": ", perhaps because a cached file was removed as it was read, or its disk is gone",
}
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def available_cores() -> int:
    """The CPU cores that this process may use, where the system can tell."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def job_folder(study: Path, name: str) -> Path:
    """Returns the folder of a job."""
    return study / "jobs" / name


def note_failure(folder: Path, reason: str) -> None:
    """Notes in a job's folder why it failed."""
    write_json(folder / FAILED_FILE, {"reason": reason})


class Worker:
    """Runs jobs in a process of its own, which is started with the first; in one thread at a time.

    Args:
        study: Folder of the study.
        threads: That a job may use.
    """

    def __init__(self, study: Path, threads: int) -> None:
        self.study = study
        self.threads = threads
        self._process: subprocess.Popen[bytes] | None = None
        self._jobs = 0
        self._ended = threading.Event()
        self._starting = threading.Lock()

    def run(self, name: str) -> bool:
        """Runs a job and waits for it.

        Its output goes to ``job.log``; where it fails, the reason goes to ``failed.json``.

        Returns:
            Whether it succeeded.
        """
        folder = job_folder(self.study, name)
        (folder / FAILED_FILE).unlink(missing_ok=True)
        if self._jobs == _JOBS_EACH:
            self._dismiss()
        with (folder / LOG_FILE).open("ab") as log:
            before = log.tell()  # what earlier attempts said
            process = self._started(log)
        if process is None:
            return False
        self._jobs += 1
        try:
            cast(IO[bytes], process.stdin).write(f"{name}\n".encode())
            cast(IO[bytes], process.stdin).flush()
        except BrokenPipeError:
            pass  # it is gone already, and so answers nothing
        if cast(IO[bytes], process.stdout).readline() == _DONE:
            return True
        code = process.wait()  # before it is told nothing more, which would end it otherwise
        self._dismiss()
        if not self._ended.is_set() and code != _BUSY_STATUS:
            note_failure(folder, _reason(folder / LOG_FILE, before, code))
        return False

    def end(self) -> None:
        """Kills the process with what it does; from any thread, and for good."""
        with self._starting:
            self._ended.set()
            if self._process is not None:
                self._process.kill()
                self._process.wait()

    def _started(self, log: IO[bytes]) -> subprocess.Popen[bytes] | None:
        """Returns the process, whose start is logged; None where it has been ended."""
        with self._starting:
            if self._ended.is_set():
                return None
            if self._process is None:
                threads = dict.fromkeys(_THREADS, str(self.threads))
                environment = {**os.environ, **threads, "PYTHONUTF8": "1"}
                for name in ("LOCAL_RANK", "VACLIP_RUN_DIR"):  # of a run that is distributed
                    environment.pop(name, None)
                command = [sys.executable, "-m", "vaclip.ablation.worker", str(self.study)]
                self._process = subprocess.Popen(
                    # The pipe tells the process when this one is gone.
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                    env=environment,
                )  # fmt: skip
                self._jobs = 0
            return self._process

    def _dismiss(self) -> None:
        """Waits for the process, which ends by itself once it is told nothing more."""
        with self._starting:
            process, self._process = self._process, None
        if process is not None:
            process.communicate()


def _reason(log: Path, before: int, code: int) -> str:
    if code < 0:
        name = signal.Signals(-code).name
        return f"killed by {name}" + _PERHAPS.get(name, "")
    text = log.read_bytes()[before:].decode("utf-8", errors="replace")
    said = [line.strip() for line in text.splitlines() if line.strip()]
    last = max((n for n, line in enumerate(said) if line.startswith("error: ")), default=-1)
    # What the user can mend is told whole; of another error the last line names it.
    told = " ".join(said[last:]).removeprefix("error: ") if said else f"exit status {code}"
    return told if len(told) <= _LONGEST_REASON else f"{told[:_LONGEST_REASON]} ..."


def _names() -> queue.SimpleQueue[str]:
    """Returns the jobs as the starting process names them; when it is gone, this one ends."""
    named: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        # Not `sys.stdin`, whose lock a thread would hold as the process ends.
        with os.fdopen(os.dup(0), "rb", buffering=0) as told:
            while line := told.readline():
                named.put(line.decode().rstrip("\n"))
        os._exit(1)

    threading.Thread(target=read, daemon=True).start()
    return named


def _redirect(log: Path) -> None:
    """Sends what is said from now on to a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    with log.open("ab") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)


def main() -> None:
    """Runs the jobs that it is told; exits with status 1 after a user's mistake."""
    parser = argparse.ArgumentParser(prog="python -m vaclip.ablation.worker", description=__doc__)
    parser.add_argument("study", type=Path)
    study = parser.parse_args().study
    from vaclip.ablation.job import run_job  # slow: what starts a worker does without

    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    named = _names()
    setup_logging()
    try:
        with stoppable("the study goes on with the same command"):
            while True:
                folder = job_folder(study, named.get())
                _redirect(folder / LOG_FILE)
                run_job(folder)
                gc.collect()  # trainers and modules hold each other
                answers.write(_DONE)
    except VaclipError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(_BUSY_STATUS if isinstance(error, BusyError) else 1)


if __name__ == "__main__":
    main()
