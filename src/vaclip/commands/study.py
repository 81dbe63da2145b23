"""``vaclip study``: Hydra composes the settings, and the whole ablation runs to its report."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import Any, cast

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from vaclip.ablation.arms import check_arms
from vaclip.commands.extras import require_extra
from vaclip.commands.main import user_errors
from vaclip.commands.words import look_at_study, words_for_hydra
from vaclip.compose import arm_file, arm_names, compose_settings, explained
from vaclip.config import Config, StudyRunConfig, typed_config
from vaclip.console import progress_bar, say, setup_logging
from vaclip.errors import VaclipError
from vaclip.files import user_path
from vaclip.locks import folder_lock
from vaclip.settings import flat_settings
from vaclip.signals import stoppable

# What a study decides itself, and by which of its settings.
_DECIDED = {
    "arm": "study.arms",
    "experiment": "study.arms",
    "seed": "study.seeds",
    "split.fold": "study.folds",
    "split.train_fraction": "study.train_fraction",
    "data.train_annotators": "study.annotator_arms",
    "data.test_annotators": "study.annotator_arms",
    "data.test_noise": "study.noise",
    "data.test_noise_strength": "study.noise",
}


@hydra.main(version_base="1.3", config_path="pkg://vaclip.conf", config_name="study")
def _study(composed: Any) -> None:
    settings = cast(StudyRunConfig, typed_config(composed))
    hydra_config = HydraConfig.get()
    overrides = list(hydra_config.overrides.task)
    launcher = [
        word
        for word in hydra_config.overrides.hydra
        if word.lstrip("+~").startswith(("hydra/launcher=", "hydra.launcher."))
    ]
    sources = hydra_config.runtime.config_sources
    own = next((source.path for source in sources if source.provider == "command-line"), None)
    setup_logging()
    check_arms(settings.study, arm_names(own))
    _check_overrides(overrides, {*arm_names(), *settings.study.arms}, own)
    queue = _queue_settings(hydra_config.launcher)
    # Imported here, so that a mistyped key answers at once, and a missing folder before torch.
    if settings.data.root:
        look_at_study(user_path(settings.data.root))
    from vaclip.ablation.ablation import (
        open_study_folder,
        plain_config,
        plan_study,
        run_study,
        why_not_done,
    )
    from vaclip.ablation.look import write_looks
    from vaclip.ablation.progress import JobProgress, print_plan
    from vaclip.reports.page import write_report

    setup_logging()  # again: Lightning sets its own level as it is imported

    def compose(arm: str, seed: int) -> Config:
        words = [*overrides, f"experiment={arm}", f"seed={seed}"]
        config = plain_config(compose_settings(words, "study", config_dir=own))
        if config.arm != arm:
            raise VaclipError(f"experiment/{arm}.yaml has arm: {config.arm}; make it arm: {arm}")
        return config

    ablation = plan_study(settings, compose)
    if settings.study.dry_run:
        print_plan(ablation)
        return
    say(f"Study folder: {ablation.folder}")
    with folder_lock(ablation.folder):
        open_study_folder(ablation)
        for name, changes in ablation.again().items():
            say(f"{name} runs again: {'; '.join(changes)}")
        complete = ablation.complete()
        with JobProgress(ablation, complete) as progress:
            done = run_study(
                ablation, complete, launcher,
                queue=queue,
                started=progress.started, finished=progress.finished,
            )  # fmt: skip
        if not done:
            raise VaclipError(f"no job succeeded: {why_not_done(ablation, done)}")
        with progress_bar("Where models look") as look_progress:
            write_looks(ablation, done, progress=look_progress)
        with progress_bar("Writing the report") as report_progress:
            page = write_report(ablation.folder, progress=report_progress)
    say(f"Report: {page}")
    if missing := len(ablation.jobs) - len(done):
        raise VaclipError(
            f"{missing} of {len(ablation.jobs)} jobs are not done, and the report has holes; see "
            f"{ablation.folder}/jobs.csv, mend the cause and run the same command again. They "
            f"said: {why_not_done(ablation, done)}"
        )


def _queue_settings(settings: Any) -> dict[str, Any] | None:
    """Returns the settings of Slurm's queue or of Ray; None where jobs do not go there."""
    kind = settings._target_.rpartition(".")[2]
    if kind not in ("SlurmLauncher", "RayLauncher"):
        return None
    if kind == "RayLauncher":
        require_extra("study hydra/launcher=ray", "ray", "ray")
    else:
        _check_slurm(settings)
    return cast(dict[str, Any], OmegaConf.to_container(settings, resolve=True))


def _check_slurm(settings: Any) -> None:
    for name in ("nodes", "tasks_per_node"):
        if settings[name] != 1:
            raise VaclipError(
                f"hydra.launcher.{name} is {settings[name]}; a job of a study is one process, so "
                "leave it at 1"
            )
    if shutil.which("srun") is None:
        raise VaclipError(
            "hydra/launcher=submitit_slurm needs Slurm's commands, and there is no srun; start the "
            "study on a machine of the cluster"
        )


def _check_overrides(overrides: Sequence[str], arms: Iterable[str], own: str | None) -> None:
    """Refuses what would make arms differ from what their names say."""
    switches = {key for arm in arms for key in flat_settings(arm_file(arm, own))}
    for override in overrides:
        key = override.lstrip("+~").partition("=")[0]
        if key == "resume":
            raise VaclipError("a study always goes on where it was stopped; leave out resume")
        if key in _DECIDED:
            raise VaclipError(f"{key} is what a study varies; it is set by {_DECIDED[key]}")
        if key in switches:
            raise VaclipError(
                f"{key} is what arms differ in, so a study does not take it; for another "
                "configuration write an arm of your own (CONTRIBUTING.md)"
            )


def main() -> None:
    """Runs a study as the command line says; exits with status 1 after a user's mistake."""
    words = ["study.dry_run=true" if word == "--dry-run" else word for word in sys.argv[1:]]
    sys.argv[1:] = words_for_hydra(words, "study", "debug")
    with stoppable("the same command goes on"), user_errors(), explained():
        _study()


if __name__ == "__main__":
    main()
