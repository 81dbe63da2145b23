"""Training batches that spread patients and classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from vaclip.errors import VaclipError
from vaclip.seeds import mix_seed


class EpochBatches(Sampler[list[tuple[int, int]]]):
    """Batches of (epoch, number) a segment, in an order that the epoch decides.

    Attributes:
        steps: Batches in an epoch, as many in each.
        epoch: The one that comes next.
    """

    steps: int
    epoch = 0

    @property
    def sampler(self) -> EpochBatches:
        """Itself: Lightning looks here for what to tell the epoch."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Chooses the order of an epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.steps


class SpreadBatches(EpochBatches):
    """Batches in which every patient and every class has its even share.

    With S steps an epoch, a patient who has n segments has n/S of them in each step's batch,
    rounded down or up, which is the fewest possible; a class likewise, as far as its patients
    have no other. The sizes of the steps' batches, and of the processes' shares of
    them, differ by one at most. Each segment comes once an epoch, in one process.

    Segments are put in order patient by patient and class by class, both in random order, and
    dealt to the steps like cards, then each step's to the processes. Seed and epoch alone decide,
    and the batches of two processes are together the batch of one that takes twice as many.

    Args:
        patients: (N,) patient of each segment.
        labels: (N,) class of each segment.
        batch_size: Segments a step and process, at most.
        processes: How many processes there are.
        rank: Which of them this is.
        seed: Of the order.

    Raises:
        VaclipError: If a process would have no segment in some step.
    """

    def __init__(
        self,
        patients: Sequence[int] | NDArray[np.int64],
        labels: Sequence[int] | NDArray[np.int64],
        batch_size: int,
        *,
        processes: int = 1,
        rank: int = 0,
        seed: int = 0,
    ) -> None:
        self.patients = np.asarray(patients)
        self.labels = np.asarray(labels)
        self.processes, self.rank, self.seed = processes, rank, seed
        self.steps = -(-len(self.patients) // (batch_size * processes))
        if len(self.patients) < self.steps * processes:
            raise VaclipError(
                f"{len(self.patients)} training segments cannot be shared out to {processes} "
                f"processes in {self.steps} step(s) of data.batch_size={batch_size}; use fewer "
                "trainer.devices or a larger data.batch_size"
            )

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        rng = np.random.default_rng(mix_seed(self.seed, self.epoch))
        for dealt in dealt_to_steps(self.patients, self.labels, self.steps, rng):
            own = dealt[self.rank :: self.processes]
            yield [(self.epoch, int(number)) for number in own]


def dealt_to_steps(
    patients: NDArray[np.int64], labels: NDArray[np.int64], steps: int, rng: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Deals segments to steps, so that each patient and class is spread over them.

    Args:
        patients: (N,) patient of each segment.
        labels: (N,) class of each segment.
        steps: How many, at most N.
        rng: Of the order.

    Returns:
        The segments of each step; their numbers differ by one at most.
    """
    names, of_patient = np.unique(patients, return_inverse=True)
    classes, of_class = np.unique(labels, return_inverse=True)
    # Random numbers for classes, patients and segments; sorting by them shuffles each.
    class_draw = rng.permutation(len(classes))
    lowest, highest = np.full(len(names), len(classes)), np.full(len(names), -1)
    np.minimum.at(lowest, of_patient, class_draw[of_class])
    np.maximum.at(highest, of_patient, class_draw[of_class])
    # Patients of several classes come last, so that they break no class apart.
    patient_class = np.where(lowest == highest, lowest, len(classes))
    patient_draw = rng.permutation(len(names))
    order = np.lexsort(
        (
            rng.permutation(len(patients)),
            class_draw[of_class],
            patient_draw[of_patient],
            patient_class[of_patient],
        )
    )
    return [order[step::steps] for step in rng.permutation(steps)]
