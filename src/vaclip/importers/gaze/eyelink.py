"""EyeLink ASC files: an EDF file converted to text by ``edf2asc`` or Visual EDF2ASC.

Lines, in milliseconds of the tracker's clock and pixels of the screen from its upper left corner:
``EFIX R begin end duration x y pupil``; samples ``time x y pupil ...`` of one eye or
``time x y pupil x y pupil ...`` of the left and the right one, ``.`` where there is none;
``MSG time [offset] text``, where the offset is subtracted from the time. Data Viewer's messages
tell the trials: ``TRIALID``, ``TRIAL_RESULT``, ``DISPLAY_COORDS 0 0 1919 1079``,
``!V VFRAME number x y file [resize width height]`` when a frame of a video appears with its corner
at x, y (numbers count from 1; a file's name may hold blanks), and ``!V TRIAL_VAR name value``,
often after the recording has ended. ``EVENTS`` and ``SAMPLES`` say what x and y are: ``GAZE``, or
angles (``HREF``) and the camera's raw data (``PUPIL``), which are no pixels of the screen.

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
_RESIZED = re.compile(r"(.+?)\s+resize\s+(\d+(?:\.\d+)?)\s+(\d+(?:\.\d+)?)", re.I)
_MS = 1e-3
_LINES = 100_000  # of samples, parsed at a time


@dataclass(frozen=True)
class _Frame:
    """A message of ``!V VFRAME``: a frame of a video appears.

    Attributes:
        time: In milliseconds.
        number: Of the frame, from 1.
        corner: (x, y) of its upper left corner on the screen.
        file: Of the video.
        extent: (width, height) on the screen; None for the video's own.
    """

    time: float
    number: float
    corner: tuple[float, float]
    file: str
    extent: tuple[float, float] | None


@dataclass
class _Trial:
    """One trial, with times in milliseconds.

    Attributes:
        line: Where it begins in the file.
        messages: (time, text).
        variables: Of ``!V TRIAL_VAR``, in lower case.
        frames: Of videos.
        fixations: (eye, begin, duration, x, y) as text.
        samples: The lines.
        eyes: Which ones the samples are of: L, R or LR.
        counts: What x and y are, by EVENTS and SAMPLES.
    """

    line: int
    messages: list[tuple[float, str]] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    frames: list[_Frame] = field(default_factory=list)
    fixations: list[Sequence[str]] = field(default_factory=list)
    samples: list[str] = field(default_factory=list)
    eyes: str = ""
    counts: dict[str, str] = field(default_factory=dict)

    def playings(self) -> list[list[_Frame]]:
        """Returns the frames of each video; from its first one on it is shown again."""
        parts: list[list[_Frame]] = []
        for frame in self.frames:
            first, last = (parts[-1][0], parts[-1][-1]) if parts else (frame, frame)
            again = frame.number < last.number and frame.number <= first.number
            if not parts or frame.file != last.file or again:
                parts.append([])
            parts[-1].append(frame)
        return parts


def is_eyelink(text: str) -> bool:
    """Says whether a text is an ASC file, by its first lines."""
    return _START.search(text[:4096]) is not None


def read_eyelink(
    text: str, name: str, options: argparse.Namespace, dropped: list[str]
) -> list[Presentation]:
    """Reads an ASC file; each video that a trial shows is a presentation.

    Args:
        text: The file.
        name: What to call it; its stem names the annotator.
        options: Of the command.
        dropped: Gets a line about gaze before the first trial.

    Raises:
        VaclipError: If it is not known when, or where, a trial's video was shown, or there is no
            trial with one.
    """
    trials, corners = _trials(text, name)
    before = trials[0]
    if len(trials) > 1 and not before.frames:
        trials = trials[1:]
        if count := len(before.fixations) or len(before.samples):
            what = "fixations" if before.fixations else "samples"
            dropped.append(f"{name}: {count} {what} before the first trial (TRIALID)")
    fixations = any(trial.fixations for trial in trials) and options.source != "samples"
    if options.source == "fixations" and not fixations:
        raise VaclipError(f"{name}: holds no fixations (EFIX); say --from samples")
    screen = None if corners is None else (_pixels(corners[::2]), _pixels(corners[1::2]))
    shown: list[Presentation] = []
    for trial in trials:
        where = f"{name}:{trial.line}"
        playings = _playings(trial, options, where)
        if not playings:
            continue
        _check_gaze(trial, where, fixations=fixations)
        rows = _fixations(trial) if fixations else _samples(trial)
        if corners is not None:
            rows.fixations[:, 2:] -= corners[:2]
        _drop_other_eye(rows, options.eye)
        shown += [
            rows.shown(
                slice(None), video=video, annotator=PurePath(name).stem, where=where, span_s=span,
                corner=frame.corner if frame else None,
                extent=frame.extent if frame else None, screen=screen,
            )
            for video, frame, span in playings
        ]  # fmt: skip
    if not shown:
        raise VaclipError(
            f"{name}: no trial names a video by '!V VFRAME' or '!V TRIAL_VAR'; say "
            "--video-variable NAME for another variable, or --video NAME for all trials"
        )
    return shown


def _pixels(ends: NDArray[np.float64]) -> float:
    """Returns how many pixels lie from the first coordinate to the last one.

    They are meant to be those of the last pixel (0 to 1919), and are often given as the number of
    pixels (0 to 1920). No screen has an odd number of them.
    """
    apart = float(ends[1] - ends[0])
    return apart + 1 if apart % 2 == 1 else apart


def _check_gaze(trial: _Trial, where: str, *, fixations: bool) -> None:
    kind = trial.counts.get("EVENTS" if fixations else "SAMPLES", "GAZE")
    if kind == "GAZE":
        return
    what = {"HREF": "head-referenced angles (HREF)", "PUPIL": "raw data of the camera (PUPIL)"}
    advice = "convert the EDF file with gaze, or record it so"
    if fixations and trial.samples and trial.counts.get("SAMPLES") == "GAZE":
        advice = "say --from samples, which are gaze"
    raise VaclipError(
        f"{where}: its {'fixations' if fixations else 'samples'} are "
        f"{what.get(kind, kind)}, not pixels of the screen; {advice}"
    )


def _trials(content: str, name: str) -> tuple[list[_Trial], NDArray[np.float64] | None]:
    """Returns the trials, and the screen's coordinates (left, top, right, bottom)."""
    trials = [_Trial(1)]
    corners = None
    eyes, counts = "", {}
    for number, line in enumerate(StringIO(content), start=1):
        if line[:1].isdigit():
            trials[-1].samples.append(line)
            continue
        words = line.split()
        kind = words[0] if words else ""
        if kind == "EFIX" and len(words) >= 7:
            trials[-1].fixations.append((*words[1:3], *words[4:7]))
        elif kind in ("SAMPLES", "EVENTS") and len(words) >= 2:
            counts = counts | {kind: words[1]}
            if kind == "SAMPLES":
                eyes = ("L" if "LEFT" in words else "") + ("R" if "RIGHT" in words else "")
        elif kind == "MSG" and len(words) >= 3:
            time, text = _message(line)
            texts = text.split()
            if texts[:1] == ["TRIALID"]:
                trials.append(_Trial(number))
                if len(trials) > MOST_PRESENTATIONS:
                    raise VaclipError(f"{name}: more than {MOST_PRESENTATIONS} trials")
            if texts[:1] and texts[0] in _COORDINATES and len(texts) >= 5:
                found = _floats(texts[1:5])
                corners = found if np.isfinite(found).all() else corners
            _note(trials[-1], time, text)
        trials[-1].counts = counts
        trials[-1].eyes = eyes or trials[-1].eyes
    return trials, corners


def _message(line: str) -> tuple[float, str]:
    """Returns when a message was due, in milliseconds, and its text."""
    _, time, text = line.strip().split(None, 2)
    offset, *rest = text.split(None, 1)
    if rest and re.fullmatch(r"-?\d{1,9}", offset):
        return _floats([time])[0] - float(offset), rest[0]
    return _floats([time])[0], text


def _note(trial: _Trial, time: float, text: str) -> None:
    trial.messages.append((time, " ".join(text.split())))
    what = text.split()[:2]
    if what == ["!V", "TRIAL_VAR"] and len(words := text.split(None, 3)) == 4:
        trial.variables.setdefault(words[2].casefold(), words[3])
    if what == ["!V", "VFRAME"] and len(words := text.split(None, 5)) == 6:
        number, x, y = _floats(words[2:5])
        if np.isfinite([time, number, x, y]).all():
            resized = _RESIZED.fullmatch(words[5])
            file, extent = words[5], None
            if resized and float(resized[2]) > 0 < float(resized[3]):
                file, extent = resized[1], (float(resized[2]), float(resized[3]))
            trial.frames.append(_Frame(time, number, (x, y), file, extent))


def _floats(words: Sequence[str]) -> NDArray[np.float64]:
    """Returns numbers; NaN for what is none."""
    values = pd.to_numeric(pd.Series(words, dtype=object), errors="coerce")
    numbers = values.to_numpy(np.float64, na_value=np.nan)
    return np.where(np.abs(numbers) < 1e15, numbers, np.nan)


def _playings(
    trial: _Trial, options: argparse.Namespace, where: str
) -> list[tuple[str, _Frame | None, tuple[float, float]]]:
    """Returns each video of a trial, its first frame, and when it was shown, in seconds."""
    by_user = options.start_event is not None or start_number(options) is not None
    video = _video(trial, options)
    if video is None:
        return []
    frame = trial.frames[0] if trial.frames else None
    if frame is None or by_user:
        return [(video, frame, span) for span in _spans(trial, options, where)]
    parts = trial.playings()
    several = len({part[0].file for part in parts}) > 1
    begins = [_zero(part, where) * _MS for part in parts]
    ends = [part[0].time * _MS for part in parts[1:]] + [np.inf]
    return [
        (part[0].file if several else video, part[0], span)
        for part, span in zip(parts, zip(begins, ends, strict=True), strict=True)
    ]


def _zero(frames: Sequence[_Frame], where: str) -> float:
    """Returns when a video's first frame was shown, or would have been, in milliseconds."""
    first, last = frames[0], frames[-1]
    if first.number <= 1:
        return first.time
    if last.number <= first.number:
        raise VaclipError(
            f"{where}: the only frame of '{first.file}' that '!V VFRAME' names is number "
            f"{first.number:g}, not the first; say when the video began (--start, --start-event)"
        )
    each = (last.time - first.time) / (last.number - first.number)
    return first.time - (first.number - 1) * each


def _video(trial: _Trial, options: argparse.Namespace) -> str | None:
    names = _VARIABLES if options.video_variable is None else (options.video_variable.casefold(),)
    named = next((trial.variables[name] for name in names if name in trial.variables), None)
    if named is None and trial.frames and options.video_variable is None:
        named = trial.frames[0].file
    if named is None and (trial.fixations or trial.samples):
        named = options.video
    return named


def _spans(trial: _Trial, options: argparse.Namespace, where: str) -> list[tuple[float, float]]:
    """Returns begin and end of a trial's video in seconds, as the user says.

    A message is found by its whole text or its first word. Those that begin with ``!`` are the
    tracker's own and Data Viewer's.
    """
    wanted = {options.start_event, options.end_event}
    told = []
    for time, text in trial.messages:
        first = text.split(" ", 1)[0]
        name = first if first in wanted and text not in wanted else text
        if np.isfinite(time) and (name in wanted or not name.startswith("!")):
            told.append((time * _MS, name))
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
