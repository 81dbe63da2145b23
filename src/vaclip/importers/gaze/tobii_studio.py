"""Tobii Studio's data export (TSV), by the names of columns that Tobii Pro Lab gave the same.

Columns and their meaning: *Tobii Studio User's Manual* 3.4, "Data export". ``RecordingTimestamp``
is in milliseconds; MCSpx are pixels of the shown medium, ADCSpx of the screen; ``StudioEvent`` is
``MovieStart`` and ``MovieEnd``; validity goes from 0 (sure) to 4, of which 2 and more are to be
left out. Where both are exported, gaze on the medium is taken.
"""

from __future__ import annotations

from dataclasses import replace

from vaclip.importers.gaze.columns import Column, GazeTable

MEDIUM = "mediumpx"
"""The unit of MCSpx here: in Pro Lab's exports the same word may mean a scene camera's picture."""
_UNITS = {"mcspx": MEDIUM, "adcspx": "dacspx"}
_SIDES = {"": "", "left": "left ", "right": "right "}
_NAMES = {
    "recordingtimestamp": "recording timestamp",
    "recordingname": "recording name",
    "participantname": "participant name",
    "medianame": "presented media name",
    "studioevent": "event",
    "studioeventdata": "event value",
    "gazeeventtype": "eye movement type",
    "validityleft": "validity left",
    "validityright": "validity right",
    **{f"gazepoint{s}{a}": f"gaze point {side}{a}" for s, side in _SIDES.items() for a in "xy"},
    **{f"fixationpoint{a}": f"fixation point {a}" for a in "xy"},
}


def as_pro_lab(table: GazeTable) -> GazeTable | None:
    """Returns a table with Pro Lab's names; None where it is none of Tobii Studio."""
    if not (table.find("recordingtimestamp") and table.find("gazepointx", "fixationpointx")):
        return None
    return replace(table, columns=tuple(_column(column) for column in table.columns))


def _column(column: Column) -> Column:
    name = _NAMES.get(column.name, column.name)
    unit = "ms" if name == "recording timestamp" else _UNITS.get(column.unit, column.unit)
    return replace(column, name=name, unit=unit)
