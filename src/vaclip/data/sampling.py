"""Pure frame plans: which frames of a clip are sampled, and which samples make a segment.

A clip is first resampled to a constant rate: sample k shows the picture that a player
would show at ``start + k / fps``, so that variable frame rates and slow GIFs need no
special case. Segments are then windows over these samples.
"""

from __future__ import annotations

SLACK_S = 1e-3
"""Time stamps are rounded to the container's time base: 1 ms in Matroska."""


class FrameSampler:
    """Decides, frame by frame as a decoder delivers them, how many samples each frame fills.

    A frame is shown from its own time until the next frame's. Samples lie at
    ``start_s + k / fps`` from the first shown frame on, and before ``end_s`` where given.

    Args:
        fps: Samples a second.
        start_s: Where the clip begins in the video, in seconds from its first frame.
        end_s: Where it ends (exclusive); None for the end of the video.
    """

    def __init__(self, fps: float, start_s: float = 0.0, end_s: float | None = None) -> None:
        self.fps, self.start_s, self.end_s = fps, start_s, end_s
        self._next = 0

    def fills(self, shown_until_s: float) -> int:
        """Returns how many samples a frame fills that is shown until ``shown_until_s``.

        Call it once a frame, in display order, with the time at which the *next* frame
        appears (for the last frame: the end of the video).
        """
        limit = shown_until_s if self.end_s is None else min(shown_until_s, self.end_s)
        first = self._next
        while self.start_s + self._next / self.fps < limit - SLACK_S:
            self._next += 1
        return self._next - first

    @property
    def done(self) -> bool:
        """Whether every sample before ``end_s`` has its frame."""
        if self.end_s is None:
            return False
        return self.start_s + self._next / self.fps >= self.end_s - SLACK_S


def plan_segments(samples: int, frames: int, stride: int) -> list[int]:
    """Returns the first sample of each segment.

    Segments start every ``stride`` samples as long as they lie inside the clip; where
    more than half a stride is left uncovered, one more is aligned to the clip's end.
    A clip shorter than a segment gives one (see `segment_samples`).

    Args:
        samples: Length of the clip in samples, at least 1.
        frames: Length of a segment in samples.
        stride: Distance between starts in samples.

    Examples:
        >>> plan_segments(samples=40, frames=16, stride=16)
        [0, 16]
        >>> plan_segments(samples=45, frames=16, stride=16)
        [0, 16, 29]
    """
    if min(samples, frames, stride) < 1:
        raise ValueError(f"samples, frames and stride must be positive: {samples, frames, stride}")
    starts = list(range(0, samples - frames + 1, stride)) or [0]
    uncovered = samples - (starts[-1] + frames)
    if 2 * uncovered > stride:
        starts.append(samples - frames)
    return starts


def segment_samples(start: int, samples: int, frames: int) -> range | list[int]:
    """Returns the samples of one segment; a clip that is too short holds its last picture."""
    if start + frames <= samples:
        return range(start, start + frames)
    return [min(start + offset, samples - 1) for offset in range(frames)]
