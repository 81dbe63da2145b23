"""A video that an import makes: pictures that lie in no video, written without loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorRange
from numpy.typing import NDArray

from vaclip.errors import VaclipError
from vaclip.files import atomic_file

_CLOCK = 90_000  # ticks a second of the time stamps
_LOSSLESS = {"qp": "0", "preset": "fast", "bf": "0", "g": "48", "threads": "1"}


def even_seconds(fps: float, count: int) -> tuple[float, ...]:
    """Returns how long each of some pictures is shown, at a constant rate.

    Raises:
        VaclipError: If that is no rate of pictures.
    """
    if not 0.1 <= fps <= 1000:
        raise VaclipError(f"{fps:g} pictures a second; expected 0.1 to 1000")
    return (1 / fps,) * count


@dataclass(frozen=True)
class Recording:
    """A video before it is written.

    Attributes:
        what: Names it in messages.
        pictures: Gives the pictures when it is asked: each (H, W, 3) uint8 RGB, or (H, W) uint8
            grey, all of one size.
        seconds: How long each is shown.
        names: What each is called, where annotations of pictures know them by name.
    """

    what: str
    pictures: Callable[[], Iterator[NDArray[np.uint8]]]
    seconds: Sequence[float]
    names: tuple[str, ...] = ()

    def write(self, target: Path) -> None:
        """Writes lossless H.264 in MP4: every picture, at its own time.

        Raises:
            VaclipError: If the pictures cannot be read, or are not as many as their times.
        """
        with atomic_file(target) as temporary:
            written = self._encode(temporary)
            if written != len(self.seconds):
                raise VaclipError(
                    f"{self.what}: {len(self.seconds)} pictures are stated, but {written} are there"
                )

    def _encode(self, target: Path) -> int:
        starts = np.round(np.cumsum([0.0, *self.seconds]) * _CLOCK).astype(int)
        rate = Fraction(len(self.seconds) / sum(self.seconds)).limit_denominator(1001)
        stream = None
        count = 0
        with av.open(str(target), "w", format="mp4") as container:
            for picture in self.pictures():
                if count == len(self.seconds):
                    return count + 1
                grey = picture.ndim == 2
                layout = "gray" if grey else "rgb24"
                if stream is None:
                    stream = container.add_stream(
                        "libx264" if grey else "libx264rgb", rate=rate, options=_LOSSLESS
                    )
                    stream.height, stream.width = picture.shape[:2]
                    stream.pix_fmt = layout
                    stream.codec_context.time_base = Fraction(1, _CLOCK)
                    stream.codec_context.color_range = ColorRange.JPEG  # 0 to 255 as they are
                frame = av.VideoFrame.from_ndarray(picture, format=layout)
                frame.pts, frame.time_base = int(starts[count]), Fraction(1, _CLOCK)
                frame.duration = int(starts[count + 1] - starts[count])
                container.mux(stream.encode(frame))
                count += 1
            if stream is not None:
                container.mux(stream.encode())
        return count
