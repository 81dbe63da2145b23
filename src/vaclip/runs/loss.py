"""The loss that the settings ask for."""

from __future__ import annotations

import torch
from torch import Tensor

from vaclip.config import Config
from vaclip.data.dataset import SegmentDataset
from vaclip.data.items import columns_of
from vaclip.losses import ClipLoss, CompositeLoss


def build_loss(config: Config, class_weight: Tensor | None = None) -> CompositeLoss:
    """Builds the loss.

    Raises:
        VaclipError: If the settings name an unknown objective.
    """
    loss = config.loss
    clip = ClipLoss(
        loss.clip_positives,
        loss.clip_loss,
        temperature=loss.clip_temperature,
        learn_temperature=loss.learn_temperature,
        bias=loss.clip_bias,
        soft_temperature=loss.soft_map_temperature,
        mask_same_patient=loss.mask_same_patient,
        chunk=loss.clip_chunk,
    )
    return CompositeLoss(
        loss.clip_weight,
        config.model.lambda_token,
        clip,
        class_weight=class_weight,
        label_smoothing=loss.label_smoothing,
        lambda_map=config.model.lambda_map,
        lambda_map_cc=config.model.lambda_map_cc,
        lambda_distill=config.model.lambda_distill,
        distill_temperature=config.model.distill_temperature,
    )


def class_weights(config: Config, train: SegmentDataset, classes: int) -> Tensor | None:
    """Returns (K,) weights by which all classes count the same, 1 on average over the segments.

    Args:
        config: The settings.
        train: What is trained on.
        classes: K.

    Returns:
        None where the settings ask for none.
    """
    if config.loss.class_weight == "none":
        return None
    labels = torch.from_numpy(columns_of(train.items).label[train.segments[:, 0]])
    counts = torch.bincount(labels, minlength=classes)
    return len(labels) / (classes * counts.clamp_min(1))
