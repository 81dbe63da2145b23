"""Jobs in processes: what fails is noted with its reason, and the others go on."""

from __future__ import annotations

import dataclasses
import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from filelock import FileLock

from composed import make_config
from vaclip import VaclipError, keys
from vaclip.ablation.collect import collect
from vaclip.ablation.job import (
    arm_folder,
    changes_since,
    is_complete,
    load_job,
    run_job,
    save_job,
    seconds_taken,
)
from vaclip.ablation.plan import Job
from vaclip.ablation.pool import launch_jobs, run_jobs
from vaclip.ablation.worker import FAILED_FILE, LOG_FILE, Worker, _reason, job_folder
from vaclip.evaluation.predictions import Predictions
from vaclip.files import write_json


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """The smallest training, with two more tests."""
    cache = tmp_path_factory.mktemp("cache")
    config = make_config(Path("runs"), "experiment=B3", f"data.cache_dir={cache}", "split.fold=1")
    noisy = dataclasses.replace(config.data, test_noise="dropout", test_noise_strength=1.0)
    variant = keys.variant_name("B3", "noise_dropout", 1.0)
    tests = (
        dataclasses.replace(config, arm=variant, data=noisy),
        dataclasses.replace(config, arm="C3_linear"),
    )
    return Job("B3-fold1-seed0", config, tests)


@pytest.fixture(scope="module")
def finished(job: Job, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study folder in which the job was run."""
    study = tmp_path_factory.mktemp("study")
    folder = job_folder(study, job.name)
    save_job(job, folder)
    run_job(folder)
    return study


def broken(job: Job, name: str) -> Job:
    """A job that the user can mend: its study does not exist."""
    data = dataclasses.replace(job.config.data, source="folder", root="nowhere")
    return Job(name, dataclasses.replace(job.config, data=data))


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    started = Worker(tmp_path, 1)
    yield started
    started.end()


def reason_of(study: Path, name: str) -> str:
    return json.loads((job_folder(study, name) / FAILED_FILE).read_text())["reason"]


def test_a_job_is_read_as_it_was_written(job, tmp_path):
    save_job(job, tmp_path)
    assert load_job(tmp_path) == job


def test_a_finished_job_is_complete_and_has_a_table_for_each_arm(job, finished):
    folder = job_folder(finished, job.name)
    assert is_complete(job, folder)
    assert seconds_taken(folder) > 0
    tables = {}
    for arm in job.arms:
        table = pd.read_parquet(arm_folder(folder, job, arm) / keys.PREDICTIONS_FILE)
        assert set(table[keys.PRED_ARM]) == {arm}
        assert set(table[keys.PRED_FOLD]) == {1}
        tables[arm] = table[table[keys.PRED_SPLIT] == "test"].reset_index(drop=True)
    probs = [name for name in tables["B3"] if name.startswith(keys.PRED_PROB_PREFIX)]
    # The same model by another name says the same; without maps it cannot.
    pd.testing.assert_frame_equal(tables["B3"][probs], tables["C3_linear"][probs])
    without = tables["B3@noise_dropout=1.0"]
    assert without[keys.PRED_SIM].isna().all()
    assert not tables["B3"][probs].equals(without[probs])


def test_a_job_with_another_test_is_not_complete_and_its_training_is_kept(job, finished):
    folder = job_folder(finished, job.name)
    noisier = dataclasses.replace(
        job.tests[0],
        arm="B3@noise_gain=0.5",
        data=dataclasses.replace(job.config.data, test_noise="gain", test_noise_strength=0.5),
    )
    more = dataclasses.replace(job, tests=(*job.tests, noisier))
    assert not is_complete(more, folder)
    checkpoint = folder / "fold_1" / "checkpoints" / "best.ckpt"
    before = checkpoint.stat().st_mtime_ns
    save_job(more, folder)
    assert not is_complete(more, folder)  # also where it is killed here
    run_job(folder)
    assert is_complete(more, folder)
    assert checkpoint.stat().st_mtime_ns == before
    save_job(job, folder)
    run_job(folder)
    assert is_complete(job, folder)


@pytest.mark.parametrize(
    "name", ["fold_1/predictions.parquet", "tests/C3_linear/predictions.parquet"]
)
def test_a_file_that_was_changed_or_lost_is_noticed(job, finished, name):
    folder = job_folder(finished, job.name)
    content = (folder / name).read_bytes()
    try:
        (folder / name).write_bytes(content[:-1] + b"x")
        with pytest.raises(VaclipError, match=rf"{name} was changed or lost"):
            is_complete(job, folder)
        (folder / name).unlink()
        with pytest.raises(VaclipError, match=rf"{name} was changed or lost"):
            is_complete(job, folder)
    finally:
        (folder / name).write_bytes(content)
    assert is_complete(job, folder)


def test_what_is_collected(job, finished):
    other = broken(job, "B0-fold1-seed0")
    collect(finished, [job, other], {job.name})
    table = pd.read_parquet(finished / keys.PREDICTIONS_FILE)
    assert list(dict.fromkeys(table[keys.PRED_ARM])) == list(job.arms)
    states = pd.read_csv(finished / keys.JOBS_FILE, keep_default_na=False)
    assert states.to_dict("list") == {
        "arm": [*job.arms, "B3"],
        "fold": [1] * 4,
        "seed": [0] * 4,
        "state": ["done"] * 3 + ["missing"],
        "reason": [""] * 4,
        "seconds": [str(seconds_taken(job_folder(finished, job.name)))] * 3 + [""],
    }
    retrieval = Predictions.load(finished).model_clips("B3", 1, 0).retrieval()
    logged = json.loads((job_folder(finished, job.name) / "fold_1/test_metrics.json").read_text())
    for name, value in retrieval.items():
        assert value == pytest.approx(logged["test"][f"test/{name}"], nan_ok=True)
    assert len(retrieval) == 18  # R@1, R@5, median rank; two directions, chance; clips and maps


def test_a_failure_is_noted_and_the_others_go_on(job, tmp_path):
    jobs = [broken(job, "one"), broken(job, "two")]
    started, ended = [], []
    run_jobs(
        tmp_path, jobs, 2, started=started.append, finished=lambda *how: ended.append(how)
    )  # fmt: skip
    assert started == jobs
    assert sorted((job.name, succeeded) for job, succeeded in ended) == [
        ("one", False),
        ("two", False),
    ]
    assert "nowhere" in reason_of(tmp_path, "one")
    collect(tmp_path, jobs, set())
    states = pd.read_csv(tmp_path / keys.JOBS_FILE)
    assert states["state"].tolist() == ["failed", "failed"]
    assert states["reason"].str.contains("nowhere").all()
    assert not (tmp_path / keys.PREDICTIONS_FILE).exists()


def test_a_failure_that_is_no_mistake_of_the_user_is_noted_too(tmp_path, worker):
    job_folder(tmp_path, "one").mkdir(parents=True)
    (job_folder(tmp_path, "one") / "job.yaml").write_text("nonsense: 1\n")
    assert not worker.run("one")
    assert "job.yaml was damaged" in reason_of(tmp_path, "one")


def test_a_process_runs_job_after_job_and_each_has_its_log(job, finished, worker, tmp_path):
    """As alone: nothing that one job leaves behind changes the next."""
    jobs = [dataclasses.replace(job, name=name) for name in ("one", "two")]
    for one in jobs:
        save_job(one, job_folder(tmp_path, one.name))
    assert worker.run("one")
    process = worker._process
    assert worker.run("two")
    assert worker._process is process is not None
    alone = pd.read_parquet(arm_folder(job_folder(finished, job.name), job, "B3")
                            / keys.PREDICTIONS_FILE)  # fmt: skip
    for one in jobs:
        folder = job_folder(tmp_path, one.name)
        assert is_complete(one, folder)
        assert f"Run folder: {folder}" in (folder / LOG_FILE).read_text().replace("\n", "")
        table = pd.read_parquet(arm_folder(folder, one, "B3") / keys.PREDICTIONS_FILE)
        pd.testing.assert_frame_equal(table, alone)


def test_after_a_process_is_killed_another_takes_the_next_job(job, worker, tmp_path):
    for name in ("one", "two"):
        save_job(broken(job, name), job_folder(tmp_path, name))
    killer = threading.Thread(target=kill_once_started, args=(worker,))
    killer.start()
    assert not worker.run("one")
    killer.join()
    assert reason_of(tmp_path, "one") == "killed by SIGKILL, perhaps for want of memory"
    assert not worker.run("two")
    assert "nowhere" in reason_of(tmp_path, "two")


def kill_once_started(worker: Worker) -> None:
    while worker._process is None:
        time.sleep(0.001)
    worker._process.kill()


def test_a_worker_that_is_ended_runs_nothing_more(job, worker, tmp_path):
    save_job(broken(job, "one"), job_folder(tmp_path, "one"))
    worker.end()
    assert not worker.run("one")
    assert not (job_folder(tmp_path, "one") / FAILED_FILE).exists()


ONE_REASON = {f"B{n}-fold0": f"jobs/B{n}-fold0: the disk is full" for n in range(8)}


@pytest.mark.parametrize(
    ("reasons", "ends"),
    [
        (ONE_REASON, 3),
        (dict.fromkeys(ONE_REASON, "a") | dict.fromkeys([*ONE_REASON][1::2], "b"), 8),
        (ONE_REASON | dict.fromkeys([*ONE_REASON][::2]), 8),
        (dict.fromkeys([*ONE_REASON][:3], "a"), 3),  # nothing is left to spare
    ],
    ids=["one reason", "two reasons", "one works", "no more jobs"],
)
def test_first_jobs_that_fail_alike_end_the_study(job, tmp_path, monkeypatch, reasons, ends):
    jobs = [dataclasses.replace(job, name=name) for name in reasons]
    ended: list[str] = []

    def start(worker: Worker, name: str) -> bool:
        while len(ended) < [*reasons].index(name) and not worker._ended.wait(0.001):
            pass  # one after the other
        if reason := reasons[name]:
            write_json(job_folder(tmp_path, name) / FAILED_FILE, {"reason": reason})
        return reason is None

    monkeypatch.setattr(Worker, "run", start)

    def run() -> None:
        run_jobs(
            tmp_path, jobs, 1,
            started=lambda job: None, finished=lambda job, done: ended.append(job.name),
        )  # fmt: skip

    if ends < len(jobs):
        with pytest.raises(VaclipError, match=r"first 3 jobs failed.*jobs/JOB: the disk is full"):
            run()
    else:
        run()
    assert len(ended) == ends


def test_a_job_that_is_stopped_says_by_what(job, worker, tmp_path, monkeypatch):
    save_job(job, job_folder(tmp_path, job.name))
    command = [sys.executable, "-c", STOPS_ITSELF, "vaclip.ablation.worker", str(tmp_path)]
    popen = subprocess.Popen
    monkeypatch.setattr(
        "vaclip.ablation.worker.subprocess.Popen", lambda _, **how: popen(command, **how)
    )
    assert not worker.run(job.name)
    reason = reason_of(tmp_path, job.name)
    assert reason == "stopped by SIGTERM; the study goes on with the same command"


# A job that is stopped, as by a time limit, once it works.
STOPS_ITSELF = """
import os, signal, sys
from vaclip.ablation import job, worker
job.run_job = lambda folder: os.kill(os.getpid(), signal.SIGTERM) or signal.pause()
sys.argv = sys.argv[1:]
worker.main()
"""


def test_a_damaged_file_of_a_finished_job_is_named(job, finished, tmp_path):
    for name in ("done.json", "job.yaml"):
        folder = tmp_path / name
        shutil.copytree(job_folder(finished, job.name), folder)
        (folder / name).write_bytes(b"{]\xff")
        with pytest.raises(VaclipError, match=name):
            is_complete(job, folder)


def test_settings_that_make_no_difference_leave_a_job_complete(job, finished):
    data = dataclasses.replace(job.config.data, num_workers=3)
    same = dataclasses.replace(job.config, data=data, runs_dir="elsewhere")
    assert is_complete(dataclasses.replace(job, config=same), job_folder(finished, job.name))


def test_where_the_data_lie_leaves_a_job_complete(job, finished):
    moved = dataclasses.replace(job.config.data, root="elsewhere")
    tests = tuple(
        dataclasses.replace(test, data=dataclasses.replace(test.data, root="elsewhere"))
        for test in job.tests
    )
    same = dataclasses.replace(job, config=dataclasses.replace(job.config, data=moved), tests=tests)
    assert changes_since(same, job_folder(finished, job.name)) == []
    assert is_complete(same, job_folder(finished, job.name))


def test_what_makes_a_job_run_again_is_named(job, finished):
    folder = job_folder(finished, job.name)
    noisy, linear = job.tests
    weaker = dataclasses.replace(
        noisy, data=dataclasses.replace(noisy.data, test_noise_strength=0.5)
    )
    slower = dataclasses.replace(job.config.optim, lr=0.5)
    other = dataclasses.replace(
        job,
        config=dataclasses.replace(job.config, optim=slower),
        tests=(weaker, dataclasses.replace(linear, arm="C3_other")),
    )
    assert changes_since(other, folder) == [
        f"optim.lr was {job.config.optim.lr}, and is 0.5",
        "C3_other is tested too",
        "C3_linear is not tested any more",
        "in B3@noise_dropout=1.0 data.test_noise_strength was 1.0, and is 0.5",
    ]
    assert not is_complete(other, folder)
    assert changes_since(other, finished / "jobs" / "never run") == []


def test_a_test_under_other_settings_is_made_anew(job, finished, tmp_path):
    folder = tmp_path / "job"
    shutil.copytree(job_folder(finished, job.name), folder)
    weaker = dataclasses.replace(
        job.tests[0], data=dataclasses.replace(job.tests[0].data, test_noise_strength=0.0)
    )
    changed = dataclasses.replace(job, tests=(weaker, *job.tests[1:]))
    # Moved, a run refuses to train on; but it is trained already.
    save_job(changed, folder)
    run_job(folder)
    place = arm_folder(folder, changed, weaker.arm) / keys.PREDICTIONS_FILE
    assert pd.read_parquet(place)[keys.PRED_SIM].notna().all()  # its maps are back


def test_a_job_that_another_process_runs_is_no_failure(job, finished):
    folder = job_folder(finished, job.name)
    worker = Worker(finished, 1)
    with FileLock(folder / "lock"):
        assert not worker.run(job.name)
    worker.end()
    assert not (folder / FAILED_FILE).exists()


def test_a_job_runs_in_one_process_at_a_time(job, finished):
    folder = job_folder(finished, job.name)
    with FileLock(folder / "lock"), pytest.raises(VaclipError, match="another process"):
        run_job(folder)


LAUNCHERS = {
    "basic": ["hydra/launcher=basic"],
    "joblib": ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"],
    "submitit": ["hydra/launcher=submitit_local", "hydra.launcher.timeout_min=5"],
}


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_launcher_of_hydra_runs_the_jobs(job, tmp_path, launcher):
    if launcher != "basic":
        pytest.importorskip(f"hydra_plugins.hydra_{launcher}_launcher")
    study = tmp_path / 'a "study", with = signs'
    jobs = [broken(job, "bad"), broken(job, "worse")]
    if launcher == "joblib":  # a training takes a while, and is the same under all of them
        jobs.append(dataclasses.replace(job, name="good"))
    launch_jobs(study, jobs, LAUNCHERS[launcher])
    for name in ("bad", "worse"):
        assert "nowhere" in reason_of(study, name)
    for good in jobs[2:]:
        assert is_complete(good, job_folder(study, good.name))


def test_a_launcher_that_does_not_exist_is_the_users_mistake(job, tmp_path):
    with pytest.raises(VaclipError, match="hydra/launcher=nonsense"):
        launch_jobs(tmp_path, [broken(job, "bad")], ["hydra/launcher=nonsense"])


def test_a_file_that_vanished_under_its_reader_is_told_from_want_of_memory(tmp_path):
    said = _reason(tmp_path / LOG_FILE, 0, -signal.SIGBUS)
    assert said.startswith("killed by SIGBUS, perhaps because a cached file was removed")
