"""Decoding: the planned samples of a clip, at the size that the model sees."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
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
DECODE_LIMIT_S = 3600.0
"""Seconds that the decoding of one video may take, where no setting says it."""
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
    limit_s: float = DECODE_LIMIT_S,
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
        limit_s: As of `timed_frames`.

    Raises:
        VaclipError: If the file is missing, holds no video, breaks off with an error, has no
            frame between ``start_s`` and ``end_s``, more samples than `LARGEST_CLIP`, or takes
            too long.
    """
    spans = decode_spans(path, [(start_s, end_s)], fps=fps, size=size, limit_s=limit_s)
    for _, result in spans:
        if isinstance(result, DecodedClip):
            return result
        raise result
    raise AssertionError("each span has a result")


def decode_spans(
    path: Path,
    spans: Sequence[tuple[float, float | None]],
    *,
    fps: float,
    size: tuple[int, int],
    limit_s: float = DECODE_LIMIT_S,
) -> Iterator[tuple[int, DecodedClip | VaclipError]]:
    """Decodes several clips of one video in one pass, each as `decode_clip` would.

    Args:
        path: The video.
        spans: (start_s, end_s) of each clip.
        fps: Samples a second.
        size: (H, W) of the result.
        limit_s: As of `timed_frames`.

    Yields:
        The number of a clip, and the clip or why it cannot be decoded: once each, as they end.
    """
    most = max(1, LARGEST_CLIP // (size[0] * size[1] * 3))
    waiting = [_Span(n, FrameSampler(fps, *span), path, most) for n, span in enumerate(spans)]
    waiting.sort(key=lambda span: span.sampler.start_s, reverse=True)
    reformatter = VideoReformatter()  # one for the file: setting one up costs as much as using it
    shown: list[_Span] = []
    count, source_size = 0, (0, 0)
    try:
        for frame, shown_until_s in timed_frames(path, limit_s):
            while waiting and waiting[-1].sampler.start_s < shown_until_s:
                shown.append(waiting.pop())
            source_size = upright_size(frame)
            filled = [(span, span.sampler.fills(shown_until_s)) for span in shown]
            if any(fills for _, fills in filled):
                picture = upright_picture(frame, size, reformatter)
                for span, fills in filled:
                    span.add(picture, count, fills)
            count += 1
            for span in [span for span in shown if span.ended]:
                shown.remove(span)
                yield span.number, span.result(count, source_size, whole=False)
            if not (shown or waiting):
                return
    except VaclipError as error:
        for span in (*shown, *waiting):
            yield span.number, error
        return
    for span in (*shown, *waiting):
        yield span.number, span.result(count, source_size, whole=True)


class _Span:
    """Collects the samples of one clip."""

    def __init__(self, number: int, sampler: FrameSampler, path: Path, most: int) -> None:
        self.number, self.sampler, self._name, self._most = number, sampler, path.name, most
        self._pictures: list[NDArray[np.uint8]] = []
        self._frame_index: list[int] = []
        self._too_long = False

    @property
    def ended(self) -> bool:
        return self._too_long or self.sampler.done

    def add(self, picture: NDArray[np.uint8], frame: int, fills: int) -> None:
        self._too_long |= len(self._pictures) + fills > self._most
        if not self._too_long:
            self._pictures += [picture] * fills
            self._frame_index += [frame] * fills

    def result(
        self, count: int, source_size: tuple[int, int], *, whole: bool
    ) -> DecodedClip | VaclipError:
        """Returns the clip, after ``count`` frames of the video."""
        fps, start_s, end_s = self.sampler.fps, self.sampler.start_s, self.sampler.end_s
        if self._too_long:
            return VaclipError(
                f"{self._name}: the clip is longer than {self._most / fps:.0f} s, and would not "
                "fit into memory; cut it with start_s and end_s, or lower data.fps or data.size"
            )
        if not self._pictures:
            span = f"between {start_s:g} s and {'its end' if end_s is None else f'{end_s:g} s'}"
            return VaclipError(f"{self._name}: {count} frames, none of them {span}")
        return DecodedClip(
            frames=np.stack(self._pictures),
            frame_index=np.asarray(self._frame_index, np.int64),
            time_s=start_s + np.arange(len(self._pictures)) / fps,
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


def timed_frames(path: Path, limit_s: float = DECODE_LIMIT_S) -> Iterator[tuple[VideoFrame, float]]:
    """Yields each frame with the time at which the next appears, in seconds from the first.

    Frames without a time stamp, or with one that does not grow, follow the previous one by
    the nominal frame duration.

    Args:
        path: The video.
        limit_s: Seconds that decoding may take, without what is done with the frames.

    Raises:
        VaclipError: If the file is missing, holds no video, breaks off with an error, states
            a time beyond `LONGEST_VIDEO_S`, or takes too long.
    """
    count = 0
    with open_video(path) as container:
        stream = container.streams.video[0]
        nominal_s = 1.0 / float(stream.average_rate or stream.base_rate or _FALLBACK_FPS)
        held: VideoFrame | None = None
        held_s = first_s = 0.0
        try:
            for frame in _within(container.decode(stream), limit_s, path):
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


def _within(frames: Iterator[VideoFrame], limit_s: float, path: Path) -> Iterator[VideoFrame]:
    """Yields frames until decoding them took too long.

    Raises:
        VaclipError: If it did.
    """
    spent_s, count = 0.0, 0
    while True:
        begun_s = time.monotonic()
        frame = next(frames, None)
        spent_s += time.monotonic() - begun_s
        if frame is None:
            return
        if spent_s > limit_s:
            raise VaclipError(
                f"{path.name}: decoding was stopped after {count} frames, because it took longer "
                f"than {limit_s:g} s; re-encode the file smaller, or raise data.decode_limit_s "
                "(vaclip data check: --decode-limit)"
            )
        yield frame
        count += 1


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
