"""What an enhanced multi-frame object says of each of its pictures.

Facts from PS3.3 of 2024, C.7.6.16: a macro of functional groups stands in the one item of
SharedFunctionalGroupsSequence, or in the items of PerFrameFunctionalGroupsSequence, of which each
picture has one. Macros that are read: Frame Content (its date and time may have a zone), Temporal
Position (seconds), Pixel Value Transformation, Frame VOI LUT, Pixel Measures, and Plane Position of
a patient and of a volume.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import numpy as np

GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
_SHARED, _OWN = GROUPS
_REPLACED = {  # what of the whole object a macro stands in place of
    "PixelValueTransformationSequence": ("ModalityLUTSequence", "RescaleSlope", "RescaleIntercept"),
    "FrameVOILUTSequence": ("VOILUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction"),
}
_TIMES = (
    ("TemporalPositionSequence", "TemporalPositionTimeOffset"),
    ("FrameContentSequence", "FrameReferenceDateTime"),
    ("FrameContentSequence", "FrameAcquisitionDateTime"),
)
_PLACES = (
    ("PlanePositionSequence", "ImagePositionPatient"),
    ("PlanePositionVolumeSequence", "ImagePositionVolume"),  # of ultrasound
)
_TO_THE_SECOND = 14  # digits of YYYYMMDDHHMMSS


def macro(header: Any, name: str, number: int) -> Any:
    """Returns a macro of a picture, of its own or shared; None where there is none."""
    for groups, index in ((header.get(_OWN) or (), number), (header.get(_SHARED) or (), 0)):
        if index < len(groups) and (found := groups[index].get(name)):
            return found[0]
    return None


def of_picture(header: Any, number: int) -> Any:
    """Returns the header with the look-up tables, windows and scale of one picture."""
    from pydicom.dataset import Dataset

    found = {name: macro(header, name, number) for name in _REPLACED}
    if not any(found.values()):
        return header
    own: Any = Dataset()
    # The groups stay behind: a data set walks through all of a sequence that it is given.
    own.update({element.tag: element for element in header if element.keyword not in GROUPS})
    own.file_meta = header.file_meta  # the order of bytes, which tables need
    for name, item in found.items():
        if item:
            for replaced in _REPLACED[name]:
                own.pop(replaced, None)
            own.update(item)
    return own


def stated_seconds(header: Any, frames: int) -> tuple[float, ...]:
    """Returns how long each picture is shown by the times that each has; nothing without them."""
    if len(header.get(_OWN) or ()) != frames:
        return ()
    for name, tag in _TIMES:
        items = [macro(header, name, number) for number in range(frames)]
        values = [item.get(tag) if item else None for item in items]
        if seconds := seconds_between(
            values if name == "TemporalPositionSequence" else map(clock, values)
        ):
            return seconds
    return ()


def seconds_between(times: Iterable[Any]) -> tuple[float, ...]:
    """Returns how long each picture is shown, the last as long as others are.

    Nothing where a time is missing, or not later than the one before.
    """
    known = list(times)
    if len(known) < 2 or any(time in (None, "") for time in known):
        return ()
    gaps = np.diff([float(time) for time in known])
    if not (np.isfinite(gaps).all() and (gaps > 0).all()):
        return ()
    return (*gaps.tolist(), float(np.median(gaps)))


def clock(value: Any) -> float | None:
    """Returns a date and time (PS3.5, DT) in seconds; None where it is not told to the second."""
    text = str(value or "").strip()
    if not text[:_TO_THE_SECOND].isdecimal() or len(text) < _TO_THE_SECOND:
        return None
    told = datetime.fromisoformat(f"{text[:8]}T{text[8:]}")
    return (told if told.tzinfo else told.replace(tzinfo=UTC)).timestamp()


def are_slices(header: Any) -> bool:
    """Whether pictures lie at different places in the body: a volume, no cine."""
    for name, tag in _PLACES:
        own = (item.get(name) for item in header.get(_OWN) or ())
        if len({str(planes[0].get(tag)) for planes in own if planes}) > 1:
            return True
    return False
