"""What training is told of each patient by a model that has not seen the patient.

A model knows the patients that taught it better than a new one. A head's maps of the former are
better than those that a classifier meets at test; a teacher's diagnosis of the former is the label
over again. So the training patients are dealt into parts; for each part a model is trained on the
others, and what it says of the part is what training is told:

- the **map** that guides a segment, while the fold's own head learns from all training patients,
  and guides at test; a head that is a ridge regression is fitted and not trained;
- the **soft target** of a segment, by a teacher who is shown the map.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaclip import keys
from vaclip.config import Config, LossConfig, ModelConfig
from vaclip.data.arrays import array_shape
from vaclip.data.cache import clip_cache
from vaclip.data.dataset import SegmentDataset
from vaclip.data.items import ClipItem
from vaclip.data.predicted_maps import cached_guide
from vaclip.data.splits import inner_parts, patient_labels
from vaclip.files import atomic_file, read_arrays
from vaclip.models import VideoAttentionCLIP
from vaclip.models.map_head import RidgeHead
from vaclip.training.inference import predict_segments
from vaclip.training.ridge import Ridge, fit_ridge, map_moments

Part = tuple[str, ...]
"""Patients."""
Train = Callable[[Config, SegmentDataset | None], VideoAttentionCLIP]
"""Builds a model by settings, trains it where there are segments, and returns it in evaluation
mode."""
Teach = Callable[[SegmentDataset, Part], VideoAttentionCLIP]
"""Returns a model, in evaluation mode, that may know segments, and not a part of the patients."""
Told = Mapping[int, NDArray[np.float32]]
"""By row of a clip: an output of a model for each of its segments, (N, ...)."""

_OF_SIZE = (
    "clip_backbone", "clip_feature_dim", "clip_embed_dim", "model_class_num", "attn_in_channels",
    "map_guided_hidden_dim", "backbone_width",
)  # fmt: skip


def teacher_config(config: Config) -> Config:
    """Returns the settings of a student's teacher: the full method (B3), of the student's size."""
    same = {name: getattr(config.model, name) for name in _OF_SIZE}
    loss = dataclasses.replace(config.loss, clip_weight=LossConfig().clip_weight)
    return dataclasses.replace(config, model=ModelConfig(**same), loss=loss)


def head_config(config: Config) -> Config:
    """Returns the settings of the models whose maps guide: no teacher, who may know the patient."""
    model = dataclasses.replace(config.model, lambda_distill=0.0)
    return dataclasses.replace(config, model=model)


def crossfitted(
    config: Config, train: SegmentDataset, folder: Path, train_model: Train
) -> tuple[SegmentDataset, Ridge | None]:
    """Gives training segments what the settings ask of models that have not seen their patients.

    Args:
        config: The settings.
        train: The training segments of a fold.
        folder: Of the fold.
        train_model: See `Train`.

    Returns:
        The segments, with maps and soft targets; and the ridge regression on all of them that
        predicts the map at test, None where a head is trained.
    """
    model, size = config.model, config.data.batch_size
    found, head = train, None
    if model.map_crossfit:
        parts = _parts(config, train, "map_crossfit")
        settings = head_config(config)
        teach = _trained(settings, train_model)
        if model.map_head == "ridge":
            own = [_apart(train.items, part)[0] for part in parts]
            moments = {
                part: map_moments(train.of(items), size)
                for part, items in zip(parts, own, strict=True)
            }
            head = fit_ridge([*moments.values()])
            teach = _fitted(settings, train_model, moments)
        maps = crossfit(
            train, parts, teach, keys.PREDICTED_MAP, batch_size=size, folder=folder / "crossfit"
        )
        found = with_guides(found, maps, clip_cache(config.data.cache_dir))
    if model.lambda_distill:
        parts = _parts(config, train, "distill_crossfit")
        teach = _trained(teacher_config(config), train_model)
        told = crossfit(
            train, parts, teach, keys.LOGITS, batch_size=size, folder=folder / "teachers"
        )
        found = with_teacher(found, told)
    return found, head


def _parts(config: Config, train: SegmentDataset, key: str) -> list[tuple[str, ...]]:
    clips = [item.cached.clip for item in train.items]
    labels = patient_labels([(clip.patient_id, clip.label) for clip in clips])
    number, seed = getattr(config.model, key), config.split.seed
    return inner_parts([*labels], labels, number, seed, f"model.{key}")


def _trained(config: Config, train_model: Train) -> Teach:
    return lambda others, _: train_model(config, others)


def _fitted(config: Config, train_model: Train, moments: Mapping[Part, Tensor]) -> Teach:
    def teach(_: SegmentDataset, part: Part) -> VideoAttentionCLIP:
        others = [own for one, own in moments.items() if one != part]
        return with_ridge(train_model(config, None), fit_ridge(others))

    return teach


def with_ridge(model: VideoAttentionCLIP, fit: Ridge) -> VideoAttentionCLIP:
    """Gives a model's head the weights of a ridge regression, and returns it."""
    assert isinstance(model.map_head, RidgeHead)
    model.map_head.load_state_dict({"weight": fit.weight, "bias": fit.bias})
    return model


def crossfit(
    train: SegmentDataset,
    parts: Sequence[Part],
    teach: Teach,
    output: str,
    *,
    batch_size: int,
    folder: Path,
) -> Told:
    """Asks, for each training clip, a model that has not seen its patient.

    Args:
        train: The training segments of a fold.
        parts: Of its patients, each in one.
        teach: See `Teach`.
        output: Which of the model's outputs.
        batch_size: Segments that are asked for at a time.
        folder: Where the answers of each part are kept, so that a resumed run does not train anew.
    """
    told: dict[int, NDArray[np.float32]] = {}
    for number, part in enumerate(parts):
        own, others = _apart(train.items, part)
        file = folder / f"part_{number}.npz"
        if not file.exists():
            model = teach(train.of(others), part)
            answers = _answers(model, train.of(own), output, batch_size)
            with atomic_file(file) as temporary:
                np.savez_compressed(temporary, allow_pickle=False, **answers)
        told |= {int(row): answer for row, answer in read_arrays(file).items()}
    return told


def with_guides(train: SegmentDataset, maps: Told, cache: Path) -> SegmentDataset:
    """Gives clips the maps that guide them in training, `ClipItem.guide`.

    Args:
        train: The segments.
        maps: Predicted maps, (N, 1, T', H', W').
        cache: Root of the cache.
    """
    guided = []
    for item in train.items:
        height, width = array_shape(item.cached.frames)[1:3]
        shape = (train.channels, height, width)
        guide = cached_guide(
            maps[item.row][:, 0], item.cached.samples, train.frames, train.stride, shape, cache
        )
        guided.append(dataclasses.replace(item, guide=guide))
    return train.of(guided)


def with_teacher(train: SegmentDataset, logits: Told) -> SegmentDataset:
    """Gives clips their soft targets, `ClipItem.teacher`, from logits (N, K)."""
    return train.of(
        [
            dataclasses.replace(item, teacher=torch.from_numpy(logits[item.row]))
            for item in train.items
        ]
    )


def _apart(items: Sequence[ClipItem], patients: Part) -> tuple[list[ClipItem], list[ClipItem]]:
    """Parts clips into those of some patients, and the others."""
    own = [item for item in items if item.cached.clip.patient_id in patients]
    return own, [item for item in items if item.cached.clip.patient_id not in patients]


def _answers(
    model: VideoAttentionCLIP, segments: SegmentDataset, output: str, batch_size: int
) -> dict[str, NDArray[np.float32]]:
    """Returns an output for the segments of each clip, (N, ...) by its row."""
    device = str(next(model.parameters()).device)
    rows, answers = [], []
    for batch, outputs in predict_segments(model, segments, batch_size, device, embed=False):
        rows.append(batch[keys.CLIP_ROW].cpu())
        answers.append(outputs[output].float().cpu())
    row, found = torch.cat(rows), torch.cat(answers)
    return {str(item.row): found[row == item.row].numpy() for item in segments.items}
