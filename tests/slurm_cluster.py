"""A Slurm of two nodes on this machine: munged, slurmctld and two slurmd, ended with the test."""

from __future__ import annotations

import ctypes
import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel")
NODES = ("n1", "n2")
CONF = """
ClusterName=vaclip
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
KillWait=3
SlurmdTimeout=10
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerParameters=sched_interval=5
GresTypes=gpu
NodeName=DEFAULT CPUs=16 RealMemory=65536 Gres=gpu:4
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]}
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]}
PartitionName=DEFAULT Nodes=n1,n2 MaxTime=INFINITE State=UP
PartitionName=test Default=YES
PartitionName=gpu
PartitionName=urgent PriorityTier=2
"""
"""Two nodes by two host names in Slurm's eyes, of cores, memory and cards that are not there."""
CARDS = "Name=gpu File={folder}/card[0-3]\n"
_DIES_WITH_PARENT = 1  # PR_SET_PDEATHSIG of prctl(2)


@dataclass
class Slurm:
    """A running cluster.

    Attributes:
        folder: Of its configuration, state and logs.
    """

    folder: Path
    daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """What its commands and its jobs need; node names are unknown to the resolver."""
        conf = str(self.folder / "slurm.conf")
        return {**os.environ, "SLURM_CONF": conf, "MASTER_ADDR": "127.0.0.1"}

    def command(self, *words: str) -> str:
        """Runs a command of Slurm, and returns what it prints."""
        return subprocess.run(
            words, env=self.environment, capture_output=True, text=True, check=True
        ).stdout

    def jobs(self) -> dict[str, str]:
        """Returns the state of each job that has not ended."""
        listed = self.command("squeue", "--noheader", "--array", "--format=%i %T")
        return dict(line.split() for line in listed.splitlines())

    def start_node(self, node: str) -> None:
        """Starts a node's daemon; one that was lost comes back."""
        _daemon(self, node, "slurmd", "-D", "-N", node)

    def lose_node(self, node: str) -> None:
        """Kills a node's daemon and all that runs there; nothing may run on the other node."""
        listed = subprocess.run(
            ["ps", "-eo", "pid,ppid,comm"], capture_output=True, text=True, check=True
        )
        rows = [line.split(None, 2) for line in listed.stdout.splitlines()[1:]]
        lost = {self.daemons[node].pid}
        for pid, _, name in rows:
            if name == "slurmstepd" and self._owns(int(pid)):
                lost.add(int(pid))
        while more := {int(pid) for pid, parent, _ in rows if int(parent) in lost} - lost:
            lost |= more
        for pid in lost:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _owns(self, pid: int) -> bool:
        try:
            return str(self.folder).encode() in Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:  # it ended
            return False


def missing_programs() -> list[str]:
    """Returns what of Slurm is not installed."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    return [name for name in PROGRAMS if shutil.which(name, path=path) is None]


def wait_until(true: Callable[[], object], what: str, seconds: float = 240) -> None:
    """Waits; a test that waits in vain fails with ``what``."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"in vain waited for {what}"
        time.sleep(0.02)


@contextmanager
def running_cluster() -> Iterator[Slurm]:
    """Starts the cluster, and ends all of it again."""
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))  # a socket's path must be short
    folder.chmod(0o755)
    slurm = Slurm(folder)
    try:
        _start(slurm)
        yield slurm
        slurm.command("scancel", f"--user={getpass.getuser()}")
        wait_until(lambda: not slurm.jobs(), "the cancelled jobs to end")
    finally:
        for daemon in reversed(slurm.daemons.values()):
            daemon.terminate()
        for daemon in slurm.daemons.values():
            daemon.wait(30)
        shutil.rmtree(folder)


def _start(slurm: Slurm) -> None:
    folder = slurm.folder
    ports = [_free_port() for _ in range(3)]
    text = CONF.format(
        folder=folder, ports=ports, host=socket.gethostname(), user=getpass.getuser()
    )
    (folder / "slurm.conf").write_text(text)
    (folder / "gres.conf").write_text(CARDS.format(folder=folder))
    for number in range(4):
        (folder / f"card{number}").touch()
    key = folder / "munge.key"
    key.touch(0o600)
    key.write_bytes(secrets.token_bytes(128))
    files = [f"--{name}-file={folder}/munged.{name}" for name in ("log", "pid", "seed")]
    _daemon(
        slurm, "munged", "munged", "--foreground", f"--key-file={key}",
        f"--socket={folder}/munge.socket", *files,
    )  # fmt: skip
    wait_until((folder / "munge.socket").exists, "munged")
    _daemon(slurm, "slurmctld", "slurmctld", "-D", "-c")
    for node in NODES:
        slurm.start_node(node)
    wait_until(lambda: _idle_nodes(slurm) == len(NODES), f"Slurm's nodes, see {folder}")


def _daemon(slurm: Slurm, name: str, program: str, *words: str) -> None:
    path = f"{slurm.environment['PATH']}:/usr/sbin:/sbin"
    with (slurm.folder / "daemons.log").open("ab") as log:
        slurm.daemons[name] = subprocess.Popen(
            [str(shutil.which(program, path=path)), *words], env=slurm.environment,
            stdout=log, stderr=log, start_new_session=True,
            preexec_fn=lambda: ctypes.CDLL(None).prctl(_DIES_WITH_PARENT, signal.SIGKILL),
        )  # fmt: skip


def _idle_nodes(slurm: Slurm) -> int:
    asked = subprocess.run(
        ["sinfo", "--noheader", "--partition=test", "-N", "-o", "%T"],
        env=slurm.environment, capture_output=True, text=True,
    )  # fmt: skip
    return asked.stdout.split().count("idle")


def _free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return asked.getsockname()[1]
