"""Areas of interest that somebody looked at, as regions that they named (``gaze --aoi``).

- Tobii Pro Lab's data export: a column ``AOI hit [MEDIUM - AREA]`` for each area, 1 in rows whose
  gaze is in it; names may hold `` - `` themselves, so the media that the rows name decide.
  Tobii Studio's: ``AOI[AREA]Hit``, of the medium in ``MediaName``.
- Pupil Cloud's ``aoi_fixations.csv`` (documentation of Neon, "Areas of Interest"): ``aoi name``,
  ``recording id``; ``sections.csv`` beside it names the wearers.

A region of a study holds for a whole clip: times are left out, and that is told. A time for each
area would be worth less than the gaze that it was made of, which the same export has with its time
and place: who wants times imports that. Where an area lies is not in these files; study.yaml says
it (``--region``).
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from vaclip.errors import VaclipError
from vaclip.importers.base import Export, NewAnnotation
from vaclip.importers.gaze.columns import GazeTable, gaze_table
from vaclip.importers.gaze.pupil import is_events, read_events
from vaclip.importers.gaze.tobii_studio import as_pro_lab
from vaclip.importers.reading import SourceFile, decode_text, source_files

_PRO_LAB = re.compile(r"AOI hit \[(?P<both>.+)\]")
_STUDIO = re.compile(r"AOI\[(?P<area>.+)\]Hit")


def read_areas(
    sources: Sequence[Path], suffixes: Sequence[str], options: argparse.Namespace
) -> Export:
    """Reads who looked at which area of which video.

    Raises:
        VaclipError: If no file has areas, or the video is not named.
    """
    tables, dropped = [], []
    for source in sources:
        for file in source_files(source, suffixes):
            text = partial(_text, file, options.encoding)
            if table := gaze_table(text(), file.name, text):
                tables.append(table)
            else:
                dropped.append(f"{file.name}: not read, because it is no table")
    wearers = {
        recording: who
        for table in tables
        if is_events(table)
        for recording, who in read_events(table).wearers
    }
    annotations: list[NewAnnotation] = []
    for table in tables:
        found = list(_areas(as_pro_lab(table) or table, wearers, options))
        annotations += found
        if found:
            dropped.append(
                f"{table.name}: when areas were looked at, as regions have no times; the gaze "
                "itself, without --aoi, has them"
            )
        elif not is_events(table):
            dropped.append(f"{table.name}: not read, because nobody looked at an area in it")
    if not annotations:
        raise VaclipError(
            "nobody looked at an area in these files: expected Tobii's columns 'AOI hit [...]', or "
            "Pupil Cloud's aoi_fixations.csv; without --aoi gaze is read"
        )
    return Export(annotations=tuple(annotations), dropped=tuple(dropped))


def _text(file: SourceFile, encoding: str | None) -> str:
    return decode_text(file.read(), file.name, encoding)


def _areas(
    table: GazeTable, wearers: dict[str, str], options: argparse.Namespace
) -> Iterator[NewAnnotation]:
    name, recording = table.find("aoi name"), table.find("recording id")
    if name and recording and table.find("fixation id"):
        if options.video is None:
            raise VaclipError(f"{table.name}: does not say which video was shown: say --video NAME")
        cells = table.read(name, recording)
        pairs = zip(cells.texts(recording), cells.texts(name), strict=True)
        for who, area in dict.fromkeys(pairs):
            if area:
                annotator = options.annotator or wearers.get(str(who), str(who))
                yield NewAnnotation(options.video, annotator, str(area), table.name)
        return
    areas = [
        (column, match)
        for column in table.columns
        if (match := _PRO_LAB.fullmatch(column.title) or _STUDIO.fullmatch(column.title))
    ]
    if not areas:
        return
    kind, shown = table.find("eye movement type"), table.find("presented media name")
    who = table.find("participant name", "recording name")
    cells = table.read(kind, shown, who, *(column for column, _ in areas))
    people, media, kinds = cells.texts(who), cells.texts(shown), cells.texts(kind)
    fixating = (kinds == "Fixation") | (not (kinds != "").any())
    for column, match in areas:
        where = f"{table.name}: '{column.title}'"
        rows = fixating & (cells.texts(column) == "1")
        both = match.groupdict().get("both")
        medium, area = _parted(both, set(media)) if both else (None, match["area"])
        if medium is None and rows.any() and shown is None:
            raise VaclipError(f"{where}: of which medium? Export 'MediaName' too")
        names = media[rows] if medium is None else [medium] * int(rows.sum())
        looked = pd.DataFrame({"video": names, "who": people[rows]}).drop_duplicates()
        for video, person in looked.itertuples(index=False):
            if video:
                yield NewAnnotation(str(video), options.annotator or str(person), area, where)


def _parted(both: str, media: set[str]) -> tuple[str, str]:
    """Returns medium and area of ``MEDIUM - AREA``; the last `` - `` parts unknown media."""
    parts = both.split(" - ")
    heads = [" - ".join(parts[:count]) for count in range(1, len(parts))]
    medium = next((head for head in heads if head in media), heads[-1] if heads else "")
    return medium, both.removeprefix(f"{medium} - ")
