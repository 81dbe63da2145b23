"""Label Studio's shapes on stills: rectangles, ellipses, polygons, points and masks, in percent."""

from __future__ import annotations

from typing import Any

from vaclip.errors import VaclipError
from vaclip.importers.drawings.brush import decode_brush, mask_key
from vaclip.importers.drawings.label_studio_boxes import number_of, rectangle
from vaclip.maps.shapes import Key, Points

STILLS = ("rectangle", "ellipse", "polygon", "keypoint", "brush")


def still(
    kind: str, value: dict[str, Any], size: tuple[int, int], where: str
) -> tuple[str, Key | None]:
    """Returns the type of a track and its only key: it stays for the whole clip."""
    if kind == "brush":
        return "mask", _mask(value, size, where)
    if kind == "polygon":
        return "polygon", Key(0.0, _corners(value.get("points"), size, where))
    value = {"rotation": 0.0} | value
    x, y = number_of(value, "x", where), number_of(value, "y", where)
    if kind == "keypoint":
        return "points", Key(0.0, ((x * size[1] / 100, y * size[0] / 100),))
    turn = number_of(value, "rotation", where)
    if kind == "ellipse":
        a, b = (number_of(value, name, where) for name in ("radiusX", "radiusY"))
        centre, radii = ((u * size[1] / 100, v * size[0] / 100) for u, v in ((x, y), (a, b)))
        return "ellipse", Key(0.0, (centre, radii), turn)
    names = ("x", "y", "width", "height", "rotation")
    row = {name: number_of(value, name, where) for name in names}
    points, turn = rectangle(row, size)
    return "box", Key(0.0, points, turn)


def _corners(points: Any, size: tuple[int, int], where: str) -> Points:
    if not isinstance(points, list) or not all(
        isinstance(point, list) and len(point) == 2 for point in points
    ):
        raise VaclipError(f"{where}: 'points' must be a list of [x, y] in percent")
    pairs = [{"x": point[0], "y": point[1]} for point in points]
    return tuple(
        (number_of(p, "x", where) * size[1] / 100, number_of(p, "y", where) * size[0] / 100)
        for p in pairs
    )


def _mask(value: dict[str, Any], size: tuple[int, int], where: str) -> Key | None:
    code = value.get("rle")
    if value.get("format") != "rle" or not isinstance(code, list):
        raise VaclipError(f"{where}: expected a mask with 'format' rle and a list 'rle'")
    if not all(type(byte) is int and 0 <= byte <= 255 for byte in code):
        raise VaclipError(f"{where}: 'rle' must list numbers from 0 to 255")
    try:
        return mask_key(decode_brush(bytes(code), size))
    except VaclipError as error:
        raise VaclipError(f"{where}: {error}") from error
