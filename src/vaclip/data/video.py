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
from vaclip.maps.source import KEYPOINT_SIGMA, Grid
from vaclip.media import failure, open_video

LONGEST_VIDEO_S = 24 * 3600.0
"""A time stamp beyond is taken for damage."""
LARGEST_CLIP = 2 << 30
"""Bytes that the samples of a clip may have: an hour at 10 a second has 1.3 GiB at 112 x 112."""
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

    def grid(self, size: tuple[int, int], keypoint_sigma: float = KEYPOINT_SIGMA) -> Grid:
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
        VaclipError: If the file is missing, holds no video, breaks off with an error, has no
            frame between ``start_s`` and ``end_s``, or more samples than `LARGEST_CLIP`.
    """
    sampler = FrameSampler(fps, start_s, end_s)
    reformatter = VideoReformatter()  # one for the file: setting one up costs as much as using it
    pictures: list[NDArray[np.uint8]] = []
    frame_index: list[int] = []
    count, source_size, whole = 0, (0, 0), True
    most = max(1, LARGEST_CLIP // (size[0] * size[1] * 3))
    for frame, shown_until_s in timed_frames(path):
        fills = sampler.fills(shown_until_s)
        if len(pictures) + fills > most:
            raise VaclipError(
                f"{path.name}: the clip is longer than {most / fps:.0f} s, and would not fit into "
                "memory; cut it with start_s and end_s, or lower data.fps or data.size"
            )
        source_size = upright_size(frame)
        if fills:
            pictures += [upright_picture(frame, size, reformatter)] * fills
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


def quarter_turns(frame: VideoFrame) -> int:
    """Returns by how many quarter turns, anticlockwise, the frame is brought upright."""
    return round(frame.rotation / 90) % 4


def upright_size(frame: VideoFrame) -> tuple[int, int]:
    """Returns (height, width) of the frame once it is upright."""
    return _turned((frame.height, frame.width), quarter_turns(frame))


def upright_picture(
    frame: VideoFrame, size: tuple[int, int], reformatter: VideoReformatter
) -> NDArray[np.uint8]:
    """Returns a frame upright, resized to (H, W), as (H, W, 3) RGB."""
    turns = quarter_turns(frame)
    height, width = _turned(size, turns)
    resized = reformatter.reformat(
        frame, width, height, format="rgb24", interpolation=Interpolation.AREA
    )
    return np.rot90(resized.to_ndarray().astype(np.uint8, copy=False), turns)


def _turned(size: tuple[int, int], turns: int) -> tuple[int, int]:
    return (size[1], size[0]) if turns % 2 else size


def picture_size(path: Path) -> tuple[int, int]:
    """Returns (height, width), upright, of a video's first picture.

    Raises:
        VaclipError: If it cannot be decoded, or has none.
    """
    for frame, _ in timed_frames(path):
        return upright_size(frame)
    raise VaclipError(f"{path.name}: holds no picture")


def timed_frames(path: Path) -> Iterator[tuple[VideoFrame, float]]:
    """Yields each frame with the time at which the next appears, in seconds from the first.

    Frames without a time stamp, or with one that does not grow, follow the previous one by
    the nominal frame duration.

    Raises:
        VaclipError: If the file is missing, holds no video, breaks off with an error, or states
            a time beyond `LONGEST_VIDEO_S`.
    """
    count = 0
    with open_video(path) as container:
        stream = container.streams.video[0]
        nominal_s = 1.0 / float(stream.average_rate or stream.base_rate or _FALLBACK_FPS)
        held: VideoFrame | None = None
        held_s = first_s = 0.0
        try:
            for frame in container.decode(stream):
                stamp = frame.time
                if held is None:
                    first_s = stamp or 0.0
                else:
                    time_s = held_s if stamp is None else stamp - first_s
                    time_s = time_s if time_s > held_s else held_s + nominal_s
                    yield held, _plausible(time_s, count, path)
                    held_s = time_s
                held = frame
                count += 1
        except av.FFmpegError as error:
            raise failure(path.name, error, count) from error
        if held is not None:
            yield held, _plausible(held_s + _duration_s(held, nominal_s), count, path)


def _plausible(time_s: float, count: int, path: Path) -> float:
    if time_s > LONGEST_VIDEO_S:
        raise VaclipError(
            f"{path.name}: states that frame {count - 1} is shown until {time_s:.0f} s; a video "
            f"may last {LONGEST_VIDEO_S / 3600:.0f} hours: check the copy, or re-encode the file"
        )
    return time_s


def _duration_s(frame: VideoFrame, nominal_s: float) -> float:
    if frame.duration and frame.time_base:
        return float(frame.duration * frame.time_base)
    return nominal_s
