"""The pictures of a DICOM cine, 8 bits a channel, from a process of their own.

On damaged data the libraries that decode them can crash, or take all memory, which no exception
tells: ``python -m vaclip.importers.videos.dicom_pictures MEMORY`` reads a list of files (JSON) and
writes the pictures to standard output, a line of JSON with their shape before each.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from numpy.typing import NDArray

from vaclip.errors import VaclipError
from vaclip.importers.videos.dicom_frames import of_picture
from vaclip.importers.videos.dicom_read import LARGEST_PICTURE, VIDEO, Cine, silent

MOST_MEMORY = 4 << 30
LIMIT_S = 3600.0
_LONGEST_REASON = 200
# Angiography, fluoroscopy, biplane: their table leads back to the beam's intensity and is not for
# display, as DCMTK, dcm4che and fo-dicom have it too; nor is that of enhanced objects (PS3.17,
# FFF.2.3.1.3.4, PixelIntensityRelationshipLUTSequence).
_X_RAY = tuple(f"1.2.840.10008.5.1.4.1.1.12.{number}" for number in (1, 2, 3))
_THIS = "vaclip.importers.videos.dicom_pictures"


def cine_pictures(
    cine: Cine, *, limit_s: float = LIMIT_S, memory: int = MOST_MEMORY
) -> Iterator[NDArray[np.uint8]]:
    """Yields (H, W, 3) uint8 RGB or (H, W) uint8 grey, one at a time.

    Args:
        cine: The cine.
        limit_s: Seconds that it may take.
        memory: Bytes that it may take, where the system can limit it.

    Raises:
        VaclipError: If they cannot be decoded.
    """
    command = [sys.executable, "-m", _THIS, str(memory)]
    # Each thread of these libraries would reserve memory of its own.
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    pipes: Any = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    process = subprocess.Popen(command, env={**os.environ, **threads}, **pipes)
    said: list[bytes] = []
    listener = threading.Thread(target=lambda: said.append(cast(Any, process.stderr).read()))
    listener.start()
    clock = threading.Timer(limit_s, process.kill)
    clock.start()
    try:
        files = [str(path) for path in cine.files or (cine.path,)]
        with suppress(BrokenPipeError), cast(io.BufferedWriter, process.stdin) as asked:
            asked.write(json.dumps(files).encode())
        stream = cast(io.BufferedReader, process.stdout)
        while line := stream.readline():
            shape = json.loads(line)
            content = stream.read(int(np.prod(shape)))
            if len(content) == np.prod(shape):
                yield np.frombuffer(content, np.uint8).reshape(shape)
        late = not clock.is_alive()
        code = process.wait()
    finally:
        clock.cancel()
        process.kill()
        process.wait()
        listener.join()
    if code:
        lines = b"".join(said).decode(errors="replace").strip().splitlines()
        why = (
            f"it takes longer than {limit_s:g} s" if late else lines[-1] if lines else "it crashes"
        )
        raise VaclipError(f"{cine.path.name}: cannot be decoded: {why[:_LONGEST_REASON]}")


def _decoded(paths: Sequence[Path]) -> Iterator[NDArray[np.uint8]]:
    import pydicom

    header = pydicom.dcmread(paths[0], stop_before_pixels=True)
    if header.file_meta.TransferSyntaxUID.startswith(VIDEO):
        yield from _stream(paths[0])
        return
    ends = cache(lambda: _ends(paths))
    for facts, values in _values(paths):
        yield _eight_bits(values, facts, ends)


def _values(paths: Sequence[Path]) -> Iterator[tuple[Any, NDArray[Any]]]:
    """Yields each picture as it is stored, one at a time, with the header as it is of it."""
    import pydicom
    from pydicom.pixels import iter_pixels

    for path in paths:
        header = pydicom.dcmread(path, stop_before_pixels=True)
        deflated = header.file_meta.TransferSyntaxUID.is_deflated
        for number, values in enumerate(iter_pixels(pydicom.dcmread(path) if deflated else path)):
            yield of_picture(header, number), values


def _stream(path: Path) -> Iterator[NDArray[np.uint8]]:
    import pydicom
    from pydicom.encaps import generate_frames

    data = pydicom.dcmread(path)
    (stream,) = generate_frames(data.PixelData, number_of_frames=1)  # all fragments are one stream
    with av.open(io.BytesIO(stream), "r") as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)


def _eight_bits(
    values: NDArray[Any], facts: Any, ends: Callable[[], tuple[float, float]]
) -> NDArray[np.uint8]:
    """Returns a picture with 8 bits a channel.

    Colours are shortened to 8 bits. Grey values go through the modality's and the viewer's look-up
    tables or window (PS3.3 C.11.1 and C.11.2), the first where there are several; without any, 8
    bits stay as they are, and of more the least value of the whole cine is black and the
    largest white.
    """
    from pydicom.pixels import apply_color_lut

    bits = int(facts.BitsStored)
    kind = str(facts.PhotometricInterpretation)
    if kind == "PALETTE COLOR":
        return _shortened(apply_color_lut(values, facts))
    if int(facts.SamplesPerPixel) == 3:
        return (values >> max(bits - 8, 0)).astype(np.uint8)
    share = _share_of_white(values, facts, ends)
    bright = np.round(np.clip(share, 0, 1) * 255).astype(np.uint8)
    return 255 - bright if kind == "MONOCHROME1" else bright


def _share_of_white(
    values: NDArray[Any], facts: Any, ends: Callable[[], tuple[float, float]]
) -> NDArray[np.float64]:
    from pydicom.pixels import apply_voi

    bits = int(facts.BitsStored)
    measured = _measured(values, facts)
    if facts.get("VOILUTSequence"):
        top = 2 ** int(facts.VOILUTSequence[0].LUTDescriptor[2]) - 1
        return apply_voi(measured, facts) / top
    if facts.get("WindowCenter") is not None and facts.get("WindowWidth") is not None:
        centre, width = (
            float(np.atleast_1d(facts.get(tag))[0]) for tag in ("WindowCenter", "WindowWidth")
        )
        return windowed(measured, centre, width, str(facts.get("VOILUTFunction") or "LINEAR"))
    if bits <= 8 and not int(facts.get("PixelRepresentation") or 0) and "RescaleSlope" not in facts:
        return values / (2**bits - 1)
    low, high = ends()
    return (measured - low) / max(high - low, 1e-9)


def _ends(paths: Sequence[Path]) -> tuple[float, float]:
    """Returns the least and the largest measured value of a cine."""
    measured = (_measured(values, facts) for facts, values in _values(paths))
    ends = [(values.min(), values.max()) for values in measured]
    return float(min(end[0] for end in ends)), float(max(end[1] for end in ends))


def _measured(values: NDArray[Any], facts: Any) -> NDArray[Any]:
    """Returns stored values in the unit that a window is in."""
    from pydicom.pixels import apply_modality_lut

    if facts.get("ModalityLUTSequence") and str(facts.get("SOPClassUID")) in _X_RAY:
        return values
    return apply_modality_lut(values, facts)


def windowed(
    values: NDArray[Any], centre: float, width: float, function: str = "LINEAR"
) -> NDArray[np.float64]:
    """Returns values through a window, 0 for black and 1 for white (PS3.3 C.11.2.1.2 and .3).

    Raises:
        ValueError: If the window has no width.
    """
    if width < 1 if function == "LINEAR" else width <= 0:
        raise ValueError("a window without width")
    if function == "SIGMOID":
        return 1 / (1 + np.exp(-4 * (values - centre) / width))
    if function == "LINEAR_EXACT":
        return np.clip((values - centre) / width + 0.5, 0, 1)
    if width == 1:
        return (values > centre - 0.5).astype(float)
    return np.clip((values - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)


def _shortened(values: NDArray[Any]) -> NDArray[np.uint8]:
    return (values >> 8).astype(np.uint8) if values.dtype == np.uint16 else values.astype(np.uint8)


def main() -> None:
    """Writes the pictures of the files that are asked for, within the memory that is stated."""
    if sys.platform != "win32":
        import resource

        most = int(sys.argv[1])
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    with silent():
        for picture in _decoded([Path(name) for name in json.load(sys.stdin)]):
            if picture.size > LARGEST_PICTURE:
                raise ValueError("a picture that is too large")
            sys.stdout.buffer.write(f"{json.dumps(picture.shape)}\n".encode())
            sys.stdout.buffer.write(np.ascontiguousarray(picture).tobytes())


if __name__ == "__main__":
    main()
