"""A series of files with a picture each, as one cine.

DICOM has no word for it: pictures of one SeriesInstanceUID may be moments, slices, or whatever
somebody kept of an examination. They are moments in the order of TemporalPositionIdentifier, else
InstanceNumber, else time (PS3.3 of 2024: C.7.6.1 General Image, C.8.3.1 MR Image). FrameTime says
how long each is shown, else TriggerTime (milliseconds from the R wave), FrameReferenceDateTime,
AcquisitionDateTime, or AcquisitionDate and AcquisitionTime tell it; else CineRate or
RecommendedDisplayFrameRate. ContentTime, when the picture was put together, does not count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vaclip.importers.base import MOST_FRAMES
from vaclip.importers.videos.dicom_frames import clock, macro, seconds_between
from vaclip.importers.videos.dicom_read import Cine, Still, described, guarded

_TAGS = (
    "TemporalPositionIdentifier", "InstanceNumber", "TriggerTime", "AcquisitionDateTime",
    "AcquisitionDate", "AcquisitionTime", "ImagePositionPatient", "SliceLocation",
    "PhotometricInterpretation", "SeriesInstanceUID",
)  # fmt: skip


@dataclass(frozen=True)
class _Picture:
    """What a file says of its picture; ``cine`` is the same as a cine of one picture."""

    cine: Cine
    series: str
    numbers: tuple[int | None, ...]
    times: tuple[float | None, ...]
    frame_s: float
    place: str
    alike: tuple[Any, ...]


def series_cine(stills: Sequence[Still]) -> Cine | str:
    """Returns the pictures of one series as a cine, or why they are none, in a few words.

    Raises:
        VaclipError: If a file is damaged or too large.
    """
    if len(stills) < 2 or not stills[0].series:
        return "a still picture"
    if len(stills) > MOST_FRAMES:
        return f"a still picture of a series of more than {MOST_FRAMES}"
    pictures = [guarded(still.path, _TAGS, _picture) for still in stills]
    if len({picture.place for picture in pictures}) > 1:
        return "a slice of a volume"
    if len({picture.alike for picture in pictures}) > 1:
        return "a still picture of a series of unlike ones (patient, size, colours, region)"
    numbered = _ordered(pictures, "numbers")
    ordered = numbered or _ordered(pictures, "times")
    if ordered is None:
        return "a still picture of a series without an order"
    pictures, keys = ordered
    burned = {picture.cine.burned_in for picture in pictures}
    return replace(
        pictures[0].cine,
        uid=pictures[0].series,
        frames=len(pictures),
        seconds=_seconds(pictures),
        burned_in="YES" if "YES" in burned else "" if "" in burned else min(burned),
        files=tuple(picture.cine.path for picture in pictures),
        missing=int(keys[-1] - keys[0]) + 1 - len(keys) if numbered else 0,
    )


def _picture(path: Path, header: Any) -> _Picture:
    cine = described(path, header, 1)
    content = macro(header, "FrameContentSequence", 0) or {}
    day = header.get("AcquisitionDate") or header.get("StudyDate") or "19700101"
    trigger = header.get("TriggerTime")
    numbers = (header.get(tag) for tag in ("TemporalPositionIdentifier", "InstanceNumber"))
    place = header.get("ImagePositionPatient") or header.get("SliceLocation")
    return _Picture(
        cine,
        str(header.get("SeriesInstanceUID") or ""),
        tuple(None if number in (None, "") else int(number) for number in numbers),
        (
            None if trigger in (None, "") else float(trigger) / 1000,
            clock(content.get("FrameReferenceDateTime")),
            clock(header.get("AcquisitionDateTime") or content.get("FrameAcquisitionDateTime")),
            clock(f"{day}{header.get('AcquisitionTime') or ''}"),
        ),
        float(header.get("FrameTime") or 0) / 1000,
        str(place or ""),
        (
            cine.patient, cine.size, cine.modality, cine.region,
            str(header.get("PhotometricInterpretation")), header.get("SamplesPerPixel"),
        ),
    )  # fmt: skip


def _ordered(pictures: list[_Picture], by: str) -> tuple[list[_Picture], list[float]] | None:
    """Returns the pictures and what orders them: the first that all have and none shares."""
    for keys in zip(*(getattr(picture, by) for picture in pictures), strict=True):
        if None not in keys and Counter(keys).most_common(1)[0][1] == 1:
            order = sorted(range(len(keys)), key=keys.__getitem__)
            return [pictures[n] for n in order], [keys[n] for n in order]
    return None


def _seconds(pictures: list[_Picture]) -> tuple[float, ...]:
    """Returns how long each is shown; nothing where it is not said, or said in two ways."""
    stated = {picture.frame_s for picture in pictures}
    if len(stated) == 1 and (seconds := stated.pop()) > 0:
        return (seconds,) * len(pictures)
    for times in zip(*(picture.times for picture in pictures), strict=True):
        if seconds := seconds_between(times):
            return seconds
    rates = {picture.cine.seconds for picture in pictures}
    return rates.pop() * len(pictures) if len(rates) == 1 else ()
