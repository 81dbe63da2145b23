"""One training on several nodes, under srun and torchrun, against the same in one process."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from lightning.fabric.plugins.environments import (
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)

from composed import make_config
from slurm_cluster import Slurm, wait_until
from vaclip import VaclipError, keys
from vaclip.runs.launched import cluster_environment

PROGRAM = Path(__file__).with_name("train_plainly.py")
# Augmentation is drawn by each process; of the batch of one, each of two gets a half.
SMALL = ["debug=smoke", "experiment=B3", "trainer.accelerator=cpu", "data.augment.enabled=false",
         "trainer.enable_progress_bar=false"]  # fmt: skip
TWO = [*SMALL, "trainer.num_nodes=2", "data.batch_size=2"]
# Two on each of two nodes. Four round in more ways than two, so that Adam's steps are short here.
FOUR = ["trainer.devices=2", "data.batch_size=1"]
SIGMOID = ["loss.clip_loss=sigmoid", "loss.clip_positives=soft_map", "optim.lr=1e-4"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the commands run in; the cache lies there, too."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def alone(home: Path) -> Path:
    """The run folder of one process."""
    return train_alone(home, "one")


def train_alone(home: Path, name: str, *words: str) -> Path:
    """Trains in one process, and returns the run folder."""
    command = [sys.executable, str(PROGRAM), *SMALL, f"run_dir={name}", *words]
    process = start(home, command, dict(os.environ))
    _, said = process.communicate()
    assert process.returncode == 0, said
    return home / name


def start(
    home: Path, command: Sequence[str], environment: dict[str, str], log: Path | None = None
) -> subprocess.Popen[str]:
    """Starts a command; with ``log`` what it says goes there, else into pipes."""
    environment = {**environment, "VACLIP_CACHE": str(home / "cache"), "OMP_NUM_THREADS": "1"}
    out, err = (subprocess.PIPE,) * 2 if log is None else (log.open("w"), subprocess.STDOUT)
    return subprocess.Popen(command, cwd=home, env=environment, text=True, stdout=out, stderr=err)


def start_agents(
    home: Path, *words: str, each: int = 1, logs: Sequence[Path | None] = (None, None)
) -> list[subprocess.Popen[str]]:
    """Starts torchrun twice, as on two machines, with some processes each."""
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        port = asked.getsockname()[1]
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nnodes=2", f"--nproc-per-node={each}",
        "--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{port}", "--rdzv-id=test",
        "--local-addr=127.0.0.1", str(PROGRAM), *TWO, *words,
    ]  # fmt: skip
    return [start(home, command, dict(os.environ), log) for log in logs]


def assert_same_run(one: Path, other: Path) -> None:
    """The prediction table, the metrics, retrieval among them, and the checkpoint agree."""
    columns = ["split", "clip_id", "segment"]
    tables = [pd.read_parquet(run / keys.PREDICTIONS_FILE) for run in (one, other)]
    mine, theirs = (table.sort_values(columns, ignore_index=True) for table in tables)
    assert len(mine) > 10
    # In float32 a fresh model's CLIP term has gradients that are all rounding, see
    # tests/losses/test_processes.py, and Adam's steps are as long for these.
    pd.testing.assert_frame_equal(mine, theirs, rtol=0, atol=1e-3)
    probs = [name for name in mine if name.startswith(keys.PRED_PROB_PREFIX)]
    np.testing.assert_allclose(mine[probs], theirs[probs], rtol=0, atol=1e-6)
    texts = [(run / "fold_0" / keys.FOLD_METRICS_FILE).read_text() for run in (one, other)]
    found, wanted = map(json.loads, texts)
    for split in ("val", "test"):
        assert any("retrieval" in name for name in wanted[split])
        assert found[split] == pytest.approx(wanted[split], abs=1e-3)
    best = [
        torch.load(run / "fold_0" / "checkpoints" / "best.ckpt", weights_only=True)
        for run in (one, other)
    ]
    assert best[0]["epoch"] == best[1]["epoch"]
    assert best[0]["state_dict"].keys() == best[1]["state_dict"].keys()
    for name, tensor in best[0]["state_dict"].items():
        torch.testing.assert_close(tensor, best[1]["state_dict"][name], rtol=0, atol=1e-3)


@pytest.mark.slow
def test_two_agents_of_torchrun_do_what_one_process_does(home, alone):
    agents = start_agents(home, "run_dir=torchrun")
    said = [agent.communicate() for agent in agents]
    assert [agent.returncode for agent in agents] == [0, 0], said
    assert sorted(out.count("majority guess") for out, _ in said) == [0, 2]  # one process speaks
    assert_same_run(home / "torchrun", alone)


@pytest.mark.slow
def test_four_processes_do_what_one_does(home):
    agents = start_agents(home, *FOUR, *SIGMOID, "run_dir=four", each=2)
    said = [agent.communicate() for agent in agents]
    assert [agent.returncode for agent in agents] == [0, 0], said
    assert_same_run(home / "four", train_alone(home, "sigmoid", *SIGMOID))


@pytest.mark.slow
def test_two_tasks_on_two_nodes_of_slurm_do_what_one_process_does(slurm: Slurm, home, alone):
    srun = ["srun", "--nodes=2", "--ntasks-per-node=1", "--kill-on-bad-exit=1"]
    command = [*srun, sys.executable, str(PROGRAM), *TWO, "run_dir=srun"]
    process = start(home, command, slurm.environment)
    out, said = process.communicate()
    assert process.returncode == 0, said
    assert out.count("majority guess") == 2
    assert_same_run(home / "srun", alone)


@pytest.mark.slow
def test_a_killed_process_ends_the_others_and_the_run_goes_on(home):
    words = ["run_dir=killed", "trainer.max_epochs=60"]
    # Files: processes that decoded for the killed one may sleep on for a while, with its output.
    logs = [home / "0.log", home / "1.log"]
    agents = start_agents(home, *words, logs=logs)
    last = home / "killed" / "fold_0" / "checkpoints" / "last.ckpt"
    wait_until(last.exists, "the training")
    os.kill(worker_of(agents, rank=1), signal.SIGKILL)
    assert [agent.wait(timeout=60) for agent in agents] == [1, 1]
    said = "".join(log.read_text() for log in logs)
    assert said.count("error: another process of this training ended") == 1
    assert "resume=true goes on" in said
    assert not (home / "killed" / keys.METRICS_FILE).exists()

    agents = start_agents(home, *words, "resume=true", logs=logs)
    assert [agent.wait() for agent in agents] == [0, 0], logs[0].read_text()
    assert (home / "killed" / keys.METRICS_FILE).exists()
    logged = pd.read_csv(home / "killed" / "fold_0" / "logs" / "attempt_1" / "metrics.csv")
    assert logged["epoch"].min() > 0


def worker_of(agents: Sequence[subprocess.Popen[str]], rank: int) -> int:
    """Returns the process of a rank among those that agents of torchrun started."""
    parents = {str(agent.pid) for agent in agents}
    for status in Path("/proc").glob("[0-9]*/stat"):
        if status.read_text().rsplit(")", 1)[1].split()[1] in parents:
            variables = (status.parent / "environ").read_bytes().split(b"\0")
            if f"RANK={rank}".encode() in variables:
                return int(status.parent.name)
    raise AssertionError(f"no process has rank {rank}")


TORCHRUN = {"TORCHELASTIC_RUN_ID": "none", "RANK": "0", "LOCAL_RANK": "0"}
TORCHRUN_TWO = TORCHRUN | {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "1"}
SRUN_TWO = {"SLURM_STEP_NUM_TASKS": "2", "SLURM_NTASKS": "2", "SLURM_NNODES": "2",
            "SLURM_PROCID": "1", "SLURM_JOB_ID": "7"}  # fmt: skip


@pytest.fixture
def variables(monkeypatch):
    """Returns ``set_variables(found)``, which makes the environment one that nobody set up."""

    def set_variables(found: dict[str, str]) -> None:
        for name in {*TORCHRUN_TWO, *SRUN_TWO, "SLURM_NTASKS_PER_NODE", *os.environ}:
            if name in TORCHRUN_TWO or name.startswith("SLURM_"):
                monkeypatch.setenv(name, "")  # so that what the code sets is undone
                monkeypatch.delenv(name)
        for name, value in found.items():
            monkeypatch.setenv(name, value)

    return set_variables


@pytest.mark.parametrize(
    ("found", "words", "kind"),
    [
        ({}, [], LightningEnvironment),
        ({}, ["trainer.devices=2"], LightningEnvironment),
        (SRUN_TWO, [], LightningEnvironment),  # each task is a run of its own
        (SRUN_TWO, ["trainer.num_nodes=2"], SLURMEnvironment),
        # One task, as in `sbatch` without `srun`: Lightning starts the second process.
        ({"SLURM_NTASKS": "1", "SLURM_NNODES": "1"}, ["trainer.devices=2"], LightningEnvironment),
        (TORCHRUN | {"WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"}, [], LightningEnvironment),
        (TORCHRUN_TWO, ["trainer.num_nodes=2"], TorchElasticEnvironment),
    ],
)
def test_who_started_the_processes(tmp_path, variables, found, words, kind):
    variables(found)
    environment = cluster_environment(make_config(tmp_path, *words))
    assert type(environment) is kind
    environment.validate_settings(1, 2)


@pytest.mark.parametrize(
    ("found", "words", "said"),
    [
        ({}, ["trainer.num_nodes=2"], "use srun --nodes=2 --ntasks-per-node=1, or torchrun"),
        (TORCHRUN_TWO, [], r"torchrun started 2 .*use trainer.num_nodes=2 trainer.devices=1"),
        (SRUN_TWO, ["trainer.num_nodes=3"], "srun started 2 process.*are 3; use"),
        (SRUN_TWO, ["trainer.devices=2"], "srun started 2 process.*1 a node.*use trainer.num_nod"),
    ],
)
def test_other_processes_than_the_settings_say_are_refused(tmp_path, variables, found, words, said):
    variables(found)
    with pytest.raises(VaclipError, match=said):
        cluster_environment(make_config(tmp_path, *words))
