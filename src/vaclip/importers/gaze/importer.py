"""``gaze``: where annotators looked, from eye trackers, as fixations on the study's videos."""

from __future__ import annotations

import argparse
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vaclip.errors import VaclipError
from vaclip.importers.base import Export, Importer, NewAnnotation
from vaclip.importers.gaze.aoi import read_areas
from vaclip.importers.gaze.columns import GazeTable, excel_table, gaze_table
from vaclip.importers.gaze.eyelink import is_eyelink, read_eyelink
from vaclip.importers.gaze.fixations import Fixations, Presentation, both_eyes, merged, told
from vaclip.importers.gaze.options import add_gaze_options, gaze_setup
from vaclip.importers.gaze.plain import is_plain, read_plain
from vaclip.importers.gaze.pupil import PupilEvents, is_events, layout, read_events, read_pupil
from vaclip.importers.gaze.screen import Setup, in_picture
from vaclip.importers.gaze.tobii import is_tobii, read_tobii
from vaclip.importers.gaze.tobii_mapped import is_mapped, read_mapped
from vaclip.importers.gaze.tobii_studio import as_pro_lab
from vaclip.importers.gaze.vendors import VENDORS, vendor_of
from vaclip.importers.reading import SourceFile, decode_text, source_files
from vaclip.importers.video_sizes import VideoSizes
from vaclip.maps.gaze import MOST_FIXATIONS, Gaze, gaze_json, parse_gaze

_SUFFIXES = (".csv", ".tsv", ".txt", ".asc")
_EXCEL = (".xlsx", ".xlsm")


class GazeImporter(Importer):
    """Reads exports of eye trackers."""

    summary = "gaze: Tobii, Pupil Labs, EyeLink ASC, Gazepoint, SMI, iMotions, or a plain table"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        add_gaze_options(parser)

    def read(self, sources: Sequence[Path], options: argparse.Namespace) -> Export:
        if options.aoi:
            return read_areas(sources, _SUFFIXES, options)
        setup = gaze_setup(options)
        videos = VideoSizes(options)
        left_out: list[str] = []
        files = [file for source in sources for file in _recognised(source, options, left_out)]
        events = [
            (file.path, read_events(file.table))
            for file in files
            if file.kind == "events" and file.table
        ]
        chosen, dropped = _chosen(files, options)
        pupil = [file.path for file in chosen if file.kind == "pupil"]
        beside = _beside(pupil, [path for path, _ in events])
        annotations: list[NewAnnotation] = []
        for file in chosen:
            others = [(told, (file.path, path) in beside) for path, told in events]
            shown = _presentations(file, others, options, dropped)
            _check_people(file.name, shown, options)
            annotations += _annotations(file.name, shown, videos, setup, options, dropped)
        return Export(annotations=tuple(annotations), dropped=(*left_out, *dropped))


# --- files ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _File:
    """A file and what it is.

    Attributes:
        name: Below what the user named.
        path: Where it lies; an archive counts as a folder.
        kind: One of `FORMATS`, or ``events``.
        text: Reads it.
        table: Its columns; None of ``eyelink``.
    """

    name: str
    path: Path
    kind: str
    text: Callable[[], str]
    table: GazeTable | None = None


def _recognised(source: Path, options: argparse.Namespace, left_out: list[str]) -> Iterator[_File]:
    """Yields the files of gaze and events in a source; names the others in ``left_out``."""
    if source.suffix.lower() in _EXCEL and source.is_file():
        files: list[SourceFile | GazeTable] = [excel_table(source, options.sheet)]
    else:
        files = list(source_files(source, _SUFFIXES))
    found = False
    inside = source.resolve()
    for file in files:
        path = inside if source.is_file() and file.name == source.name else inside / file.name
        one = _file(file, path, options)
        if one is None:
            left_out.append(f"{file.name}: not read, because it holds no gaze that is known")
            continue
        found = True
        yield one
    if not found:
        raise VaclipError(
            f"'{source.name}' holds no gaze that is known: Tobii, Pupil Labs, EyeLink ASC, "
            "Gazepoint, SMI, iMotions, or a table with columns of time, x and y; name these with "
            "--time-column, --x-column, --y-column"
        )


def _file(file: SourceFile | GazeTable, path: Path, options: argparse.Namespace) -> _File | None:
    """Returns what a file is, by its content; None for none of gaze. It is read again later."""
    if isinstance(file, GazeTable):
        return _table_file(file, path, str, options)

    def text() -> str:
        return decode_text(file.read(), file.name, options.encoding)

    content = text()
    if options.format == "eyelink" or (options.format is None and is_eyelink(content)):
        return _File(file.name, path, "eyelink", text)
    table = gaze_table(content, file.name, text)
    return _table_file(table, path, text, options) if table else None


def _table_file(
    table: GazeTable, path: Path, text: Callable[[], str], options: argparse.Namespace
) -> _File | None:
    if options.format in (None, "pupil") and is_events(table):
        return _File(table.name, path, "events", text, table)
    table = as_pro_lab(table) or table
    vendor = vendor_of(table)
    tests = {
        "tobii": is_tobii(table) or is_mapped(table),
        "pupil": layout(table) is not None,
        **{name: name == vendor for name in VENDORS},
        "table": is_plain(table, options),
    }
    kind = options.format or next((kind for kind, fits in tests.items() if fits), None)
    return _File(table.name, path, kind, text, table) if kind and tests.get(kind) else None


def _chosen(files: Sequence[_File], options: argparse.Namespace) -> tuple[list[_File], list[str]]:
    """Returns the files to read, and lines about files of samples beside ones of fixations."""
    files, dropped = _without_scene(files, options)
    chosen = []
    has: dict[Path, set[bool]] = {}
    for file in files:
        if file.kind == "pupil":
            has.setdefault(_surface(file.path), set()).add(_of_fixations(file))
    for file in files:
        if file.kind == "events":
            continue
        if file.kind == "pupil":
            both = len(has[_surface(file.path)]) == 2
            wanted = "samples" if options.source == "samples" else "fixations"
            if both and _of_fixations(file) != (wanted == "fixations"):
                dropped.append(f"{file.name}: not read, because another file has the {wanted}")
                continue
            if options.source not in ("auto", "fixations" if _of_fixations(file) else "samples"):
                raise VaclipError(f"{file.name}: holds no {options.source}, which --from asks for")
        chosen.append(file)
    if not chosen:
        raise VaclipError("these files hold events, but no gaze: name the files of gaze too")
    return chosen, dropped


def _without_scene(
    files: Sequence[_File], options: argparse.Namespace
) -> tuple[list[_File], list[str]]:
    """Leaves out Pupil Labs' files of the scene camera's picture beside ones of a surface."""
    pupil = {
        file.path: found.surface or found.reference
        for file in files
        if file.kind == "pupil" and file.table and (found := layout(file.table))
    }
    if options.position_unit is not None or not any(pupil.values()):
        return list(files), []
    scene = [file for file in files if not pupil.get(file.path, True)]
    return [file for file in files if file not in scene], [
        f"{file.name}: not read, because other files have the gaze on a surface" for file in scene
    ]


def _surface(path: Path) -> Path:
    """Returns what a file of gaze and its file of fixations have in common."""
    return path.parent / re.sub("^(gaze_positions|gaze|fixations)", "", path.stem)


def _beside(gaze: Sequence[Path], events: Sequence[Path]) -> set[tuple[Path, Path]]:
    """Returns the pairs of a file of gaze and one of events that are each other's nearest."""
    shared = {
        (one, other): len(Path(os.path.commonpath([one.parent, other.parent])).parts)
        for one in gaze
        for other in events
    }
    most: dict[tuple[str, Path], int] = {}
    for (one, other), folders in shared.items():
        for end in (("gaze", one), ("events", other)):
            most[end] = max(folders, most.get(end, 0))
    return {
        (one, other)
        for (one, other), folders in shared.items()
        if folders == most["gaze", one] == most["events", other]
    }


def _of_fixations(file: _File) -> bool:
    found = layout(file.table) if file.table else None
    return found is not None and found.fixations


def _presentations(
    file: _File,
    events: Sequence[tuple[PupilEvents, bool]],
    options: argparse.Namespace,
    dropped: list[str],
) -> list[Presentation]:
    if file.table is None:
        return read_eyelink(file.text(), file.name, options, dropped)
    if file.kind == "tobii":
        mapped = read_mapped(file.table, options, dropped)
        return read_tobii(file.table, options, dropped) if mapped is None else mapped
    if found := layout(file.table) if file.kind == "pupil" else None:
        return read_pupil(file.table, found, events, options)
    table = VENDORS[file.kind](file.table, options) if file.kind in VENDORS else file.table
    return read_plain(table, options, dropped)


def _check_people(name: str, shown: Sequence[Presentation], options: argparse.Namespace) -> None:
    people = sorted({one.annotator for one in shown})
    if options.annotator and len(people) > 1:
        raise VaclipError(
            f"{name}: holds gaze of {len(people)} people, but --annotator names one; leave it out, "
            "and they keep the names of the file"
        )


# --- annotations ---------------------------------------------------------------------------


def _annotations(
    name: str,
    presentations: Sequence[Presentation],
    videos: VideoSizes,
    setup: Setup,
    options: argparse.Namespace,
    dropped: list[str],
) -> Iterator[NewAnnotation]:
    """Yields an annotation for each presentation of a known video, one for each unknown video."""
    lost: Counter[str] = Counter()
    numbers: Counter[tuple[str, str]] = Counter()
    rows, unknown = 0, set()
    for shown in presentations:
        who = options.annotator or shown.annotator
        size = videos.find(shown.video)
        if size is None:
            if shown.video not in unknown:  # the merger lists it
                unknown.add(shown.video)
                yield NewAnnotation(shown.video, who, Gaze((1, 1), np.zeros((0, 4))), shown.where)
            continue
        rect = setup.place(shown, size)
        lost += shown.dropped
        rows += shown.rows
        eyes = [in_picture(eye, shown, setup, rect, size, lost) for eye in shown.eyes]
        fixations = merged(_one_eye(eyes))
        numbers[shown.video, who] += 1
        number = numbers[shown.video, who]
        where = shown.where + (f" (showing {number})" if number > 1 else "")
        if not len(fixations):
            dropped.append(f"{where}: nothing is left of the gaze at '{shown.video}'")
            continue
        if len(fixations) > MOST_FIXATIONS:
            raise VaclipError(f"{where}: more than {MOST_FIXATIONS} fixations on one video")
        content = _checked(Gaze(size, fixations, setup.sigma_px(shown, rect, size)), where)
        yield NewAnnotation(shown.video, who, content, where)
    dropped += told(name, lost, rows)


def _checked(gaze: Gaze, where: str) -> Gaze:
    """Returns gaze if it can be written and read back; raises a VaclipError otherwise."""
    try:
        parse_gaze(gaze_json(gaze))
    except VaclipError as error:
        raise VaclipError(f"{where}: {error}") from error
    return gaze


def _one_eye(eyes: Sequence[Fixations]) -> Fixations:
    if len(eyes) > 1:
        return both_eyes(*eyes)
    return eyes[0] if eyes else np.zeros((0, 4))
