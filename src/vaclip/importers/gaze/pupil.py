"""Gaze of Pupil Labs' trackers.

- Pupil Player (Core): ``gaze_positions_on_surface_NAME.csv``, ``fixations_on_surface_NAME.csv``,
  ``annotations.csv``. Fractions of the surface from its lower left corner, seconds of Pupil time,
  durations in milliseconds; a fixation has a row in each frame of the scene video.
- Pupil Cloud (Neon, Invisible): ``gaze.csv``, ``fixations.csv`` of the Marker Mapper in fractions
  of the surface from its upper left corner, of the Reference Image Mapper and the Manual Mapper in
  pixels of a still picture, or those of the recording in pixels of the scene video; ``events.csv``,
  ``sections.csv``. Nanoseconds since 1970. Fixations on a reference image and in the scene have the
  same columns of places; ``fixation detected in reference image``, of the Manual Mapper ``fixation
  status`` (True, False, Not mapped), tell them apart.

Source: the documentation of Pupil Core ("Pupil Player"), of Neon ("Recording Format", "Export
formats" of the mappers), and the exporter of Pupil Player's surface tracker.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vaclip.errors import VaclipError
from vaclip.importers.gaze.clock import showings
from vaclip.importers.gaze.columns import Cells, Column, GazeTable
from vaclip.importers.gaze.fixations import Presentation, Rows

_IN_IMAGE = (
    "gaze detected in reference image",
    "fixation detected in reference image",
    "fixation status",
)


@dataclass(frozen=True)
class PupilEvents:
    """What the other files of an export say.

    Attributes:
        events: (recording or empty, time in seconds, name).
        wearers: Names of people by recording.
    """

    events: tuple[tuple[str, float, str], ...] = ()
    wearers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class _Layout:
    """Which columns one of the files has.

    Attributes:
        begin: When a fixation or sample begins.
        x: Its place.
        y: Its place.
        surface: x and y are fractions of a surface; else pixels or fractions of the scene video.
        reference: They are pixels of a reference image, and not of the scene video.
        core: It is a file of Pupil Player: y counts upwards.
        end: When a fixation ends.
        duration: Or how long it lasts.
        on: Whether it is on the surface.
        identity: Of a fixation.
    """

    begin: Column
    x: Column
    y: Column
    surface: bool
    core: bool
    end: Column | None = None
    duration: Column | None = None
    on: Column | None = None
    identity: Column | None = None
    reference: bool = False

    @property
    def fixations(self) -> bool:
        return self.end is not None or self.duration is not None


def layout(table: GazeTable) -> _Layout | None:
    """Returns which file of Pupil Labs a table is; None for another one."""
    find = table.find
    at, start, end = (find(f"{which}timestamp", units=("ns",)) for which in ("", "start ", "end "))
    core_at, core_start = find("gaze timestamp"), find("start timestamp", units=("",))
    duration, identity = find("duration"), find("fixation id", "id")
    on = find("gaze detected on surface", "fixation detected on surface", "on surf", "on srf")
    in_image = find(*_IN_IMAGE)
    # Prefix of x and y, their units, whether they are on a surface, whether it is of Pupil Player.
    candidates = (
        (at, "gaze position on surface ", "norm", True, False),
        (at, "gaze position in reference image ", "px", False, False),
        (at, "gaze ", "px", False, False),
        (start and end and start, "fixation position on surface ", "norm", True, False),
        (start and end and start, "fixation ", "norm", True, False),
        (start and end and start, "fixation ", "px", False, False),
        (core_at, "", "norm", True, True),
        (core_at, "norm pos ", "", False, True),
        (core_start and duration and core_start, "norm pos ", "", on is not None, True),
    )
    for begin, prefix, unit, surface, core in candidates:
        x, y = (find(f"{prefix}{axis}", units=(unit,)) for axis in "xy")
        if begin and x and y:
            many = begin is core_start
            return _Layout(
                begin, x, y, surface, core, on=on or in_image,
                end=end if begin is start else None,
                duration=duration if many else None,
                identity=identity if many else None,
                reference=in_image is not None,
            )  # fmt: skip
    return None


def is_events(table: GazeTable) -> bool:
    """Says whether a table is events, annotations or sections."""
    return bool(
        (table.find("timestamp", units=("ns",)) and table.find("name"))
        or (table.find("timestamp", units=("",)) and table.find("label") and table.find("index"))
        or (table.find("recording id") and table.find("wearer name"))
    )


def read_events(table: GazeTable) -> PupilEvents:
    """Reads ``events.csv``, ``annotations.csv`` or ``sections.csv``.

    A section names the events that it begins and ends with, so that the Marker Mapper's download is
    enough without the recording's.
    """
    recording, wearer = table.find("recording id"), table.find("wearer name")
    time, name = table.find("timestamp"), table.find("name", "label")
    cells = table.read(recording, wearer, time, name)
    recordings = [str(text) for text in cells.texts(recording)]
    if wearer and not time:
        people = [str(text) for text in cells.texts(wearer)]
        events = []
        for end in ("start", "end"):
            at, what = (
                table.find(f"section {end} time", units=("ns",)),
                table.find(f"{end} event name"),
            )
            events += (
                _named_times(recordings, table.read(at, what), at, what) if at and what else []
            )
        return PupilEvents(tuple(events), tuple(zip(recordings, people, strict=True)))
    return PupilEvents(tuple(_named_times(recordings, cells, time, name)))


def _named_times(
    recordings: Sequence[str], cells: Cells, time: Column | None, name: Column | None
) -> list[tuple[str, float, str]]:
    seconds = cells.numbers(time) * (1e-9 if time and time.unit == "ns" else 1.0)
    return [
        (one, float(second), str(text))
        for one, second, text in zip(recordings, seconds, cells.texts(name), strict=True)
        if np.isfinite(second)
    ]


def read_pupil(
    table: GazeTable,
    found: _Layout,
    others: Sequence[tuple[PupilEvents, bool]],
    options: argparse.Namespace,
) -> list[Presentation]:
    """Reads a file of gaze or fixations.

    Args:
        table: The file.
        found: Which one, from `layout`.
        others: Files that say when videos began, and who wore the tracker; each with whether it
            lies beside this one, which tells that they belong together where a recording is not
            named.
        options: Of the command.

    Raises:
        VaclipError: If it is not known which video was shown, when, or what the positions count.
    """
    if options.video is None:
        raise VaclipError(f"{table.name}: does not say which video was shown: say --video NAME")
    unit = _unit(table, found, options)
    recording, worn = table.find("recording id"), table.find("worn")
    blink, confidence = table.find("blink id"), table.find("confidence")
    cells = table.read(
        found.begin, found.x, found.y, found.end, found.duration, found.on, found.identity,
        recording, worn, blink, confidence,
    )  # fmt: skip
    if not cells.count:
        raise VaclipError(f"{table.name}: there is no row under the header")
    second = 1.0 if found.core else 1e-9
    fixations = _fixations(found, cells, second)
    seen = np.isfinite(fixations[:, [0, 2, 3]]).all(axis=1)
    bad = {
        "no time, or no gaze": np.logical_not(seen),
        "tracker not worn": _says_no(cells, worn),
        "blink": cells.texts(blink) != "",
        f"confidence below {options.min_confidence:g}": cells.numbers(confidence)
        < options.min_confidence,
        f"not on the {'picture' if found.reference else 'surface'}": _says_no(cells, found.on),
    }
    recordings = cells.texts(recording)
    if found.identity:
        bad["no fixation id"] = cells.texts(found.identity) == ""
        fixations, bad, recordings = _once(fixations, bad, cells.texts(found.identity), recordings)
    rows = Rows(fixations, bad, unit)
    if options.annotator and len(set(recordings)) > 1:
        raise VaclipError(
            f"{table.name}: holds {len(set(recordings))} recordings, but --annotator names one "
            "person; leave it out and give sections.csv too, which names the wearers"
        )
    return _presentations(table.name, rows, recordings, others, second, options)


def _presentations(
    name: str,
    rows: Rows,
    recordings: NDArray[np.object_],
    others: Sequence[tuple[PupilEvents, bool]],
    second: float,
    options: argparse.Namespace,
) -> list[Presentation]:
    """Returns each showing of the video in each recording, see `read_pupil`."""
    people = {one: who for other, _ in others for one, who in other.wearers}
    shown = []
    for one in pd.unique(recordings):
        where = name if not one else f"{name}, recording {one}"
        part = np.flatnonzero(recordings == one)
        told = {  # a set, because events.csv and sections.csv tell the same event
            (time, event)
            for other, beside in others
            for of, time, event in other.events
            if (of == one if of and one else beside)
        }
        shown += [
            rows.shown(
                part, video=options.video, annotator=people.get(str(one), ""), where=where,
                span_s=span,
            )
            for span in showings(options, sorted(told), second, where)
        ]  # fmt: skip
    return shown


def _says_no(cells: Cells, column: Column | None) -> NDArray[np.bool_]:
    """Returns where a cell says no; an empty one says nothing."""
    return np.isin(cells.texts(column), ["0", "0.0", "False", "false"])


def _unit(table: GazeTable, found: _Layout, options: argparse.Namespace) -> str:
    if found.surface:
        if options.video_rect is None:
            raise VaclipError(
                f"{table.name}: gaze on a surface, but where did the video lie on it? Say "
                "--video-rect screen if it filled the surface, else X,Y,WIDTH,HEIGHT and --screen "
                "with the size of the surface in the same unit"
            )
        return "screen-fraction"
    if found.reference:  # the picture is the video, or the screen on which it lay
        return "video" if options.video_rect is None else "screen"
    if options.position_unit not in ("video", "video-fraction"):
        raise VaclipError(
            f"{table.name}: gaze in the scene camera's picture. Map it to the screen first "
            "(surface tracker, Marker Mapper, Reference Image Mapper). Only where the study's "
            "video is the scene video itself: --position-unit video"
        )
    return "video" if found.x.unit == "px" else "video-fraction"


def _fixations(found: _Layout, cells: Cells, second: float) -> NDArray[np.float64]:
    begin = cells.numbers(found.begin) * second
    end = np.full(cells.count, np.nan)
    if found.end:
        end = cells.numbers(found.end) * second
    elif found.duration:
        end = begin + cells.numbers(found.duration) * 1e-3
    y = cells.numbers(found.y)
    return np.column_stack([begin, end, cells.numbers(found.x), 1 - y if found.core else y])


def _once(
    fixations: NDArray[np.float64],
    bad: dict[str, NDArray[np.bool_]],
    identity: NDArray[np.object_],
    recordings: NDArray[np.object_],
) -> tuple[NDArray[np.float64], dict[str, NDArray[np.bool_]], NDArray[np.object_]]:
    """Joins the rows of a fixation, one for each frame of the scene video; places are averaged.

    A fixation is bad, for the reason of its first row, only if all of its rows are.
    """
    good = ~np.logical_or.reduce(list(bad.values()))
    frame = pd.DataFrame(fixations).assign(key=identity, good=good, row=np.arange(len(fixations)))
    frame = frame.sort_values(["key", "row"])
    best = frame[frame["good"] == frame.groupby("key")["good"].transform("max")]
    joined = best.groupby("key", sort=False)
    first = joined["row"].first().to_numpy()
    places = joined[[0, 1, 2, 3]].mean().to_numpy(np.float64)
    return places, {reason: mask[first] for reason, mask in bad.items()}, recordings[first]
