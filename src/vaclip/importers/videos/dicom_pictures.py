"""The pictures of a DICOM cine, 8 bits a channel, from a process of their own.

On damaged data the libraries that decode them can crash, or take all memory, which no exception
tells: ``python -m vaclip.importers.videos.dicom_pictures FILE`` writes the pictures to standard
output, a line of JSON with their shape before each.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from numpy.typing import NDArray

from vaclip.errors import VaclipError
from vaclip.importers.videos.dicom_read import LARGEST_PICTURE, VIDEO, Cine, silent

MOST_MEMORY = 4 << 30
LIMIT_S = 3600.0
_LONGEST_REASON = 200
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
    command = [sys.executable, "-m", _THIS, str(cine.path), str(memory)]
    # Each thread of these libraries would reserve memory of its own.
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **threads}
    )
    said: list[bytes] = []
    listener = threading.Thread(target=lambda: said.append(cast(Any, process.stderr).read()))
    listener.start()
    clock = threading.Timer(limit_s, process.kill)
    clock.start()
    try:
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


def _decoded(path: Path) -> Iterator[NDArray[np.uint8]]:
    import pydicom
    from pydicom.pixels import iter_pixels

    header = pydicom.dcmread(path, stop_before_pixels=True)
    syntax = header.file_meta.TransferSyntaxUID
    if syntax.startswith(VIDEO):
        yield from _stream(path)
        return
    source = pydicom.dcmread(path) if syntax.is_deflated else path  # else a picture at a time
    to_eight_bits = _mapping(header, lambda: iter_pixels(source))
    for picture in iter_pixels(source):
        yield to_eight_bits(picture)


def _stream(path: Path) -> Iterator[NDArray[np.uint8]]:
    import pydicom
    from pydicom.encaps import generate_frames

    data = pydicom.dcmread(path)
    (stream,) = generate_frames(data.PixelData, number_of_frames=1)  # all fragments are one stream
    with av.open(io.BytesIO(stream), "r") as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)


def _mapping(
    header: Any, pictures: Callable[[], Iterator[NDArray[Any]]]
) -> Callable[[NDArray[Any]], NDArray[np.uint8]]:
    """Returns what brings decoded values to 8 bits.

    Colours are shortened to 8 bits. Grey values go through the modality's and the viewer's look-up
    tables or window (PS3.3 C.11.1 and C.11.2), the first where there are several; without any, 8
    bits stay as they are, and of more the least value of the whole cine is black and the
    largest white.
    """
    from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi

    bits = int(header.BitsStored)
    kind = str(header.PhotometricInterpretation)
    if kind == "PALETTE COLOR":
        return lambda values: _shortened(apply_color_lut(values, header))
    if int(header.SamplesPerPixel) == 3:
        return lambda values: (values >> max(bits - 8, 0)).astype(np.uint8)
    inverted = kind == "MONOCHROME1"

    def grey(share: NDArray[np.float64]) -> NDArray[np.uint8]:
        bright = np.round(np.clip(share, 0, 1) * 255).astype(np.uint8)
        return 255 - bright if inverted else bright

    def measured(values: NDArray[Any]) -> NDArray[Any]:
        return apply_modality_lut(values, header)

    if header.get("VOILUTSequence"):
        top = 2 ** int(header.VOILUTSequence[0].LUTDescriptor[2]) - 1
        return lambda values: grey(apply_voi(measured(values), header) / top)
    if header.get("WindowCenter") is not None and header.get("WindowWidth") is not None:
        centre, width = (
            float(np.atleast_1d(header.get(tag))[0]) for tag in ("WindowCenter", "WindowWidth")
        )
        function = str(header.get("VOILUTFunction") or "LINEAR")
        return lambda values: grey(windowed(measured(values), centre, width, function))
    if (
        bits <= 8
        and not int(header.get("PixelRepresentation") or 0)
        and "RescaleSlope" not in header
    ):
        return lambda values: grey(values / (2**bits - 1))
    ends = [(values.min(), values.max()) for values in map(measured, pictures())]
    low, high = float(min(end[0] for end in ends)), float(max(end[1] for end in ends))
    return lambda values: grey((measured(values) - low) / max(high - low, 1e-9))


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
    """Writes the pictures of the file that the command line names, within the memory it names."""
    if sys.platform != "win32":
        import resource

        most = int(sys.argv[2])
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    with silent():
        for picture in _decoded(Path(sys.argv[1])):
            if picture.size > LARGEST_PICTURE:
                raise ValueError("a picture that is too large")
            sys.stdout.buffer.write(f"{json.dumps(picture.shape)}\n".encode())
            sys.stdout.buffer.write(np.ascontiguousarray(picture).tobytes())


if __name__ == "__main__":
    main()
