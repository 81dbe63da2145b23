"""Annotations of other tools: one module a kind. Importing the package registers them all."""

from vaclip.importers import (
    clinicalclip,
    coco,
    cvat,
    dlc,
    gaze,
    label_studio,
    marks,
    mmpose,
    openpose,
    sleap,
    table,
)
from vaclip.importers.base import IMPORTERS

__all__ = [
    "IMPORTERS",
    "clinicalclip",
    "coco",
    "cvat",
    "dlc",
    "gaze",
    "label_studio",
    "marks",
    "mmpose",
    "openpose",
    "sleap",
    "table",
]
