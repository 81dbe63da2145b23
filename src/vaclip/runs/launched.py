"""The processes of one training: who starts them, and how they go step by step.

Lightning starts further processes on this machine by itself, and late: the first one has prepared
everything by then. Those of ``torchrun`` and ``srun`` all begin at once, so here they meet first.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from lightning.fabric.plugins.environments import (
    ClusterEnvironment,
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)

from vaclip.config import Config
from vaclip.console import console
from vaclip.errors import VaclipError
from vaclip.processes import declare_rank, is_first_process, launcher_of

_PREPARING = timedelta(days=7)  # the first process may decode for long; one that died is noticed
_meeting: dist.ProcessGroup | None = None


def cluster_environment(config: Config) -> ClusterEnvironment:
    """Returns what started the processes of a run.

    Raises:
        VaclipError: As `launcher_of`.
    """
    launcher = launcher_of(config.trainer.num_nodes, config.trainer.devices)
    if launcher == "torchrun":
        return TorchElasticEnvironment()
    if launcher == "srun":
        # Lightning wants it stated, which `srun` does only where it was asked for it.
        each = int(os.environ["SLURM_NTASKS"]) // config.trainer.num_nodes
        os.environ.setdefault("SLURM_NTASKS_PER_NODE", str(each))
        return SLURMEnvironment(auto_requeue=False)
    return LightningEnvironment()


@contextmanager
def joined_processes(config: Config) -> Generator[None]:
    """Lets the processes that ``torchrun`` or ``srun`` started for a run meet.

    Lightning takes over the connection. Where another process ends unasked this one does too.

    Raises:
        VaclipError: As `cluster_environment`; and if another process ended.
    """
    global _meeting
    environment = cluster_environment(config)
    joins = not isinstance(environment, LightningEnvironment)
    if joins:
        rank = environment.global_rank()
        declare_rank(rank)
        console.quiet = console.quiet or not is_first_process()
        on_gpu = config.trainer.accelerator != "cpu" and torch.cuda.is_available()
        os.environ["MASTER_ADDR"] = environment.main_address
        os.environ["MASTER_PORT"] = str(environment.main_port)
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if on_gpu else "gloo",
            rank=rank,
            world_size=environment.world_size(),
        )
        _meeting = dist.new_group(backend="gloo", timeout=_PREPARING)
    try:
        yield
    except RuntimeError as error:
        if not _says_that_another_ended(error):
            raise
        raise VaclipError(
            "another process of this training ended, and this one with it; what it said stands "
            "above or in its own output; resume=true goes on"
        ) from error
    if joins:  # after an error there may be nobody left to agree with
        _meeting = None
        dist.destroy_process_group()


def _says_that_another_ended(error: RuntimeError) -> bool:
    return dist.is_initialized() and (isinstance(error, dist.DistError) or "gloo" in str(error))


@contextmanager
def first_process_first() -> Generator[list[Any]]:
    """Lets the first process go ahead; the others follow once it is through, or end if it failed.

    Yields:
        A list, which has in the others what it had in the first one at its end.
    """
    told: list[Any] = []
    if _meeting is None:
        yield told
        return
    outcome: list[Any] = [False, told]
    if is_first_process():
        try:
            yield told
            outcome[0] = True
        finally:
            dist.broadcast_object_list(outcome, group=_meeting)
        return
    dist.broadcast_object_list(outcome, group=_meeting)
    if not outcome[0]:
        sys.exit(1)  # the first process says why
    yield outcome[1]
