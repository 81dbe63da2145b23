"""A study on a real Ray: what it does to jobs, the study survives and tells."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from composed import make_config
from queued_study import (
    SMALL,
    assert_same_study,
    commands_in,
    run_undisturbed,
    states,
    workers_of,
)
from slurm_cluster import wait_until
from vaclip import VaclipError
from vaclip.ablation.plan import Job
from vaclip.ablation.pool import failed_reason
from vaclip.ablation.ray_tasks import _reason, run_in_ray
from vaclip.ablation.worker import job_folder

pytest.importorskip("ray", reason="Ray is not installed: pip install 'vaclip[ray]'")
from ray import exceptions

STUDY = [*SMALL, "trainer.max_epochs=5"]
RAY = ["hydra/launcher=ray", "hydra.launcher.ray.init.num_cpus=2"]
KILLED = "its worker of Ray was killed, perhaps for want of memory"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def start(home: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    with commands_in(home) as start_command:
        yield start_command


@pytest.fixture
def temporary() -> Iterator[Path]:
    """Where Ray has its sockets, whose paths must be short."""
    folder = Path(tempfile.mkdtemp())
    yield folder
    shutil.rmtree(folder)


def settings(*words: str) -> dict:
    """``hydra.launcher`` as it is composed."""
    shipped = OmegaConf.load(str(resources.files("vaclip.conf") / "hydra/launcher/ray.yaml"))
    merged = OmegaConf.merge(shipped, OmegaConf.from_dotlist([*words]))
    return OmegaConf.to_container(merged, resolve=True)


def started_from(temporary: Path) -> list[str]:
    """Returns the processes that run with a folder for what is temporary, or have files of it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:  # some of Ray's write their title over their variables
            has = f"TMPDIR={temporary}\0".encode() in (process / "environ").read_bytes()
            opened = [str(file.readlink()) for file in (process / "fd").iterdir()]
            has |= any(path.startswith(f"{temporary}/") for path in opened)
        except OSError:  # it ended, or is not ours
            continue
        if has and process.name != str(os.getpid()):
            found.append((process / "cmdline").read_text())
    return found


def kill_worker_of_ray(folder: Path, job: str, *, once: Callable[[], bool]) -> None:
    """Waits until a job runs, and kills the process in which Ray runs its task."""
    log = (folder / "jobs" / job / "job.log").resolve()

    def at_work() -> list[tuple[int, int]]:
        found = workers_of(folder).items()
        return [(w, parent) for w, parent in found if Path(f"/proc/{w}/fd/2").readlink() == log]

    wait_until(lambda: at_work() and once(), f"{job} to run")
    ((worker, of_ray),) = at_work()
    os.kill(worker, signal.SIGSTOP)  # it is not done before
    os.kill(of_ray, signal.SIGKILL)
    os.kill(worker, signal.SIGCONT)


@pytest.mark.slow
def test_a_mistake_and_a_lost_task_have_their_reasons(temporary, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    config = make_config(tmp_path)
    data = dataclasses.replace(config.data, source="folder", root="nowhere")
    jobs = [Job(name, dataclasses.replace(config, data=data)) for name in ("mistaken", "killed")]
    began, ended = [], []
    with ThreadPoolExecutor(1) as beside:
        killing = beside.submit(kill_worker_of_ray, tmp_path, "killed", once=lambda: True)
        run_in_ray(
            tmp_path, jobs, settings("ray.init.num_cpus=2"),
            started=began.append, finished=lambda job, succeeded: ended.append((job, succeeded)),
        )  # fmt: skip
        killing.result()
    wait_until(lambda: not started_from(temporary), "Ray and its workers to end", 10)
    assert {job.name for job in began} == {"mistaken", "killed"}
    assert {job.name: succeeded for job, succeeded in ended} == {"mistaken": False, "killed": False}
    assert failed_reason(job_folder(tmp_path, "killed")) == KILLED
    assert "nowhere" in str(failed_reason(job_folder(tmp_path, "mistaken")))
    assert list(temporary.iterdir()) == []


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.timeout(1800)
def test_what_ray_loses_is_a_failed_row_and_the_same_command_goes_on(start, home, temporary):
    folder = home / "queued"
    last = folder / "jobs" / "B0-fold0-seed0" / "fold_0" / "checkpoints" / "last.ckpt"
    words = ["study", *STUDY, *RAY, f"run_dir={folder}"]
    environment = {**os.environ, "TMPDIR": str(temporary)}

    process = start(environment, *words)
    kill_worker_of_ray(folder, "B0-fold0-seed0", once=last.exists)
    output, _ = process.communicate()
    assert process.returncode == 1, output
    assert "1 of 3 jobs are not done, and the report has holes" in output
    assert "Traceback" not in output
    assert (folder / "report" / "report.html").exists()
    done = ("done", "")
    assert states(folder) == {"B0": ("failed", KILLED), "B3": done, "K_withheld": done, "B1": done}
    wait_until(lambda: not started_from(temporary), "Ray and its workers to end", 10)

    process = start(environment, *words)
    wait_until(lambda: workers_of(folder), "a job to run")
    process.terminate()
    output, _ = process.communicate()
    assert process.returncode == 143, output
    assert "the same command goes on" in output
    wait_until(lambda: not started_from(temporary), "Ray and its workers to end", 10)

    process = start(environment, *words, "hydra.launcher.ray.remote.max_retries=1")
    kill_worker_of_ray(folder, "B0-fold0-seed0", once=last.exists)  # Ray starts it again
    output, _ = process.communicate()
    assert process.returncode == 0, output
    assert set(states(folder).values()) == {done}
    wait_until(lambda: not started_from(temporary), "Ray and its workers to end", 10)
    assert list(temporary.iterdir()) == []
    run_undisturbed(start, *STUDY, "run_dir=undisturbed")
    assert_same_study(start, folder, home / "undisturbed")


def message_of(folder: Path, *words: str) -> str:
    with pytest.raises(VaclipError) as caught:
        run_in_ray(
            folder, [], settings(*words),
            started=lambda job: None, finished=lambda job, succeeded: None,
        )  # fmt: skip
    return str(caught.value)


def test_where_no_ray_answers_the_study_says_so(tmp_path):
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        port = asked.getsockname()[1]
    said = message_of(tmp_path, f"ray.init.address=127.0.0.1:{port}")
    assert said.startswith("Ray does not start, see hydra.launcher.ray.init: ")
    assert "refused" in said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["ray.remote.num_gpus=99"], "remote.num_gpus is 99, and Ray has 0 here"),
        (["ray.remote.nonsense=1"], "hydra.launcher.ray.remote: Invalid option keyword nonsense"),
        (["ray.init.nonsense=1"], "hydra.launcher.ray.init: Unknown keyword argument"),
    ],
)
def test_what_ray_does_not_take_is_the_users_mistake(temporary, monkeypatch, words, said):
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    handler = signal.getsignal(signal.SIGTERM)
    assert said in message_of(temporary, "ray.init.num_cpus=1", *words)
    assert signal.getsignal(signal.SIGTERM) is handler
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (exceptions.WorkerCrashedError(), KILLED),
        (exceptions.NodeDiedError("gone"), "its node was lost in Ray"),
        (
            exceptions.OutOfMemoryError("killed"),
            "out of memory in Ray; reserve it by +hydra.launcher.ray.remote.memory=BYTES",
        ),
        (exceptions.RaySystemError("some\nlast line"), "ended in Ray: last line"),
    ],
)
def test_the_reason_of_a_lost_task(error, reason):
    assert reason in _reason(error)
