"""Writes the files that an annotation names, as an import does."""

from __future__ import annotations

from pathlib import Path

from vaclip.files import write_json
from vaclip.maps.gaze import Gaze, gaze_json
from vaclip.maps.shapes import Shapes, shapes_json


def write_gaze(path: Path, gaze: Gaze) -> None:
    write_json(path, gaze_json(gaze))


def write_shapes(path: Path, shapes: Shapes) -> None:
    write_json(path, shapes_json(shapes))
