"""What a video is, found out by decoding it once from end to end."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from vaclip.data.sampling import SLACK_S
from vaclip.data.video import DECODE_LIMIT_S, quarter_turns, timed_frames, upright_size
from vaclip.errors import VaclipError
from vaclip.media import open_video

_STATE_DURATIONS = ("matroska", "mov")  # elsewhere FFmpeg guesses them from the bit rate


@dataclass(frozen=True)
class VideoFacts:
    """A video as it was decoded, beside what its container states.

    Attributes:
        container: FFmpeg's name of the format.
        codec: FFmpeg's name of the codec.
        pixel_format: FFmpeg's name, of the first picture.
        size: (height, width), upright, of the first picture.
        rotation: Degrees clockwise by which the pictures are turned to stand upright.
        times_s: (N,) when each picture appears, in seconds from the first.
        ends_s: (N,) when the next one appears, or the video ends.
        key_times_s: When each key frame appears.
        frames_stated: By the container; None where it states none.
        rate: Stated pictures a second; None where none is stated.
        duration_stated_s: Of the pictures; None where none is stated, or FFmpeg would guess.
        pixel_aspect: Width of a pixel divided by its height.
        sound: Whether there is sound.
        interlaced: Whether a picture is woven from two fields.
        transparent: Whether a picture is transparent somewhere.
        sizes: How many sizes of pictures there are.
        damaged: Pictures that the decoder patched up.
        untimed: Pictures without a time stamp of their own, or with one that does not grow.
        failure: Why decoding broke off; None if it did not. The pictures before it count.
    """

    container: str = ""
    codec: str = ""
    pixel_format: str = ""
    size: tuple[int, int] = (0, 0)
    rotation: int = 0
    times_s: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    ends_s: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    key_times_s: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    frames_stated: int | None = None
    rate: Fraction | None = None
    duration_stated_s: float | None = None
    pixel_aspect: Fraction = Fraction(1)
    sound: bool = False
    interlaced: bool = False
    transparent: bool = False
    sizes: int = 1
    damaged: int = 0
    untimed: int = 0
    failure: str | None = None

    @property
    def frames(self) -> int:
        """Pictures that were decoded."""
        return len(self.times_s)

    @property
    def duration_s(self) -> float:
        """When the last picture disappears."""
        return float(self.ends_s[-1]) if self.frames else 0.0

    @property
    def variable_rate(self) -> bool:
        """Whether pictures do not follow each other evenly, beyond the rounding of time stamps."""
        return self.frames > 2 and float(np.ptp(np.diff(self.times_s))) > 2 * SLACK_S

    @property
    def key_distance_s(self) -> float:
        """Longest way to the next key frame: a player seeks by decoding up to so much."""
        if not len(self.key_times_s):
            return self.duration_s
        return float(np.diff([*self.key_times_s, self.duration_s]).max())

    def span(self, start_s: float, end_s: float | None) -> tuple[int, int]:
        """Returns (first, end) of the frames that a clip shows, as a slice; empty where none."""
        first = int(np.searchsorted(self.ends_s, start_s + SLACK_S, side="right"))
        if end_s is None:
            return first, self.frames
        return first, int(np.searchsorted(self.times_s, end_s - SLACK_S))


@dataclass(frozen=True)
class Disagreement:
    """How frame numbers divided by a rate miss the pictures' own time stamps.

    Attributes:
        first: First frame that is off by more than one frame.
        worst: Frame that is off most.
        seconds: By how much, time stamp minus number / rate.
    """

    first: int
    worst: int
    seconds: float


def time_disagreement(times_s: NDArray[np.float64], rate: float) -> Disagreement | None:
    """Compares the time stamps of frames with their numbers divided by a rate.

    Args:
        times_s: (N,) when frame i appears, in seconds from the first.
        rate: Frames a second, by which a tool turns numbers into time.

    Returns:
        None where no frame is off by more than one frame (and the rounding of time stamps).
    """
    off = times_s - np.arange(len(times_s)) / rate
    beyond = np.flatnonzero(np.abs(off) > 1 / rate + SLACK_S)
    if not len(beyond):
        return None
    worst = int(np.abs(off).argmax())
    return Disagreement(int(beyond[0]), worst, float(off[worst]))


def inspect_video(path: Path, limit_s: float = DECODE_LIMIT_S) -> VideoFacts:
    """Decodes a video once; what is wrong with it is told by the result's ``failure``."""
    try:
        with open_video(path) as container:
            stated = _stated(container)
    except VaclipError as error:
        return VideoFacts(failure=str(error))
    seen = _Pictures()
    failure = None
    try:
        for frame, shown_until_s in timed_frames(path, limit_s):
            seen.add(frame, shown_until_s)
    except VaclipError as error:
        failure = str(error)
    if failure is None and not seen.ends_s:
        failure = f"{path.name}: the file holds no picture"
    shown = seen.facts()
    shown["transparent"] |= stated.pop("transparent")
    return VideoFacts(**stated, **shown, failure=failure)


def _stated(container: InputContainer) -> dict[str, Any]:
    stream = container.streams.video[0]
    tags = {name.upper(): value for name, value in stream.metadata.items()}
    frames = str(stream.frames or tags.get("NUMBER_OF_FRAMES", ""))
    return {
        "container": container.format.name,
        "codec": stream.codec_context.name,
        "frames_stated": int(frames) if frames.isdecimal() else None,
        "rate": stream.average_rate or None,
        "duration_stated_s": _stated_duration(container, tags.get("DURATION", "")),
        "pixel_aspect": stream.sample_aspect_ratio or Fraction(1),
        "sound": bool(container.streams.audio),
        "transparent": tags.get("ALPHA_MODE") == "1",  # FFmpeg's own VP8 and VP9 skip that layer
    }


def _stated_duration(container: InputContainer, tag: str) -> float | None:
    """Returns the duration of the pictures; Matroska writes it into a tag, as 00:00:04.000.

    There it is the time of their end: a recording that was cut may begin late.
    """
    stream = container.streams.video[0]
    begin_s = float((stream.start_time or 0) * stream.time_base) if stream.time_base else 0.0
    if not container.format.name.startswith(_STATE_DURATIONS):
        return None
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    parts = tag.split(":")
    if len(parts) == 3 and all(part.replace(".", "", 1).isdecimal() for part in parts):
        hours, minutes, seconds = map(float, parts)
        return 3600 * hours + 60 * minutes + seconds - begin_s
    if container.duration and not container.streams.audio:
        return container.duration / 1e6 - begin_s
    return None


class _Pictures:
    """Collects what the pictures of a video show."""

    def __init__(self) -> None:
        self.ends_s: list[float] = []
        self._first: dict[str, Any] = {}
        self._keys: list[float] = []
        self._stamp: float | None = None
        self._interlaced = self._transparent = False
        self._damaged = self._untimed = 0
        self._sizes: set[tuple[int, int]] = set()

    def add(self, frame: VideoFrame, shown_until_s: float) -> None:
        self._sizes.add(upright_size(frame))
        if not self._first:
            self._first = {
                "pixel_format": frame.format.name,
                "size": upright_size(frame),
                "rotation": -90 * quarter_turns(frame) % 360,
            }
        if frame.key_frame:
            self._keys.append(self.ends_s[-1] if self.ends_s else 0.0)
        self._interlaced |= frame.interlaced_frame
        self._damaged += frame.is_corrupt
        previous, self._stamp = self._stamp, frame.time
        grows = previous is None or (self._stamp is not None and self._stamp > previous)
        self._untimed += self._stamp is None or not grows
        if not self._transparent and any(part.is_alpha for part in frame.format.components):
            rgba = frame.reformat(format="rgba").to_ndarray()
            self._transparent = bool(rgba[..., 3].min() < 255)
        self.ends_s.append(shown_until_s)

    def facts(self) -> dict[str, Any]:
        """Returns the entries of `VideoFacts` that the pictures tell."""
        return {
            **self._first,
            "times_s": np.array([0.0, *self.ends_s][: len(self.ends_s)]),
            "ends_s": np.array(self.ends_s),
            "key_times_s": np.array(self._keys),
            "interlaced": self._interlaced,
            "transparent": self._transparent,
            "sizes": len(self._sizes),
            "damaged": self._damaged,
            "untimed": self._untimed,
        }
