"""Tobii Pro Lab's data export: a TSV (or Excel file) of all samples.

Columns and their meaning: *Tobii Pro Lab User Manual*, "Data export". Newer versions write units
in brackets (``Recording timestamp [ms]``, ``Gaze point X [DACS px]``, ``[MCS norm]``), older ones
partly (``Gaze point X (MCSnorm)``) or not at all. DACS are pixels of the display, MCS norm
fractions of the shown medium; both count from the upper left corner. Time is the recording's.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vaclip.errors import VaclipError
from vaclip.importers.gaze.clock import showings
from vaclip.importers.gaze.columns import Column, GazeTable
from vaclip.importers.gaze.fixations import MOST_PRESENTATIONS, Presentation, Rows

_UNITS = {"mcsnorm": "video-fraction", "dacspx": "screen", "": "screen"}
_START = "VideoStimulusStart"


def is_tobii(table: GazeTable) -> bool:
    """Says whether the header is one of Tobii Pro Lab."""
    places = ("gaze point x", "fixation point x", "gaze point left x", "gaze point right x")
    return bool(table.find("recording timestamp") and table.find(*places))


def read_tobii(table: GazeTable, options: argparse.Namespace) -> list[Presentation]:
    """Reads an export; each run of rows with one recording and medium is a presentation.

    The video's first frame is at its ``VideoStimulusStart`` event, or where there is none, at the
    first row with its name.

    Raises:
        VaclipError: If a column or a unit is missing, or there is no row.
    """
    time = table.find("recording timestamp")
    if time is None:
        raise VaclipError(f"{table.name}: there is no column 'Recording timestamp'")
    second = table.seconds(time, options)
    x, y, of_fixations = _places(table, options)
    kind, sensor = table.find("eye movement type"), table.find("sensor")
    validity = [table.find(f"validity {side}") for side in ("left", "right")]
    media = _media(table, options)
    recording = table.find("recording name")
    who = table.find("participant name") or recording
    event, value = table.find("event"), table.find("event value")
    cells = table.read(time, x, y, kind, sensor, *validity, media, who, recording, event, value)
    time_s, events, values = cells.numbers(time) * second, cells.texts(event), cells.texts(value)
    places = np.column_stack([cells.numbers(x), cells.numbers(y)])
    valid = [cells.texts(column) for column in validity]
    bad = _unusable(time_s, places, cells.texts(kind), valid, of_fixations=of_fixations)
    samples = np.column_stack([time_s, np.full(cells.count, np.nan), places])
    rows = Rows(samples, bad, _UNITS[x.unit])
    sensors = cells.texts(sensor)
    # Rows of events, of the mouse and of other sensors hold no gaze, and end no sample.
    tracked = (sensors == "Eye Tracker") if (sensors == "Eye Tracker").any() else (events == "")
    people, recordings = cells.texts(who), cells.texts(recording)
    begins = (events == _START) & (media is not None)
    names = cells.texts(media)
    names[begins & (names == "")] = values[begins & (names == "")]
    edges = _run_edges(table.name, names, people, recordings, begins)
    shown = []
    for first, last in pairwise(edges):
        part = np.arange(first, last)[tracked[first:last]]
        event = first + int(np.argmax(begins[first:last]))  # the first row where there is none
        timed = time_s[event:last][np.isfinite(time_s[event:last])]
        if not len(part) or not len(timed) or (media is not None and not names[first]):
            continue
        where = f"{table.name}:{first + 2}"
        spans = [(float(timed[0]), math.inf)]
        if media is None:
            told = _told(slice(first, last), time_s, events, values)
            spans = showings(options, told, second, where)
        shown += [
            rows.shown(
                part, video=options.video or str(names[first]), annotator=str(people[first]),
                where=where, span_s=span,
            )
            for span in spans
        ]  # fmt: skip
    return shown


def _media(table: GazeTable, options: argparse.Namespace) -> Column | None:
    """Returns the column of videos; None where the user names the one video."""
    media = table.find("presented media name", "presented stimulus name")
    if media is None and options.video is None:
        raise VaclipError(
            f"{table.name}: export 'Presented Media name', or say --video NAME for all of it"
        )
    if media is not None and options.video is not None:
        raise VaclipError(
            f"{table.name}: its column '{media.title}' names the videos: leave out --video"
        )
    return media


def _unusable(
    time_s: NDArray[np.float64],
    places: NDArray[np.float64],
    kinds: NDArray[np.object_],
    validity: Sequence[NDArray[np.object_]],
    *,
    of_fixations: bool,
) -> dict[str, NDArray[np.bool_]]:
    """Returns which rows cannot be used, by the reason."""
    return {
        "eyes not found": kinds == "EyesNotFound",
        "marked as invalid": np.all([texts == "Invalid" for texts in validity], axis=0),
        "no fixation, but a saccade or unclassified": (kinds != "Fixation") & of_fixations,
        "no time, or no gaze": ~(np.isfinite(time_s) & np.isfinite(places).all(axis=1)),
    }


def _told(
    part: slice,
    time_s: NDArray[np.float64],
    events: NDArray[np.object_],
    values: NDArray[np.object_],
) -> list[tuple[float, str]]:
    """Returns when events were, by their kind and by their value."""
    return [
        (float(time), str(text))
        for time, event, value in zip(time_s[part], events[part], values[part], strict=True)
        if event and np.isfinite(time)
        for text in {event, value}
    ]


def _places(table: GazeTable, options: argparse.Namespace) -> tuple[Column, Column, bool]:
    """Returns the columns of x and y, and whether they are those of fixations."""
    side = f"{options.eye} " if options.eye != "both" else ""
    kinds = {"samples": f"gaze point {side}", "fixations": "fixation point "}
    wanted = [options.source] if options.source != "auto" else ["fixations", "samples"]
    for name in wanted:
        if name == "fixations" and table.find("eye movement type") is None:
            continue
        for unit in _UNITS:
            x = table.find(f"{kinds[name]}x", units=(unit,))
            y = table.find(f"{kinds[name]}y", units=(unit,))
            if x and y:
                return x, y, name == "fixations"
    raise VaclipError(
        f"{table.name}: there are no {' or '.join(wanted)} of --eye {options.eye}; export 'Gaze "
        "point', or 'Fixation point' with 'Eye movement type'; DACS px or MCS norm"
    )


def _run_edges(
    name: str,
    names: NDArray[np.object_],
    people: NDArray[np.object_],
    recordings: NDArray[np.object_],
    begins: NDArray[np.bool_],
) -> list[int]:
    """Returns where runs of rows of one showing begin, and the number of rows.

    The name may be there before the video begins, so only a second event shows it again.
    """
    changes = np.zeros(len(names), bool)
    changes[:1] = True
    for texts in (names, people, recordings):
        changes[1:] |= texts[1:] != texts[:-1]
    events = np.flatnonzero(begins)
    first = np.unique(np.cumsum(changes)[events], return_index=True)[1]
    changes[np.delete(events, first)] = True
    edges = [*np.flatnonzero(changes).tolist(), len(names)]
    if len(edges) == 1:
        raise VaclipError(f"{name}: there is no row under the header")
    if len(edges) > MOST_PRESENTATIONS:
        raise VaclipError(f"{name}: more than {MOST_PRESENTATIONS} changes of the medium")
    return edges
