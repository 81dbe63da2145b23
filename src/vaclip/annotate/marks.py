"""What an annotator did on the page, checked and turned into annotations of the study.

The page counts places in shares of the picture, from its top left, and times in seconds from the
clip's first picture; a study counts times from the first frame of the video.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vaclip.annotate.session import Protocol
from vaclip.errors import VaclipError
from vaclip.keys import CONFIDENCE
from vaclip.maps.gaze import Gaze, gaze_json, parse_gaze
from vaclip.maps.outlines import Key
from vaclip.maps.shapes import REGION, Shapes, Track, parse_shapes, shapes_json
from vaclip.maps.source import is_number

MOST_MARKS: Final = 5_000
_DRAWN: Final = {"box": "box", "ellipse": "ellipse", "polygon": "polygon", "brush": "polyline"}
_LEAST_POINTS: Final = {"box": 2, "ellipse": 2, "polygon": 3, "brush": 1}
_LONGEST_COMMENT: Final = 2_000
_SHORTEST_S: Final = 0.001


@dataclass(frozen=True)
class Scene:
    """The clip that was marked.

    Attributes:
        start_s: Where it begins, in seconds from the first frame of the video.
        seconds: How long it lasts.
        size: (height, width) of the video in pixels.
        regions: The named regions that this clip can show.
        outlines: The same in the study's order, as the page draws them: of a box its corners, of
            joints where they are over time, in shares of the picture.
    """

    start_s: float
    seconds: float
    size: tuple[int, int]
    regions: tuple[str, ...]
    outlines: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Said:
    """What an annotator left of one showing.

    Attributes:
        marks: As the page has them.
        seconds: That the page was looked at.
        nothing: Whether they say that there is nothing to mark.
        diagnosis: A class of the study; None where it was not asked.
        confidence: In the diagnosis, one of `vaclip.keys.CONFIDENCE`.
        comment: Free words.
        returned: How often they went back to looking after they were asked for the diagnosis.
    """

    marks: tuple[dict[str, Any], ...] = ()
    seconds: float = 0.0
    nothing: bool = False
    diagnosis: str | None = None
    confidence: int | None = None
    comment: str = ""
    returned: int = 0


def read_said(content: Any, classes: Sequence[str]) -> Said:
    """Reads what the page sends of a showing; marks are looked at when they are used.

    Raises:
        VaclipError: If it is nothing that the page could send.
    """
    if not isinstance(content, dict):
        raise _impossible("an object")
    marks, seconds = content.get("marks"), content.get("seconds")
    if not isinstance(marks, list) or not all(isinstance(one, dict) for one in marks):
        raise _impossible("a list of marks")
    if len(marks) > MOST_MARKS:
        raise VaclipError(f"a clip can have at most {MOST_MARKS} marks")
    if not is_number(seconds) or seconds < 0:
        raise _impossible("seconds")
    diagnosis, confidence = content.get("diagnosis"), content.get("confidence")
    if diagnosis is not None and diagnosis not in classes:
        raise _impossible("a diagnosis of the study")
    if confidence is not None and (confidence not in CONFIDENCE or isinstance(confidence, bool)):
        raise _impossible("a confidence from 1 to 5")
    comment, returned = content.get("comment", ""), content.get("returned", 0)
    if not isinstance(comment, str) or not isinstance(returned, int):
        raise _impossible("a comment")
    return Said(
        tuple(marks), float(seconds), content.get("nothing") is True, diagnosis, confidence,
        " ".join(comment.split())[:_LONGEST_COMMENT], returned,
    )  # fmt: skip


def annotation_of(said: Said, protocol: Protocol, scene: Scene) -> list[tuple[str, Any]]:
    """Turns marks into annotations.

    Returns:
        (kind, value) of each: of a ``region`` its name, else the content of its file.

    Raises:
        VaclipError: If a mark is none that the page could make.
    """
    make: dict[str, Callable[[], list[tuple[str, Any]]]] = {
        "bubbles": lambda: _gaze(said.marks, protocol, scene),
        "regions": lambda: _regions(said.marks, scene),
        "draw": lambda: _shapes([_track(one, scene) for one in said.marks], scene),
    }
    return make[protocol.mode]() if said.marks else []


def _gaze(
    marks: Sequence[dict[str, Any]], protocol: Protocol, scene: Scene
) -> list[tuple[str, Any]]:
    height, width = scene.size
    rows = []
    for mark in marks:
        begin, end = _span(mark, scene)
        x, y = _place([mark.get("x"), mark.get("y")])
        rows.append((scene.start_s + begin, scene.start_s + end, x * width, y * height))
    # Two standard deviations reach from the bubble's centre to its edge.
    sigma = protocol.radius * min(scene.size) / 2
    gaze = Gaze(scene.size, np.array(sorted(rows)), sigma)
    return [("gaze", gaze_json(parse_gaze(gaze_json(gaze))))]


def _regions(marks: Sequence[dict[str, Any]], scene: Scene) -> list[tuple[str, Any]]:
    whole, tracks = [], []
    for mark in marks:
        name = mark.get("region")
        if not isinstance(name, str) or name not in scene.regions:
            raise _impossible("a region of the study")
        if mark.get("confidence") not in CONFIDENCE:
            raise _impossible("a confidence from 1 to 5")
        if mark.get("from") is None and mark.get("to") is None:
            whole.append(("region", name))
        else:
            begin, end = (scene.start_s + at for at in _span(mark, scene))
            tracks.append(Track(name, REGION, (Key(begin), Key(end, outside=True))))
    return [*dict.fromkeys(whole), *(_shapes(tracks, scene) if tracks else [])]


def _track(mark: dict[str, Any], scene: Scene) -> Track:
    kind, rows = mark.get("type"), mark.get("keys")
    if not isinstance(kind, str) or kind not in _DRAWN or not isinstance(rows, list) or not rows:
        raise _impossible("a shape with its moments")
    keys: dict[float, Key] = {}
    for row in rows:
        if not isinstance(row, dict) or not is_number(row.get("at")):
            raise _impossible("the moment of a shape")
        at = scene.start_s + min(max(row["at"], 0.0), scene.seconds)
        if row.get("outside") is True:
            keys[at] = Key(at, outside=True)
            continue
        points = row.get("points")
        if not isinstance(points, list) or len(points) < _LEAST_POINTS[kind]:
            raise _impossible("the points of a shape")
        keys[at] = Key(at, _outline(kind, np.array([_place(one) for one in points]), scene))
    ordered = tuple(keys[at] for at in sorted(keys))
    if ordered[0].outside:
        raise _impossible("a shape that begins in the picture")
    return Track("", _DRAWN[kind], ordered)


def _outline(
    kind: str, points: NDArray[np.float64], scene: Scene
) -> tuple[tuple[float, float], ...]:
    """Points in pixels; of an ellipse the page gives the corners of the box around it."""
    if kind in ("box", "ellipse") and (
        len(points) != 2 or not np.all(np.abs(points[1] - points[0]) > 0)
    ):
        raise _impossible("two corners with a picture between them")
    if kind == "ellipse":
        points = np.array([points.mean(axis=0), np.abs(points[1] - points[0]) / 2])
    return _pixels(points, scene)


def _shapes(tracks: Sequence[Track], scene: Scene) -> list[tuple[str, Any]]:
    content = shapes_json(Shapes(scene.size, tuple(tracks), "second"))
    return [("shapes", shapes_json(parse_shapes(content)))]


def _pixels(points: NDArray[np.float64], scene: Scene) -> tuple[tuple[float, float], ...]:
    height, width = scene.size
    return tuple((round(x * width, 2), round(y * height, 2)) for x, y in points.tolist())


def _span(mark: dict[str, Any], scene: Scene) -> tuple[float, float]:
    begin, end = mark.get("from"), mark.get("to")
    if not is_number(begin) or not is_number(end) or end <= begin:
        raise _impossible("a time and a later one")
    # A look at the first or last picture stands for a time that reaches beyond the clip.
    begin, end = min(max(begin, 0.0), scene.seconds), min(max(end, 0.0), scene.seconds)
    if end - begin < _SHORTEST_S:
        begin, end = max(0.0, end - _SHORTEST_S), max(end, _SHORTEST_S)
    return begin, end


def _place(point: Any) -> tuple[float, float]:
    if not isinstance(point, list) or len(point) != 2 or not all(map(is_number, point)):
        raise _impossible("a place in the picture")
    x, y = (min(max(float(value), 0.0), 1.0) for value in point)
    return x, y


def _impossible(what: str) -> VaclipError:
    return VaclipError(f"the page sent something else than {what}: reload it, and repeat the step")
