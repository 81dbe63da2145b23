"""Loss terms over several processes: what they need of each other, and means over all of them.

DistributedDataParallel averages gradients over processes. A term that is a mean over the rows of
*all* processes is therefore W times the sum over the own rows, divided by everyone's count; then
the average of the W processes' gradients is the gradient of one process with the whole batch.
Without ``torch.distributed`` everything here is the identity.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor


def world() -> tuple[int, int]:
    """Returns how many processes there are, and the number of this one."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_world_size(), dist.get_rank()
    return 1, 0


def mean_over_processes(total: Tensor, count: Tensor) -> Tensor:
    """Returns what averages, over the processes, to the mean over all their rows.

    Args:
        total: Scalar, the sum over this process's rows.
        count: Scalar, how many they are. 0 on every process gives 0.
    """
    processes, _ = world()
    count = count.to(total.dtype)
    if processes > 1:
        count = count.clone()
        dist.all_reduce(count)
    return processes * total / count.clamp_min(1)


def gather_rows(rows: Tensor) -> tuple[Tensor, slice]:
    """Joins the rows of all processes, with gradient.

    Args:
        rows: (N, ...); N may differ between processes.

    Returns:
        (M, ...), each process's rows followed by zeros up to the largest N, and where the
        rows of this process lie.
    """
    processes, rank = world()
    if processes == 1:
        return rows, slice(0, len(rows))
    most = torch.tensor(len(rows), device=rows.device)
    dist.all_reduce(most, dist.ReduceOp.MAX)
    size = int(most)
    padded = F.pad(rows, (0, 0) * (rows.dim() - 1) + (0, size - len(rows)))
    gathered = _AllGather.apply(padded)
    assert isinstance(gathered, Tensor)
    return gathered, slice(rank * size, rank * size + len(rows))


class _AllGather(torch.autograd.Function):
    """All-gather whose backward adds up what every process says of a row.

    The one in ``torch.distributed.nn`` is deprecated, and its successor is private.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        processes, rank = world()
        ctx.own = slice(rank * len(rows), (rank + 1) * len(rows))
        shares = [torch.empty_like(rows) for _ in range(processes)]
        dist.all_gather(shares, rows.contiguous())
        return torch.cat(shares)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        total = grads[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total[ctx.own]
