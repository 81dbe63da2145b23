"""DICOM cines, one for each transfer syntax, made by other libraries than those that read them."""

from __future__ import annotations

import base64
import io
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate

# Made once by OpenJPH (imagecodecs.htj2k_encode) from `HTJ2K_PICTURE`; no encoder is at hand here.
_HTJ2K = (
    "/0//UQApQAAAAAAYAAAAEAAAAAAAAAAAAAAAGAAAABAAAAAAAAAAAAABBwEB/1AACAACAAAAAv9SAAwAAgABAAUE"
    "BEAB/1wAEyBIUFBQUFBQUFBQUFBQSEhI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAHMAAf+TwCWf"
    "AQd0AMASgOYAh3QAwBHAEwAXcwBa7QAiNADAEsATgFqAy3QALGMAJHdVAMATwBVgJPnYp0J1AJSIiP7gDPfJ7LcA"
    "wCqgFogAAPPwKenp4ngACAAAAOD/EASe/ZJ79knsvAD/2Q=="
)
HTJ2K_PICTURE = np.add.outer(np.arange(16) * 5, np.arange(24) * 3).astype(np.uint8)
SIZE = (48, 64)
FRAMES = 5


def colours(frames: int = FRAMES, size: tuple[int, int] = SIZE) -> np.ndarray:
    """(T, H, W, 3): smooth pictures, each different, no channel like another."""
    time, y, x = np.mgrid[:frames, : size[0], : size[1]]
    channels = (3 * y + 9 * time, 200 - 2 * x + 5 * time, 60 + y + x + 11 * time)
    return np.stack(channels, axis=-1).clip(0, 255).astype(np.uint8)


def greys(frames: int = FRAMES, size: tuple[int, int] = SIZE) -> np.ndarray:
    """(T, H, W)."""
    return colours(frames, size)[..., 0]


def header(pictures: np.ndarray, syntax: str, **changes: Any) -> Dataset:
    """Everything but the pictures; a change of None takes a tag away."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.3.1"
    colour = pictures.ndim == 4
    wide = pictures.dtype == np.uint16
    values = {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.3.1", "SOPInstanceUID": uid.generate_uid(),
        "StudyInstanceUID": uid.generate_uid(), "SeriesInstanceUID": uid.generate_uid(),
        "PatientID": "MRN-4711", "PatientName": "Secret^Anna", "PatientBirthDate": "19500102",
        "InstitutionName": "Hidden Hospital", "StudyDate": "20240315", "Modality": "US",
        "Manufacturer": "Maker", "ManufacturerModelName": "M1", "NumberOfFrames": len(pictures),
        "Rows": pictures.shape[1], "Columns": pictures.shape[2],
        "SamplesPerPixel": 3 if colour else 1, "PlanarConfiguration": 0 if colour else None,
        "PhotometricInterpretation": "RGB" if colour else "MONOCHROME2",
        "BitsAllocated": 16 if wide else 8, "BitsStored": 16 if wide else 8,
        "HighBit": 15 if wide else 7, "PixelRepresentation": 0, "FrameTime": "40",
        "FrameIncrementPointer": 0x00181063, "BurnedInAnnotation": "NO",
    }  # fmt: skip
    for name, value in (values | changes).items():
        if value is not None:
            setattr(dataset, name, value)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return dataset


def write(path: Path, dataset: Dataset, content: bytes, *, encapsulated: bool = False) -> Path:
    """Writes a header with its pictures."""
    dataset.PixelData = content
    dataset["PixelData"].VR = "OB" if encapsulated or dataset.BitsAllocated == 8 else "OW"
    if encapsulated:
        dataset["PixelData"].is_undefined_length = True
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def native(
    path: Path,
    pictures: np.ndarray,
    syntax: str = uid.ExplicitVRLittleEndian,
    **changes: Any,
) -> Path:
    """Uncompressed."""
    order = ">" if syntax == uid.ExplicitVRBigEndian else "<"
    content = pictures.astype(pictures.dtype.newbyteorder(order)).tobytes()
    return write(path, header(pictures, syntax, **changes), content)


def by_pydicom(path: Path, pictures: np.ndarray, syntax: str, **changes: Any) -> Path:
    """RLE and lossless JPEG 2000."""
    dataset = header(pictures, uid.ExplicitVRLittleEndian, **changes)
    dataset.PixelData = pictures.tobytes()
    dataset["PixelData"].VR = "OB" if dataset.BitsAllocated == 8 else "OW"
    dataset.compress(syntax, generate_instance_uid=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def picture_codec(picture: np.ndarray, codec: str, layout: str, **options: str) -> bytes:
    """One picture by a codec of FFmpeg; (H, W, 3) RGB, or planes of another layout."""
    encoder = av.CodecContext.create(codec, "w")
    encoder.height, encoder.width = picture.shape[:2]
    encoder.pix_fmt, encoder.time_base = layout, Fraction(1, 25)
    encoder.options = options
    shown = "gray" if picture.ndim == 2 else "rgb24"
    frame = av.VideoFrame.from_ndarray(picture, format=shown)
    if layout != shown:
        frame = frame.reformat(format=layout, dst_color_range="JPEG", src_colorspace="ITU601",
                               dst_colorspace="ITU601")  # fmt: skip
    packets = [bytes(packet) for packet in (*encoder.encode(frame), *encoder.encode(None))]
    return b"".join(packets)


def by_ffmpeg(
    path: Path, pictures: np.ndarray, syntax: str, codec: str, layout: str, options: Any = None,
    **changes: Any,
) -> Path:  # fmt: skip
    """Each picture by a codec of FFmpeg."""
    frames = [picture_codec(one, codec, layout, **(options or {})) for one in pictures]
    dataset = header(pictures, syntax, **changes)
    return write(path, dataset, encapsulate(frames), encapsulated=True)


def htj2k(path: Path, frames: int = 2, **changes: Any) -> Path:
    """Pictures that are alike."""
    pictures = np.stack([HTJ2K_PICTURE] * frames)
    coded = [base64.b64decode("".join(_HTJ2K))] * frames
    dataset = header(pictures, uid.HTJ2KLossless, **changes)
    return write(path, dataset, encapsulate(coded), encapsulated=True)


def stream(codec: str, container: str, pictures: np.ndarray) -> bytes:
    """A video by FFmpeg, 25 pictures a second."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as output:
        added = output.add_stream(codec, rate=25)
        added.height, added.width = pictures.shape[1:3]
        added.pix_fmt = "yuv420p"
        for picture in pictures:
            output.mux(added.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        output.mux(added.encode())
    return buffer.getvalue()


def video(path: Path, content: bytes, pictures: np.ndarray, syntax: str, **changes: Any) -> Path:
    """A video stream in fragments."""
    changes = {"PhotometricInterpretation": "YBR_PARTIAL_420"} | changes
    dataset = header(pictures, syntax, **changes)
    return write(path, dataset, encapsulate([content], fragments_per_frame=2), encapsulated=True)


# --- JPEG of 12 bits -----------------------------------------------------------------------------


def jpeg_of_12_bits(path: Path, blocks: np.ndarray, **changes: Any) -> Path:
    """Process 4 of JPEG, by hand, because no encoder is at hand here.

    Args:
        path: Of the file.
        blocks: (T, h, w) from 0 to 4095: each is the grey of 8 x 8 pixels, which the code keeps.
        **changes: Of the header.
    """
    pictures = blocks.repeat(8, axis=1).repeat(8, axis=2).astype(np.uint16)
    changes = {"BitsStored": 12, "HighBit": 11} | changes
    dataset = header(pictures, uid.JPEGExtended12Bit, **changes)
    coded = [_coded_blocks(one) for one in blocks]
    return write(path, dataset, encapsulate(coded), encapsulated=True)


def _coded_blocks(blocks: np.ndarray) -> bytes:
    """A frame (ISO 10918-1) of one component and quantiser 1, whose blocks have no AC.

    The mean of a block, less 2048, times 8 is its DC. Codes of its 16 sizes have 5 bits, that of
    the end of a block is 0.
    """
    height, width = (side * 8 for side in blocks.shape)
    bits, last = "", 0
    for value in (blocks.astype(int).ravel() - 2048) * 8:
        step, last = value - last, value
        size = int(abs(step)).bit_length()
        low = step if step > 0 else step + (1 << size) - 1
        bits += f"{size:05b}" + (f"{low:0{size}b}" if size else "") + "0"
    bits += "1" * (-len(bits) % 8)
    entropy = bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))

    def segment(marker: int, content: bytes) -> bytes:
        return bytes((0xFF, marker)) + (len(content) + 2).to_bytes(2, "big") + content

    sides = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    dc = bytes((0x00, 0, 0, 0, 0, 16)) + bytes(11) + bytes(range(16))
    ac = bytes((0x10, 1)) + bytes(15) + bytes(1)
    return (
        b"\xff\xd8"
        + segment(0xDB, bytes(1) + bytes([1]) * 64)
        + segment(0xC1, bytes([12]) + sides + bytes((1, 1, 0x11, 0)))
        + segment(0xC4, dc + ac)
        + segment(0xDA, bytes((1, 1, 0x00, 0, 63, 0)))
        + entropy.replace(b"\xff", b"\xff\0")
        + b"\xff\xd9"
    )
