"""What a node of Slurm runs: one job of a study.

Nothing slow is imported before `submitit` listens to Slurm's signals.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaclip.ablation.worker import Worker, available_cores, job_folder, note_failure

TIMED_OUT = (
    "stopped by its time limit in Slurm; allow more by hydra.launcher.timeout_min=MINUTES, or "
    "let it go on in the queue by hydra.launcher.max_num_timeout=TIMES"
)


@dataclass(frozen=True)
class QueuedJob:
    """Runs a job when it is called.

    Attributes:
        study: Folder of the study.
        name: Of the job.
    """

    study: Path
    name: str

    def __call__(self) -> None:
        """Runs the job; why it failed is noted in its folder."""
        from submitit.core.utils import UncompletedJobError

        try:
            self._run()
        except UncompletedJobError:  # submitit raises it as Slurm warns of the time limit
            note_failure(job_folder(self.study, self.name), TIMED_OUT)

    def _run(self) -> None:
        cores = min(available_cores(), int(os.environ["SLURM_CPUS_ON_NODE"]))
        worker = Worker(self.study, cores)
        try:
            worker.run(self.name)
        finally:
            worker.end()

    def checkpoint(self) -> Any:
        """Returns what runs after the job was queued again: the same, which goes on."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)
