"""The loss terms and their sum."""

from vaclip.losses.composite import CompositeLoss
from vaclip.losses.contrastive import ClipLoss

__all__ = ["ClipLoss", "CompositeLoss"]
