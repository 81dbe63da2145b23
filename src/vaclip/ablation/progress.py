"""What a person sees of a study: the plan before, and the jobs while they run."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from types import TracebackType

import torch
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from vaclip.ablation.ablation import Ablation, jobs_at_once
from vaclip.ablation.estimate import training_seconds
from vaclip.ablation.job import seconds_taken
from vaclip.ablation.plan import Job
from vaclip.ablation.pool import failed_reason, threads_each
from vaclip.ablation.register import study_plan
from vaclip.ablation.worker import job_folder
from vaclip.console import console, say
from vaclip.files import json_digest


class JobProgress:
    """Shows jobs done, running, failed and left, and the time left."""

    def __init__(self, ablation: Ablation, complete: Sequence[Job]) -> None:
        self.ablation = ablation
        self.counts = Counter(done=len(complete))
        self.left = sum(job.cost for job in ablation.jobs if job not in complete)
        self.begun = time.monotonic()
        self.spent = 0.0
        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
        self.bar = Progress(*columns, console=console, transient=True)
        self.task = self.bar.add_task("", total=len(ablation.jobs), completed=len(complete))

    def __enter__(self) -> JobProgress:
        self.bar.start()
        self._show()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bar.stop()

    def started(self, job: Job) -> None:
        """Takes note that a job runs."""
        self.counts["running"] += 1
        self._show()

    def finished(self, job: Job, succeeded: bool) -> None:
        """Takes note that a job ended, and prints a line."""
        self.counts["running"] -= 1
        self.counts["done" if succeeded else "failed"] += 1
        self.left -= job.cost
        self.spent += job.cost
        self._show()
        reason = failed_reason(job_folder(self.ablation.folder, job.name))
        state = "done" if succeeded else f"FAILED: {reason or 'another process runs it'}"
        line = f"{job.name}: {state}; {self._summary()}"
        say(line)

    def _show(self) -> None:
        self.bar.update(
            self.task,
            completed=self.counts["done"] + self.counts["failed"],
            description=self._summary(),
        )

    def _summary(self) -> str:
        ended = self.counts["done"] + self.counts["failed"]
        waiting = len(self.ablation.jobs) - ended - self.counts["running"]
        failed = f", {self.counts['failed']} failed" if self.counts["failed"] else ""
        said = (
            f"{self.counts['done']} done{failed}, {self.counts['running']} running, {waiting} left"
        )
        if not self.spent:
            return said
        seconds = (time.monotonic() - self.begun) / self.spent * self.left
        return f"{said}, about {duration(seconds)} to go"


def duration(seconds: float) -> str:
    """Returns a rough duration in words."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def print_plan(ablation: Ablation) -> None:
    """Prints the jobs of a study, which are done, and an estimate of the time for the others."""
    complete, again = ablation.complete(), ablation.again()
    number = sum(job.trainings for job in ablation.jobs)
    each = "one training each" if number == len(ablation.jobs) else f"{number} trainings"
    table = Table(title=f"{len(ablation.jobs)} jobs, {each}")
    for name in ("job", "also tested as", "state"):
        table.add_column(name, overflow="fold")
    for job in ablation.jobs:
        tests = ", ".join(test.arm for test in job.tests)
        reasons = f" again: {'; '.join(again[job.name])}" if job.name in again else ""
        table.add_row(job.name, tests, "done" if job in complete else escape(f"to run{reasons}"))
    console.print(table)
    digest = json_digest(study_plan(ablation.study, ablation.config.split.folds))
    console.print(f"Plan {digest[:8]}", highlight=False)
    left = [job for job in ablation.jobs if job not in complete]
    at_once = jobs_at_once(ablation)
    if complete:
        per_job = sum(
            seconds_taken(job_folder(ablation.folder, job.name)) for job in complete
        ) / sum(job.cost for job in complete)
        source = f"from the {len(complete)} jobs that are done"
    else:
        threads = torch.get_num_threads()
        torch.set_num_threads(threads_each(at_once))
        per_job = training_seconds(ablation.jobs[0].config, ablation.prepared)
        torch.set_num_threads(threads)
        source = "from a few steps timed just now; tests with other maps not counted"
    seconds = per_job * sum(job.cost for job in left) / at_once
    console.print(
        f"{len(left)} to run, {at_once} at once: about {duration(seconds)} on this machine "
        f"({source}; the look audit and the report come after).",
        highlight=False,
    )
