"""A study of jobs goes on after its data folder was moved, and says what it does again."""

from __future__ import annotations

import dataclasses
import json
import shutil

import pytest

from composed import make_study
from conftest import write_tiny_study
from vaclip import VaclipError, keys
from vaclip.ablation.ablation import (
    Ablation,
    jobs_at_once,
    open_study_folder,
    plain_config,
    plan_study,
)
from vaclip.ablation.job import run_job, save_job, seconds_taken
from vaclip.ablation.progress import duration, print_plan
from vaclip.ablation.worker import job_folder
from vaclip.compose import compose_settings
from vaclip.console import console
from vaclip.evaluation.plan import Plan, plan_changes, read_plans
from vaclip.files import read_json


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with the data of a study, and its one job done."""
    home = tmp_path_factory.mktemp("home")
    write_tiny_study(home / "data", patients_per_class=3)
    ablation = plan(home, "data")
    open_study_folder(ablation)
    finish(ablation)
    return home


def plan(home, data: str, *more: str) -> Ablation:
    words = [
        "study=smoke", "data=folder", f"data.root={home / data}",
        f"data.cache_dir={home / 'cache'}", f"runs_dir={home / 'runs'}",
        "split.folds=3", "study.arms=[B3]", "study.folds=[0]",
        "study.noise_arms=[]", "study.annotator_arms=[]", "trainer.accelerator=cpu",
        "trainer.max_epochs=1", *more,
    ]  # fmt: skip

    def compose(arm, seed):
        composed = [*words, f"experiment={arm}", f"seed={seed}"]
        return plain_config(compose_settings(composed, "study"))

    return plan_study(make_study(*words), compose)


def plans_of(ablation: Ablation) -> tuple[Plan, ...]:
    return read_plans(read_json(ablation.folder / keys.STUDY_PLAN_FILE, "plan.json"))


def finish(ablation: Ablation) -> None:
    for job in ablation.jobs:
        folder = job_folder(ablation.folder, job.name)
        save_job(job, folder)
        run_job(folder)


def test_a_study_whose_data_moved_is_finished_still(home):
    ablation = plan(home, "data")
    assert [entry.results for entry in plans_of(ablation)] == [0]  # written before the job
    assert ablation.complete() == list(ablation.jobs)
    shutil.move(home / "data", home / "elsewhere" / "moved")
    try:
        moved = plan(home, "elsewhere/moved")
        assert moved.folder == ablation.folder
        open_study_folder(moved)
        assert moved.complete() == list(moved.jobs)
        assert moved.again() == {}
        assert plan(home, "elsewhere/moved", "optim.lr=0.5").folder != ablation.folder
    finally:
        shutil.move(home / "elsewhere" / "moved", home / "data")


def test_a_copy_with_other_content_is_another_study(home):
    shutil.copytree(home / "data", home / "other")
    head = (home / "other/study.yaml").read_text()
    (home / "other/study.yaml").write_text(
        head.replace("- steady\n- limping\n", "- limping\n- steady\n")
    )
    before, other = plan(home, "data"), plan(home, "other")
    assert other.folder != before.folder
    named = dataclasses.replace(other, folder=before.folder)
    with pytest.raises(VaclipError, match="the study changed since"):
        open_study_folder(named)


def test_a_damaged_folder_of_another_study_stops_nothing(home):
    (home / "runs" / "study_0").mkdir()
    (home / "runs" / "study_0" / keys.CONFIG_FILE).write_text("a: [b")
    shutil.copytree(home / "data", home / "copy")
    assert plan(home, "copy").folder == plan(home, "data").folder


def test_a_plan_counts_the_trainings_of_teachers(home, monkeypatch):
    run_dir = f"run_dir={plan(home, 'data').folder}"
    ablation = plan(home, "data", run_dir, "study.arms=[B3,P3]")
    monkeypatch.setattr(console, "quiet", False)
    with console.capture() as captured:
        print_plan(ablation)
    said = " ".join(captured.get().replace("│", " ").split())
    assert "2 jobs, 5 trainings" in said
    (done,) = ablation.complete()
    (left,) = (job for job in ablation.jobs if job != done)
    seconds = seconds_taken(job_folder(ablation.folder, done.name)) * left.cost
    assert left.cost == 3
    assert f"1 to run, {jobs_at_once(ablation)} at once" in said
    assert f"about {duration(seconds / jobs_at_once(ablation))} on this machine" in said


def test_a_test_is_added_after_the_data_moved_and_the_plan_says_so(home, monkeypatch):
    shutil.copytree(home / "data", home / "again")
    run_dir = f"run_dir={plan(home, 'data').folder}"
    wanted = (run_dir, "study.noise_arms=[B3]", "study.noise.displacement=[0.2]")
    ablation = plan(home, "again", *wanted)
    open_study_folder(ablation)
    assert len(plans_of(ablation)) == 1  # points of axes are no part of it
    (job,) = ablation.jobs
    assert ablation.again() == {job.name: ["B3@noise_displacement=0.2 is tested too"]}
    monkeypatch.setattr(console, "quiet", False)
    with console.capture() as captured:
        print_plan(ablation)
    said = " ".join(captured.get().replace("│", " ").split())
    assert "to run again:" in said
    assert "tested too" in said
    checkpoint = job_folder(ablation.folder, job.name) / "fold_0/checkpoints/best.ckpt"
    trained = checkpoint.stat().st_mtime_ns
    finish(ablation)
    assert checkpoint.stat().st_mtime_ns == trained
    assert ablation.complete() == [job]
    done = json.loads((job_folder(ablation.folder, job.name) / "done.json").read_text())
    assert any("noise_displacement" in name for name in done["files"])


def test_another_seed_after_the_first_result_changes_the_plan(home):
    run_dir = f"run_dir={shutil.copytree(plan(home, 'data').folder, home / 'replanned')}"
    more = plan(home, "data", run_dir, "study.seeds=[0,1]", "study.margin=0.1")
    open_study_folder(more)
    first, second = plans_of(more)
    assert second.results == 1
    assert plan_changes(first.content, second.content) == ["margin 0.05 -> 0.1", "seeds 0 -> 0, 1"]
    roles = json.loads((more.folder / keys.ARMS_FILE).read_text())["roles"]
    assert roles["margin"] == 0.1
