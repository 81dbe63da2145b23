"""Decoding: the planned samples of a clip, at the size that the model sees."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from vaclip.data.sampling import FrameSampler
from vaclip.errors import VaclipError
from vaclip.maps.source import Grid

_PLAYLISTS = frozenset({"hls", "concat", "dash", "sdp", "rtsp", "imf"})
_FALLBACK_FPS = 25.0  # where a container states no rate and its frames carry no time


@dataclass(frozen=True)
class DecodedClip:
    """A clip at a constant rate.

    Attributes:
        frames: (S, H, W, 3) uint8 RGB.
        frame_index: (S,) frame of the video that each sample shows.
        time_s: (S,) where each sample lies, in seconds from the first frame of the video.
        sample_s: Seconds from one sample to the next.
        frame_count: Frames decoded, from the start of the video to the end of the clip.
        whole_video: Whether decoding reached the end of the video.
        source_size: (height, width) of the video in pixels.
    """

    frames: NDArray[np.uint8]
    frame_index: NDArray[np.int64]
    time_s: NDArray[np.float64]
    sample_s: float
    frame_count: int
    whole_video: bool
    source_size: tuple[int, int]

    def grid(self, size: tuple[int, int], keypoint_sigma: float = 0.06) -> Grid:
        """Returns where the clip's maps are drawn, at (H, W)."""
        return Grid(
            self.frame_index,
            self.time_s,
            self.sample_s,
            self.frame_count,
            self.whole_video,
            self.source_size,
            size,
            keypoint_sigma,
        )


def decode_clip(
    path: Path,
    *,
    fps: float,
    size: tuple[int, int],
    start_s: float = 0.0,
    end_s: float | None = None,
) -> DecodedClip:
    """Decodes a clip's samples.

    Frames are turned upright where the file says so (phones do), and resized to ``size``
    without keeping their aspect, each pixel the average of what it covers. Decoding starts
    at the beginning of the video also for a later ``start_s``, so that frames are counted
    exactly.

    Args:
        path: Any file that FFmpeg reads.
        fps: Samples a second.
        size: (H, W) of the result.
        start_s: Where the clip begins, in seconds from the first frame.
        end_s: Where it ends (exclusive); None for the end of the video.

    Raises:
        VaclipError: If the file is missing, holds no video, breaks off with an error, or has
            no frame between ``start_s`` and ``end_s``.
    """
    sampler = FrameSampler(fps, start_s, end_s)
    reformatter = VideoReformatter()  # one for the file: setting one up costs as much as using it
    pictures: list[NDArray[np.uint8]] = []
    frame_index: list[int] = []
    count, source_size, whole = 0, (0, 0), True
    for frame, shown_until_s in timed_frames(path):
        fills = sampler.fills(shown_until_s)
        turns = round(frame.rotation / 90) % 4
        source_size = _turned((frame.height, frame.width), turns)
        if fills:
            height, width = _turned(size, turns)
            resized = reformatter.reformat(
                frame, width, height, format="rgb24", interpolation=Interpolation.AREA
            )
            upright = np.rot90(resized.to_ndarray().astype(np.uint8, copy=False), turns)
            pictures += [upright] * fills
            frame_index += [count] * fills
        count += 1
        if sampler.done:
            whole = False
            break
    if not pictures:
        span = f"between {start_s:g} s and {'its end' if end_s is None else f'{end_s:g} s'}"
        raise VaclipError(f"{path.name}: {count} frames, none of them {span}")
    return DecodedClip(
        frames=np.stack(pictures),
        frame_index=np.asarray(frame_index, np.int64),
        time_s=start_s + np.arange(len(pictures)) / fps,
        sample_s=1 / fps,
        frame_count=count,
        whole_video=whole,
        source_size=source_size,
    )


def _turned(size: tuple[int, int], turns: int) -> tuple[int, int]:
    return (size[1], size[0]) if turns % 2 else size


def timed_frames(path: Path) -> Iterator[tuple[VideoFrame, float]]:
    """Yields each frame with the time at which the next appears, in seconds from the first.

    Frames without a time stamp, or with one that does not grow, follow the previous one by
    the nominal frame duration.

    Raises:
        VaclipError: If the file is missing, holds no video, or breaks off with an error.
    """
    if not path.is_file():
        raise VaclipError(f"{path.name}: there is no such file")
    count = 0
    try:
        # "file:" and the whitelist keep FFmpeg from taking a name or a content for an address.
        with av.open(f"file:{path}", options={"protocol_whitelist": "file"}) as container:
            if container.format.name in _PLAYLISTS:
                raise VaclipError(f"{path.name}: is a playlist, not a video")
            if not container.streams.video:
                raise VaclipError(f"{path.name}: the file holds no video stream")
            stream = container.streams.video[0]
            nominal_s = 1.0 / float(stream.average_rate or stream.base_rate or _FALLBACK_FPS)
            held: VideoFrame | None = None
            held_s = first_s = 0.0
            for frame in container.decode(stream):
                stamp = frame.time
                if held is None:
                    first_s = stamp or 0.0
                else:
                    time_s = held_s if stamp is None else stamp - first_s
                    time_s = time_s if time_s > held_s else held_s + nominal_s
                    yield held, time_s
                    held_s = time_s
                held = frame
                count += 1
            if held is not None:
                yield held, held_s + _duration_s(held, nominal_s)
    except av.FFmpegError as error:
        reason = error.strerror or type(error).__name__
        raise VaclipError(
            f"{path.name}: cannot be decoded after {count} frames ({reason}); "
            "check the copy, or re-encode the file"
        ) from error


def _duration_s(frame: VideoFrame, nominal_s: float) -> float:
    if frame.duration and frame.time_base:
        return float(frame.duration * frame.time_base)
    return nominal_s
