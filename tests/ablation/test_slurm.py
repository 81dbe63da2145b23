"""A study on a real Slurm: what its queue does to jobs, the study survives and tells."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from queued_study import (
    SMALL,
    assert_same_study,
    commands_in,
    halt_worker,
    run_undisturbed,
    states,
    workers_of,
)
from slurm_cluster import Slurm, wait_until

QUEUE = ["hydra/launcher=submitit_slurm", "hydra.launcher.cpus_per_task=1",
         "hydra.launcher.array_parallelism=1"]  # fmt: skip
# Slurm warns a job 15 to 75 s after its start.
SHORT = ["hydra.launcher.timeout_min=2", "hydra.launcher.signal_delay_s=45"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def start(home: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    with commands_in(home) as start_command:
        yield start_command


@pytest.fixture(scope="module")
def undisturbed(start, home) -> Path:
    run_undisturbed(start, *SMALL, "run_dir=undisturbed")
    return home / "undisturbed"


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.timeout(1800)
def test_what_the_queue_ends_is_a_failed_row_and_the_same_command_goes_on(
    slurm: Slurm, start, home, undisturbed
):
    folder = home / "queued"
    words = ["study", *SMALL, *QUEUE, f"run_dir={folder}"]

    # The second of three waits while the first one runs; both are cancelled.
    process = start(slurm.environment, *words)
    halt_worker(folder, "B0-fold0-seed0")
    first, second, _ = sorted(slurm.jobs())
    slurm.command("scancel", second)
    slurm.command("scancel", first)
    output, _ = process.communicate()
    assert process.returncode == 1, output
    assert "2 of 3 jobs are not done, and the report has holes" in output
    assert "Traceback" not in output
    assert (folder / "report" / "report.html").exists()
    cancelled = ("failed", "cancelled in Slurm")
    done = ("done", "")
    assert states(folder) == {"B0": cancelled, "B3": cancelled, "K_withheld": cancelled, "B1": done}

    # One job is at its time limit; the other has time enough, unless the machine is busy.
    process = start(slurm.environment, *words, *SHORT)
    halt_worker(folder, "B0-fold0-seed0")
    output, _ = process.communicate()
    assert process.returncode == 1, output
    assert "Traceback" not in output
    state, reason = states(folder)["B0"]
    assert state == "failed"
    assert reason.startswith("stopped by its time limit in Slurm")

    # The same, but Slurm queues it again, and it goes on.
    process = start(slurm.environment, *words, *SHORT, "hydra.launcher.max_num_timeout=5")
    halt_worker(folder, "B0-fold0-seed0")
    output, _ = process.communicate()
    assert process.returncode == 0, output
    assert set(states(folder).values()) == {done}
    log = next((folder / "launcher").glob("*/*_log.err"))
    assert "Requeued job" in "".join(p.read_text() for p in log.parents[1].glob("*/*_log.*"))
    assert_same_study(start, folder, undisturbed)


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.timeout(1800)
def test_a_study_that_is_stopped_or_killed_leaves_nothing_queued_twice(
    slurm: Slurm, start, home, undisturbed
):
    folder = home / "stopped"
    words = ["study", *SMALL, *QUEUE, f"run_dir={folder}"]
    process = start(slurm.environment, *words)
    wait_until(lambda: workers_of(folder), "a job to run")
    process.terminate()
    output, _ = process.communicate()
    assert process.returncode == 143, output
    assert "the same command goes on" in output
    wait_until(lambda: not slurm.jobs() and not workers_of(folder), "the queue to be empty")

    process = start(slurm.environment, *words)
    wait_until(lambda: workers_of(folder), "a job to run")
    process.kill()
    process.wait()
    queued = slurm.jobs()
    assert len(queued) == 3
    process = start(slurm.environment, *words)
    output, _ = process.communicate()
    assert process.returncode == 0, output
    assert len(list((folder / "launcher").glob("*/*_submission.sh"))) == 2
    assert_same_study(start, folder, undisturbed)


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.timeout(1800)
def test_a_job_that_is_preempted_or_loses_its_node_goes_on(slurm: Slurm, start, home, undisturbed):
    folder = home / "lost"
    process = start(slurm.environment, "study", *SMALL, *QUEUE, f"run_dir={folder}")

    halt_worker(folder, "B0-fold0-seed0")
    both = ["srun", "--partition=urgent", "--exclusive", "--nodes=2", "true"]
    slurm.command(*both)

    halt_worker(folder, "B3-fold0-seed0")
    (running,) = [number for number, state in slurm.jobs().items() if state == "RUNNING"]
    node = slurm.command("squeue", "--noheader", "--array", f"--jobs={running}", "--format=%N")
    slurm.lose_node(node.strip())

    output, _ = process.communicate()
    assert process.returncode == 0, output
    assert set(states(folder).values()) == {("done", "")}
    slurm.start_node(node.strip())
    assert_same_study(start, folder, undisturbed)


@pytest.mark.slow
def test_what_slurm_refuses_is_the_users_mistake(slurm: Slurm, start):
    words = [*SMALL, *QUEUE, "hydra.launcher.partition=nowhere", "run_dir=refused"]
    process = start(slurm.environment, "study", *words)
    output, _ = process.communicate()
    assert process.returncode == 1
    assert re.search("Slurm takes no jobs: .*invalid partition", " ".join(output.split())), output
    assert "Traceback" not in output


def test_without_slurm_a_study_says_so(start):
    process = start({"PATH": ""}, "study", *SMALL, *QUEUE)
    output, _ = process.communicate()
    assert process.returncode == 1
    assert "needs Slurm's commands, and there is no srun" in output
