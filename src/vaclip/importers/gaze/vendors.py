"""Gaze tables of Gazepoint, SMI and iMotions, turned to the columns of a plain table.

- Gazepoint Analysis: ``User 0_all_gaze.csv`` with a sample a row, ``User 0_fixations.csv`` with a
  fixation a row, told by ``FPOGID``. ``FPOGX`` and ``FPOGY`` are fractions of the screen from its
  upper left corner, ``TIME``, ``FPOGS`` (begin) and ``FPOGD`` (duration) seconds, ``FPOGV`` is 1
  where there is a fixation (*Gazepoint API*, "FPOG"). The published EyeGaze data set (Karargyris
  et al., Scientific Data 8:92, Table 2) adds the picture (``DICOM_ID``) and the place in its
  pixels (``X_ORIGINAL``).
- SMI BeGaze: raw data (``RecordingTime [ms]``, ``Point of Regard Right X [px]``, ``Category
  Right``) and event statistics (``Event Start Trial Time [ms]``, ``Fixation Position X [px]``, of
  newer versions ``Visual Intake Position X [px]``); pixels of the stimulus screen, ``-`` for none.
- iMotions sensor data: lines that begin with ``#``, then ``Timestamp`` in milliseconds,
  ``SourceStimuliName``, and ``Gaze X`` or ``ET_GazeLeftx`` in pixels of the screen, -1 for none.

Names of columns are those of the exports that public analyses of these tools read.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace

from vaclip.errors import VaclipError
from vaclip.importers.gaze.columns import Column, GazeTable

_POSITIONS = ("fixation position", "visual intake position")


def vendor_of(table: GazeTable) -> str | None:
    """Returns whose table it is, a key of `VENDORS`; None for none of them."""
    find = table.find
    if find("fpogx") and find("fpogy") and find("time", "fpogs"):
        return "gazepoint"
    if find("event start trial time") and find(*(f"{at} x" for at in _POSITIONS)):
        return "smi"
    sides = ("binocular", "left", "right")
    if find("recordingtime") and find(*(f"point of regard {side} x" for side in sides)):
        return "smi"
    if find("sourcestimuliname") and find("timestamp") and find("gaze x", *_IMOTIONS):
        return "imotions"
    return None


def _gazepoint(table: GazeTable, options: argparse.Namespace) -> GazeTable:
    """A row is a fixation where each has its own ``FPOGID``, else a sample."""
    _check_start(table, options)
    identity, media = table.find("fpogid"), table.find("dicom id", "media name", "media id")
    texts = table.read(identity, media)
    keys = list(zip(texts.texts(media), texts.texts(identity), strict=True))
    begin, lasts = table.find("fpogs"), table.find("fpogd")
    if identity and begin and lasts and len(set(keys)) == len(keys):
        clock = {"fpogs": ("time", "s"), "fpogd": ("duration", "s")}
    else:
        clock = {"time": ("time", "s")}
    place = {"fpogx": ("x", "screen-fraction"), "fpogy": ("y", "screen-fraction")}
    video = {"media name": ("video", ""), "user": ("participant", "")}
    if table.find("x original") and table.find("dicom id"):
        place = {"x original": ("x", "video"), "y original": ("y", "video")}
        video = {"dicom id": ("video", "")}
    return _renamed(table, clock | place | video | {"fpogv": ("valid", "")})


def _smi(table: GazeTable, options: argparse.Namespace) -> GazeTable:
    who = {"stimulus": ("video", ""), "participant": ("participant", "")}
    if table.find("event start trial time"):
        at = next(at for at in _POSITIONS if table.find(f"{at} x"))
        clock = {"event start trial time": ("time", "ms"), "event end trial time": ("end", "ms")}
        eye = {"eye l/r": ("eye", "")} if table.find("eye l/r") else {"eye": ("eye", "")}
        place = {f"{at} x": ("x", "screen"), f"{at} y": ("y", "screen")}
        return _renamed(table, clock | place | eye | who)
    _check_start(table, options)
    side = "binocular" if table.find("point of regard binocular x") else _side(table, options)
    at, kind = f"point of regard {side}", f"category {side}"
    place = {f"{at} x": ("x", "screen"), f"{at} y": ("y", "screen"), kind: ("valid", "")}
    return _renamed(table, {"recordingtime": ("time", "ms")} | place | who)


def _imotions(table: GazeTable, options: argparse.Namespace) -> GazeTable:
    _check_start(table, options)
    x, y = "gaze x", "gaze y"
    if not table.find(x):
        side = _side(table, options)
        x, y = f"et gaze{side}x", f"et gaze{side}y"
    names = {"timestamp": ("time", "ms"), x: ("x", "screen"), y: ("y", "screen")}
    return _renamed(table, names | {"sourcestimuliname": ("video", "")})


_IMOTIONS = ("et gazeleftx", "et gazerightx")
VENDORS: dict[str, Callable[[GazeTable, argparse.Namespace], GazeTable]] = {
    "gazepoint": _gazepoint,
    "smi": _smi,
    "imotions": _imotions,
}
"""By the word of ``--format``: what turns a table to a plain one."""


def _renamed(table: GazeTable, names: dict[str, tuple[str, str]]) -> GazeTable:
    """Returns a table with these columns alone, by their new names and units.

    Raises:
        VaclipError: If there is no time, x or y among them.
    """
    columns: list[Column] = []
    for old, (name, unit) in names.items():
        if column := table.find(old):
            columns.append(replace(column, name=name, unit=unit))
        elif name in ("time", "x", "y"):
            raise VaclipError(f"{table.name}: there is no column '{old}'; export it too")
    return replace(table, columns=tuple(columns))


def _side(table: GazeTable, options: argparse.Namespace) -> str:
    if options.eye == "both":
        raise VaclipError(
            f"{table.name}: has columns of each eye: say --eye left or --eye right, or export the "
            "column of both (SMI: binocular; iMotions: Gaze X and Gaze Y)"
        )
    return str(options.eye)


def _check_start(table: GazeTable, options: argparse.Namespace) -> None:
    if options.start is None:
        raise VaclipError(
            f"{table.name}: its clock is the recording's: say --start first where each video began "
            "at its first row, or --start TIME as it stands in the file"
        )
