"""From the folders of finished jobs to the files that a report is made from."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import pandas as pd

from vaclip import keys
from vaclip.ablation.job import arm_folder, seconds_taken
from vaclip.ablation.plan import Job
from vaclip.ablation.pool import failed_reason
from vaclip.ablation.worker import job_folder
from vaclip.evaluation.embeddings import embeddings_path
from vaclip.evaluation.predictions import joined_tables
from vaclip.files import atomic_file, link_file, write_csv
from vaclip.runs.folder import fold_folder

DONE, FAILED, MISSING = "done", "failed", "missing"


def collect(folder: Path, jobs: Sequence[Job], done: Collection[str]) -> None:
    """Writes the predictions and the list of jobs of an ablation.

    Args:
        folder: Of the ablation.
        jobs: All that are planned, in order.
        done: Names of those that are complete.
    """
    tables, states, trials = [], [], []
    for job in jobs:
        own = job_folder(folder, job.name)
        state, reason = _state(own, job.name in done)
        seconds = seconds_taken(own) if state == DONE else None
        states += [(arm, job.fold, job.seed, state, reason, seconds) for arm in job.arms]
        if state != DONE:
            continue
        if job.config.tune.trials:
            trials.append(_trials(job, own))
        for arm in job.arms:
            place = arm_folder(own, job, arm)
            tables.append(pd.read_parquet(place / keys.PREDICTIONS_FILE))
            model = (arm, job.fold, job.seed)
            link_file(embeddings_path(place, model), embeddings_path(folder, model))
    columns = ["arm", "fold", "seed", "state", "reason", "seconds"]
    write_csv(pd.DataFrame(states, columns=columns), folder / keys.JOBS_FILE)
    if tables:
        with atomic_file(folder / keys.PREDICTIONS_FILE) as temporary:
            joined_tables(tables).to_parquet(temporary, index=False)
    if trials:
        write_csv(pd.concat(trials), folder / keys.TRIALS_FILE)


def _trials(job: Job, folder: Path) -> pd.DataFrame:
    """Returns what a job tried before it trained."""
    table = pd.read_csv(fold_folder(folder, job.fold) / keys.TRIALS_FILE)
    model = {"arm": job.config.arm, "fold": job.fold, "seed": job.seed}
    return table.assign(**model)[[*model, *table]]


def _state(folder: Path, done: bool) -> tuple[str, str]:
    if done:
        return DONE, ""
    reason = failed_reason(folder)
    return (MISSING, "") if reason is None else (FAILED, reason)
