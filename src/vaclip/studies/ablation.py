"""A whole study: settings in, a folder with everything that a report needs out."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from vaclip import keys
from vaclip.config import Config, StudyConfig, StudyRunConfig
from vaclip.errors import VaclipError
from vaclip.files import write_json
from vaclip.studies import arms
from vaclip.studies.collect import collect
from vaclip.studies.data_card import data_card
from vaclip.studies.folder import (
    CONFIG_FILE,
    NOT_COMPARED,
    STUDY_FILE,
    describe_environment,
    flat_settings,
    read_config,
    write_yaml,
)
from vaclip.studies.gallery import write_gallery
from vaclip.studies.job import is_complete
from vaclip.studies.matrix import Compose, Job, plan_jobs
from vaclip.studies.pool import job_folder, launch_jobs, run_jobs
from vaclip.studies.prepare import PreparedStudy, describe_study, prepare_study
from vaclip.studies.run import check_settings

_LOG = logging.getLogger(__name__)
GALLERY_ARM = "B3"  # the full method
# Settings that each job has its own value of.
_OF_JOBS = frozenset({"arm", "seed", "split.fold"})
_MOST_JOBS = 4


@dataclass(frozen=True)
class Ablation:
    """A study that is planned and has its folder.

    Attributes:
        config: The settings that its jobs share.
        study: What it runs.
        folder: Where it lies.
        prepared: The clips.
        jobs: All jobs, in order.
    """

    config: Config
    study: StudyConfig
    folder: Path
    prepared: PreparedStudy
    jobs: tuple[Job, ...]

    def complete(self) -> list[Job]:
        """Returns the jobs that need not be run."""
        return [job for job in self.jobs if is_complete(job, job_folder(self.folder, job.name))]

    def collect(self, done: Sequence[Job]) -> None:
        """Brings what finished jobs found together."""
        collect(self.folder, self.jobs, {job.name for job in done})


def plan_study(settings: StudyRunConfig, compose: Compose) -> Ablation:
    """Checks a study, decodes its clips and plans its jobs.

    Raises:
        VaclipError: For any mistake of the user.
    """
    config = Config(**{f.name: getattr(settings, f.name) for f in dataclasses.fields(Config)})
    study = check_settings(config)
    prepared = prepare_study(config.data, study)
    jobs = plan_jobs(settings.study, compose, prepared.annotators, config.split.folds)
    folder = Path(config.run_dir) if config.run_dir else _usual_folder(config)
    return Ablation(config, settings.study, folder, prepared, tuple(jobs))


def _usual_folder(config: Config) -> Path:
    """Equal settings share a folder, so that the same command goes on where it was stopped."""
    root = config.data.root and str(Path(config.data.root).expanduser().resolve())
    content = json.dumps([_shared_settings(config), root], sort_keys=True)
    digest = hashlib.sha256(content.encode()).hexdigest()
    source = Path(root).name if root else config.data.source
    return Path(config.runs_dir) / f"study_{source}_{digest[:8]}"


def _shared_settings(config: Config) -> dict[str, Any]:
    """What the jobs of a study have in common, as its report shows it."""
    left_out = NOT_COMPARED | _OF_JOBS
    settings = flat_settings(dataclasses.asdict(config))
    shared = {key: value for key, value in settings.items() if key not in left_out}
    if config.data.root:  # where it lies is nobody's business; what it is stands in study.json
        shared["data.root"] = Path(config.data.root).expanduser().resolve().name
    return shared


def open_study_folder(ablation: Ablation) -> None:
    """Makes the folder of a study, or goes on in it.

    Raises:
        VaclipError: If it holds another study, or the clips changed since.
    """
    folder, settings = ablation.folder, _shared_settings(ablation.config)
    origin = describe_study(ablation.prepared)
    if (folder / CONFIG_FILE).exists():
        before = read_config(folder)
        before = {k: v for k, v in flat_settings(before).items() if not k.startswith("study.")}
        if different := sorted(
            key for key in settings.keys() | before.keys() if settings.get(key) != before.get(key)
        ):
            raise VaclipError(
                f"{folder} holds a study with other settings: {', '.join(different)}; name "
                "another run_dir"
            )
        if json.loads((folder / STUDY_FILE).read_text(encoding="utf-8")) != origin:
            raise VaclipError(
                f"the study changed since {folder} was begun (classes, clips, labels, videos or "
                "maps); name another run_dir"
            )
    write_json(folder / STUDY_FILE, origin)
    shown = settings | flat_settings({"study": dataclasses.asdict(ablation.study)})
    for key in ("study.jobs", "study.dry_run"):
        del shown[key]  # they make no difference to the result
    write_yaml(folder / CONFIG_FILE, _nested(shown))
    environment = describe_environment(ablation.config)
    del environment["command"]
    write_json(folder / keys.ENVIRONMENT_FILE, environment)
    named = {job.config.arm: job.config for job in ablation.jobs}
    named |= {test.arm: test for job in ablation.jobs for test in job.tests}
    write_json(
        folder / keys.ARMS_FILE, [arms.describe_arm(named[arm]) for arm in ablation.study.arms]
    )
    write_json(folder / keys.DATA_CARD_FILE, data_card(ablation.config.data, ablation.prepared))


def _nested(settings: dict[str, Any]) -> dict[str, Any]:
    """The opposite of `flat_settings`."""
    tree: dict[str, Any] = {}
    for key, value in settings.items():
        *groups, name = key.split(".")
        branch = tree
        for group in groups:
            branch = branch.setdefault(group, {})
        branch[name] = value
    return tree


def run_study(
    ablation: Ablation,
    launcher: Sequence[str] = (),
    *,
    started: Callable[[Job], None],
    finished: Callable[[Job, bool], None],
) -> list[Job]:
    """Runs what is missing of a study, and collects after each job.

    Args:
        ablation: The study, with its folder opened.
        launcher: Of Hydra, see `launch_jobs`; without one the jobs are local processes.
        started: Called when a job starts; not by a launcher.
        finished: Called when a job ends, with whether it succeeded; not by a launcher.

    Returns:
        The jobs that are complete.

    Raises:
        VaclipError: If another process runs the study, or a launcher fails.
    """
    try:
        with FileLock(ablation.folder / "lock", timeout=0):
            done = _run_missing(ablation, launcher, started, finished)
    except Timeout as error:
        raise VaclipError(f"{ablation.folder} is being run by another process") from error
    _write_gallery(ablation, done)
    return done


def _run_missing(
    ablation: Ablation,
    launcher: Sequence[str],
    started: Callable[[Job], None],
    finished: Callable[[Job, bool], None],
) -> list[Job]:
    done = ablation.complete()
    left = [job for job in ablation.jobs if job not in done]
    ablation.collect(done)

    def collected(job: Job, succeeded: bool) -> None:
        if succeeded:
            done.append(job)
        ablation.collect(done)
        finished(job, succeeded)

    if launcher and left:
        launch_jobs(ablation.folder, left, launcher)
        done = ablation.complete()
        ablation.collect(done)
    elif left:
        at_once = jobs_at_once(ablation)
        run_jobs(ablation.folder, left, at_once, started=started, finished=collected)
    return done


def jobs_at_once(ablation: Ablation) -> int:
    """Returns how many local jobs run at once."""
    if ablation.study.jobs is not None:
        return ablation.study.jobs
    gpu = ablation.config.trainer.accelerator != "cpu" and torch.cuda.is_available()
    return 1 if gpu else min(os.cpu_count() or 1, _MOST_JOBS)


def _write_gallery(ablation: Ablation, done: Sequence[Job]) -> None:
    """Shows the first model of `GALLERY_ARM`, if the study has one."""
    for job in ablation.jobs:
        if job.config.arm == GALLERY_ARM and job in done:
            where = job_folder(ablation.folder, job.name)
            write_gallery(job.config, ablation.prepared, where, job.fold, ablation.folder)
            return
