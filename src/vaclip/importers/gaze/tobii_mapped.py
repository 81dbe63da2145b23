"""Gaze of Tobii's glasses that Pro Lab mapped to snapshots, which are still pictures.

Columns of the data export, of glasses alone, in pixels of the snapshot (*Tobii Pro Lab User
Manual*, "Data export", and public exports of 2019 to 2025): ``Mapped fixation X [NAME]``, ``Mapped
gaze data X [NAME]``, both with Y, and ``Mapped eye movement type [NAME]``, for each snapshot its
own. Time is the recording's. Rows of other sensors repeat what the eye tracker's have, and nothing
but events says when a snapshot counts. Gaze in the scene camera's picture is left out then, and
that is told.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vaclip.errors import VaclipError
from vaclip.importers.gaze.clock import FIRST, showings
from vaclip.importers.gaze.columns import Cells, Column, GazeTable
from vaclip.importers.gaze.fixations import MOST_PRESENTATIONS, Presentation, Rows
from vaclip.importers.gaze.tobii import told_events, tracked_rows

_TITLE = re.compile(
    r"Mapped (fixation x|fixation y|gaze data x|gaze data y|eye movement type) \[(.+)\]", re.I
)
_NAMES = (
    "recording timestamp", "recording name", "participant name", "sensor", "event", "event value",
    "eye movement type",
)  # fmt: skip
_SOURCES = {"fixations": "fixation", "samples": "gaze data"}
_UNMAPPED = "not mapped to the picture, or no time"


@dataclass(frozen=True)
class _Snapshot:
    """A picture, and the columns of what was mapped to it."""

    name: str
    x: Column
    y: Column
    kind: Column | None
    """Of fixations: the type of eye movement."""


def is_mapped(table: GazeTable) -> bool:
    """Says whether a header has gaze that was mapped to a snapshot."""
    return bool(table.find("recording timestamp")) and bool(_titles(table))


def read_mapped(
    table: GazeTable, options: argparse.Namespace, dropped: list[str]
) -> list[Presentation] | None:
    """Reads what each person saw of each snapshot.

    Args:
        table: The export.
        options: Of the command; the video's name is that of the snapshot, or ``--video``.
        dropped: Gets a line about gaze in the scene camera's picture.

    Returns:
        The presentations; None where nothing is mapped, or ``--position-unit`` asks for the rest.

    Raises:
        VaclipError: If it is not known when a snapshot was shown, or what ``--video`` means.
    """
    if options.position_unit is not None or not is_mapped(table):
        return None
    cells = table.read(*map(table.find, _NAMES), *_titles(table).values())
    snapshots = _snapshots(table, cells, options)
    if not snapshots:
        return None
    if options.eye != "both":
        raise VaclipError(f"{table.name}: mapped gaze is of both eyes together: leave out --eye")
    return _presentations(table, cells, snapshots, options, dropped)


def _presentations(
    table: GazeTable,
    cells: Cells,
    snapshots: Sequence[_Snapshot],
    options: argparse.Namespace,
    dropped: list[str],
) -> list[Presentation]:
    names = ", ".join(one.name for one in snapshots)
    if options.video is not None and len(snapshots) > 1:
        raise VaclipError(
            f"{table.name}: gaze is mapped to {len(snapshots)} pictures ({names}): leave out "
            "--video, and the study's videos have to bear these names"
        )
    if table.find("gaze point x", "fixation point x"):
        dropped.append(
            f"{table.name}: gaze in the scene camera's picture, as it is mapped to {names}"
        )
    when = _when(table, cells, options)
    people = cells.texts(table.find("participant name", "recording name"))
    recordings = cells.texts(table.find("recording name"))
    group = pd.DataFrame({"who": people, "of": recordings}).groupby(["who", "of"], sort=False)
    numbers = group.ngroup().to_numpy()
    order = np.argsort(numbers, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1)
    shown: list[Presentation] = []
    for snapshot in snapshots:
        rows = _rows(snapshot, cells, when.time_s, options)
        video = options.video or snapshot.name
        for own in parts:
            person, part = str(people[own[0]]), own[when.seen[own]]
            where = f"{table.name}: '{snapshot.name}', {person or 'somebody'}"
            shown += [
                rows.shown(part, video=video, annotator=person, where=where, span_s=span)
                for span in when.spans(own, rows, options, where)
            ]
            if len(shown) > MOST_PRESENTATIONS:
                raise VaclipError(f"{table.name}: more than {MOST_PRESENTATIONS} showings")
    return shown


@dataclass(frozen=True)
class _When:
    """The rows of a file by their times: in seconds, with events, and those of the eye tracker."""

    time_s: NDArray[np.float64]
    events: NDArray[np.object_]
    values: NDArray[np.object_]
    seen: NDArray[np.bool_]
    second: float
    """Seconds that a unit of the file's clock lasts."""

    def spans(
        self, own: NDArray[np.intp], rows: Rows, options: argparse.Namespace, where: str
    ) -> list[tuple[float, float]]:
        """Returns when a snapshot was shown in the rows of a recording; nothing if it was not."""
        mapped = own[self.seen[own] & ~rows.bad[_UNMAPPED][own]]
        if not len(mapped):
            return []
        if options.start == FIRST:
            return [(float(self.time_s[mapped].min()), math.inf)]
        told = told_events(own, self.time_s, self.events, self.values)
        return showings(options, told, self.second, where)


def _titles(table: GazeTable) -> dict[tuple[str, str], Column]:
    """Returns columns by snapshot and what they hold."""
    matches = ((column, _TITLE.fullmatch(column.title)) for column in table.columns)
    return {(match[2], match[1].casefold()): column for column, match in matches if match}


def _when(table: GazeTable, cells: Cells, options: argparse.Namespace) -> _When:
    time = table.find("recording timestamp")
    assert time is not None  # `is_mapped` asked for it
    second, events = table.seconds(time, options), cells.texts(table.find("event"))
    return _When(
        cells.numbers(time) * second,
        events,
        cells.texts(table.find("event value")),
        tracked_rows(cells, table.find("sensor"), events),
        second,
    )


def _snapshots(table: GazeTable, cells: Cells, options: argparse.Namespace) -> list[_Snapshot]:
    """Returns the snapshots to which something is mapped, fixations where there are some."""
    titles, found = _titles(table), []
    wanted = [options.source] if options.source != "auto" else list(_SOURCES)
    for name in dict.fromkeys(name for name, _ in titles):
        for source in wanted:
            x, y = (titles.get((name, f"{_SOURCES[source]} {axis}")) for axis in "xy")
            kind = titles.get((name, "eye movement type")) or table.find("eye movement type")
            if x is None or y is None or not (cells.filled(x) and cells.filled(y)):
                continue
            if source == "samples":
                found.append(_Snapshot(name, x, y, None))
            elif kind is None:
                continue
            else:
                found.append(_Snapshot(name, x, y, kind))
            break
    return found


def _rows(
    snapshot: _Snapshot, cells: Cells, time_s: NDArray[np.float64], options: argparse.Namespace
) -> Rows:
    places = np.column_stack([cells.numbers(snapshot.x), cells.numbers(snapshot.y)])
    saccades = (cells.texts(snapshot.kind) != "Fixation") & (snapshot.kind is not None)
    bad = {
        _UNMAPPED: ~(np.isfinite(time_s) & np.isfinite(places).all(axis=1)),
        "no fixation, but a saccade or unclassified": saccades,
    }
    # With --video-rect the snapshot is of the screen, and the video lay somewhere on it.
    unit = "video" if options.video_rect is None else "screen"
    return Rows(np.column_stack([time_s, np.full(cells.count, np.nan), places]), bad, unit)
