"""A whole study: settings in, a folder with everything that a report needs out."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from vaclip import keys
from vaclip.ablation import arms
from vaclip.ablation.collect import collect
from vaclip.ablation.gallery import write_gallery
from vaclip.ablation.job import changes_since, is_complete
from vaclip.ablation.plan import Compose, Job, plan_jobs
from vaclip.ablation.pool import (
    alike_reason,
    launch_jobs,
    run_jobs,
    threads_each,
)
from vaclip.ablation.ray_tasks import run_in_ray
from vaclip.ablation.register import register_plan, study_plan, study_roles
from vaclip.ablation.slurm import run_in_slurm
from vaclip.ablation.worker import available_cores, job_folder
from vaclip.audit.data_card import data_card
from vaclip.config import Config, StudyConfig, StudyRunConfig
from vaclip.errors import VaclipError, counted
from vaclip.files import json_digest, read_json, user_path, write_json
from vaclip.runs.folder import (
    NOT_COMPARED,
    describe_environment,
    read_config,
    unequal_keys,
    write_yaml,
)
from vaclip.runs.prepare import (
    PreparedStudy,
    check_maps,
    chosen_annotators,
    describe_study,
    prepare_study,
    split_plan,
)
from vaclip.runs.run import build_model, check_settings
from vaclip.runs.tokens import frozen_encoder, with_tokens
from vaclip.settings import flat_settings
from vaclip.study.study import Study

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

    @cached_property
    def origin(self) -> dict[str, Any]:
        """What the clips are, see `describe_study`."""
        return describe_study(self.prepared)

    def complete(self) -> list[Job]:
        """Returns the jobs that need not be run."""
        return [job for job in self.jobs if is_complete(job, job_folder(self.folder, job.name))]

    def again(self) -> dict[str, list[str]]:
        """Returns, by job, why some that were finished have to run again."""
        found = {
            job.name: changes_since(job, job_folder(self.folder, job.name)) for job in self.jobs
        }
        return {name: changes for name, changes in found.items() if changes}

    def collect(self, done: Sequence[Job]) -> None:
        """Brings what finished jobs found together."""
        collect(self.folder, self.jobs, {job.name for job in done})


def plan_study(settings: StudyRunConfig, compose: Compose) -> Ablation:
    """Checks a study, decodes its clips and plans its jobs.

    Raises:
        VaclipError: For any mistake of the user.
    """
    config = _for_jobs(plain_config(settings))
    for key in ("devices", "num_nodes"):
        if (value := getattr(config.trainer, key)) not in (1, "1"):
            raise VaclipError(
                f"trainer.{key} is {value}; a job of a study has one device. Use study.jobs, or a "
                "launcher, to use several"
            )
    study = check_settings(config)
    jobs = plan_jobs(
        settings.study,
        lambda arm, seed: _for_jobs(compose(arm, seed)),
        chosen_annotators(config.data, study)[0],
        config.split.folds,
    )
    _check_jobs(jobs, study, settings.study)
    prepared = prepare_study(config.data, study)
    for job in {json_digest(dataclasses.asdict(job.config.features)): job for job in jobs}.values():
        with_tokens(job.config, prepared)  # once for all jobs
    for job in jobs:
        if job.config.data.train_annotators is None:
            check_maps(job.config, prepared)
    usual = _usual_folder(config, settings.runs_dir)
    folder = user_path(settings.run_dir) if settings.run_dir else usual
    ablation = Ablation(config, settings.study, folder, prepared, tuple(jobs))
    if config.data.root and not settings.run_dir and not folder.exists():
        return _begun_before_data_moved(ablation) or ablation
    return ablation


def _begun_before_data_moved(ablation: Ablation) -> Ablation | None:
    """Returns the study with a folder that has jobs of it, from when its data lay elsewhere."""
    for folder in sorted(ablation.folder.parent.glob("study_*")):
        moved = replace(ablation, folder=folder)
        try:
            if not _other_settings(moved) and _same_origin(moved) and moved.complete():
                return moved
        except VaclipError:  # a damaged folder, of whatever study
            continue
    return None


def plain_config(settings: Config) -> Config:
    """Returns the settings of a run without those of the study."""
    return Config(**{f.name: getattr(settings, f.name) for f in dataclasses.fields(Config)})


def _for_jobs(config: Config) -> Config:
    """Leaves out where the study's folder is, and fixes where its videos are."""
    root = config.data.root and str(user_path(config.data.root).resolve())
    data = replace(config.data, root=root)
    return replace(config, data=data, run_dir=None, runs_dir="", resume=False)


def _check_jobs(jobs: Sequence[Job], study: Study, settings: StudyConfig) -> None:
    """Finds what every job would fail of."""
    for seed in settings.seeds:
        split_plan(next(job.config for job in jobs if job.seed == seed), study)
    for job in jobs:
        if job.config.tune != jobs[0].config.tune:
            raise VaclipError(
                f"the arm {job.config.arm} has a search (tune) of its own; every arm of a study "
                "gets the same, such as tune=small for all"
            )
    if settings.annotator_arms and jobs[0].config.data.combine == "stack":
        raise VaclipError(
            "study.annotator_arms trains with one annotator at a time, which has one channel, but "
            "data.combine=stack has one for each; use study.annotator_arms=[]"
        )


def _usual_folder(config: Config, runs_dir: str) -> Path:
    """Equal settings share a folder, so that the same command goes on where it was stopped."""
    content = [_shared_settings(config), config.data.root, config.split.seed]
    source = Path(config.data.root).name if config.data.root else config.data.source
    return user_path(runs_dir) / f"study_{source}_{json_digest(content)[:8]}"


def _shared_settings(config: Config) -> dict[str, Any]:
    """What the jobs of a study have in common, as its report shows it."""
    left_out = NOT_COMPARED | arms.OF_JOBS
    settings = flat_settings(dataclasses.asdict(config))
    shared = {key: value for key, value in settings.items() if key not in left_out}
    if config.data.root:  # where it lies is nobody's business; what it is stands in study.json
        shared["data.root"] = Path(config.data.root).name
    return shared


def open_study_folder(ablation: Ablation) -> None:
    """Makes the folder of a study, or goes on in it.

    Raises:
        VaclipError: If it holds another study, or the clips changed since, or its plan is damaged.
    """
    folder, settings = ablation.folder, _shared_settings(ablation.config)
    if (folder / keys.CONFIG_FILE).exists():
        if different := _other_settings(ablation):
            raise VaclipError(
                f"{folder} holds a study with other settings: {', '.join(different)}; name "
                "another run_dir"
            )
        if not _same_origin(ablation):
            raise VaclipError(
                f"the study changed since {folder} was begun (classes, clips, labels, videos or "
                "maps); name another run_dir"
            )
    register_plan(folder, study_plan(ablation.study, ablation.config.split.folds))
    write_json(folder / keys.STUDY_FILE, ablation.origin)
    shown = settings | flat_settings({"study": dataclasses.asdict(ablation.study)})
    shown["split.seed"] = sorted({job.config.split.seed for job in ablation.jobs})
    for key in ("study.jobs", "study.dry_run"):
        del shown[key]  # they make no difference to the result
    write_yaml(folder / keys.CONFIG_FILE, _nested(shown))
    environment = describe_environment(ablation.config)
    for key in ("command", "seed", "split_seed"):  # of this process, not of the jobs
        del environment[key]
    write_json(folder / keys.ENVIRONMENT_FILE, environment)
    named = {job.config.arm: job.config for job in ablation.jobs}
    named |= {test.arm: test for job in ablation.jobs for test in job.tests}
    described = [
        arms.describe_arm(named[arm], ablation.config)
        | {"model": _describe_model(named[arm], ablation.prepared.study)}
        for arm in ablation.study.arms
    ]
    roles = dataclasses.asdict(study_roles(ablation.study))
    write_json(folder / keys.ARMS_FILE, {"roles": roles, "arms": described})
    data, split = ablation.config.data, ablation.config.split
    card = data_card(data, ablation.prepared, folds=split.folds, by_site=split.by == "site")
    write_json(folder / keys.DATA_CARD_FILE, card.to_json())


def _describe_model(config: Config, study: Study) -> str:
    """Says how much an arm trains, and on what, for its entry in ``arms.json``."""
    encoder = frozen_encoder(config)
    model = build_model(config, study, None if encoder is None else encoder.info)
    model.freeze_unused(align=config.loss.clip_weight > 0, token_loss=config.model.lambda_token > 0)
    trained = sum(own.numel() for own in model.parameters() if own.requires_grad)
    on = "" if encoder is None else f" on the frozen tokens of {encoder.info.told}"
    if encoder is not None and config.features.finetune:
        on = f", the last block of {encoder.info.told} among them"
    return f"Trains {trained / 1e6:.2f} million parameters{on}."


def _other_settings(ablation: Ablation) -> list[str]:
    """Returns the shared settings that the folder of a study was begun with otherwise."""
    before = {
        key: value
        for key, value in flat_settings(read_config(ablation.folder)).items()
        if not key.startswith("study.") and key not in arms.OF_JOBS
    }
    different = unequal_keys(_shared_settings(ablation.config), before)
    return [key for key in different if key != "data.root"]


def _same_origin(ablation: Ablation) -> bool:
    return read_json(ablation.folder / keys.STUDY_FILE, keys.STUDY_FILE) == ablation.origin


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
    complete: Sequence[Job],
    launcher: Sequence[str] = (),
    *,
    queue: Mapping[str, Any] | None = None,
    started: Callable[[Job], None],
    finished: Callable[[Job, bool], None],
) -> list[Job]:
    """Runs what is missing of a study, and collects after each job.

    Args:
        ablation: The study, with its folder opened.
        complete: Its jobs that need not be run.
        launcher: Of Hydra, see `launch_jobs`; without one the jobs are local processes.
        queue: ``hydra.launcher`` where it is Slurm's or Ray's, see `run_in_slurm`, `run_in_ray`.
        started: Called when a job starts; not by another launcher.
        finished: Called when a job ends, with whether it succeeded; not by another launcher.

    Returns:
        The jobs that are complete.

    Raises:
        VaclipError: If a launcher fails, or Slurm or Ray take no jobs.
    """
    done = list(complete)
    left = [job for job in ablation.jobs if job not in done]
    ablation.collect(done)

    def collected(job: Job, succeeded: bool) -> None:
        if succeeded:
            done.append(job)
        ablation.collect(done)
        finished(job, succeeded)

    told = {"started": started, "finished": collected}
    if queue is not None and left:
        run = run_in_ray if queue["_target_"].endswith(".RayLauncher") else run_in_slurm
        run(ablation.folder, left, queue, **told)
    elif launcher and left:
        at_once = ablation.study.jobs
        threads = threads_each(at_once) if at_once else None
        try:
            launch_jobs(ablation.folder, left, launcher, threads)
        finally:  # what was done before a launcher failed counts too
            done = ablation.complete()
            ablation.collect(done)
    elif left:
        run_jobs(ablation.folder, left, jobs_at_once(ablation), **told)
    _write_gallery(ablation, done)
    return done


def why_not_done(ablation: Ablation, done: Sequence[Job]) -> str:
    """Returns the reasons of the jobs that are not done, each once, the commonest first."""
    left = [job for job in ablation.jobs if job not in done]
    found = (alike_reason(ablation.folder, job.name) or "it did not run" for job in left)
    return "; ".join(
        f"{reason} ({counted(n, 'job')})" for reason, n in Counter(found).most_common()
    )


def jobs_at_once(ablation: Ablation) -> int:
    """Returns how many local jobs run at once."""
    if ablation.study.jobs is not None:
        return ablation.study.jobs
    gpu = ablation.config.trainer.accelerator != "cpu" and torch.accelerator.is_available()
    return 1 if gpu else min(available_cores(), _MOST_JOBS)


def _write_gallery(ablation: Ablation, done: Sequence[Job]) -> None:
    """Shows the first finished model of the study's method, if it has one."""
    for job in [job for job in ablation.jobs if job in done]:
        for config in (job.config, *job.tests):
            if config.arm == ablation.study.roles.method:
                where = job_folder(ablation.folder, job.name)
                prepared = with_tokens(config, ablation.prepared)
                write_gallery(config, prepared, where, job.fold, ablation.folder)
                return
    (ablation.folder / keys.GALLERY_FILE).unlink(missing_ok=True)
