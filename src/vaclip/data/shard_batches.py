"""Training batches of clips in shards: spread over patients, and near to each other on the disk."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from vaclip.data.batches import EpochBatches, dealt_to_steps
from vaclip.errors import VaclipError
from vaclip.seeds import mix_seed

Share = list[NDArray[np.int64]]
"""The segments of each process in a window."""


class ShardBatches(EpochBatches):
    """Batches in which patients are spread as far as the shards that are read together allow.

    An epoch puts the shards in random order and cuts it into windows of ``window`` shards a
    process, or a few more. A window's shards are dealt to the processes, the largest first to the
    one that has least. Within a window each process deals its own segments to the steps as
    `SpreadBatches` does: with S steps a patient who has n segments there has n/S of them in each
    batch, rounded down or up. So each segment comes once an epoch, in one process, which in a
    window reads its own shards alone. Of one process and one shard the batches are those of
    `SpreadBatches`.

    A window has as many steps as its fullest process needs, so that all have as many, and a few
    more where other epochs need more: every epoch has the same number of steps.

    Seed, epoch and the number of the step alone decide what a batch holds: `batches` begins at any.

    Args:
        patients: (N,) patient of each segment.
        labels: (N,) class of each segment.
        shards: (N,) shard of each segment; one patient's are in one shard.
        batch_size: Segments a step and process, at most.
        window: Shards that a process reads at a time, at least.
        epochs: How many there will be.
        processes: How many processes there are.
        rank: Which of them this is.
        seed: Of the order.

    Raises:
        VaclipError: If there are fewer shards than processes, or a process would have no segment in
            some step, because its shards are so small.
    """

    def __init__(
        self,
        patients: Sequence[int] | NDArray[np.int64],
        labels: Sequence[int] | NDArray[np.int64],
        shards: Sequence[int] | NDArray[np.int64],
        batch_size: int,
        *,
        window: int,
        epochs: int,
        processes: int = 1,
        rank: int = 0,
        seed: int = 0,
    ) -> None:
        self.patients, self.labels = np.asarray(patients), np.asarray(labels)
        self.batch_size, self.window = batch_size, window
        self.processes, self.rank, self.seed = processes, rank, seed
        _, of_shard, self._sizes = np.unique(shards, return_inverse=True, return_counts=True)
        self._segments = np.split(np.argsort(of_shard, kind="stable"), np.cumsum(self._sizes)[:-1])
        if len(self._sizes) < processes:
            raise VaclipError(
                f"the training patients lie in {len(self._sizes)} shard(s), too few for "
                f"{processes} processes; write smaller shards (features.shard_mb), or use fewer "
                "trainer.devices"
            )
        least, most = zip(*(map(sum, zip(*self._bounds(e), strict=True)) for e in range(epochs)),
                          strict=True)  # fmt: skip
        self.steps = max(least)
        if self.steps > min(most):
            raise self._too_uneven()

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        yield from self.batches(self.epoch)  # of the epoch when the first is drawn, see Lightning

    def batches(self, epoch: int, start: int = 0) -> Iterator[list[tuple[int, int]]]:
        """Yields the batches of this process in an epoch, (epoch, number) a segment.

        Args:
            epoch: Which.
            start: The step to begin with; the windows before it cost nothing.
        """
        steps = self._steps(epoch)
        for window, (shards, own) in enumerate(zip(self.shards(epoch), steps, strict=True)):
            skipped, start = min(start, own), max(0, start - own)
            if skipped == own:
                continue
            chosen = np.concatenate([self._segments[shard] for shard in shards[self.rank]])
            rng = np.random.default_rng(self._seed_of(epoch, window))
            dealt = dealt_to_steps(self.patients[chosen], self.labels[chosen], own, rng)
            for positions in dealt[skipped:]:
                yield [(epoch, segment) for segment in chosen[positions].tolist()]

    def shards(self, epoch: int) -> list[list[list[int]]]:
        """Returns the shards of each process in each window of an epoch, by their rank."""
        order = np.random.default_rng(mix_seed(self.seed, epoch, -1)).permutation(len(self._sizes))
        windows = max(1, len(order) // (self.window * self.processes))
        return [self._dealt(own.tolist()) for own in np.array_split(order, windows)]

    def _dealt(self, shards: list[int]) -> list[list[int]]:
        """Deals shards to the processes, so that they have about as many segments."""
        loads = [(0, process) for process in range(self.processes)]
        dealt: list[list[int]] = [[] for _ in loads]
        for shard in sorted(shards, key=lambda one: -self._sizes[one]):
            load, process = heapq.heappop(loads)
            dealt[process].append(shard)
            heapq.heappush(loads, (load + int(self._sizes[shard]), process))
        return dealt

    def _bounds(self, epoch: int) -> list[tuple[int, int]]:
        """Returns the least and the most steps that each window of an epoch can have."""
        bounds = []
        for dealt in self.shards(epoch):
            loads = [int(self._sizes[own].sum()) for own in dealt]
            bounds.append((-(-max(loads) // self.batch_size), min(loads)))
            if bounds[-1][0] > bounds[-1][1]:
                raise self._too_uneven()
        return bounds

    def _steps(self, epoch: int) -> list[int]:
        """Returns the steps of each window of an epoch; their sum is that of every epoch."""
        bounds = self._bounds(epoch)
        steps = [low for low, _ in bounds]
        for _ in range(self.steps - sum(steps)):  # to those that have most segments a step
            most = [high for _, high in bounds]
            room = [m / own if own < m else 0.0 for own, m in zip(steps, most, strict=True)]
            steps[int(np.argmax(room))] += 1
        return steps

    def _seed_of(self, epoch: int, window: int) -> int:
        # The first as `SpreadBatches` has it, so that shards change nothing where they need not.
        place = (window, self.rank) if window or self.rank else ()
        return mix_seed(self.seed, epoch, *place)

    def _too_uneven(self) -> VaclipError:
        return VaclipError(
            f"the segments of {self.processes} processes differ so much in a window of shards that "
            "one would have none in some step; use a larger data.shard_window or data.batch_size, "
            "write smaller shards (features.shard_mb), or use fewer trainer.devices"
        )


class ShardOrder(Sampler[int]):
    """Segments shard by shard, each process a part of its own.

    The parts are of one length, for which the last segments come twice.

    Args:
        shards: (N,) shard of each segment.
        processes: How many processes there are.
        rank: Which of them this is.
    """

    def __init__(self, shards: NDArray[np.int64], processes: int = 1, rank: int = 0) -> None:
        order = np.argsort(shards, kind="stable")
        share = -(-len(order) // processes)
        place = np.arange(rank * share, (rank + 1) * share)
        self._own = order[np.minimum(place, len(order) - 1)]

    def __len__(self) -> int:
        return len(self._own)

    def __iter__(self) -> Iterator[int]:
        return iter(self._own.tolist())
