"""What a DICOM file says of its cine: how it is timed, coloured and cut; never whose it is.

Facts from the standard of 2024: PS3.3 (C.7.6.5 Cine, C.7.6.3 Image Pixel, C.8.5.5 US Region
Calibration, C.11.2 VOI LUT; enhanced objects: see `dicom_frames`) and PS3.5 (Annex A, transfer
syntaxes). Identifiers stay in `Cine.patient` and `Cine.uid`, which are for making pseudonyms and
are never shown.
"""

from __future__ import annotations

import logging
import struct
import warnings
import zlib
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from vaclip.errors import VaclipError
from vaclip.importers.base import MOST_FRAMES
from vaclip.importers.videos.dicom_frames import GROUPS, are_slices, macro, stated_seconds

LARGEST_PICTURE = 1 << 28
"""Values of one picture."""
VIDEO = tuple(f"1.2.840.10008.1.2.4.{number}" for number in range(100, 109))
"""Transfer syntaxes of MPEG-2, H.264 and H.265; those that end in .1 may have many fragments."""
_LARGEST_FILE = 1 << 31  # what a deflated file may inflate to
_PREAMBLE = 128
_DEFLATED = "1.2.840.10008.1.2.1.99"
_TAGS = (
    "PatientID", "SOPInstanceUID", "StudyDate", "Modality", "Manufacturer",
    "ManufacturerModelName", "NumberOfFrames", "Rows", "Columns", "SamplesPerPixel",
    "FrameIncrementPointer", "FrameTime", "FrameTimeVector", "CineRate",
    "RecommendedDisplayFrameRate", "SequenceOfUltrasoundRegions", "PixelSpacing",
    "ImagerPixelSpacing", "NominalScannedPixelSpacing", "BurnedInAnnotation", "SeriesInstanceUID",
    "DirectoryRecordSequence", *GROUPS,
)  # fmt: skip
_OVERLAYS = tuple(0x60000010 + 0x20000 * number for number in range(16))  # OverlayRows of each
_NO_CINES = ("RTDOSE", "SEG", "REG")  # planes and labels, not times
_CENTIMETRES = 3  # of PhysicalUnitsXDirection
_PICTURE_PLANE = 1  # of RegionSpatialFormat: a 2D picture, and no trace of motion or flow

T = TypeVar("T")


@dataclass(frozen=True)
class Cine:
    """A multi-frame file, or a series of files with a picture each.

    Attributes:
        path: The file; of a series the first.
        patient: PatientID, for making a pseudonym.
        uid: SOPInstanceUID, of a series SeriesInstanceUID, the same.
        frames: How many.
        size: (height, width).
        seconds: (frames,) how long each is shown; empty where the file does not say it.
        modality: Such as US.
        device: Maker and model.
        month: Of the study, YYYY-MM; empty where unknown.
        spacing_mm: Side of a pixel, or height and width where they differ; empty where unknown.
        region: (x0, y0, x1, y1) of the largest ultrasound picture, ends excluded; None for none.
        burned_in: What the file says of text in the pictures: YES, NO or nothing.
        overlays: Whether it has graphics or text that lie over the pictures.
        files: Of a series: the file of each picture, in order.
        missing: Of a series: how many numbers are left out between those of its pictures.
    """

    path: Path
    patient: str = field(repr=False)
    uid: str = field(repr=False)
    frames: int
    size: tuple[int, int]
    seconds: tuple[float, ...]
    modality: str
    device: str
    month: str
    spacing_mm: str
    region: tuple[int, int, int, int] | None
    burned_in: str
    overlays: bool = False
    files: tuple[Path, ...] = ()
    missing: int = 0


@dataclass(frozen=True)
class Still:
    """A file with one picture: its SOPInstanceUID and SeriesInstanceUID."""

    path: Path
    uid: str = field(repr=False)
    series: str = field(repr=False)


def is_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM files do."""
    with path.open("rb") as file:
        return file.read(_PREAMBLE + 4)[_PREAMBLE:] == b"DICM"


def read_cine(path: Path) -> Cine | Still | str:
    """Reads the header of a DICOM file.

    Returns:
        The cine, or what the file is instead, if not a still picture in a few words.

    Raises:
        VaclipError: If pydicom is missing, or the file is damaged or too large.
    """
    return guarded(path, (), _found)


def guarded(path: Path, tags: Sequence[str], understand: Callable[[Path, Any], T]) -> T:
    """Reads a header, of further tags too, and hands it to what understands it.

    Raises:
        VaclipError: See `read_cine`.
    """
    try:
        import pydicom
        from pydicom.errors import BytesLengthException, InvalidDicomError
    except ImportError as error:
        raise VaclipError(
            "DICOM needs the extra vaclip[dicom]: pip install 'vaclip[dicom]'"
        ) from error
    try:
        with silent():
            _check_inflated(path)
            wanted: list[Any] = [*_TAGS, *_OVERLAYS, *tags]
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=wanted)
            return understand(path, header)
    except (
        InvalidDicomError, BytesLengthException, ValueError, TypeError, LookupError, EOFError,
        AttributeError, OverflowError, NotImplementedError, struct.error, zlib.error, OSError,
        RecursionError,
    ) as error:  # fmt: skip
        # What pydicom says of a damaged value may hold it; the value may be a name.
        raise VaclipError(f"{path.name}: a damaged DICOM file ({type(error).__name__})") from None


@contextmanager
def silent() -> Generator[None]:
    """Keeps pydicom from telling what is odd about a value: it shows the value, perhaps a name."""
    from pydicom.config import disable_value_validation

    logger = logging.getLogger("pydicom")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with disable_value_validation(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _check_inflated(path: Path) -> None:
    """Refuses a deflated file that does not end within bounds: pydicom inflates it whole."""
    from pydicom.filereader import read_file_meta_info

    meta = read_file_meta_info(path)
    if str(meta.get("TransferSyntaxUID", "")) != _DEFLATED:
        return
    inflater, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
    with path.open("rb") as file:
        file.seek(_PREAMBLE + 4 + 12 + int(meta["FileMetaInformationGroupLength"].value))
        while size <= _LARGEST_FILE and (block := file.read(1 << 20)):
            while block and size <= _LARGEST_FILE:
                size += len(inflater.decompress(block, 1 << 24))
                block = inflater.unconsumed_tail
    if size > _LARGEST_FILE:
        raise VaclipError(f"{path.name}: inflates to more than {_LARGEST_FILE >> 30} GiB")


def _found(path: Path, header: Any) -> Cine | Still | str:
    if "DirectoryRecordSequence" in header:
        return "a DICOMDIR"
    if not header.get("Rows") or not header.get("Columns"):
        return "no picture"
    modality = str(header.get("Modality") or "")
    if modality in _NO_CINES:
        return f"no cine ({modality})"
    frames = int(header.get("NumberOfFrames") or 1)
    if frames < 2 and not str(header.file_meta.TransferSyntaxUID).startswith(VIDEO):
        series = str(header.get("SeriesInstanceUID") or "").strip()
        return Still(path, str(header.SOPInstanceUID).strip(), series)
    cine = described(path, header, frames)
    return "slices of a volume" if are_slices(header) else cine


def described(path: Path, header: Any, frames: int) -> Cine:
    """Returns what a header says of its pictures.

    Raises:
        VaclipError: If it cannot be true.
    """
    height, width = int(header.Rows), int(header.Columns)
    if (
        frames > MOST_FRAMES
        or height * width * int(header.get("SamplesPerPixel") or 1) > LARGEST_PICTURE
    ):
        raise VaclipError(
            f"{path.name}: states {frames} pictures of {width} x {height}: too large to be true"
        )
    if (groups := len(header.get(GROUPS[1]) or ())) not in (0, frames):
        raise VaclipError(f"{path.name}: tells of {groups} pictures, but states {frames}")
    patient, uid = str(header.get("PatientID") or "").strip(), str(header.SOPInstanceUID).strip()
    device = " ".join(
        str(header.get(tag) or "").strip() for tag in ("Manufacturer", "ManufacturerModelName")
    )
    date = str(header.get("StudyDate") or "")
    region = _region(header, height, width)
    return Cine(
        path, patient, uid, frames, (height, width), frame_seconds(header, frames),
        str(header.get("Modality") or ""), device.strip(),
        f"{date[:4]}-{date[4:6]}" if date[:6].isdecimal() and len(date) == 8 else "",
        _spacing(header), region, str(header.get("BurnedInAnnotation") or "").upper(),
        any(tag in header for tag in _OVERLAYS),
    )  # fmt: skip


def frame_seconds(header: Any, frames: int) -> tuple[float, ...]:
    """Returns how long each picture is shown; nothing where the header does not say it.

    FrameTimeVector gives milliseconds from each picture to the one before (0 for the first),
    FrameTime the same for all. Where FrameIncrementPointer names one of them, that one counts.
    Then come the times that an enhanced object has of each picture, then the rates at which the
    maker would show it, CineRate and RecommendedDisplayFrameRate.
    """
    pointed = header.get("FrameIncrementPointer")
    vector = [float(value) for value in np.atleast_1d(header.get("FrameTimeVector", []))]
    time = float(header.get("FrameTime") or 0)
    by_vector = len(vector) == frames and frames > 1 and min(vector[1:]) > 0
    if by_vector and not (pointed == 0x00181063 and time > 0):
        gaps = [value / 1000 for value in vector[1:]]
        return (*gaps, float(np.median(gaps)))
    if time > 0:
        return (time / 1000,) * frames
    if seconds := stated_seconds(header, frames):
        return seconds
    for rate in ("CineRate", "RecommendedDisplayFrameRate"):
        if (value := float(header.get(rate) or 0)) > 0:
            return (1 / value,) * frames
    return ()


def _region(header: Any, height: int, width: int) -> tuple[int, int, int, int] | None:
    """Returns the largest region with a 2D picture in it, within the picture."""
    boxes = []
    for region in header.get("SequenceOfUltrasoundRegions") or ():
        if int(region.get("RegionSpatialFormat") or 0) != _PICTURE_PLANE:
            continue
        x0, y0 = int(region.RegionLocationMinX0), int(region.RegionLocationMinY0)
        x1, y1 = int(region.RegionLocationMaxX1) + 1, int(region.RegionLocationMaxY1) + 1
        if 0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height:
            boxes.append((x0, y0, x1, y1))
    return max(boxes, key=lambda box: (box[2] - box[0]) * (box[3] - box[1]), default=None)


def _spacing(header: Any) -> str:
    """Returns millimetres a pixel, of the first ultrasound picture or of the whole."""
    sides: list[float] = []
    for region in header.get("SequenceOfUltrasoundRegions") or ():
        units = {int(region.get(f"PhysicalUnits{axis}Direction") or 0) for axis in "XY"}
        if int(region.get("RegionSpatialFormat") or 0) == _PICTURE_PLANE and units == {
            _CENTIMETRES
        }:
            sides = [10 * abs(float(region[f"PhysicalDelta{axis}"].value)) for axis in "YX"]
            break
    measures = macro(header, "PixelMeasuresSequence", 0)
    if not sides and measures and measures.get("PixelSpacing"):
        sides = [float(value) for value in measures.PixelSpacing]
    for tag in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        if not sides and header.get(tag):
            sides = [float(value) for value in header.get(tag)]
    if len(sides) != 2 or min(sides) <= 0:
        return ""
    even = abs(sides[0] - sides[1]) <= 0.01 * max(sides)
    return f"{sides[0]:.4g}" if even else f"{sides[0]:.4g} x {sides[1]:.4g}"
