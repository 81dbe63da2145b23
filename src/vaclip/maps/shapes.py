"""``kind = shapes``: outlines drawn on a video, kept as numbers in a JSON file.

::

    {"unit": "frame", "size": [480, 640], "frames": 250, "fps": 25.0,
     "tracks": [{"label": "pleura", "type": "box",
                 "keys": [{"at": 0, "points": [[10, 20], [110, 90]]},
                          {"at": 60, "points": [[30, 20], [130, 90]]},
                          {"at": 80, "outside": true}]}]}

Between two keys a shape moves in a straight line; where it cannot (another number of points, a
mask, the next key is outside) it waits. After the last key it stays.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from vaclip.errors import VaclipError
from vaclip.files import inside_folder, read_json
from vaclip.maps.regions import draw_box
from vaclip.maps.source import Grid, MapSource, MarkedClip, Timing

TYPES = ("box", "ellipse", "polygon", "polyline", "points", "mask")
UNITS = ("frame", "second")
_FINER = 4  # outlines are filled on a grid this much finer, then averaged
_LARGEST = 64_000_000  # pixels of a picture
_MOST_POINTS = 10_000  # of a shape
_MOST_SCALE = 16  # of a drawing's side to the video's: 4K, scaled down to 256 pixels, is 15
_ASPECT = 0.02  # relative difference of aspect that is rounding, not another video

Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Key:
    """A shape at one moment.

    Attributes:
        at: A frame number from 0, or seconds from the first frame, see `Shapes.unit`.
        points: (x, y) in pixels of `Shapes.size`. ``box``: two opposite corners; ``ellipse``: the
            centre, and the two radii; ``mask``: two opposite corners of the rectangle that the
            mask fills, in whole pixels.
        turn: Of box and ellipse about their centre, in degrees, clockwise as one sees it.
        runs: Of a mask: lengths of runs in its rectangle row by row, alternating, the first one
            background.
        outside: The shape is not there, from here on.
    """

    at: float
    points: Points = ()
    turn: float = 0.0
    runs: tuple[int, ...] = ()
    outside: bool = False


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


class ShapesMap(MapSource):
    """Fills boxes, ellipses, polygons and masks; draws points and lines as Gaussians.

    Points and lines have the width of joints, `Grid.keypoint_sigma`. Where shapes overlap, the
    largest counts.
    """

    kind = "shapes"

    def problem(self, value: str, clip: MarkedClip) -> str | None:
        try:
            load_shapes(inside_folder(clip.root, value), value)
        except VaclipError as error:
            return str(error)
        return None

    def files(self, value: str, clip: MarkedClip) -> list[Path]:
        return [inside_folder(clip.root, value)]

    def drawing(self, value: str, clip: MarkedClip) -> Path | None:
        return inside_folder(clip.root, value)

    def timing(self, value: str, clip: MarkedClip) -> Timing | None:
        shapes = load_shapes(inside_folder(clip.root, value), value)
        frames = shapes.frames if shapes.source_frames is None else len(shapes.source_frames)
        return Timing(shapes.unit, frames, shapes.fps)

    def render(self, value: str, clip: MarkedClip, grid: Grid) -> NDArray[np.float32]:
        shapes = load_shapes(inside_folder(clip.root, value), value)
        _check_size(shapes.size, grid.source_size, value)
        moments = _moments(shapes, grid, value)
        pictures = np.zeros((len(moments), *grid.size), np.float32)
        for track in shapes.tracks:
            _draw(track, moments, shapes.size, grid, pictures)
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

    Example:
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
    points = tuple(
        (x + share * (u - x), y + share * (v - y))
        for (x, y), (u, v) in zip(last.points, after.points, strict=True)
    )
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
            last, drawn = key, _draw_one(track.type, key, size, grid)
        np.maximum(picture, drawn, out=picture)


def _draw_one(kind: str, key: Key, size: tuple[int, int], grid: Grid) -> NDArray[np.float32]:
    if kind == "mask":
        return _shrunk(Image.fromarray(_mask_picture(key, size)), grid.size)
    if kind in ("points", "polyline"):
        return _strokes(np.asarray(key.points), kind == "polyline", size, grid)
    if kind == "box" and key.turn == 0:
        xs, ys = (sorted(values) for values in zip(*key.points, strict=True))
        box = (xs[0] / size[1], ys[0] / size[0], xs[1] / size[1], ys[1] / size[0])
        return draw_box(box, grid.size)
    scale = np.array([grid.size[1] / size[1], grid.size[0] / size[0]])
    outline = np.asarray(_outline(kind, key)) * scale * _FINER - 0.5
    canvas = Image.new("L", (grid.size[1] * _FINER, grid.size[0] * _FINER))
    ImageDraw.Draw(canvas).polygon([tuple(point) for point in outline.tolist()], fill=255)
    return _shrunk(canvas, grid.size)


def _outline(kind: str, key: Key) -> NDArray[np.float64]:
    """Returns (N, 2) corners."""
    points = np.asarray(key.points, float)
    if kind == "polygon":
        return points
    if kind == "box":
        (x0, y0), (x1, y1) = points
        corners = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
        centre = points.mean(axis=0)
    else:
        centre, radii = points
        angles = np.linspace(0, 2 * np.pi, 72, endpoint=False)
        corners = centre + radii * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    turn = math.radians(key.turn)
    # In a picture y points down, so that this turns clockwise as one sees it.
    matrix = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    return (corners - centre) @ matrix.T + centre


def _strokes(
    points: NDArray[np.float64], joined: bool, size: tuple[int, int], grid: Grid
) -> NDArray[np.float32]:
    """Returns Gaussians of the distance to the nearest point, or to a line through them."""
    height, width = grid.size
    y = (np.arange(height) + 0.5)[:, None] * size[0] / height
    x = (np.arange(width) + 0.5)[None, :] * size[1] / width
    pairs = list(pairwise(points)) if joined and len(points) > 1 else [(p, p) for p in points]
    nearest = np.full(grid.size, np.inf)
    for start, end in pairs:
        along = end - start
        length = float(along @ along)
        share = ((x - start[0]) * along[0] + (y - start[1]) * along[1]) / (length or 1.0)
        share = np.clip(share, 0, 1)
        squared = (x - start[0] - share * along[0]) ** 2 + (y - start[1] - share * along[1]) ** 2
        np.minimum(nearest, squared, out=nearest)
    return np.exp(-0.5 * nearest / (grid.keypoint_sigma * size[0]) ** 2).astype(np.float32)


def _mask_picture(key: Key, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Returns (H, W), 255 where the mask is."""
    (left, top), (right, bottom) = ((round(x), round(y)) for x, y in key.points)
    values = np.arange(len(key.runs)) % 2 * 255
    mask = np.repeat(values.astype(np.uint8), key.runs).reshape(bottom - top, right - left)
    picture = np.zeros(size, np.uint8)
    picture[top:bottom, left:right] = mask
    return picture


def _shrunk(picture: Image.Image, size: tuple[int, int]) -> NDArray[np.float32]:
    resized = picture.resize((size[1], size[0]), Image.Resampling.BOX)
    return np.asarray(resized).astype(np.float32) / 255


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
                else {"at": key.at, "points": [list(point) for point in key.points]}
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
    content = read_json(path, f"shapes '{name}'")
    try:
        return parse_shapes(content)
    except VaclipError as error:
        raise VaclipError(f"shapes '{name}': {error}") from error


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
    if fps is not None and not (_number(fps) and fps > 0):
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
    if not isinstance(content, dict) or not _number(content.get("at")) or content["at"] < 0:
        raise VaclipError(f"{where}: 'at' must be a number from 0")
    at = content["at"]
    if content.get("outside") is True:
        return Key(at, outside=True)
    rows = content.get("points")
    if not isinstance(rows, list) or not all(
        isinstance(row, list) and len(row) == 2 and all(map(_number, row)) for row in rows
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
    if not _number(turn):
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


def _number(value: Any) -> bool:
    """Whether a value is a number that can be drawn."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and -1e9 <= value <= 1e9


def _whole_numbers(values: Any, least: int) -> bool:
    return isinstance(values, Sequence) and all(
        isinstance(v, int) and not isinstance(v, bool) and least <= v <= 1e9 for v in values
    )


def write_shapes(path: Path, shapes: Shapes) -> None:
    """Writes a file that `load_shapes` reads."""
    path.write_text(json.dumps(shapes_json(shapes), ensure_ascii=False) + "\n", encoding="utf-8")
