"""Opening other people's videos: no address is followed, no picture fills the memory."""

from __future__ import annotations

import gzip
import re
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import av
from av.container import InputContainer

from vaclip.errors import VaclipError

VIDEO_SUFFIXES = frozenset(
    ".mp4 .m4v .mov .avi .mkv .webm .mpg .mpeg .wmv .flv .gif .ogv .ts .mts".split()
)
LARGEST_PICTURE = 64_000_000
"""Pixels of the largest picture that is decoded."""
_PLAYLISTS = frozenset({"hls", "concat", "dash", "sdp", "rtsp", "imf"})
_TEXT = "tty"  # FFmpeg draws a .txt or .asc file, letter by letter
_START_CODES = frozenset({"h264", "hevc", "vvc", "m4v", "mpegvideo", "cavsvideo", "vc1"})
_RAW_JPEG_SUFFIXES = frozenset({".mjpeg", ".mjpg"})
_JPEG_START = b"\xff\xd8\xff"
_HEAD = 512  # bytes that tell what a file is
_AS_VIDEO = "export it as MP4, with every picture and at its true rate"
_AS_ARRAY = f"as a video: {_AS_VIDEO}; as a map: give it its own suffix"
_BY_IMPORT = "`vaclip data import table` makes a video of its pictures"
_TIFF = f"a TIFF file: {_BY_IMPORT}"
_ARCHIVE = "an archive: unpack it"
_DICOM = "a DICOM file: `vaclip data import dicom` makes clips of cines"
_MAGIC = {
    b"II*\0": _TIFF,
    b"MM\0*": _TIFF,
    b"II+\0": _TIFF,
    b"MM\0+": _TIFF,
    b"\x93NUMPY": f"a NumPy array (.npy); {_AS_ARRAY}",
    b"\x89HDF\r\n\x1a\n": f"an HDF5 file: {_AS_VIDEO}",
    b"MATLAB ": f"a MATLAB file: {_AS_VIDEO}",
    b"NRRD0": f"an NRRD volume: {_AS_VIDEO}",
    b"ObjectType": f"a MetaImage volume: {_AS_VIDEO}",
    b"SIMPLE  =": f"a FITS file: {_AS_VIDEO}",
    b"7z\xbc\xaf'\x1c": _ARCHIVE,
    b"Rar!\x1a": _ARCHIVE,
    b"%PDF-": f"a PDF document: {_AS_VIDEO}",
}
_STILLS = frozenset({"image2", "ico"})
_STILL_BRANDS = frozenset({b"avif", b"heic", b"heix", b"mif1"})  # of one picture in boxes as MP4's
_FIRST_BOXES = frozenset({b"ftyp", b"moov", b"moof", b"mdat", b"styp", b"wide", b"free", b"skip"})
_OUTER_BOXES = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf"})
_OPTIONS = {
    # "file:" and the whitelist keep FFmpeg from taking a name or a content for an address.
    "protocol_whitelist": "file",
    "max_pixels": str(LARGEST_PICTURE),  # while the streams are probed; later see below
}


def find_videos(paths: Sequence[Path]) -> list[Path]:
    """Returns the video files that paths name, those of a folder in sorted order.

    Raises:
        VaclipError: If a path does not exist, or a folder holds no video.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(f for f in path.rglob("*") if f.suffix.lower() in VIDEO_SUFFIXES)
            if not inside:
                raise VaclipError(f"the folder {path} holds no video file")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise VaclipError(f"there is no file or folder {path}")
    return list(dict.fromkeys(found))


def open_video(path: Path, *, picture: bool = False) -> InputContainer:
    """Opens a file that holds at least one video stream, for use in a ``with`` statement.

    Decoding it can raise an `av.FFmpegError`; `failure` says what that means.

    Args:
        path: The file.
        picture: Whether a single picture counts as a video.

    Raises:
        VaclipError: If the file is missing, is no video, or claims too large a picture.
    """
    name = path.name
    if not path.is_file():
        raise VaclipError(f"{name}: there is no such file")
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if what := _other_file(path, head):
        raise VaclipError(f"{name}: is {what}")
    _check_sample_tables(path)
    try:
        container = av.open(f"file:{path}", options=_OPTIONS, metadata_errors="replace")
    except av.FFmpegError as error:
        what = "it holds text, no video" if _is_text(head) else ""
        raise failure(name, error, what=what) from error
    try:
        if what := _no_video(path, head, container.format.name, picture):
            raise VaclipError(f"{name}: is {what}")
        if not container.streams.video:
            raise VaclipError(f"{name}: the file holds no video stream")
        context = container.streams.video[0].codec_context
        if context is None:
            raise VaclipError(f"{name}: cannot be decoded: FFmpeg does not know its codec")
        if context.width * context.height > LARGEST_PICTURE:
            raise VaclipError(
                f"{name}: its pictures are {context.width} x {context.height}; at most "
                f"{LARGEST_PICTURE // 1_000_000} megapixels are decoded"
            )
        context.options = {"max_pixels": str(LARGEST_PICTURE)}
    except VaclipError:
        container.close()
        raise
    return container


def _other_file(path: Path, head: bytes) -> str | None:
    """Returns what a file is, and what to do with it, where its first bytes tell of no video.

    FFmpeg looks for pictures anywhere in a file: of the JPEG frames in a DICOM file or a zip
    archive it makes a video, which lacks some, at a rate of 25 a second.
    """
    if head.startswith(b"\x1f\x8b"):
        try:
            with gzip.open(path) as file:
                return _nifti(file.read(_HEAD)) or "a gzip archive: unpack it"
        except (OSError, EOFError, zlib.error):
            return "a damaged gzip archive"
    if head.startswith(b"PK\3\4"):
        inside = head[30 : 30 + int.from_bytes(head[26:28], "little")]
        if inside.endswith(b".npy"):
            return f"a NumPy archive (.npz); {_AS_ARRAY}"
        return f"a zip archive: {_BY_IMPORT}"
    if head[257:262] == b"ustar":
        return _ARCHIVE
    # Without the preamble: an element of group 2 or 8, with its type.
    bare = re.match(rb"[\x02\x08]\0.\0(UL|UI|CS|OB|DA|TM|DT|LO|SH|AE|IS)", head, re.DOTALL)
    if bare or head[128:132] == b"DICM":
        return _DICOM
    for magic, what in _MAGIC.items():
        if head.startswith(magic):
            return what
    return _nifti(head)


def _is_text(head: bytes) -> bool:
    """Whether the first bytes of a file can be read; its last letter may be cut."""
    text = head.decode("utf-8", "ignore")
    whole = len(text.encode()) > len(head) - 4
    return bool(text) and whole and all(c.isprintable() or c in "\ufeff\t\r\n\f" for c in text)


def _nifti(head: bytes) -> str | None:
    if head[344:348] in (b"n+1\0", b"ni1\0") or head[4:8] in (b"n+2\0", b"ni2\0"):
        return f"a NIfTI volume: {_BY_IMPORT}"
    return None


def _no_video(path: Path, head: bytes, demuxer: str, picture: bool) -> str | None:
    """Returns what a file is that FFmpeg takes for a video, and what to do with it."""
    if demuxer in _PLAYLISTS:
        return "a playlist, not a video"
    if demuxer == _TEXT:
        return "a text file, not a video"
    raw = demuxer in ("mjpeg", "mjpeg_2000")
    still = demuxer in _STILLS or (head[4:8] == b"ftyp" and head[8:12] in _STILL_BRANDS)
    if raw or still or demuxer.endswith("_pipe"):
        if head.startswith(_JPEG_START) and path.suffix.lower() in _RAW_JPEG_SUFFIXES:
            return None
        if not raw:
            return None if picture else "a picture, not a video: make one video of those of a clip"
    elif demuxer not in _START_CODES or (head[:2] == b"\0\0" and head.lstrip(b"\0")[:1] == b"\1"):
        return None
    return (
        f"no video: FFmpeg finds pictures inside ({demuxer}), but would lose some and make up "
        f"their rate; {_AS_VIDEO}"
    )


def _check_sample_tables(path: Path) -> None:
    """Refuses an MP4 or MOV file whose tables claim more samples than it has bytes.

    FFmpeg would make room for each of them: a file of 1 KB can ask for gigabytes. See ISO/IEC
    14496-12 for the boxes ``stsz`` and ``trun``.

    Raises:
        VaclipError: If it does, or hides its tables by compression.
    """
    length = path.stat().st_size
    with path.open("rb") as file:
        place = 0
        while place + 8 <= length:
            file.seek(place)
            head = file.read(20)
            size, kind = struct.unpack_from(">I4s", head)
            if place == 0 and kind not in _FIRST_BOXES:
                return
            if size == 1:
                size = int.from_bytes(head[8:16], "big")
            samples = 0
            if kind == b"stsz":  # version and flags, bytes of each sample (0: listed), count
                each, count = struct.unpack_from(">II", head.ljust(20, b"\0"), 12)
                samples = count * (each or 4)
            elif kind == b"trun":  # version and flags, count
                samples = int.from_bytes(head[12:16], "big")
            if samples > length or kind == b"cmov":
                raise VaclipError(
                    f"{path.name}: its tables claim more pictures than the file can hold; "
                    "check the copy, or re-encode the file"
                )
            place += 8 if kind in _OUTER_BOXES else max(8, size or length)


def failure(
    name: str, error: av.FFmpegError, frames: int | None = None, what: str = ""
) -> VaclipError:
    """Returns what to say of a file that breaks off.

    Args:
        name: What to call it.
        error: FFmpeg's.
        frames: How many were decoded; None if it could not even be opened.
        what: Why, where more is known than FFmpeg says.
    """
    reason = what or error.strerror or type(error).__name__
    if frames == 0:  # FFmpeg has many words for a picture above `max_pixels`
        reason += f"; a picture may have at most {LARGEST_PICTURE // 1_000_000} megapixels"
    return VaclipError(
        f"{name}: cannot be decoded after {frames or 0} frames ({reason}); "
        "check the copy, or re-encode the file"
    )
