"""How the time left is said and counted."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from composed import make_config
from vaclip.ablation.plan import Job
from vaclip.ablation.progress import JobProgress, duration
from vaclip.ablation.worker import FAILED_FILE, job_folder
from vaclip.files import write_json


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (89.4, "89 s"), (90, "2 min"), (5369, "89 min"), (5400, "1 h 30 min")],
)
def test_duration(seconds, said):
    assert duration(seconds) == said


@pytest.fixture
def jobs() -> list[Job]:
    shares = (1.0, 1.0, 0.5, 0.5)
    configs = [make_config(Path("runs"), f"split.train_fraction={share}") for share in shares]
    return [Job(str(number), config) for number, config in enumerate(configs)]


def test_a_job_costs_what_it_trains_on(jobs):
    assert [job.cost for job in jobs] == [1.0, 1.0, 0.5, 0.5]
    assert {job.trainings for job in jobs} == {1}


@pytest.mark.parametrize(
    ("settings", "trainings", "cost"),
    [
        (("P2",), 1, 1.0),
        (("P2", "model.map_crossfit=4"), 5, 4.0),  # itself, and 4 on 3/4
        (("P3",), 4, 3.0),
        (("P3", "model.map_crossfit=2", "model.distill_crossfit=5"), 8, 6.0),
        (("P3", "split.train_fraction=0.25"), 4, 0.75),
        (("P3", "tune=small", "tune.trials=3"), 7, 1.5),  # 4 + 2 in place of 4
        (("P2", "model.map_head=ridge", "model.lambda_map=0", "model.map_crossfit=5",
          "backbone=lite0"), 1, 1.0),
    ],
)  # fmt: skip
def test_the_trainings_that_cross_fitting_adds_are_counted(settings, trainings, cost):
    arm, *overrides = settings
    job = Job("0", make_config(Path("runs"), f"experiment={arm}", *overrides))
    assert (job.trainings, job.cost) == (trainings, pytest.approx(cost))


def test_jobs_are_counted_and_the_time_left_goes_by_cost(jobs, monkeypatch, tmp_path):
    now = 100.0
    monkeypatch.setattr("vaclip.ablation.progress.time.monotonic", lambda: now)
    progress = JobProgress(SimpleNamespace(jobs=tuple(jobs), folder=tmp_path), [jobs[0]])
    assert progress._summary() == "1 done, 0 running, 3 left"
    for job in jobs[1:3]:
        progress.started(job)
    assert progress._summary() == "1 done, 2 running, 1 left"
    now += 60.0
    progress.finished(jobs[1], True)
    # 1 of what was left to do took 60 s; 1 is still to be done.
    assert progress._summary() == "2 done, 1 running, 1 left, about 60 s to go"
    now += 15.0
    progress.finished(jobs[2], False)
    assert progress._summary() == "2 done, 1 failed, 0 running, 1 left, about 25 s to go"


def test_a_failed_job_says_why(jobs, monkeypatch, tmp_path):
    write_json(job_folder(tmp_path, "0") / FAILED_FILE, {"reason": "no [b]memory[/b]"})
    console = Console(file=StringIO(), width=200)
    monkeypatch.setattr("vaclip.console.console", console)
    progress = JobProgress(SimpleNamespace(jobs=tuple(jobs), folder=tmp_path), [])
    for number in (0, 1):
        progress.started(jobs[number])
        progress.finished(jobs[number], False)
    said = console.file.getvalue()
    assert "0: FAILED: no [b]memory[/b]; 0 done, 1 failed, 0 running" in said
    assert "1: FAILED: another process runs it; 0 done, 2 failed" in said
