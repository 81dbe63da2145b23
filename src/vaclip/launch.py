"""The jobs of a study as a Hydra sweep, so that any launcher of Hydra can run them.

    python -m vaclip.launch --multirun folder=FOLDER job=NAME,NAME hydra/launcher=submitit_slurm

`vaclip study hydra/launcher=...` calls this.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import hydra


@hydra.main(version_base="1.3", config_path="pkg://vaclip.conf", config_name="launch")
def main(composed: Any) -> None:
    """Runs one job; a failure is noted in its folder and does not stop the others."""
    from vaclip.studies.pool import job_folder, start_job

    start_job(job_folder(Path(composed.folder), composed.job), composed.threads or _own_cores())


def _own_cores() -> int:
    """The cores that a scheduler lets this process use, where the system can tell."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


if __name__ == "__main__":
    main()
