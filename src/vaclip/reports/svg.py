"""Figures of matplotlib as part of a page: dark where it is dark, hovered over, arms taken out.

The page's policy allows no style attributes; what they say is said by SVG's own attributes, which
the page's style sheet overrules by colour.
"""

from __future__ import annotations

import json
import re
from functools import partial
from typing import Final
from urllib.parse import quote, unquote
from xml.etree import ElementTree

from matplotlib.artist import Artist

_SVG: Final = "http://www.w3.org/2000/svg"
_HREF: Final = "{http://www.w3.org/1999/xlink}href"
_MARK: Final = "mark:"
_TOLD: Final = 24
_DIGITS: Final = {"d": 2, "x": 2, "y": 2, "transform": 3}
"""Of places in points, and of scales; matplotlib writes millionths."""
_LONG: Final = re.compile(r"-?\d+\.\d{4,}")
_OWN_ID: Final = re.compile(r"url\(#([^)]*)\)")


def mark(artist: Artist, arm: str, hint: str = "") -> None:
    """Says which arm something drawn is of, and what is shown where one hovers over it."""
    artist.set_gid(_MARK + quote(json.dumps([arm, hint])))


def plain_svg(svg: bytes) -> bytes:
    """Takes the marks out of a figure that is to stand alone: they are no ids."""
    return re.sub(rb' id="%s[^"]*"' % _MARK.encode(), b"", svg)


def inline_svg(svg: bytes, name: str, alt: str) -> str:
    """Makes a figure part of a page.

    Args:
        svg: As matplotlib writes it, with the marks of `mark`.
        name: Of the figure, unlike all others on the page: its ids begin with it.
        alt: For those who do not see it; the first `_TOLD` of what is shown on hovering follow.

    Returns:
        An ``svg`` element: marked groups have ``data-arm`` and a ``title``.
    """
    ElementTree.register_namespace("", _SVG)
    root = ElementTree.fromstring(svg)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.split("}")[1] in ("metadata", "style"):
                parent.remove(child)
    for element in list(root.iter()):
        _rewrite(element, name)
    # What uses a marker says how it is drawn; the marker's own colour would hide the page's.
    for marker in root.iterfind(f".//{{{_SVG}}}defs/{{{_SVG}}}path"):
        marker.attrib.pop("stroke", None)
    for size in ("width", "height", "version"):
        root.attrib.pop(size, None)
    titles = [one.text or "" for one in root.iterfind(f".//{{{_SVG}}}title")]
    hints = [hint for hint in dict.fromkeys(titles) if ":" in hint]  # those that tell a value
    if hints:
        more = f" and {len(hints) - _TOLD} more" if len(hints) > _TOLD else ""
        alt = f"{alt} {'; '.join(hints[:_TOLD])}{more}."
    width = float(root.attrib["viewBox"].split()[2]) * 4 / 3  # points in CSS pixels
    root.attrib |= {"role": "img", "aria-label": alt, "width": f"{width:g}"}
    if root.find(f".//{{{_SVG}}}image") is not None:
        root.set("class", "raster")
    return ElementTree.tostring(root, encoding="unicode")


def _rewrite(element: ElementTree.Element, name: str) -> None:
    own = element.attrib
    for declaration in own.pop("style", "").split(";"):
        if ":" in declaration:
            key, value = declaration.split(":", 1)
            own[key.strip()] = value.strip()
    given = own.pop("id", "")
    if given.startswith(_MARK):
        arm, hint = json.loads(unquote(given.removeprefix(_MARK)))
        own["data-arm"] = arm
        if hint:
            title = ElementTree.Element(f"{{{_SVG}}}title")
            title.text = hint
            element.insert(0, title)
    elif given:
        own["id"] = f"{name}-{given}"
    if _HREF in own:  # an address is of the figure itself, or data
        own["href"] = re.sub("^#", f"#{name}-", own.pop(_HREF))
    for key, value in own.items():
        own[key] = _OWN_ID.sub(rf"url(#{name}-\1)", value)
        if (digits := _DIGITS.get(key)) is not None:
            own[key] = _LONG.sub(partial(_rounded, digits), value)


def _rounded(digits: int, found: re.Match[str]) -> str:
    return f"{float(found[0]):.{digits}f}".rstrip("0").rstrip(".")
