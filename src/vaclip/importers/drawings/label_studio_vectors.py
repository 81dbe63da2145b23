"""The video vectors of Label Studio: lines and polygons that move from key frame to key frame.

Facts from the page of the tag VideoVector and, for what it leaves open, the editor's
VideoVectorRegion.jsx, of 2026. Vertices are in percent of the picture. They are known by their
``id``: one that the next key frame does not have waits for it, the others move in a straight line.
``closed`` makes a polygon of a line, and the last vertex the ``prevPointId`` of the first. Where
that of another vertex is not the one listed before, the line branches. ``isBezier`` says that an
edge is no straight line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vaclip.errors import VaclipError
from vaclip.importers.drawings.label_studio_boxes import moving, number_of, seconds
from vaclip.maps.shapes import Key


def moving_vector(
    sequence: Sequence[Any], size: tuple[int, int], rate: float, where: str
) -> tuple[str, tuple[Key, ...]] | None:
    """Returns the type of a track and its keys in seconds; None for what cannot be drawn so.

    Args:
        sequence: Key frames, in any order.
        size: (height, width) in pixels of the picture.
        rate: At which frames were counted.
        where: For messages.

    Raises:
        VaclipError: If a key frame is none, or there are two of one frame.
    """
    rows = [_row(row, f"{where}, key frame {i}") for i, row in enumerate(sequence)]
    if len({row["closed"] for row in rows}) > 1 or not all(map(_plain, rows)):
        return None

    def key(row: Mapping[str, Any]) -> Key:
        points = ((x * size[1] / 100, y * size[0] / 100) for x, y in row["vertices"].values())
        return Key(seconds(row["frame"], rate), tuple(points))

    kind = "polygon" if rows and rows[0]["closed"] else "polyline"
    return kind, moving(rows, key, _between, rate, where)


def _row(row: Any, where: str) -> dict[str, Any]:
    if not isinstance(row, dict) or not isinstance(row.get("vertices"), list):
        raise VaclipError(f"{where}: expected an object with 'frame' and a list 'vertices'")
    marks = {name: row.get(name, name == "enabled") for name in ("enabled", "closed")}
    for name, value in marks.items():
        if not isinstance(value, bool):
            raise VaclipError(f"{where}: '{name}' is {value!s:.40}; expected true or false")
    vertices: dict[str, tuple[float, float]] = {}
    plain = True
    for vertex in row["vertices"]:
        if not isinstance(vertex, dict) or not isinstance(name := vertex.get("id"), str):
            raise VaclipError(f"{where}: expected vertices with 'id', 'x' and 'y'")
        if name in vertices:
            raise VaclipError(f"{where}: two vertices have the id '{name:.40}'")
        before = next(reversed(vertices), None)
        follows = before is None or vertex.get("prevPointId", before) == before
        plain &= follows and not vertex.get("isBezier")
        vertices[name] = number_of(vertex, "x", where), number_of(vertex, "y", where)
    return {
        "frame": number_of(row, "frame", where), "vertices": vertices, "plain": plain, **marks
    }  # fmt: skip


def _plain(row: Mapping[str, Any]) -> bool:
    return row["plain"]


def _between(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields the frame before a key frame that has other vertices: until then the old ones move."""
    span = other["frame"] - one["frame"]
    if list(one["vertices"]) == list(other["vertices"]) or span <= 1:
        return
    share = (span - 1) / span
    moved = {}
    for name, (x, y) in one["vertices"].items():
        u, v = other["vertices"].get(name, (x, y))
        moved[name] = x + share * (u - x), y + share * (v - y)
    yield {**one, "frame": other["frame"] - 1, "vertices": moved}
