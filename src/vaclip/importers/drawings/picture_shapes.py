"""Shapes on single pictures, put together for the videos that the pictures are frames of."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace

from vaclip.errors import VaclipError
from vaclip.importers.base import NewAnnotation
from vaclip.importers.drawings.common import checked_shapes
from vaclip.importers.drawings.single_frames import SingleFrames
from vaclip.importers.video_sizes import VideoSizes
from vaclip.maps.shapes import Key, Shapes, Track


class PictureShapes:
    """What each annotator drew on the pictures of each video."""

    def __init__(self) -> None:
        self._tracks: dict[tuple[str, str], list[Track]] = defaultdict(list)
        self._labels: dict[tuple[str, str], list[list[str]]] = defaultdict(list)
        self._sizes: dict[tuple[str, str], tuple[int, int]] = {}
        self._where: dict[tuple[str, str], str] = {}

    def add(
        self,
        place: tuple[str, int],
        annotator: str,
        kind: str,
        key: Key,
        labels: list[str],
        size: tuple[int, int],
        where: str,
    ) -> None:
        """Takes a shape.

        Args:
            place: The video, and the frame.
            annotator: Who drew it.
            kind: Its type, as of `Track`.
            key: Where it is; the time does not count.
            labels: What it is called.
            size: (height, width) of the picture.
            where: The place in the export, for messages.

        Raises:
            VaclipError: If the pictures of the video have different sizes.
        """
        video, frame = place
        of = (video, annotator)
        if self._sizes.setdefault(of, size) != size:
            raise VaclipError(f"{where}: the pictures of '{video}' are of different size")
        self._where.setdefault(of, where)
        self._labels[of].append(labels)
        keys = (replace(key, at=float(frame)), Key(float(frame + 1), outside=True))
        self._tracks[of].append(Track("; ".join(labels), kind, keys))

    def annotations(
        self, single: SingleFrames, counts: Mapping[str, int], videos: VideoSizes
    ) -> Iterator[NewAnnotation]:
        """Yields one a video and annotator, its shapes extended as the user said.

        Args:
            single: Which shapes stay, or move on.
            counts: How many pictures each video has, where that is known.
            videos: At what rate.

        Raises:
            VaclipError: If a shape cannot be drawn.
        """
        for of, tracks in self._tracks.items():
            (video, annotator), where = of, self._where[of]
            second = (videos.rate(video) if single.timed else None) or 1.0
            extended = single.extended(
                tracks, self._labels[of], frame=1.0, second=second, where=where
            )
            shapes = Shapes(self._sizes[of], extended, frames=counts.get(video))
            yield NewAnnotation(video, annotator, checked_shapes(shapes, where), where)
