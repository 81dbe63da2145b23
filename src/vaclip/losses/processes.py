"""Loss terms over several processes: what they need of each other, and means over all of them.

DistributedDataParallel averages gradients over processes. A term that is a mean over the rows of
*all* processes is therefore W times the sum over the own rows, divided by everyone's count; then
the average of the W processes' gradients is the gradient of one process with the whole batch.
Without ``torch.distributed`` everything here is the identity.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.distributed as dist
from torch import Tensor

Visit = Callable[[Sequence[Tensor], Sequence[Tensor]], None]


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


def largest_over_processes(count: int, device: torch.device) -> int:
    """Returns the largest of all processes' counts."""
    processes, _ = world()
    if processes == 1:
        return count
    largest = torch.tensor(count, device=device)
    dist.all_reduce(largest, dist.ReduceOp.MAX)
    return int(largest)


def go_around(block: Sequence[Tensor], carried: Sequence[Tensor], visit: Visit) -> list[Tensor]:
    """Shows the block of every process to every process, one after the other, in a ring.

    A process holds its own block and one other, however many they are (SigLIP, Zhai et al. 2023,
    section 3.3).

    Args:
        block: What the others see; its tensors have the same shapes on all processes.
        carried: What goes with it, and what they add to; the same shapes on all processes, too.
        visit: Called with a block and what it carries, once for each process, its own first. It
            changes what is carried in place.

    Returns:
        What the own block carried, home again.
    """
    processes, _ = world()
    block, carried = list(block), list(carried)
    for hop in range(processes):
        if hop:
            arrived = _pass_on([*block, *carried])
            block, carried = arrived[: len(block)], arrived[len(block) :]
        visit(block, carried)
    return _pass_on(carried) if processes > 1 and carried else carried


def _pass_on(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Sends tensors to the next process and returns those of the one before.

    All that is sent and received is announced at once, so that no process waits for another to
    begin.
    """
    processes, rank = world()
    sent = [tensor.contiguous() for tensor in tensors]
    received = [torch.empty_like(tensor) for tensor in sent]
    following, previous = (rank + 1) % processes, (rank - 1) % processes
    exchanges = [dist.P2POp(dist.isend, tensor, following) for tensor in sent]
    exchanges += [dist.P2POp(dist.irecv, tensor, previous) for tensor in received]
    for exchange in dist.batch_isend_irecv(exchanges):
        exchange.wait()
    return received
