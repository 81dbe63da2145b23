"""The batches of one fold."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler

from vaclip.data.batches import SpreadBatches
from vaclip.data.cache import CachedClip
from vaclip.data.dataset import Noise, SegmentDataset, collate
from vaclip.data.items import ClipItem, columns_of, take_items
from vaclip.data.shard_batches import ShardBatches, ShardOrder
from vaclip.data.splits import SPLITS
from vaclip.data.transforms import Augmentation
from vaclip.errors import VaclipError
from vaclip.study.study import Study


class FoldData(L.LightningDataModule):
    """Train, validation and test loaders of one fold.

    Args:
        datasets: By split name.
        batch_size: Segments a step and process, at most.
        seed: Of the order of training batches.
        num_workers: Loader processes; reading from the cache seldom needs any.
        shard_window: Of clips in shards: how many a process reads at a time.
    """

    def __init__(
        self,
        datasets: dict[str, SegmentDataset],
        *,
        batch_size: int,
        seed: int,
        num_workers: int = 0,
        shard_window: int = 1,
    ) -> None:
        super().__init__()
        self.datasets = datasets
        self.batch_size = batch_size
        self.seed = seed
        self.num_workers = num_workers
        self.shard_window = shard_window

    def train_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Spread over patients and classes, see `SpreadBatches`, or of shards `ShardBatches`."""
        dataset = self.datasets["train"]
        facts, of_segment = columns_of(dataset.items), dataset.segments[:, 0]
        patients, labels, shards = (
            own[of_segment] for own in (facts.patient, facts.label, facts.shard)
        )
        processes, rank = self._world()
        how = {"processes": processes, "rank": rank, "seed": self.seed}
        if not _in_shards(shards):
            return self._loader(
                dataset, batch_sampler=SpreadBatches(patients, labels, self.batch_size, **how)
            )
        how |= {"window": self.shard_window, "epochs": self._epochs()}
        batches = ShardBatches(patients, labels, shards, self.batch_size, **how)
        return self._loader(dataset, batch_sampler=batches)

    def val_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """In order, shared out to the processes."""
        return self._evaluation_loader("val")

    def test_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """In order, shared out to the processes."""
        return self._evaluation_loader("test")

    def _evaluation_loader(self, split: str) -> DataLoader[dict[str, Tensor]]:
        dataset = self.datasets[split]
        processes, rank = self._world()
        shards = columns_of(dataset.items).shard[dataset.segments[:, 0]]
        # Both double segments to make the shares even; `SplitPredictions` drops them again.
        shared = (
            ShardOrder(shards, processes, rank)
            if _in_shards(shards)
            else DistributedSampler(dataset, processes, rank, shuffle=False)
        )
        return self._loader(dataset, sampler=shared, batch_size=self.batch_size)

    def _world(self) -> tuple[int, int]:
        return (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)

    def _epochs(self) -> int:
        return (self.trainer.max_epochs if self.trainer else None) or 1

    def _loader(self, dataset: SegmentDataset, **how: Any) -> DataLoader[dict[str, Tensor]]:
        return DataLoader(
            dataset,
            collate_fn=collate,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
            **how,
        )


def _in_shards(shards: NDArray[np.int64]) -> bool:
    return bool(len(shards) and (shards >= 0).all())


def allow_open_files(num_workers: int) -> None:
    """Allows as many open files as loader processes need, where the system lets it.

    Raises:
        VaclipError: If it does not: PyTorch would hang, or end in an error of its own.
    """
    if not num_workers or sys.platform == "win32":
        return
    import resource

    needed = 128 + 64 * num_workers  # a file for each tensor on its way, and some of the process
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= needed or soft == resource.RLIM_INFINITY:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise VaclipError(
            f"data.num_workers={num_workers} needs {needed} open files, and this system allows "
            f"{hard}; use data.num_workers=0, or allow more by: ulimit -n {needed}"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def clip_items(
    study: Study, cached: Sequence[CachedClip], identities: dict[str, tuple[object, ...]]
) -> list[ClipItem]:
    """Numbers the clips of a study.

    Args:
        study: The study.
        cached: Its clips, in its order.
        identities: Of the annotations, as `map_identities` gives them.
    """
    patients = {name: index for index, name in enumerate(study.patients)}
    visits = {visit: n for n, visit in enumerate(sorted({clip.visit for clip in study.clips}))}
    numbers = {identity: n for n, identity in enumerate(sorted(set(identities.values()), key=repr))}
    return [
        ClipItem(
            one,
            row,
            study.classes.index(one.clip.label),
            patients[one.clip.patient_id],
            numbers.get(identities.get(one.clip.clip_id, ()), -1),
            visits[one.clip.visit],
        )
        for row, one in enumerate(cached)
    ]


def fold_datasets(
    items: Sequence[ClipItem],
    fold: dict[str, tuple[str, ...]],
    *,
    frames: int,
    stride: int,
    channels: int,
    augmentation: Augmentation | None = None,
    seed: int = 0,
    test_noise: Noise | None = None,
    jitter: int = 0,
) -> dict[str, SegmentDataset]:
    """Distributes clips to the splits of a fold by patient.

    Args:
        items: All clips.
        fold: Patients by split name.
        frames: See `SegmentDataset`, as for the rest.
        stride: In samples.
        channels: Of the maps.
        augmentation: Of training segments.
        seed: Of the augmentation.
        test_noise: Of the test split's maps.
        jitter: Of training segments of frozen tokens.

    Raises:
        VaclipError: If a split gets no clip, or a clip belongs to no split.
    """
    where = {patient: name for name in SPLITS for patient in fold[name]}
    patient_ids = columns_of(items).patient_ids
    if lost := sorted(set(patient_ids) - set(where)):
        raise VaclipError(f"the split plan knows nothing of patient(s) {', '.join(lost)}")
    datasets = {}
    for name in SPLITS:
        own = take_items(items, [n for n, one in enumerate(patient_ids) if where[one] == name])
        if not own:
            raise VaclipError(f"the {name} split has no clip; make the split plan anew")
        augmented = augmentation if name == "train" else None
        noise = test_noise if name == "test" else None
        datasets[name] = SegmentDataset(
            own, frames, stride, channels, augmented, seed, noise, jitter
        )
    return datasets
