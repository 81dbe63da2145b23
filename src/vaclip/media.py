"""Opening other people's videos: no address is followed, no picture fills the memory."""

from __future__ import annotations

import struct
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


def open_video(path: Path) -> InputContainer:
    """Opens a file that holds at least one video stream, for use in a ``with`` statement.

    Decoding it can raise an `av.FFmpegError`; `failure` says what that means.

    Raises:
        VaclipError: If the file is missing, is no video, or claims too large a picture.
    """
    name = path.name
    if not path.is_file():
        raise VaclipError(f"{name}: there is no such file")
    _check_sample_tables(path)
    try:
        container = av.open(f"file:{path}", options=_OPTIONS, metadata_errors="replace")
    except av.FFmpegError as error:
        raise failure(name, error) from error
    try:
        if container.format.name in _PLAYLISTS:
            raise VaclipError(f"{name}: is a playlist, not a video")
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


def failure(name: str, error: av.FFmpegError, frames: int | None = None) -> VaclipError:
    """Returns what to say of a file that breaks off.

    Args:
        name: What to call it.
        error: FFmpeg's.
        frames: How many were decoded; None if it could not even be opened.
    """
    reason = error.strerror or type(error).__name__
    if frames == 0:  # FFmpeg has many words for a picture above `max_pixels`
        reason += f"; a picture may have at most {LARGEST_PICTURE // 1_000_000} megapixels"
    return VaclipError(
        f"{name}: cannot be decoded after {frames or 0} frames ({reason}); "
        "check the copy, or re-encode the file"
    )
