"""Files that FFmpeg would take for a video are called what they are."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zipfile
from pathlib import Path

import av
import h5py
import numpy as np
import pytest
from PIL import Image, features

from conftest import grey_pictures, write_video
from vaclip.audit.inspect import inspect_video
from vaclip.errors import VaclipError
from vaclip.maps.arrays import load_map
from vaclip.media import open_video

FRAMES = 30


def picture(kind: str, number: int = 0) -> bytes:
    """Returns a picture file of noise, which no two numbers share."""
    pixels = np.random.default_rng(number).integers(0, 255, (64, 64, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def element(group: int, number: int, kind: bytes, value: bytes) -> bytes:
    """Returns a DICOM element with explicit type, little endian."""
    value += b"\0" * (len(value) % 2)
    long = kind in (b"OB", b"OW", b"UN")
    size = struct.pack("<HI", 0, len(value)) if long else struct.pack("<H", len(value))
    return struct.pack("<HH", group, number) + kind + size + value


def dicom(frames: list[bytes], *, syntax: bytes, preamble: bool = True) -> bytes:
    """Returns a cine: a head, then each frame as a fragment of the pixel data."""
    head = element(2, 0, b"UL", struct.pack("<I", 26)) + element(2, 0x10, b"UI", syntax)
    body = element(8, 0x60, b"CS", b"US") + element(0x28, 8, b"IS", str(len(frames)).encode())
    pixels = struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OB", 0, 0xFFFFFFFF)
    for frame in (b"", *frames):  # the first fragment is an empty table of offsets
        frame += b"\0" * (len(frame) % 2)
        pixels += struct.pack("<HHI", 0xFFFE, 0xE000, len(frame)) + frame
    pixels += struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    return (bytes(128) + b"DICM" if preamble else b"") + head + body + pixels


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def saved(save, *arguments) -> bytes:
    buffer = io.BytesIO()
    save(buffer, *arguments)
    return buffer.getvalue()


def hdf5() -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["frames"] = np.zeros((3, 4, 4), np.uint8)
    return buffer.getvalue()


JPEGS = [picture("JPEG", number) for number in range(FRAMES)]
FILES = {f"{number}.jpg": content for number, content in enumerate(JPEGS)}
NIFTI = struct.pack("<i", 348) + bytes(340) + b"n+1\0" + bytes(500)
NIFTI_2 = struct.pack("<i", 540) + b"n+2\0\r\n\x1a\n" + bytes(600)
JPEG_SYNTAX, JPEG_2000_SYNTAX = b"1.2.840.10008.1.2.4.50", b"1.2.840.10008.1.2.4.91"
J2K = [picture("JPEG2000", number) for number in range(FRAMES)]
NOT_VIDEOS = {
    "jpeg.dcm": (dicom(JPEGS, syntax=JPEG_SYNTAX), "is a DICOM file: `vaclip data import dicom`"),
    "jpeg_2000.dcm": (dicom(J2K, syntax=JPEG_2000_SYNTAX), "is a DICOM file"),
    "no_suffix": (dicom(JPEGS, syntax=JPEG_SYNTAX), "is a DICOM file"),
    "cine.mp4": (dicom(JPEGS, syntax=JPEG_SYNTAX), "is a DICOM file"),
    "bare.dcm": (dicom(JPEGS, syntax=JPEG_SYNTAX, preamble=False), "is a DICOM file"),
    "uncompressed.dcm": (dicom([bytes(4096)], syntax=b"1.2.840.10008.1.2.1"), "is a DICOM file"),
    "frames.zip": (zipped(FILES), "is a zip archive: `vaclip data import table`"),
    "arrays.npz": (saved(np.savez, np.zeros(3)), r"is a NumPy archive \(\.npz\)"),
    "array.mkv": (saved(np.save, np.zeros((3, 4, 4))), r"is a NumPy array \(\.npy\)"),
    "frames.tar": (tarred(FILES), "is an archive: unpack it"),
    "frames.mp4": (b"7z\xbc\xaf'\x1c" + b"".join(JPEGS), "is an archive: unpack it"),
    "frames.avi": (b"Rar!\x1a\7\0" + b"".join(JPEGS), "is an archive: unpack it"),
    "figures.mov": (b"%PDF-1.7\n" + b"".join(JPEGS), "is a PDF document"),
    "brain.nrrd": (b"NRRD0004\ntype: uchar\n" + bytes(99), "is an NRRD volume"),
    "brain.mha": (b"ObjectType = Image\nNDims = 3\n" + bytes(99), "is a MetaImage volume"),
    "sky.fits": (b"SIMPLE  =                    T".ljust(2880) + bytes(2880), "is a FITS file"),
    "icon.mp4": (picture("ICO"), "is a picture, not a video"),
    "unknown.raw": (b"HEADER" * 40 + b"".join(J2K), r"is no video: .* \(mjpeg_2000\)"),
    "behind.mjpeg": (b"HEADER" * 40 + b"".join(JPEGS), r"is no video: .* \(mjpeg\)"),
    "brain.nii": (NIFTI, "is a NIfTI volume"),
    "brain_2.nii": (NIFTI_2, "is a NIfTI volume"),
    "brain.nii.gz": (gzip.compress(NIFTI), "is a NIfTI volume"),
    "cine.mp4.gz": (gzip.compress(b"x" * 900), "is a gzip archive: unpack it"),
    "cut.nii.gz": (gzip.compress(NIFTI)[:12], "is a damaged gzip archive"),
    "stack.tif": (picture("TIFF"), "is a TIFF file"),
    "stack.h5": (hdf5(), "is an HDF5 file"),
    "one.jpg": (JPEGS[0], "is a picture, not a video"),
    "one.png": (picture("PNG"), "is a picture, not a video"),
    "one.bmp": (picture("BMP"), "is a picture, not a video"),
    "one.mp4": (JPEGS[0], "is a picture, not a video"),
    "gaze.asc": (b"MSG 1 hello\n" * 50, "is a text file, not a video"),
}
if features.check("avif"):  # of the older versions of Pillow none writes it
    NOT_VIDEOS["still.mp4"] = (picture("AVIF"), "is a picture, not a video")


@pytest.mark.parametrize("name", NOT_VIDEOS)
def test_what_is_no_video_is_called_what_it_is(tmp_path, name):
    content, what = NOT_VIDEOS[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(VaclipError, match=rf"^{name}: {what}"):
        open_video(tmp_path / name)
    assert f"{name}: is " in str(inspect_video(tmp_path / name).failure)


def test_ffmpeg_alone_would_have_made_videos_of_them(tmp_path):
    """Without this the refusals above would be of nothing."""
    for name in ("jpeg.dcm", "jpeg_2000.dcm", "frames.zip"):
        (tmp_path / name).write_bytes(NOT_VIDEOS[name][0])
        with av.open(str(tmp_path / name)) as container:
            assert container.streams.video[0].average_rate == 25


def raw_stream(path: Path, codec: str, demuxer: str) -> bytes:
    with av.open(str(path), "w", format=demuxer) as container:
        stream = container.add_stream(codec, rate=10)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for shown in grey_pictures(range(0, 200, 10), 64, 64):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(shown, format="rgb24")))
        container.mux(stream.encode())
    return path.read_bytes()


@pytest.mark.parametrize(
    ("codec", "demuxer", "suffix"),
    [("libx264", "h264", "h264"), ("libx265", "hevc", "hevc"), ("mpeg4", "m4v", "m4v"),
     ("mpeg2video", "mpeg2video", "m2v"), ("mjpeg", "mjpeg", "mjpeg")],
)  # fmt: skip
def test_a_raw_stream_is_read_if_it_is_one_from_its_first_byte(tmp_path, codec, demuxer, suffix):
    path = tmp_path / f"raw.{suffix}"
    content = raw_stream(path, codec, demuxer)
    with open_video(path) as container:
        assert sum(1 for _ in container.decode(video=0)) == 20
    path.write_bytes(b"HEADER" * 40 + content)
    with pytest.raises(VaclipError, match="is no video: FFmpeg finds pictures inside"):
        open_video(path)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", True),
        ("clip,Größe\n" * 100, True),
        ("ü" * 400, True),  # of which the last letter that is looked at is cut
        (b"\x07\xffRIFX" * 30, False),
        (b"plain\0" * 30, False),
        (b"", False),
    ],
)
def test_text_is_called_so(tmp_path, content, text):
    path = tmp_path / "a.mp4"
    path.write_bytes(content if isinstance(content, bytes) else b"x" + content.encode())
    with pytest.raises(
        VaclipError, match=r"a\.mp4: cannot be decoded after 0 frames \((.+?)\)"
    ) as told:
        open_video(path)
    assert ("it holds text, no video" in str(told.value)) == text


def test_jpeg_files_one_after_the_other_are_a_raw_stream(tmp_path):
    (tmp_path / "raw.MJPG").write_bytes(b"".join(JPEGS))
    with open_video(tmp_path / "raw.MJPG") as container:
        assert sum(1 for _ in container.decode(video=0)) == FRAMES


def test_animations_are_videos(tmp_path):
    shown = [Image.fromarray(one) for one in grey_pictures([0, 80, 160])]
    shown[0].save(tmp_path / "a.png", save_all=True, append_images=shown[1:])
    write_video(tmp_path / "a.gif", grey_pictures([0, 255, 0]), codec="gif")
    for name in ("a.png", "a.gif"):
        with open_video(tmp_path / name) as container:
            assert sum(1 for _ in container.decode(video=0)) == 3


def test_a_picture_is_a_map_that_stands_still(tmp_path):
    Image.fromarray(np.full((4, 5), 70, np.uint8)).save(tmp_path / "m.png")
    np.testing.assert_array_equal(load_map(tmp_path / "m.png", "m.png"), np.full((1, 4, 5), 70))
