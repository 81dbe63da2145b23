"""From the folders of finished jobs to the files that a report is made from."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path

import pandas as pd

from vaclip import keys
from vaclip.ablation.job import arm_folder
from vaclip.ablation.plan import Job
from vaclip.ablation.pool import FAILED_FILE, job_folder
from vaclip.files import atomic_file
from vaclip.runs.results import write_parquet

DONE, FAILED, MISSING = "done", "failed", "missing"


def collect(study: Path, jobs: Sequence[Job], done: Collection[str]) -> None:
    """Writes the prediction table, the retrieval metrics and the list of jobs of a study.

    Args:
        study: Its folder.
        jobs: All that are planned, in order.
        done: Names of those that are complete.
    """
    tables, retrieval, states = [], [], []
    for job in jobs:
        folder = job_folder(study, job.name)
        state, reason = _state(folder, job.name in done)
        states += [(arm, job.fold, job.seed, state, reason) for arm in job.arms]
        if state != DONE:
            continue
        for arm in job.arms:
            own = arm_folder(folder, job, arm)
            tables.append(pd.read_parquet(own / keys.PREDICTIONS_FILE))
            metrics = json.loads((own / keys.FOLD_METRICS_FILE).read_text(encoding="utf-8"))["test"]
            retrieval += [
                (arm, job.fold, job.seed, name.removeprefix("test/"), value)
                for name, value in metrics.items()
                if name.startswith("test/retrieval")
            ]
    where = ["arm", "fold", "seed"]
    _write_csv(pd.DataFrame(states, columns=[*where, "state", "reason"]), study / keys.JOBS_FILE)
    _write_csv(
        pd.DataFrame(retrieval, columns=[*where, "name", "value"]), study / keys.RETRIEVAL_FILE
    )
    if tables:
        write_parquet(pd.concat(tables), study / keys.PREDICTIONS_FILE)


def _state(folder: Path, done: bool) -> tuple[str, str]:
    if done:
        return DONE, ""
    failed = folder / FAILED_FILE
    if failed.exists():
        return FAILED, json.loads(failed.read_text(encoding="utf-8"))["reason"]
    return MISSING, ""


def _write_csv(table: pd.DataFrame, path: Path) -> None:
    with atomic_file(path) as temporary:
        table.to_csv(temporary, index=False)
