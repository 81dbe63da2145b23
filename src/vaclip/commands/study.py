"""``vaclip study``: Hydra composes the settings, and the whole ablation runs to its report."""

from __future__ import annotations

import sys
from typing import Any, cast

import hydra
from hydra.core.hydra_config import HydraConfig

from vaclip.commands.main import user_errors
from vaclip.compose import explained
from vaclip.config import Config, StudyRunConfig, typed_config
from vaclip.errors import VaclipError

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
    given = HydraConfig.get().overrides
    overrides = list(given.task)
    launcher = [
        word
        for word in given.hydra
        if word.lstrip("+~").startswith(("hydra/launcher=", "hydra.launcher."))
    ]
    _check_overrides(overrides)
    # Imported here, so that a mistyped key answers without waiting for torch.
    from vaclip.ablation.ablation import (
        open_study_folder,
        plain_config,
        plan_study,
        run_study,
        study_lock,
    )
    from vaclip.ablation.progress import JobProgress, print_plan
    from vaclip.console import console, progress_bar, setup_logging
    from vaclip.reports.page import write_report

    setup_logging()

    def compose(arm: str, seed: int) -> Config:
        own = [*overrides, f"experiment={arm}", f"seed={seed}"]
        with explained():
            return plain_config(typed_config(hydra.compose("study", own)))

    ablation = plan_study(settings, compose)
    if settings.study.dry_run:
        print_plan(ablation)
        return
    console.print(f"Study folder: {ablation.folder}", highlight=False, soft_wrap=True)
    with study_lock(ablation.folder):
        open_study_folder(ablation)
        complete = ablation.complete()
        with JobProgress(ablation, complete) as progress:
            done = run_study(
                ablation, complete, launcher,
                started=progress.started, finished=progress.finished,
            )  # fmt: skip
        if not done:
            raise VaclipError(f"no job succeeded; see {ablation.folder}/jobs/*/job.log")
        with progress_bar("Writing the report") as report_progress:
            page = write_report(ablation.folder, progress=report_progress)
    console.print(f"Report: {page}", highlight=False, soft_wrap=True)
    if missing := len(ablation.jobs) - len(done):
        raise VaclipError(
            f"{missing} of {len(ablation.jobs)} jobs are not done, and the report has holes; see "
            f"{ablation.folder}/jobs.csv, mend the cause and run the same command again"
        )


def _check_overrides(overrides: list[str]) -> None:
    """Refuses what would make arms differ from what their names say."""
    from vaclip.ablation.arms import all_arms, arm_switches

    switches = {key for arm in all_arms() for key in arm_switches(arm)}
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
    sys.argv[1:] = ["study.dry_run=true" if a == "--dry-run" else a for a in sys.argv[1:]]
    try:
        with user_errors(), explained():
            _study()
    except KeyboardInterrupt:
        print("stopped; the same command goes on", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
