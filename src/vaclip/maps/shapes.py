"""``kind = shapes``: outlines drawn on a video, kept as numbers in a JSON file.

::

    {"unit": "frame", "size": [480, 640], "frames": 250, "fps": 25.0,
     "tracks": [{"label": "pleura", "type": "box",
                 "keys": [{"at": 0, "points": [[10, 20], [110, 90]]},
                          {"at": 60, "points": [[30, 20], [130, 90]]},
                          {"at": 80, "outside": true}]}]}

Between two keys a shape moves in a straight line; where it cannot (another number of points, a
mask, the next key is outside) it waits. After the last key it stays. A track of type ``region`` is
a region of study.yaml, by the name that is its label, wherever its joints or its box are while it
is there; its keys have no points.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaclip.errors import VaclipError
from vaclip.files import inside_folder
from vaclip.maps.outlines import Key, Points, draw_shape
from vaclip.maps.regions import RegionMap
from vaclip.maps.source import (
    AnnotatedClip,
    Drawer,
    FileMap,
    Grid,
    Timing,
    is_number,
    read_annotation,
)

REGION = "region"
TYPES = ("box", "ellipse", "polygon", "polyline", "points", "mask", REGION)
UNITS = ("frame", "second")
_LARGEST = 64_000_000  # pixels of a picture
_MOST_POINTS = 10_000  # of a shape
_MOST_SCALE = 16  # of a drawing's side to the video's: 4K, scaled down to 256 pixels, is 15
_ASPECT = 0.02  # relative difference of aspect that is rounding, not another video


@dataclass(frozen=True)
class Track:
    """One thing, followed over time; its keys ascend."""

    label: str
    type: str
    keys: tuple[Key, ...]


@dataclass(frozen=True)
class Shapes:
    """What one annotator drew on one video.

    Attributes:
        size: (height, width) in pixels of the picture that the points refer to, upright.
        tracks: The shapes.
        unit: What keys count: ``frame`` (pictures as they are decoded, from 0) or ``second``.
        frames: How many frames the tool saw; None if it does not say.
        fps: At what rate the tool counted; None if it does not say.
        source_frames: For a re-encoded video: the frame of the annotated video that each of its
            frames shows.
    """

    size: tuple[int, int]
    tracks: tuple[Track, ...]
    unit: str = "frame"
    frames: int | None = None
    fps: float | None = None
    source_frames: tuple[int, ...] | None = None


class ShapesMap(FileMap):
    """Fills boxes, ellipses, polygons and masks; draws points and lines as Gaussians.

    Points and lines have the width of joints, `Grid.keypoint_sigma`. Where shapes overlap, the
    largest counts.
    """

    def look_at(self, path: Path, value: str) -> None:
        load_shapes(path, value)

    def misfit(self, path: Path, value: str, clip: AnnotatedClip) -> str | None:
        for name in _regions(load_shapes(path, value)):
            if found := RegionMap().problem(name, clip):
                return f"shapes '{value}': {found}"
        return None

    def files(self, value: str, clip: AnnotatedClip) -> list[Path]:
        # Whether its regions have joints is not looked up: it is asked for each clip of a run.
        return [*super().files(value, clip), *([clip.keypoints] if clip.keypoints else [])]

    def timing(self, value: str, clip: AnnotatedClip) -> Timing | None:
        shapes = load_shapes(inside_folder(clip.root, value), value)
        frames = shapes.frames if shapes.source_frames is None else len(shapes.source_frames)
        return Timing(shapes.unit, frames, shapes.fps)

    def render(self, value: str, clip: AnnotatedClip, grid: Grid) -> NDArray[np.float32]:
        return self.drawer(value, clip)(grid)

    def drawer(self, value: str, clip: AnnotatedClip) -> Drawer:
        shapes = load_shapes(inside_folder(clip.root, value), value)
        regions = {name: RegionMap().drawer(name, clip) for name in _regions(shapes)}
        return lambda grid: _pictures(shapes, regions, grid, value)


def _regions(shapes: Shapes) -> list[str]:
    return list(dict.fromkeys(track.label for track in shapes.tracks if track.type == REGION))


def _pictures(
    shapes: Shapes, regions: dict[str, Drawer], grid: Grid, value: str
) -> NDArray[np.float32]:
    _check_size(shapes.size, grid.source_size, value)
    moments = _moments(shapes, grid, value)
    pictures = np.zeros((len(moments), *grid.size), np.float32)
    for track in shapes.tracks:
        if track.type != REGION:
            _draw(track, moments, shapes.size, grid, pictures)
    for name, drawer in regions.items():
        spans = [track for track in shapes.tracks if (track.type, track.label) == (REGION, name)]
        if there := [n for n, at in enumerate(moments) if any(shape_at(one, at) for one in spans)]:
            own = replace(grid, frame_index=grid.frame_index[there], time_s=grid.time_s[there])
            pictures[there] = np.maximum(pictures[there], drawer(own))
    return pictures


def _check_size(said: tuple[int, int], real: tuple[int, int], value: str) -> None:
    if abs(math.log(said[0] / said[1] * real[1] / real[0])) > _ASPECT:
        raise VaclipError(
            f"shapes '{value}' were drawn on a picture of {said[1]} x {said[0]}, but the video is "
            f"{real[1]} x {real[0]}; annotate the same file that clips.csv names"
        )
    if max(said[0] / real[0], said[1] / real[1]) > _MOST_SCALE:
        raise VaclipError(
            f"shapes '{value}' were drawn on a picture of {said[1]} x {said[0]}, more than "
            f"{_MOST_SCALE} times the sides of the video ({real[1]} x {real[0]}); scale 'size', "
            "points and masks to the video that clips.csv names"
        )


def _moments(shapes: Shapes, grid: Grid, value: str) -> list[float]:
    if shapes.unit == "second":
        return grid.time_s.tolist()
    if shapes.source_frames is not None:
        grid.check_length(len(shapes.source_frames), f"shapes '{value}'")
        return [float(shapes.source_frames[frame]) for frame in grid.frame_index]
    if shapes.frames is not None:
        grid.check_length(shapes.frames, f"shapes '{value}'")
    return grid.frame_index.astype(float).tolist()


def shape_at(track: Track, moment: float) -> Key | None:
    """Returns where a shape is at a moment; None where it is not in the picture.

    Examples:
        >>> keys = Key(0, ((0.0, 0.0), (2.0, 2.0))), Key(10, ((5.0, 0.0), (7.0, 2.0)))
        >>> shape_at(Track("", "box", keys), 2.0).points
        ((1.0, 0.0), (3.0, 2.0))
    """
    following = bisect_right(track.keys, moment, key=lambda key: key.at)
    if following == 0 or (last := track.keys[following - 1]).outside:
        return None
    if following == len(track.keys) or track.type == "mask":
        return last
    after = track.keys[following]
    if after.outside or len(after.points) != len(last.points):
        return last
    if (after.points, after.turn) == (last.points, last.turn):
        return last
    share = (moment - last.at) / (after.at - last.at)
    begin, end = np.array(last.points), np.array(after.points)
    points = tuple(map(tuple, (begin + share * (end - begin)).tolist()))
    # The shorter way round, as annotation tools turn.
    arc = (after.turn - last.turn + 180) % 360 - 180
    return Key(moment, points, last.turn + share * arc)


def _draw(
    track: Track,
    moments: Sequence[float],
    size: tuple[int, int],
    grid: Grid,
    pictures: NDArray[np.float32],
) -> None:
    """Draws a shape into ``pictures`` (S, H, W), anew only where it moved."""
    last = drawn = None
    for picture, moment in zip(pictures, moments, strict=True):
        if (key := shape_at(track, moment)) is None:
            continue
        if drawn is None or key != last:
            last, drawn = key, draw_shape(track.type, key, size, grid)
        np.maximum(picture, drawn, out=picture)


def shapes_json(shapes: Shapes) -> dict[str, Any]:
    """Returns the content of a file that `load_shapes` reads."""
    content: dict[str, Any] = {"unit": shapes.unit, "size": list(shapes.size)}
    for name in ("frames", "fps", "source_frames"):
        if (value := getattr(shapes, name)) is not None:
            content[name] = value
    content["tracks"] = [
        {
            "label": track.label,
            "type": track.type,
            "keys": [
                {"at": key.at, "outside": True}
                if key.outside
                else {"at": key.at}
                | ({"points": [list(point) for point in key.points]} if key.points else {})
                | ({"turn": key.turn} if key.turn else {})
                | ({"runs": list(key.runs)} if key.runs else {})
                for key in track.keys
            ],
        }
        for track in shapes.tracks
    ]
    return content


def load_shapes(path: Path, name: str) -> Shapes:
    """Reads a file of shapes.

    Args:
        path: The file.
        name: What to call it in messages.

    Raises:
        VaclipError: If it is no such file; the message names the track and key.
    """
    return read_annotation(path, f"shapes '{name}'", parse_shapes)


def parse_shapes(content: Any) -> Shapes:
    """Turns what `shapes_json` gives into shapes.

    Raises:
        VaclipError: Naming the first thing that is wrong.
    """
    if not isinstance(content, dict) or not isinstance(content.get("tracks"), list):
        raise VaclipError("expected an object with 'size' and a list 'tracks'")
    size = content.get("size")
    if not _whole_numbers(size, 1) or len(size) != 2 or size[0] * size[1] > _LARGEST:
        raise VaclipError("'size' must be [height, width] in pixels")
    if content.get("unit") not in UNITS:
        raise VaclipError(f"'unit' is {content.get('unit')!r}; use one of {', '.join(UNITS)}")
    frames, fps, source = (content.get(name) for name in ("frames", "fps", "source_frames"))
    if frames is not None and not _whole_numbers([frames], 1):
        raise VaclipError("'frames' must be a number of frames")
    if fps is not None and not (is_number(fps) and fps > 0):
        raise VaclipError("'fps' must be a rate above 0")
    if source is not None and not _whole_numbers(source, 0):
        raise VaclipError("'source_frames' must be a list of frame numbers")
    tracks = tuple(
        _track(track, f"tracks[{number}]", (size[0], size[1]))
        for number, track in enumerate(content["tracks"])
    )
    return Shapes(
        (size[0], size[1]), tracks, content["unit"], frames, fps, tuple(source) if source else None
    )


def _track(content: Any, where: str, size: tuple[int, int]) -> Track:
    if not isinstance(content, dict) or content.get("type") not in TYPES:
        raise VaclipError(f"{where}: 'type' must be one of {', '.join(TYPES)}")
    rows = content.get("keys")
    if not isinstance(rows, list) or not rows:
        raise VaclipError(f"{where}: 'keys' must list at least one moment")
    kind = content["type"]
    keys = tuple(_key(row, kind, f"{where}.keys[{i}]", size) for i, row in enumerate(rows))
    if any(later.at <= earlier.at for earlier, later in pairwise(keys)):
        raise VaclipError(f"{where}: 'at' must grow from key to key")
    return Track(str(content.get("label", "")), kind, keys)


def _key(content: Any, kind: str, where: str, size: tuple[int, int]) -> Key:
    if not isinstance(content, dict) or not is_number(content.get("at")) or content["at"] < 0:
        raise VaclipError(f"{where}: 'at' must be a number from 0")
    at = content["at"]
    if content.get("outside") is True:
        return Key(at, outside=True)
    if kind == REGION:
        return Key(at)
    rows = content.get("points")
    if not isinstance(rows, list) or not all(
        isinstance(row, list) and len(row) == 2 and all(map(is_number, row)) for row in rows
    ):
        raise VaclipError(f"{where}: 'points' must be a list of [x, y]")
    points = tuple((float(x), float(y)) for x, y in rows)
    least = {"polygon": 3, "polyline": 1, "points": 1}.get(kind)
    if (len(points) != 2) if least is None else (len(points) < least):
        raise VaclipError(f"{where}: a {kind} of {len(points)} points")
    if len(points) > _MOST_POINTS:
        raise VaclipError(
            f"{where}: a {kind} of {len(points)} points; {_MOST_POINTS} are read at most, "
            "simplify the outline"
        )
    turn, runs = content.get("turn", 0.0), content.get("runs", [])
    if not is_number(turn):
        raise VaclipError(f"{where}: 'turn' must be an angle in degrees")
    if not _whole_numbers(runs, 0):
        raise VaclipError(f"{where}: 'runs' must be a list of run lengths")
    if kind == "mask":
        _check_mask(points, runs, where, size)
    return Key(at, points, float(turn), tuple(runs))


def _check_mask(points: Points, runs: list[int], where: str, size: tuple[int, int]) -> None:
    (left, top), (right, bottom) = points
    if not (0 <= left < right <= size[1] and 0 <= top < bottom <= size[0]):
        raise VaclipError(f"{where}: the mask's rectangle is not inside the picture")
    if sum(runs) != (round(right) - round(left)) * (round(bottom) - round(top)):
        raise VaclipError(f"{where}: the runs do not fill the mask's rectangle")


def _whole_numbers(values: Any, least: int) -> bool:
    return isinstance(values, Sequence) and all(
        isinstance(v, int) and not isinstance(v, bool) and least <= v <= 1e9 for v in values
    )
