"""Which of the processes of one training this is; the first one speaks and writes for all."""

from __future__ import annotations

import os
from typing import Any, Literal

from vaclip.errors import VaclipError

_declared: int | None = None


def declare_rank(rank: int) -> None:
    """States the number of this process, where the environment alone does not tell it.

    ``srun`` numbers its tasks, but each may be a training of its own.
    """
    global _declared
    _declared = rank


def is_first_process() -> bool:
    """Whether this process speaks: it is alone, or the first of several."""
    if _declared is not None:
        return _declared == 0
    # Set by torchrun; by Lightning's launcher, in every process but the first.
    return os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) == "0"


def launcher_of(nodes: int, devices: Any) -> Literal["torchrun", "srun"] | None:
    """Returns what started the processes of a training; None where it is this one, or alone.

    A training on one device is alone, however many tasks the job of Slurm around it has.

    Args:
        nodes: ``trainer.num_nodes``.
        devices: ``trainer.devices``.

    Raises:
        VaclipError: If other processes were started than the settings say, or nobody started those
            of other nodes.
    """
    each = _count(devices)
    alone = nodes == 1 and each == 1
    if "TORCHELASTIC_RUN_ID" in os.environ:
        count, here = (int(os.environ[name]) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
        if count == 1 and alone:
            return None
        _check_started("torchrun", count, here, nodes, each)
        return "torchrun"
    tasks = int(os.environ.get("SLURM_STEP_NUM_TASKS", 1))
    if tasks > 1 and not alone:
        _check_started("srun", tasks, tasks // int(os.environ["SLURM_NNODES"]), nodes, each)
        return "srun"
    if nodes > 1:
        raise VaclipError(
            f"trainer.num_nodes is {nodes}, but nothing started a process for each device of each "
            f"node; use srun --nodes={nodes} --ntasks-per-node={each or 'DEVICES'}, or torchrun"
        )
    return None


def _count(devices: Any) -> int | None:
    """Returns how many devices a node has; None where Lightning looks for them."""
    if isinstance(devices, list):
        return len(devices)
    number = str(devices)
    return int(number) if number.isdecimal() else None


def _check_started(by: str, count: int, here: int, nodes: int, each: int | None) -> None:
    each = each or here
    if (count, here) != (nodes * each, each):
        raise VaclipError(
            f"{by} started {count} processes, {here} a node, but trainer.num_nodes={nodes} and "
            f"trainer.devices={each} are {nodes * each}; use trainer.num_nodes={count // here} "
            f"trainer.devices={here}, or start as many as you want"
        )
