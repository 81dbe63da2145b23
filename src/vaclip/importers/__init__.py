"""Annotations of other tools: one module a kind. Importing the package registers them all."""

from vaclip.importers.base import IMPORTERS
from vaclip.importers.drawings import cvat, label_studio
from vaclip.importers.gaze import importer as gaze
from vaclip.importers.poses import coco, dlc, mmpose, openpose, sleap
from vaclip.importers.tables import clinicalclip, regions, table

__all__ = [
    "IMPORTERS",
    "clinicalclip",
    "coco",
    "cvat",
    "dlc",
    "gaze",
    "label_studio",
    "mmpose",
    "openpose",
    "regions",
    "sleap",
    "table",
]
