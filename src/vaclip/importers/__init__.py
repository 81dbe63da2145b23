"""Annotations of other tools: one module a kind, imported when it is asked for."""

from vaclip.importers.base import Importer
from vaclip.plugins import Registry

IMPORTERS = Registry(
    "vaclip.importers",
    "the kind of export",
    Importer,
    {
        "alphapose": "vaclip.importers.poses.alphapose:AlphaPoseImporter",
        "clinicalclip": "vaclip.importers.tables.clinicalclip:ClinicalClipImporter",
        "coco": "vaclip.importers.poses.coco:CocoImporter",
        "coco_shapes": "vaclip.importers.drawings.coco_shapes:CocoShapesImporter",
        "cvat": "vaclip.importers.drawings.cvat:CvatImporter",
        "dicom": "vaclip.importers.videos.dicom:DicomImporter",
        "dlc": "vaclip.importers.poses.dlc:DLCImporter",
        "gaze": "vaclip.importers.gaze.importer:GazeImporter",
        "label_studio": "vaclip.importers.drawings.label_studio:LabelStudioImporter",
        "mediapipe": "vaclip.importers.poses.mediapipe:MediaPipeImporter",
        "mmpose": "vaclip.importers.poses.mmpose:MMPoseImporter",
        "openpose": "vaclip.importers.poses.openpose:OpenPoseImporter",
        "regions": "vaclip.importers.tables.regions:RegionsImporter",
        "sleap": "vaclip.importers.poses.sleap:SleapImporter",
        "table": "vaclip.importers.tables.table:TableImporter",
    },
)
"""By the KIND of ``vaclip data import KIND``."""

__all__ = ["IMPORTERS", "Importer"]
