"""A kind of attention map that stands in attention.csv itself, and an importer of such rows."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vaclip.errors import VaclipError
from vaclip.importers import Importer
from vaclip.importers.base import Export, NewAnnotation
from vaclip.importers.reading import read_table
from vaclip.maps.source import AnnotatedClip, Grid, MapSource


class DiscMap(MapSource):
    """``disc``: a filled circle for the whole clip.

    The value is ``x y r``: the centre in fractions of width and height, the radius in fractions
    of the height.
    """

    def problem(self, value: str, clip: AnnotatedClip) -> str | None:
        try:
            read_disc(value)
        except VaclipError as error:
            return str(error)
        return None

    def files(self, value: str, clip: AnnotatedClip) -> list[Path]:
        return []

    def render(self, value: str, clip: AnnotatedClip, grid: Grid) -> NDArray[np.float32]:
        x, y, radius = read_disc(value)
        rows, columns = ((np.arange(side) + 0.5) / side for side in grid.size)
        aspect = grid.source_size[1] / grid.source_size[0]
        distance = np.hypot((rows - y)[:, None], (columns - x) * aspect)
        edge = (radius - distance) * grid.size[0] + 0.5  # a pixel wide
        picture = np.clip(edge, 0, 1).astype(np.float32)
        return np.repeat(picture[None], len(grid.frame_index), axis=0)


def read_disc(value: str) -> tuple[float, float, float]:
    """Returns x, y and radius."""
    try:
        x, y, radius = map(float, value.split())
    except ValueError:
        x = y = radius = np.nan
    if not (0 <= x <= 1 and 0 <= y <= 1 and 0 < radius <= 1):
        raise VaclipError(f"'{value}' is no disc: write x y r, as fractions")
    return x, y, radius


class DiscsImporter(Importer):
    """``discs``: a table of clip, annotator, x, y and r."""

    summary = "a table of discs: clip, annotator, x, y, r (CSV, TSV, Excel)"

    def read(self, sources: Sequence[Path], options: argparse.Namespace) -> Export:
        annotations = []
        for source in sources:
            table = read_table(source)
            for column in ("clip", "annotator", "x", "y", "r"):
                table.require(column)
            for number, row in table.rows:
                where = f"{table.name}:{number}"
                value = f"{row['x']} {row['y']} {row['r']}"
                try:
                    read_disc(value)
                except VaclipError as error:
                    raise VaclipError(f"{where}: {error}") from error
                annotations.append(
                    NewAnnotation(row["clip"], row["annotator"], value, where, kind="disc")
                )
        return Export(annotations=tuple(annotations))
