"""``regions``: a spreadsheet of which annotator named which region of which clip."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from vaclip.errors import VaclipError
from vaclip.importers.base import Export, Importer, NewAnnotation
from vaclip.importers.reading import Table, read_table


class RegionsImporter(Importer):
    """Reads regions that annotators named, from CSV, TSV or Excel."""

    summary = "a spreadsheet of the regions that annotators named (CSV, TSV, Excel)"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        group = parser.add_argument_group("columns of the table of annotations")
        group.add_argument("--clip-name-column", default="clip_id", metavar="NAME",
                           help="clip id or video (default: clip_id)")  # fmt: skip
        group.add_argument("--annotator-column", default="annotator", metavar="NAME",
                           help="who (default: annotator), unless --annotator says it")  # fmt: skip
        group.add_argument("--region-column", default="region", metavar="NAME",
                           help="what they named (default: region)")  # fmt: skip
        group.add_argument("--separator", default=";", metavar="TEXT",
                           help="between several regions of one cell (default: ;)")  # fmt: skip

    def read(self, sources: Sequence[Path], options: argparse.Namespace) -> Export:
        annotations, notes = [], []
        for source in sources:
            table = read_table(source, encoding=options.encoding, sheet=options.sheet)
            annotations += annotations_of_table(
                table,
                clip=options.clip_name_column,
                region=options.region_column,
                annotator_column=None if options.annotator else options.annotator_column,
                annotator=options.annotator or "",
                separator=options.separator,
            )
            notes += table.mixed_columns((options.clip_name_column,))
        return Export(annotations=tuple(annotations), notes=tuple(notes))


def annotations_of_table(
    table: Table,
    *,
    clip: str,
    region: str,
    annotator_column: str | None = None,
    annotator: str = "",
    separator: str = ";",
) -> list[NewAnnotation]:
    """Turns the rows of a table into annotations; a row whose cell names no region gives none.

    Args:
        table: The table.
        clip: The column of clips.
        region: The column of regions.
        annotator_column: The column of annotators; None takes ``annotator``.
        annotator: Who said all of it.
        separator: Between several regions of one cell.

    Raises:
        VaclipError: If a column, a clip or an annotator is missing.
    """
    for name in (clip, region, *([annotator_column] if annotator_column else [])):
        table.require(name)
    annotations = []
    for number, row in table.rows:
        where = f"{table.name}:{number}"
        try:
            table.check_names(number, row, (clip,), (region, annotator_column))
        except VaclipError as error:
            raise VaclipError(f"{where}: {error}") from error
        who = row[annotator_column] if annotator_column else annotator
        if not row[clip] or not who:
            raise VaclipError(f"{where}: the clip or the annotator is missing")
        named = [part.strip() for part in row[region].split(separator)]
        annotations += [
            NewAnnotation(row[clip], who, part, where) for part in dict.fromkeys(named) if part
        ]
    return annotations
