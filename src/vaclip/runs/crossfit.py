"""Maps for training that were predicted by a head which has not seen the patient.

A head predicts maps of the patients that taught it better than those of a new one. A classifier
that learns on the former meets the latter at test. So the training patients are dealt into parts;
for each part a model is trained on the others, and predicts its maps. These guide in training,
while the fold's own head learns from all training patients, and guides at test.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from vaclip import keys
from vaclip.data.dataset import ClipItem, SegmentDataset, map_array
from vaclip.data.predicted_maps import cached_guide
from vaclip.files import atomic_file, read_arrays
from vaclip.models import VideoAttentionCLIP
from vaclip.training.inference import predict_segments

Teach = Callable[[SegmentDataset], VideoAttentionCLIP]
"""Trains a model that predicts maps, and returns it in evaluation mode."""


def crossfitted(
    train: SegmentDataset,
    parts: Sequence[Collection[str]],
    teach: Teach,
    *,
    batch_size: int,
    folder: Path,
    cache: Path,
) -> SegmentDataset:
    """Gives each training clip the maps of a model that has not seen its patient.

    Args:
        train: The training segments of a fold.
        parts: Of its patients, each in one.
        teach: See `Teach`.
        batch_size: Segments that are predicted at a time.
        folder: Where the maps of each part are kept, so that a resumed run does not train anew.
        cache: Root of the cache.

    Returns:
        The segments with `ClipItem.guide`.
    """
    guides: dict[int, Path] = {}
    for number, part in enumerate(parts):
        own, others = _apart(train.items, part)
        file = folder / f"part_{number}.npz"
        if not file.exists():
            model = teach(train.of(others))
            predicted = _predicted(model, train.of(own), batch_size)
            with atomic_file(file) as temporary:
                np.savez_compressed(temporary, allow_pickle=False, **predicted)
        maps = read_arrays(file)
        for item in own:
            height, width = map_array(item.cached.frames).shape[1:3]
            guides[item.row] = cached_guide(
                maps[str(item.row)], item.cached.samples, train.frames, train.stride,
                (train.channels, height, width), cache,
            )  # fmt: skip
    return train.of([dataclasses.replace(item, guide=guides[item.row]) for item in train.items])


def _apart(
    items: Sequence[ClipItem], patients: Collection[str]
) -> tuple[list[ClipItem], list[ClipItem]]:
    """Parts clips into those of some patients, and the others."""
    own = [item for item in items if item.cached.clip.patient_id in patients]
    return own, [item for item in items if item.cached.clip.patient_id not in patients]


def _predicted(
    model: VideoAttentionCLIP, segments: SegmentDataset, batch_size: int
) -> dict[str, NDArray[np.float32]]:
    """Returns the predicted maps of each clip, (N, T', H', W') by its row."""
    device = str(next(model.parameters()).device)
    rows, maps = [], []
    for batch, outputs in predict_segments(model, segments, batch_size, device, embed=False):
        rows.append(batch[keys.CLIP_ROW].cpu())
        maps.append(outputs[keys.PREDICTED_MAP][:, 0].float().cpu())
    row, found = torch.cat(rows), torch.cat(maps)
    return {str(item.row): found[row == item.row].numpy() for item in segments.items}
