"""EyeLink ASC files: an EDF file converted to text by ``edf2asc`` or Visual EDF2ASC.

Lines, in milliseconds of the tracker's clock and pixels of the screen from its upper left corner:
``EFIX R begin end duration x y pupil``; samples ``time x y pupil ...`` of one eye or
``time x y pupil x y pupil ...`` of the left and the right one, ``.`` where there is none;
``MSG time [offset] text``, where the offset is subtracted from the time. Data Viewer's messages
tell the trials: ``TRIALID``, ``TRIAL_RESULT``, ``DISPLAY_COORDS 0 0 1919 1079``,
``!V VFRAME number x y file`` when a frame of a video appears with its corner at x, y, and
``!V TRIAL_VAR name value``, often after the recording has ended.

Source: *EyeLink User Manual*, "The .ASC File Format"; *Data Viewer User Manual*, "Protocol for
EyeLink Data to Viewer Integration".
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import PurePath

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vaclip.errors import VaclipError
from vaclip.importers.gaze.clock import showings, start_number
from vaclip.importers.gaze.fixations import MOST_PRESENTATIONS, Presentation, Rows

_VARIABLES = (
    "video", "video_file", "videofile", "video_name", "movie", "movie_file", "clip", "stimulus",
)  # fmt: skip
_START = re.compile(r"^(\*\* (CONVERTED FROM|TYPE: EDF_FILE)|MSG\s+\d+)", re.M)
_COORDINATES = ("DISPLAY_COORDS", "GAZE_COORDS")
_MS = 1e-3
_LINES = 100_000  # of samples, parsed at a time


@dataclass
class _Trial:
    """One trial, with times in milliseconds.

    Attributes:
        line: Where it begins in the file.
        messages: (time, text).
        variables: Of ``!V TRIAL_VAR``, in lower case.
        frame: (time, x, y, file) of the first frame of a video.
        fixations: (eye, begin, duration, x, y) as text.
        samples: The lines.
        eyes: Which ones the samples are of: L, R or LR.
    """

    line: int
    messages: list[tuple[float, str]] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    frame: tuple[float, float, float, str] | None = None
    fixations: list[Sequence[str]] = field(default_factory=list)
    samples: list[str] = field(default_factory=list)
    eyes: str = ""


def is_eyelink(text: str) -> bool:
    """Says whether a text is an ASC file, by its first lines."""
    return _START.search(text[:4096]) is not None


def read_eyelink(text: str, name: str, options: argparse.Namespace) -> list[Presentation]:
    """Reads an ASC file; each trial that shows a video is a presentation.

    Args:
        text: The file.
        name: What to call it; its stem names the annotator.
        options: Of the command.

    Raises:
        VaclipError: If it is not known when, or where, a trial's video was shown, or there is no
            trial with one.
    """
    trials, corners = _trials(text, name)
    fixations = any(trial.fixations for trial in trials) and options.source != "samples"
    if options.source == "fixations" and not fixations:
        raise VaclipError(f"{name}: holds no fixations (EFIX); say --from samples")
    screen = None
    if corners is not None:
        screen = (corners[2] - corners[0] + 1, corners[3] - corners[1] + 1)
    shown: list[Presentation] = []
    for trial in trials:
        video = _video(trial, options)
        if video is None:
            continue
        where = f"{name}:{trial.line}"
        rows = _fixations(trial) if fixations else _samples(trial)
        if corners is not None:
            rows.fixations[:, 2:] -= corners[:2]
        _drop_other_eye(rows, options.eye)
        shown += [
            rows.shown(
                slice(None), video=video, annotator=PurePath(name).stem, where=where, span_s=span,
                corner=trial.frame and trial.frame[1:3], screen=screen,
            )
            for span in _spans(trial, options, where)
        ]  # fmt: skip
    if not shown:
        raise VaclipError(
            f"{name}: no trial names a video by '!V VFRAME' or '!V TRIAL_VAR'; say "
            "--video-variable NAME for another variable, or --video NAME for all trials"
        )
    return shown


def _trials(text: str, name: str) -> tuple[list[_Trial], NDArray[np.float64] | None]:
    """Returns the trials, and the screen's coordinates (left, top, right, bottom)."""
    trials = [_Trial(1)]
    corners = None
    eyes = ""
    for number, line in enumerate(StringIO(text), start=1):
        if line[:1].isdigit():
            trials[-1].samples.append(line)
            continue
        words = line.split()
        kind = words[0] if words else ""
        if kind == "EFIX" and len(words) >= 7:
            trials[-1].fixations.append((*words[1:3], *words[4:7]))
        elif kind == "SAMPLES":
            eyes = ("L" if "LEFT" in words else "") + ("R" if "RIGHT" in words else "")
        elif kind == "MSG" and len(words) >= 3:
            time, texts = _message(words)
            if texts[:1] == ["TRIALID"]:
                trials.append(_Trial(number))
                if len(trials) > MOST_PRESENTATIONS:
                    raise VaclipError(f"{name}: more than {MOST_PRESENTATIONS} trials")
            if texts[:1] and texts[0] in _COORDINATES and len(texts) >= 5:
                corners = _floats(texts[1:5])
            _note(trials[-1], time, texts)
        trials[-1].eyes = eyes or trials[-1].eyes
    return trials, corners


def _message(words: Sequence[str]) -> tuple[float, list[str]]:
    """Returns when a message was due, in milliseconds, and its words."""
    time, *texts = words[1:]
    offset = 0.0
    if re.fullmatch(r"-?\d{1,9}", texts[0]) and len(texts) > 1:
        offset = float(texts.pop(0))
    return _floats([time])[0] - offset, texts


def _note(trial: _Trial, time: float, texts: list[str]) -> None:
    trial.messages.append((time, " ".join(texts)))
    if texts[:2] == ["!V", "TRIAL_VAR"] and len(texts) >= 4:
        trial.variables.setdefault(texts[2].casefold(), " ".join(texts[3:]))
    if texts[:2] == ["!V", "VFRAME"] and len(texts) >= 6 and trial.frame is None:
        x, y = _floats(texts[3:5])
        if np.isfinite([time, x, y]).all():
            trial.frame = (time, x, y, texts[5])


def _floats(words: Sequence[str]) -> NDArray[np.float64]:
    """Returns numbers; NaN for what is none."""
    values = pd.to_numeric(pd.Series(words, dtype=object), errors="coerce")
    numbers = values.to_numpy(np.float64, na_value=np.nan)
    return np.where(np.abs(numbers) < 1e15, numbers, np.nan)


def _video(trial: _Trial, options: argparse.Namespace) -> str | None:
    names = _VARIABLES if options.video_variable is None else (options.video_variable.casefold(),)
    named = next((trial.variables[name] for name in names if name in trial.variables), None)
    if named is None and trial.frame is not None and options.video_variable is None:
        named = trial.frame[3]
    if named is None and (trial.fixations or trial.samples):
        named = options.video
    return named


def _spans(trial: _Trial, options: argparse.Namespace, where: str) -> list[tuple[float, float]]:
    """Returns begin and end of a trial's video in seconds: its first frame, or what is said."""
    by_user = options.start_event is not None or start_number(options) is not None
    if trial.frame is not None and not by_user:
        return [(trial.frame[0] * _MS, np.inf)]
    told = [(time * _MS, text) for time, text in trial.messages if np.isfinite(time)]
    return showings(options, told, _MS, where)


def _fixations(trial: _Trial) -> Rows:
    table = np.array(trial.fixations, object).reshape(-1, 5)
    begin, duration, x, y = (_floats(list(table[:, column])) for column in (1, 2, 3, 4))
    # Not the stated end: that is when the last sample began.
    fixations = np.column_stack([begin, begin + duration, x, y]) * [_MS, _MS, 1, 1]
    eyes = np.where(table[:, 0] == "L", "left", "right").astype(object)
    bad = {"no time, or no gaze": ~(np.isfinite(fixations).all(axis=1) & (duration > 0))}
    return Rows(fixations, bad, "screen", eyes)


def _samples(trial: _Trial) -> Rows:
    both = trial.eyes == "LR"
    columns = 7 if both else 4
    values = _values(trial.samples, columns)
    time = values[:, 0] * _MS
    sides = [("left", 1), ("right", 4)] if both else [("left" if trial.eyes == "L" else "right", 1)]
    fixations = [np.column_stack([time, np.full_like(time, np.nan), values[:, at : at + 2]])
             for _, at in sides]  # fmt: skip
    stacked = np.concatenate(fixations)
    eyes = np.repeat(np.array([side for side, _ in sides], object), len(time))
    seen = np.isfinite(stacked[:, [0, 2, 3]]).all(axis=1)
    bad = {"no gaze (blink, eye not found)": np.logical_not(seen)}
    return Rows(stacked, bad, "screen", eyes)


def _values(lines: Sequence[str], columns: int) -> NDArray[np.float64]:
    """Returns (N, columns) numbers of the lines, by and by to save memory; NaN for what is none."""
    parts = [np.zeros((0, columns))]
    for first in range(0, len(lines), _LINES):
        words = [line.split(None, columns)[:columns] for line in lines[first : first + _LINES]]
        filled = [word for one in words for word in one + [""] * (columns - len(one))]
        parts.append(_floats(filled).reshape(-1, columns))
    return np.concatenate(parts)


def _drop_other_eye(rows: Rows, eye: str) -> None:
    if eye != "both" and rows.eyes is not None:
        rows.bad["of the other eye"] = rows.eyes != eye
