"""Gaze in a plain table: a fixation or a sample a row; see ``docs/import/gaze.md``."""

from __future__ import annotations

import argparse
import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vaclip.errors import VaclipError
from vaclip.importers.gaze.clock import FIRST, start_number
from vaclip.importers.gaze.columns import Cells, Column, GazeTable
from vaclip.importers.gaze.fixations import MOST_PRESENTATIONS, UNITS, Presentation, Rows, told

TIME = (
    "time", "timestamp", "t", "start", "start time", "start timestamp", "begin", "onset",
    "timestamp start fixation",  # REFLACX, like the end below
)  # fmt: skip
X = ("x", "gaze x", "fixation x", "gaze point x", "fixation point x", "x position")
Y = ("y", "gaze y", "fixation y", "gaze point y", "fixation point y", "y position")
DURATION = ("duration", "fixation duration", "dur")
END = ("end", "end time", "end timestamp", "stop", "offset", "timestamp end fixation")
VIDEO = ("video", "clip", "clip id", "media", "stimulus", "file", "video name")
WHO = ("participant", "annotator", "reader", "subject", "observer", "participant name")
VALID = ("valid", "is valid", "validity")
CONFIDENCE = ("confidence",)
EYE = ("eye",)
_VALID_WORDS = (
    "true", "1", "valid", "yes",
    "fixation", "visual intake", "saccade", "smooth pursuit",  # SMI's categories, without blinks
)  # fmt: skip
_BACK_S = 1.0  # when time jumps back by more, the video was shown again


def is_plain(table: GazeTable, options: argparse.Namespace) -> bool:
    """Says whether a table has columns of time, x and y, by their usual or the user's names."""
    wanted = ((options.time_column, TIME), (options.x_column, X), (options.y_column, Y))
    titles = {column.title for column in table.columns}
    return all(title in titles if title else table.find(*names) for title, names in wanted)


def read_plain(
    table: GazeTable, options: argparse.Namespace, dropped: list[str]
) -> list[Presentation]:
    """Reads a table; the rows of one person and video are a presentation, until time jumps back.

    Rows of several people or videos may alternate. Time counts from the video's first frame, unless
    ``--start`` says otherwise. A column without any value is as good as none, unless the user
    names it.

    Args:
        table: The table.
        options: Of the command.
        dropped: Gets a line about rows that name no video.

    Raises:
        VaclipError: If a column, a unit, or the video's name is missing.
    """
    time = _required(table, options.time_column, TIME, "time")
    x = _required(table, options.x_column, X, "x")
    y = _required(table, options.y_column, Y, "y")
    filled, cells = table.read_filled((*DURATION, *END, *VIDEO, *WHO, *VALID, *CONFIDENCE, *EYE))
    if not cells.count:
        raise VaclipError(f"{table.name}: there is no row under the header")

    def optional(title: str | None, names: tuple[str, ...]) -> Column | None:
        return table.named(title) if title else filled.find(*names)

    duration = optional(options.duration_column, DURATION)
    end = None if duration else filled.find(*END)
    video = optional(options.media_column, VIDEO)
    who = optional(options.participant_column, WHO)
    valid = optional(options.validity_column, VALID)
    confidence, eye = filled.find(*CONFIDENCE), filled.find(*EYE)
    lasting = duration or end
    if options.source == "fixations" and lasting is None:
        raise VaclipError(f"{table.name}: no column says how long fixations last or when they end")
    if options.source == "samples":
        duration = end = lasting = None
    unit = _unit(table, x, options)
    cells = table.read(time, x, y, lasting, video, who, valid, confidence, eye)
    second = table.seconds(time, options)
    begin_s = cells.numbers(time) * second
    if lasting is None:
        end_s = np.full(cells.count, np.nan)
    else:
        end_s = cells.numbers(lasting) * table.seconds(lasting, options)
        end_s = end_s if end else begin_s + end_s
    places = np.column_stack([cells.numbers(x), cells.numbers(y)])
    eyes = _eyes(table, cells, eye)
    bad = {
        "no time, or no gaze": ~(np.isfinite(begin_s) & np.isfinite(places).all(axis=1)),
        "marked as invalid": _invalid(table, cells, valid, options),
        f"confidence below {options.min_confidence:g}": cells.numbers(confidence)
        < options.min_confidence,
        "of the other eye": ~np.isin(eyes, ["", options.eye]) & (options.eye != "both"),
    }
    if lasting is not None:
        bad["does not last"] = ~(end_s > begin_s)
    rows = Rows(np.column_stack([begin_s, end_s, places]), bad, unit, eyes)
    names, people = _names(table, cells, video, options), cells.texts(who)
    nameless = Counter({"no video is named": int((names == "").sum())})
    dropped += told(table.name, nameless, cells.count)
    return [
        rows.shown(
            part,
            video=str(names[part[0]]),
            annotator=str(people[part[0]]),
            where=f"{table.name}:{part[0] + 2}",
            span_s=(_zero(begin_s[part], options, second), math.inf),
        )
        for part in _parts(table.name, names, people, begin_s, eyes, options)
        if names[part[0]]
    ]


def _required(table: GazeTable, title: str | None, names: tuple[str, ...], what: str) -> Column:
    if column := table.named(title, *names):
        return column
    titles = ", ".join(column.title for column in table.columns)
    raise VaclipError(
        f"{table.name}: none of its columns is known as {what}; say --{what}-column NAME (it has: "
        f"{titles})"
    )


def _unit(table: GazeTable, x: Column, options: argparse.Namespace) -> str:
    unit = options.position_unit or (x.unit if x.unit in UNITS else None)
    if unit is None or (x.unit == "norm") > unit.endswith("fraction"):
        raise VaclipError(
            f"{table.name}: what does '{x.title}' count? Say --position-unit: video or screen for "
            "pixels, video-fraction or screen-fraction for 0 to 1"
        )
    return unit


def _names(
    table: GazeTable, cells: Cells, video: Column | None, options: argparse.Namespace
) -> NDArray[np.object_]:
    if (video is None) == (options.video is None):
        raise VaclipError(
            f"{table.name}: "
            + ("say --media-column NAME, or --video NAME for all rows" if video is None else
               f"its column '{video.title}' names the videos: leave out --video")
        )  # fmt: skip
    if video is None:
        return np.full(cells.count, options.video, object)
    return cells.texts(video)


def _invalid(
    table: GazeTable, cells: Cells, valid: Column | None, options: argparse.Namespace
) -> NDArray[np.bool_]:
    if valid is None:
        return np.zeros(cells.count, bool)
    texts = np.array([text.casefold() for text in cells.texts(valid)], object)
    if options.valid is not None:
        words = [word.strip().casefold() for word in options.valid.split(",")]
    elif valid.name == "validity" and np.isin(texts, ["0", "1", "2", "3", "4"]).any():
        raise VaclipError(
            f"{table.name}: which numbers of '{valid.title}' mean valid? Trackers differ: say "
            "--valid 0, or --valid 1, or several: --valid 0,1"
        )
    else:
        words = list(_VALID_WORDS)
    return ~np.isin(texts, words)


def _eyes(table: GazeTable, cells: Cells, eye: Column | None) -> NDArray[np.object_]:
    texts = cells.texts(eye)
    sides = {"": "", "l": "left", "left": "left", "r": "right", "right": "right", "both": ""}
    unknown = sorted({text for text in texts if text.casefold() not in sides})
    if unknown:
        raise VaclipError(f"{table.name}: '{unknown[0][:50]}' in 'eye' is neither left nor right")
    return np.array([sides[text.casefold()] for text in texts], object)


def _parts(
    name: str,
    names: NDArray[np.object_],
    people: NDArray[np.object_],
    begin_s: NDArray[np.float64],
    eyes: NDArray[np.object_],
    options: argparse.Namespace,
) -> list[NDArray[np.intp]]:
    """Returns the rows of each showing, in the order of their first ones."""
    video, person = pd.factorize(names)[0], pd.factorize(people)[0]
    # A person sees one video at a time. Where the clock runs on (`first`), another video in between
    # ends a showing; where it is the video's own, a table sorted by time mixes the videos.
    keys = (person,) if options.start == FIRST else (video, person)
    order = np.lexsort(keys)  # stable
    video, person, begin_s, eyes = video[order], person[order], begin_s[order], eyes[order]
    changes = (np.diff(video) != 0) | (np.diff(person) != 0)
    changes |= (eyes[1:] == eyes[:-1]) & (np.diff(begin_s) < -_BACK_S)
    edges = [0, *(np.flatnonzero(changes) + 1).tolist(), len(names)]
    if len(edges) > MOST_PRESENTATIONS:
        raise VaclipError(f"{name}: more than {MOST_PRESENTATIONS} changes of the video")
    parts = [order[first:last] for first, last in pairwise(edges)]
    return sorted(parts, key=lambda part: part[0])


def _zero(begin_s: NDArray[np.float64], options: argparse.Namespace, second: float) -> float:
    timed = begin_s[np.isfinite(begin_s)]
    if options.start == FIRST and len(timed):
        return float(timed.min())
    return (start_number(options) or 0.0) * second
