"""Pictures in place of a video: a folder or zip archive of them, a TIFF or NIfTI file of several.

Their order is the natural one of their names (2 before 10). Grey values of more than 8 bits are
spread over the whole series: its least value becomes black, its largest white.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, ImageSequence

from vaclip.errors import VaclipError
from vaclip.importers.base import MOST_FRAMES
from vaclip.importers.reading import SourceFile, source_files
from vaclip.importers.videos.recording import Recording, even_seconds
from vaclip.media import LARGEST_PICTURE

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
_TIFF = (".tif", ".tiff")
_NIFTI = (".nii", ".nii.gz")
_WIDE = ("I", "F", "I;16", "I;16B", "I;16L")  # Pillow's modes of more than 8 bits
# What Pillow raises on damaged files, by its documentation and its fuzzer's findings.
_DAMAGED = (
    OSError, SyntaxError, ValueError, EOFError, OverflowError, TypeError, LookupError,
    Image.DecompressionBombError,
)  # fmt: skip
Pictures = Iterator[NDArray[Any]]


def holds_pictures(path: Path) -> bool:
    """Whether a path names a series of pictures, and no video."""
    name = path.name.lower()
    return path.is_dir() or name.endswith((*_TIFF, *_NIFTI, ".zip"))


def without_suffix(name: str, path: Path) -> str:
    """Returns the name of a series without the suffix of its file; a folder has none."""
    if path.is_dir():
        return name
    return re.sub(r"(\.nii\.gz|\.[^./]*)$", "", name, flags=re.IGNORECASE)


def picture_recording(path: Path, fps: float) -> Recording:
    """Returns how a video is made of pictures.

    Args:
        path: See `holds_pictures`.
        fps: Pictures a second.

    Raises:
        VaclipError: If there are no pictures, or a file cannot be read.
    """
    name = path.name.lower()
    names: tuple[str, ...] = ()
    if name.endswith(_NIFTI):
        count, read = _nifti(path)
    elif path.is_dir() or name.endswith(".zip"):
        files = _series(path)
        names, count = tuple(Path(file.name).name for file in files), len(files)
        read = partial(_of_files, path.name, files)
    else:
        count, read = _tiff(path)
    if count > MOST_FRAMES:
        raise VaclipError(f"{path.name}: more than {MOST_FRAMES} pictures")
    return Recording(
        path.name, partial(_eight_bit, path.name, read), even_seconds(fps, count), names
    )


def natural(name: str) -> list[tuple[int, str]]:
    """Returns what to sort names by, so that numbers in them count as numbers.

    Examples:
        >>> sorted(["a10", "a2", "a1b"], key=natural)
        ['a1b', 'a2', 'a10']
    """
    parts = re.split(r"([0-9]+)", name.casefold())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts if part]


def _series(path: Path) -> list[SourceFile]:
    """The pictures that lie directly in a folder, or in one folder of an archive."""
    files = [
        file
        for file in source_files(path, PICTURES)
        if not Path(file.name).name.startswith(".") and not file.name.startswith("__MACOSX/")
    ]
    folders = {str(Path(file.name).parent) for file in files}
    if len(folders) > 1:
        raise VaclipError(
            f"{path.name}: its pictures lie in {len(folders)} folders; a clip is one folder of them"
        )
    return sorted(files, key=lambda file: natural(file.name))


def _of_files(where: str, files: list[SourceFile]) -> Pictures:
    for file in files:
        content = file.read()
        try:
            with Image.open(io.BytesIO(content)) as image:
                yield _values(image)
        except _DAMAGED as error:
            raise VaclipError(f"{where}: {file.name} cannot be read: {error}") from error


def _tiff(path: Path) -> tuple[int, Callable[[], Pictures]]:
    try:
        with Image.open(path) as image:
            count = getattr(image, "n_frames", 1)
    except _DAMAGED as error:
        raise VaclipError(f"{path.name}: cannot be read: {error}") from error
    if count < 2:
        raise VaclipError(f"{path.name}: is a single picture; a clip is a folder of them")

    def read() -> Pictures:
        try:
            with Image.open(path) as image:
                for page in ImageSequence.Iterator(image):
                    yield _values(page)
        except _DAMAGED as error:
            raise VaclipError(f"{path.name}: cannot be read: {error}") from error

    return count, read


def _values(image: Image.Image) -> NDArray[Any]:
    """Returns (H, W, 3) or (H, W) uint8, or (H, W) of a wider type; upright."""
    if image.width * image.height > LARGEST_PICTURE:
        raise ValueError(f"a picture of {image.width} x {image.height} is too large")
    if image.mode in _WIDE:
        return np.asarray(image)
    upright = ImageOps.exif_transpose(image)
    return np.asarray(upright.convert("L" if upright.mode in ("1", "L", "LA") else "RGB"))


def _nifti(path: Path) -> tuple[int, Callable[[], Pictures]]:
    try:
        import nibabel
        from nibabel.filebasedimages import ImageFileError
        from nibabel.spatialimages import HeaderDataError
    except ImportError as error:
        raise VaclipError(
            "NIfTI needs the extra vaclip[nifti]: pip install 'vaclip[nifti]'"
        ) from error
    damaged = (
        ImageFileError,
        HeaderDataError,
        OSError,
        EOFError,
        ValueError,
        TypeError,
        OverflowError,
    )
    try:
        image: Any = nibabel.load(path)
        shape = tuple(size for size in image.shape if size > 1)
    except damaged as error:
        raise VaclipError(f"{path.name}: cannot be read as NIfTI: {error}") from error
    if len(shape) != 3 or shape[2] not in image.shape[2:]:
        listed = " x ".join(map(str, image.shape))
        raise VaclipError(f"{path.name}: is {listed}; a clip is width x height x time")
    if shape[0] * shape[1] > LARGEST_PICTURE:
        raise VaclipError(f"{path.name}: its pictures are too large ({shape[0]} x {shape[1]})")

    def read() -> Pictures:
        try:
            for number in range(shape[2]):
                where = (
                    slice(None),
                    slice(None),
                    *(number if n == shape[2] else 0 for n in image.shape[2:]),
                )
                yield np.asarray(image.dataobj[where]).T  # x is the first axis
        except damaged as error:
            raise VaclipError(f"{path.name}: cannot be read as NIfTI: {error}") from error

    return shape[2], read


def _eight_bit(where: str, read: Callable[[], Pictures]) -> Iterator[NDArray[np.uint8]]:
    """Yields pictures of 8 bits, all of one size and either grey or coloured."""
    first = next(read(), None)
    ends = (0.0, 255.0)
    if first is not None and first.dtype != np.uint8:
        values = [(float(one.min()), float(one.max())) for one in read()]
        ends = min(low for low, _ in values), max(high for _, high in values)
        if not np.isfinite(ends).all():
            raise VaclipError(f"{where}: holds values that are no numbers")
    for number, picture in enumerate(read(), start=1):
        if first is None or picture.shape != first.shape or picture.dtype != first.dtype:
            raise VaclipError(
                f"{where}: picture {number} is of another size or kind than the first"
            )
        if picture.dtype != np.uint8:
            share = (picture.astype(float) - ends[0]) / max(ends[1] - ends[0], 1e-9)
            picture = np.round(share * 255).astype(np.uint8)
        yield np.ascontiguousarray(picture)
