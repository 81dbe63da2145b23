"""`vaclip study` as a person types it, and killed as a machine room kills it."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from vaclip import keys

# Two trainings, and a test of the second with other maps.
SMALL = ["study=smoke", "study.arms=[B0,B3,K_withheld]", "study.folds=[0]", "study.noise_arms=[]",
         "trainer.accelerator=cpu"]  # fmt: skip
REPORT_SUFFIXES = {".html", ".md", ".tex", ".csv", ".png", ".svg"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the commands run in; the cache lies there, too."""
    return tmp_path_factory.mktemp("home")


def start(home: Path, *words: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "VACLIP_CACHE": str(home / "cache")}
    return subprocess.Popen(
        [sys.executable, "-m", "vaclip", *words],
        cwd=home, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        # A shell that runs the tests in the background has Ctrl-C ignored, also by children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def command(home: Path, *words: str) -> tuple[int, str]:
    process = start(home, *words)
    output, _ = process.communicate(timeout=280)
    return process.returncode, output


def running(folder: Path) -> bool:
    """Whether a job of a study is running."""
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    return any("vaclip.ablation.worker" in line and folder.name in line
               for line in listed.stdout.splitlines())  # fmt: skip


@pytest.fixture(scope="module")
def finished(home: Path) -> Path:
    """A study that nothing disturbed."""
    code, output = command(home, "study", *SMALL)
    assert code == 0, output
    assert "Report: " in output
    (folder,) = (home / "runs").iterdir()
    return folder


def test_the_folder_is_a_whole_study(finished):
    states = pd.read_csv(finished / keys.JOBS_FILE)
    assert states["arm"].tolist() == ["B0", "B3", "K_withheld"]
    assert set(states["state"]) == {"done"}
    for name in (
        keys.PREDICTIONS_FILE, keys.ARMS_FILE, keys.DATA_CARD_FILE, keys.STUDY_PLAN_FILE,
        keys.GALLERY_FILE, keys.CONFIG_FILE, keys.ENVIRONMENT_FILE, "report/report.html",
    ):  # fmt: skip
        assert (finished / name).is_file(), name
    assert {path.name for path in (finished / "jobs").iterdir()} == {
        "B0-fold0-seed0",
        "B3-fold0-seed0",
    }
    assert not list(finished.rglob(".tmp-*"))


def test_the_report_can_be_made_anew_and_with_ids(home, finished):
    code, output = command(home, "report", str(finished), "--out", "again")
    assert code == 0, output
    for name in ("report.html", "tables.md", "figures/forest.svg"):
        assert (home / "again" / name).read_bytes() == (finished / "report" / name).read_bytes()
    code, output = command(home, "report", str(finished), "--out", "named", "--real-ids")
    assert code == 0, output
    pseudonyms, ids = ((home / n / "report.html").read_text("utf-8") for n in ("again", "named"))
    cases = json.loads((finished / keys.GALLERY_FILE).read_text(encoding="utf-8"))["cases"]
    assert cases
    for case in cases:
        assert case["clip_id"] in ids
        assert case["clip_id"] not in pseudonyms


def test_there_is_nothing_to_report_on(home):
    (home / "empty").mkdir(exist_ok=True)
    code, output = command(home, "report", "empty")
    assert code == 1
    assert "predictions.parquet" in output
    assert "Traceback" not in output


@pytest.mark.slow
def test_a_finished_study_is_not_run_again(home, finished):
    before = {p: p.stat().st_mtime_ns for p in finished.glob("jobs/**/*") if p.is_file()}
    code, output = command(home, "study", *SMALL)
    assert code == 0, output
    assert {p: p.stat().st_mtime_ns for p in finished.glob("jobs/**/*") if p.is_file()} == before


@pytest.mark.slow
def test_what_makes_a_job_run_again_is_said(home, finished):
    folder = shutil.copytree(finished, home / "more")
    words = ["study.noise_arms=[B3]", "study.noise.displacement=[0.3]", f"run_dir={folder}"]
    code, output = command(home, "study", *SMALL, *words)
    assert code == 0, output
    assert "B3-fold0-seed0 runs again: B3@noise_displacement=0.3 is tested too" in output
    assert "B0-fold0-seed0 runs again" not in output
    assert "the plan is changed" not in output  # it has no say in the points of axes


@pytest.mark.slow
def test_a_plan_that_is_changed_after_results_is_said_and_told_in_the_report(home, finished):
    folder = shutil.copytree(finished, home / "replanned")
    page = (folder / "report" / "report.html").read_text(encoding="utf-8")
    assert "As planned (plan " in page
    code, output = command(home, "study", *SMALL, "study.margin=0.1", f"run_dir={folder}")
    assert code == 0, output
    said = " ".join(output.split())
    assert "the plan is changed after 2 results, and the report will say so: margin" in said
    page = (folder / "report" / "report.html").read_text(encoding="utf-8")
    assert "As planned (plan " not in page
    assert "Changed after 2 results" in page
    assert "margin 0.05 -&gt; 0.1." in page


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_study_killed_at_random_moments_gives_the_same_report(home, finished):
    again = home / "again" / finished.name
    again.mkdir(parents=True)
    shutil.copy(finished / keys.STUDY_PLAN_FILE, again)  # the page says on which day it was planned
    words = ["study", *SMALL, f"run_dir={again}"]
    delays = random.Random(0)
    for _ in range(3):
        process = start(home, *words)
        while not running(again) and process.poll() is None:
            time.sleep(0.05)
        time.sleep(delays.uniform(2, 12))
        process.kill()  # SIGKILL, to the parent alone: nobody can tidy up
        process.wait()
        deadline = time.monotonic() + 30
        while running(again) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not running(again), "a job outlived the study that started it"
    code, output = command(home, *words)
    assert code == 0, output
    shutil.copy(finished / keys.JOBS_FILE, again)  # the page says how long trainings took
    code, output = command(home, "report", str(again))
    assert code == 0, output
    files = {p.relative_to(finished) for p in (finished / "report").rglob("*") if p.is_file()}
    assert {file.suffix for file in files} == REPORT_SUFFIXES
    for file in files | {Path(keys.PREDICTIONS_FILE)}:
        assert (again / file).read_bytes() == (finished / file).read_bytes(), file


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "status", "launcher"),
    [
        (signal.SIGINT, 130, []),
        (signal.SIGTERM, 143, []),
        (signal.SIGTERM, 143, ["hydra/launcher=basic"]),
        (signal.SIGTERM, 143, ["hydra/launcher=joblib", "hydra.launcher.n_jobs=1"]),
        (signal.SIGKILL, -9, ["hydra/launcher=joblib", "hydra.launcher.n_jobs=1"]),
    ],
)
def test_what_stops_a_study_stops_its_jobs_too(home, number, status, launcher):
    if "hydra/launcher=joblib" in launcher:
        pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    folder = home / "stopped" / f"by_{number}_{len(launcher)}"
    process = start(home, "study", *SMALL, f"run_dir={folder}", *launcher)
    while not list(folder.glob("jobs/*/lock")) and process.poll() is None:
        time.sleep(0.05)  # until a job is at work
    process.send_signal(number)
    if number == signal.SIGKILL:  # what decoded for it may sleep on for a while, with its output
        assert process.wait() == status
    else:
        output, _ = process.communicate(timeout=60)
        assert process.returncode == status, output
        assert "the same command goes on" in output
        assert "Traceback" not in output
    deadline = time.monotonic() + 30
    while running(folder) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not running(folder)


@pytest.mark.slow
def test_a_failed_job_is_a_hole_in_the_report_and_the_others_go_on(home, finished):
    folder = home / "failing"
    job = folder / "jobs" / "B3-fold0-seed0"
    job.mkdir(parents=True)
    (job / "config.yaml").write_text("arm: other\n")  # somebody else's run
    code, output = command(home, "study", *SMALL, f"run_dir={folder}")
    assert code == 1
    assert "1 of 2 jobs are not done" in output
    states = pd.read_csv(folder / keys.JOBS_FILE).set_index("arm")
    assert states["state"].to_dict() == {"B0": "done", "B3": "failed", "K_withheld": "failed"}
    assert "other settings" in states.loc["B3", "reason"]
    page = (folder / "report" / "report.html").read_text(encoding="utf-8")
    assert "failed" in page


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["seed=1"], "study.seeds"),
        (["split.fold=1"], "study.folds"),
        (["experiment=B3"], "study.arms"),
        (["model.map_guided=false"], "model.map_guided is what arms differ in"),
        (["data.control=uniform"], "data.control is what arms differ in"),
        (["data.test_noise=blur"], "study.noise"),
        (["study.arm=[B0]"], "Did you mean 'study.arms'?"),
        (["study=quik"], "quick"),
        (["study.arms=[B9]"], "B9"),
        (["study.folds=[7]"], "study.folds is [7]"),
        (["study.jobs=many"], "study.jobs"),
        (["resume=true"], "leave out resume"),
        (["trainer.devices=2"], "trainer.devices is 2"),
        (["split.folds=8"], "too few for split.folds=8"),
        (["data=folder", "data.root=nowhere"], "nowhere"),
    ],
)
def test_mistakes_are_one_message(home, words, said):
    code, output = command(home, "study", "study=smoke", *words)
    assert code == 1, output
    assert said in output
    assert "Traceback" not in output


def test_a_dry_run_lists_the_jobs_and_leaves_nothing(home):
    code, output = command(home, "study", *SMALL, "--dry-run", "runs_dir=dry")
    assert code == 0, output
    assert "B0-fold0-seed0" in output
    assert "K_withheld" in output
    assert "2 to run" in output
    assert re.search(r"Plan [0-9a-f]{8}\b", output)
    assert not (home / "dry").exists()


@pytest.mark.slow
def test_an_arm_of_ones_own(home):
    """In a folder that the jobs, other processes, know nothing of."""
    (home / "mine" / "experiment").mkdir(parents=True)
    (home / "mine" / "experiment" / "MINE.yaml").write_text(
        "# @package _global_\narm: MINE\nabout:\n  method: my way\n"
        "model:\n  map_guided_type: weighted_pool\n"
    )
    words = ["study", "--config-dir", "mine", *SMALL, "study.arms=[B0,MINE]", "run_dir=own"]
    code, output = command(home, *words, "study.roles.method=MINE")
    assert code == 0, output
    states = pd.read_csv(home / "own" / keys.JOBS_FILE)
    assert states[["arm", "state"]].to_numpy().tolist() == [["B0", "done"], ["MINE", "done"]]
    content = json.loads((home / "own" / keys.ARMS_FILE).read_text(encoding="utf-8"))
    assert (content["roles"]["baseline"], content["roles"]["method"]) == ("B0", "MINE")
    assert content["arms"][1]["method"] == "my way"
    assert content["arms"][1]["switches"] == {"model.map_guided_type": "weighted_pool"}
    gallery = json.loads((home / "own" / keys.GALLERY_FILE).read_text(encoding="utf-8"))
    assert gallery["arm"] == "MINE"


@pytest.mark.parametrize(
    ("arm", "said"),
    [("MIEN", "no arm 'MIEN'. Did you mean 'MINE'?"), ("MISNAMED", "make it arm: MISNAMED")],
)
def test_an_arm_of_ones_own_that_is_mistaken(tmp_path, arm, said):
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    for name in ("MINE", "MISNAMED"):
        file = tmp_path / "mine" / "experiment" / f"{name}.yaml"
        file.write_text("# @package _global_\narm: MINE\n")
    words = ["study=smoke", "--config-dir", "mine", f"study.arms=[B0,{arm}]"]
    code, output = command(tmp_path, "study", *words)
    assert code == 1
    assert said in output
    assert "Traceback" not in output
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_other_settings_in_the_same_folder_are_refused(home, finished):
    code, output = command(home, "study", *SMALL, f"run_dir={finished}", "optim.lr=0.1")
    assert code == 1
    assert "other settings: optim.lr" in output
