"""The loss terms and their sum."""

from vaclip.losses.composite import CompositeLoss

__all__ = ["CompositeLoss"]
