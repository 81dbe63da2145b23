"""The scripts and commands of docs/cluster.md as they stand there, on a real Slurm.

Replaced are the page's placeholders, the shared disk and the first node, and the four cards of a
node by one. The ``vaclip`` that the scripts find makes trainings small, and takes processors for
cards; ``pip`` installs nothing.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from conftest import write_tiny_study
from queued_study import workers_of
from slurm_cluster import Slurm, wait_until
from vaclip import keys

PAGE = Path(__file__).parents[1] / "docs/cluster.md"
VACLIP = """#!/bin/bash
small="trainer.accelerator=cpu split.folds=3 data.frames=8 data.size=[32,32]"
case $1 in
  study) small="$small study=smoke study.arms=[B0,B1] study.folds=[0] study.look_clips=1" ;;
  train) small="$small debug=smoke trainer.max_epochs=20 trainer.sync_batchnorm=false" ;;
esac
exec {python} -m vaclip "$@" $small
"""
ONE_CARD = ("--ntasks-per-node=1", "--gpus-per-node=1")
pytestmark = [pytest.mark.slow, pytest.mark.cluster, pytest.mark.timeout(1800)]


class Reader:
    """Follows the page in a folder that all nodes see.

    Attributes:
        shared: That folder.
    """

    def __init__(self, shared: Path, slurm: Slurm, ending: ExitStack) -> None:
        self.shared = shared
        self.slurm = slurm
        self._ending = ending
        programs = shared / "programs"
        programs.mkdir()
        for name, text in (("vaclip", VACLIP), ("pip", "#!/bin/bash\n")):
            (programs / name).write_text(text.format(python=sys.executable))
            (programs / name).chmod(0o755)
        path = f"{programs}:{Path(sys.executable).parent}:{slurm.environment['PATH']}"
        self.environment = {**slurm.environment, "PATH": path, "OMP_NUM_THREADS": "1"}
        self.environment.pop("VACLIP_CACHE", None)
        write_tiny_study(shared / "my_study", patients_per_class=8)

    def block(self, has: str) -> str:
        """Returns the one block of the page that has a text."""
        blocks = re.findall(r"^```\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
        (found,) = [block for block in blocks if has in block]
        return found.replace("/shared/", f"{self.shared}/").replace("FIRST_NODE", "127.0.0.1")

    def start(self, script: str) -> subprocess.Popen[str]:
        """Starts what one would paste into a shell."""
        process = subprocess.Popen(
            ["bash", "-ec", script], cwd=self.shared, env=self.environment,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self._ending.callback(process.kill)
        return process

    def sbatch(self, name: str, has: str, *words: str) -> tuple[str, Path]:
        """Submits a script of the page; returns Slurm's number and what the job says."""
        (self.shared / name).write_text(self.block(has))
        done = subprocess.run(
            ["sbatch", "--parsable", *words, name],
            cwd=self.shared, env=self.environment, capture_output=True, text=True,
        )  # fmt: skip
        number = done.stdout.strip()
        said = self.shared / f"slurm-{number}.out"
        assert done.returncode == 0, done.stderr + (said.read_text() if said.exists() else "")
        return number, said


@pytest.fixture
def reader(slurm: Slurm, tmp_path: Path) -> Iterator[Reader]:
    with ExitStack() as ending:
        yield Reader(tmp_path, slurm, ending)


def test_a_study_in_the_queue(reader):
    runs = reader.shared / "runs"
    number, said = reader.sbatch("study.sbatch", has="--job-name=study")
    wait_until(lambda: any(workers_of(folder) for folder in runs.glob("study_*")), "a job to run")
    # As Slurm does before the time limit of the page's script.
    reader.slurm.command("scancel", "--signal=TERM", "--batch", number)
    wait_until(lambda: not reader.slurm.jobs(), "the queue to be empty")
    assert "stopped by SIGTERM; the same command goes on" in said.read_text()

    process = reader.start(reader.block(has="--dry-run"))
    output, _ = process.communicate()
    assert process.returncode == 0, output
    assert "2 jobs, one training each" in output
    assert len(list(runs.glob("study_*/report/report.html"))) == 1

    _, said = reader.sbatch("study.sbatch", "--job-name=study", "--wait")
    assert "Report: " in said.read_text()


def test_one_training_on_two_nodes(reader):
    run = reader.shared / "runs" / "b3"
    number, said = reader.sbatch("train.sbatch", "--job-name=b3", *ONE_CARD)
    last = run / "fold_0" / "checkpoints" / "last.ckpt"
    wait_until(lambda: last.exists() or number not in reader.slurm.jobs(), "the training", 600)
    assert number in reader.slurm.jobs(), said.read_text()
    reader.slurm.command("scancel", number)
    wait_until(lambda: not reader.slurm.jobs(), "the job to end")
    assert not (run / keys.METRICS_FILE).exists()

    _, said = reader.sbatch("train.sbatch", "--job-name=b3", "--wait", *ONE_CARD)
    assert (run / keys.METRICS_FILE).exists(), said.read_text()
    assert (run / "fold_0" / "logs" / "attempt_1").exists()  # it went on


def test_the_same_by_torchrun(reader):
    line = reader.block(has="torchrun")
    for option in ("--nproc-per-node=", "trainer.devices="):
        line = line.replace(f"{option}4", f"{option}1")
    nodes = [reader.start(line) for _ in range(2)]
    said = [node.communicate()[0] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], said
    assert (reader.shared / "runs" / "b3" / keys.METRICS_FILE).exists()
