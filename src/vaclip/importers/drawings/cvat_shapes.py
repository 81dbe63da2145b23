"""How rows of CVAT's XML say where something is drawn; facts in the module `cvat`."""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element

from vaclip.errors import VaclipError
from vaclip.maps.shapes import Key, Points

TYPES = ("box", "ellipse", "polygon", "polyline", "points", "mask")
OTHER_TYPES = ("skeleton", "cuboid")


def shape_key(row: Element, at: float, where: str) -> Key:
    """Returns what a row draws.

    Args:
        row: A box, ellipse, polygon, polyline, points or mask.
        at: When.
        where: The place in the export, for messages.

    Raises:
        VaclipError: If a number is missing or is none.
    """
    if row.tag == "mask":
        left, top, width, height = (
            whole_number(row.get(name), f"{where}: '{name}'")
            for name in ("left", "top", "width", "height")
        )
        runs = tuple(
            whole_number(run, f"{where}: 'rle'") for run in (row.get("rle") or "").split(",")
        )
        corners = ((float(left), float(top)), (float(left + width), float(top + height)))
        return Key(at, corners, runs=runs)
    if row.tag not in ("box", "ellipse"):
        return Key(at, _points(row.get("points"), where))
    names = ("xtl", "ytl", "xbr", "ybr") if row.tag == "box" else ("cx", "cy", "rx", "ry")
    a, b, c, d = (_number(row.get(name), f"{where}: '{name}'") for name in names)
    return Key(at, ((a, b), (c, d)), _number(row.get("rotation", "0"), f"{where}: 'rotation'"))


def whole_number(text: str | None, where: str) -> int:
    """Returns a whole number from 0."""
    if text is None or not re.fullmatch(r"[0-9]{1,12}", text.strip()):
        raise VaclipError(f"{where} is {text!r:.40}; expected a whole number from 0")
    return int(text)


def is_marked(row: Element, name: str, where: str, *, absent: bool = False) -> bool:
    """Returns what a mark says, which is 0 or 1."""
    if (text := row.get(name)) not in (None, "0", "1"):
        raise VaclipError(f"{where}: '{name}' is {text!r:.40}; expected 0 or 1")
    return absent if text is None else text == "1"


def _points(text: str | None, where: str) -> Points:
    pairs = [pair.split(",") for pair in (text or "").split(";")]
    if any(len(pair) != 2 for pair in pairs):
        raise VaclipError(f"{where}: 'points' is {text!r:.40}; expected x,y;x,y;...")
    return tuple((_number(x, f"{where}: 'points'"), _number(y, f"{where}: 'points'"))
                 for x, y in pairs)  # fmt: skip


def _number(text: str | None, where: str) -> float:
    try:
        return float(text or "")
    except ValueError:
        raise VaclipError(f"{where} is {text!r:.40}; expected a number") from None
