"""Tobii Pro Lab's data export: a TSV (or Excel file) of all samples.

Columns and their meaning: *Tobii Pro Lab User Manual*, "Data export". Newer versions write units
in brackets (``Recording timestamp [ms]``, ``Gaze point X [DACS px]``, ``[MCS norm]``), older ones
partly (``Gaze point X (MCSnorm)``) or not at all. DACS are pixels of the display, MCS those of the
shown medium, or for glasses of the scene camera, norm fractions of it; all count from the upper
left corner. Time is the recording's. A column may be exported and hold nothing. Rows of the mouse,
of events and of sensors name no medium, also while one is shown.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vaclip.errors import VaclipError
from vaclip.importers.gaze.clock import showings
from vaclip.importers.gaze.columns import Cells, Column, GazeTable
from vaclip.importers.gaze.fixations import MOST_PRESENTATIONS, Presentation, Rows, told
from vaclip.importers.gaze.tobii_studio import MEDIUM

_UNITS = {"mcsnorm": "video-fraction", MEDIUM: "video", "dacspx": "screen", "": "screen"}
# What is sure of gaze that may be in the scene camera's picture, and what the user makes sure.
_SCENE_UNITS = {
    None: {"dacspx": "screen"},
    "screen": {"dacspx": "screen", "": "screen"},
    "video": {"mcsnorm": "video-fraction", "mcspx": "video", "": "video"},
}
_STARTS, _ENDS = ("VideoStimulusStart", "MovieStart"), ("VideoStimulusEnd", "MovieEnd")
_INVALID = ("Invalid", "2", "3", "4")
_NO_GAZE = "no time, or no gaze"
_SIDES = ("gaze point", "gaze point left", "gaze point right", "fixation point")
_MEDIA = ("presented media name", "presented stimulus name")
_GLASSES = ("gyro x", "accelerometer x", "recording media name")  # filled by these alone
_NAMES = (
    "recording timestamp", "recording name", "participant name", "sensor", "event", "event value",
    "eye movement type", "validity left", "validity right", *_MEDIA, *_GLASSES,
    *(f"{side} {axis}" for side in _SIDES for axis in "xy"),
)  # fmt: skip


def is_tobii(table: GazeTable) -> bool:
    """Says whether the header is one of Tobii Pro Lab."""
    return bool(table.find("recording timestamp") and table.find(*(f"{at} x" for at in _SIDES)))


def read_tobii(
    table: GazeTable, options: argparse.Namespace, dropped: list[str]
) -> list[Presentation]:
    """Reads an export; what one person sees of one medium, until it begins anew, is a presentation.

    The video's first frame is at its ``VideoStimulusStart`` event, or where there is none, at the
    first row with its name.

    Args:
        table: The export.
        options: Of the command.
        dropped: Gets a line about gaze at nothing that is named.

    Raises:
        VaclipError: If a column, a unit or the medium is missing, or there is no row.
    """
    header, (table, cells) = table, table.read_filled(_NAMES)
    if not cells.count:
        raise VaclipError(f"{table.name}: there is no row under the header")
    media = _media(table, header, options)
    if (time := table.find("recording timestamp")) is None:
        raise VaclipError(f"{table.name}: its column 'Recording timestamp' is empty")
    second = table.seconds(time, options)
    time_s, events = cells.numbers(time) * second, cells.texts(table.find("event"))
    rows = _rows(table, cells, time_s, options, scene=media is None and _of_glasses(table))
    tracked = tracked_rows(cells, table.find("sensor"), events)
    recordings = cells.texts(table.find("recording name"))
    people = cells.texts(table.find("participant name", "recording name"))
    names, values = cells.texts(media), cells.texts(table.find("event value"))
    begins = np.isin(events, _STARTS) & (media is not None)
    names[begins & (names == "")] = values[begins & (names == "")]
    looks = tracked & ~rows.bad[_NO_GAZE]
    said = (names != "") | begins | looks if media else np.ones(cells.count, bool)
    shown: list[Presentation] = []
    parts = _showings(table.name, (names, people, recordings), said, begins, np.isin(events, _ENDS))
    for part in parts:
        first, seen = part[0], part[tracked[part]]
        zero = next(iter(part[begins[part]]), first)
        timed = time_s[part[(part >= zero) & np.isfinite(time_s[part])]]
        if not len(seen) or not len(timed) or (media is not None and not names[first]):
            continue
        where = f"{table.name}:{first + 2}"
        spans = [(float(timed[0]), math.inf)]
        if media is None:
            spans = showings(options, told_events(part, time_s, events, values), second, where)
        shown += [
            rows.shown(
                seen, video=options.video or str(names[first]), annotator=str(people[first]),
                where=where, span_s=span,
            )
            for span in spans
        ]  # fmt: skip
    if media is not None:
        nameless = Counter({"no medium is named": int((looks & (names == "")).sum())})
        dropped += told(table.name, nameless, int(tracked.sum()))
    return shown


def _media(table: GazeTable, header: GazeTable, options: argparse.Namespace) -> Column | None:
    """Returns the column of videos; None where the user names the one video."""
    media = table.find(*_MEDIA)
    if media is None and options.video is None:
        column = header.find(*_MEDIA)
        empty = f"its column '{column.title}' is empty: " if column else ""
        raise VaclipError(
            f"{table.name}: {empty}export 'Presented Media name', or say --video NAME for all of it"
        )
    if media is not None and options.video is not None:
        raise VaclipError(
            f"{table.name}: its column '{media.title}' names the videos: leave out --video"
        )
    return media


def _of_glasses(table: GazeTable) -> bool:
    """Says whether a column is filled that only glasses fill, whose camera looks at the scene."""
    return table.find(*_GLASSES) is not None


def tracked_rows(
    cells: Cells, sensor: Column | None, events: NDArray[np.object_]
) -> NDArray[np.bool_]:
    """Returns the rows of the eye tracker: those of events and other sensors end no sample."""
    sensors = cells.texts(sensor)
    return (sensors == "Eye Tracker") if (sensors == "Eye Tracker").any() else (events == "")


def _rows(
    table: GazeTable,
    cells: Cells,
    time_s: NDArray[np.float64],
    options: argparse.Namespace,
    *,
    scene: bool,
) -> Rows:
    x, y, unit, of_fixations = _places(table, options, scene=scene)
    places = np.column_stack([cells.numbers(x), cells.numbers(y)])
    kinds = cells.texts(table.find("eye movement type"))
    validity = [cells.texts(table.find(f"validity {side}")) for side in ("left", "right")]
    bad = {
        "eyes not found": kinds == "EyesNotFound",
        "marked as invalid": np.all([np.isin(texts, _INVALID) for texts in validity], axis=0),
        "no fixation, but a saccade or unclassified": (kinds != "Fixation") & of_fixations,
        _NO_GAZE: ~(np.isfinite(time_s) & np.isfinite(places).all(axis=1)),
    }
    return Rows(np.column_stack([time_s, np.full(cells.count, np.nan), places]), bad, unit)


def told_events(
    part: NDArray[np.intp],
    time_s: NDArray[np.float64],
    events: NDArray[np.object_],
    values: NDArray[np.object_],
) -> list[tuple[float, str]]:
    """Returns when events were, by their kind and by their value."""
    return [
        (float(time), str(text))
        for time, event, value in zip(time_s[part], events[part], values[part], strict=True)
        if event and np.isfinite(time)
        for text in {event, value} - {""}
    ]


def _places(
    table: GazeTable, options: argparse.Namespace, *, scene: bool
) -> tuple[Column, Column, str, bool]:
    """Returns the columns of x and y, what they count, and whether they are those of fixations."""
    side = f"{options.eye} " if options.eye != "both" else ""
    kinds = {"samples": f"gaze point {side}", "fixations": "fixation point "}
    wanted = [options.source] if options.source != "auto" else ["fixations", "samples"]
    units = _SCENE_UNITS.get(options.position_unit, {}) if scene else _UNITS
    for name in wanted:
        if name == "fixations" and table.find("eye movement type") is None:
            continue
        for unit in units:
            x = table.find(f"{kinds[name]}x", units=(unit,))
            y = table.find(f"{kinds[name]}y", units=(unit,))
            if x and y:
                return x, y, units[unit], name == "fixations"
    if scene:
        raise VaclipError(
            f"{table.name}: gaze of glasses in the scene camera's picture, not on a screen; map "
            "it to a snapshot in Pro Lab and export 'Mapped fixation X' and Y. Where the study's "
            "video is that picture itself, say --position-unit video, and where it is a screen "
            "after all, --position-unit screen"
        )
    raise VaclipError(
        f"{table.name}: there are no {' or '.join(wanted)} of --eye {options.eye}; export 'Gaze "
        "point', or 'Fixation point' with 'Eye movement type'; DACS px or MCS norm"
    )


def _showings(
    name: str,
    keys: Sequence[NDArray[np.object_]],
    said: NDArray[np.bool_],
    begins: NDArray[np.bool_],
    ends: NDArray[np.bool_],
) -> list[NDArray[np.intp]]:
    """Returns the rows of each showing.

    The name may be there before the video begins, so only a second event shows it again. What has
    begun by an event and not ended goes on, whatever was named in between.

    Args:
        name: Of the file.
        keys: Of each row what is shown, to whom, in which recording.
        said: Rows that say what is shown; others belong to the one before them.
        begins: Rows at which a video begins.
        ends: Rows at which one ends.
    """
    rows = np.flatnonzero(said)
    changes = np.zeros(len(rows), bool)
    changes[:1] = True
    for texts in keys:
        changes[1:] |= texts[rows[1:]] != texts[rows[:-1]]
    events = np.flatnonzero(begins[rows])
    first = np.unique(np.cumsum(changes)[events], return_index=True)[1]
    changes[np.delete(events, first)] = True
    edges = [*np.flatnonzero(changes).tolist(), len(rows)]
    if len(edges) > MOST_PRESENTATIONS:
        raise VaclipError(f"{name}: more than {MOST_PRESENTATIONS} changes of the medium")
    ended = np.cumsum(ends)
    going: dict[tuple[str, ...], tuple[int, int]] = {}  # the showing, and how many had ended
    showing = np.zeros(len(rows), np.intp)
    for number, (start, stop) in enumerate(pairwise(edges)):
        key = tuple(str(texts[rows[start]]) for texts in keys)
        begun, ended_before = going.get(key, (number, -1))
        if begins[rows[start:stop]].any():
            going[key] = number, int(ended[rows[start]])
            begun = number
        elif ended_before != ended[rows[start]]:
            begun = number
        showing[start:stop] = begun
    after = np.searchsorted(rows, np.arange(len(said)), side="right") - 1
    of_row = np.where(after < 0, -1, showing[after]) if len(rows) else np.full(len(said), -1)
    order = np.argsort(of_row, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(of_row[order])) + 1)
    return [part for part in parts if of_row[part[0]] >= 0]
