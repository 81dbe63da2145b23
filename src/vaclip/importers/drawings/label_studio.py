"""``label_studio``: Label Studio's JSON export of videos, stills, and the pictures of a clip.

Facts from "Label Studio JSON format of annotated tasks", the tags Video, VideoRectangle,
RectangleLabels and BrushLabels, and, for what these pages leave open, from the editor's
VideoRegion.js, VideoRectangleRegion.js, VideoCanvas.tsx, Rectangle.tsx and utils/props:

- ``frame`` counts from 1, at the frame rate of the tag Video (24 unless it says another one), which
  need not be the video's. ``time`` is frame / rate; of the keys that are marked as ``auto``, which
  "interpolate key frames" puts between those that were drawn, to two decimals. Frame F is shown at
  (F - 1) / rate; so it is since early 2025, before that at F / rate. So shapes are kept in seconds.
- x, y, width, height are percent of the picture; ``rotation`` turns a rectangle about its top left
  corner, an ellipse about its centre, in degrees, clockwise.
- Between key frames corner, size and angle go in a straight line. A key frame with ``enabled``
  false is the last frame of a span. Before the first one there is nothing.
- A span of a timeline has a first and a last ``frame`` of the same count (TimelineLabels); both
  belong to it, and nothing says the rate.
- ``item_index`` is the page that a shape is on, where a task shows a list of pictures.
- JSON-MIN: see the module `label_studio_min`.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vaclip.errors import VaclipError
from vaclip.importers.base import Export, Importer, NewAnnotation
from vaclip.importers.drawings.common import (
    UNMATCHED,
    add_label_option,
    check_labels,
    checked_shapes,
)
from vaclip.importers.drawings.label_studio_boxes import MOVING, moving_box, spans, video_clock
from vaclip.importers.drawings.label_studio_min import SIZE, whole_task
from vaclip.importers.drawings.label_studio_names import video_name
from vaclip.importers.drawings.label_studio_stills import STILLS, still
from vaclip.importers.drawings.label_studio_vectors import moving_vector
from vaclip.importers.drawings.picture_names import PictureNames
from vaclip.importers.drawings.picture_shapes import PictureShapes
from vaclip.importers.drawings.single_frames import SingleFrames, add_single_frame_options
from vaclip.importers.drawings.spans import Spans, add_span_option
from vaclip.importers.reading import SourceFile, parse_json, source_files
from vaclip.importers.video_sizes import VideoSizes
from vaclip.maps.shapes import Shapes, Track


class LabelStudioImporter(Importer):
    """Reads boxes, vectors and spans of videos, and shapes, points and masks of stills."""

    summary = "Label Studio: the exports JSON and JSON-MIN"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        group = add_label_option(parser)
        add_single_frame_options(group)
        add_span_option(group)
        group.add_argument("--video-field", default="video", metavar="NAME",
                           help="which field of a task's data names the video "
                           "(default: video)")  # fmt: skip
        group.add_argument("--frame-rate", type=float, metavar="FPS",
                           help="of the tag Video, where the key frames have no time")  # fmt: skip

    def read(self, sources: Sequence[Path], options: argparse.Namespace) -> Export:
        reader = _Reader(options)
        annotations = []
        for source in sources:
            for file in source_files(source, (".json",)):
                annotations += reader.annotations(file)
        annotations += reader.of_pictures()
        check_labels(options.label, reader.labels)
        reader.single.check(reader.labels)
        reader.spans.check()
        people = {annotation.annotator for annotation in annotations}
        if options.annotator and len(people) > 1:
            raise VaclipError(f"{len(people)} people annotated: --annotator would make one of them")
        if options.annotator:
            annotations = [
                NewAnnotation(m.video, options.annotator, m.content, m.where) for m in annotations
            ]
        lines = tuple(f"{count} {what}" for what, count in sorted(reader.dropped.items()))
        return Export(annotations=tuple(annotations), dropped=lines, notes=reader.notes())


class _Reader:
    """Reads files with the same options, and counts what is left out."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.dropped: Counter[str] = Counter()
        self.labels: set[str] = set()
        self.single = SingleFrames(options)
        self.spans = Spans(options)
        self._sizes = VideoSizes(options)
        self._pictures = PictureNames(options)
        self._on_pictures = PictureShapes()
        self._maybe_turned = 0

    def notes(self) -> tuple[str, ...]:
        """Returns what may not be what was meant."""
        if not self._maybe_turned:
            return ()
        return (
            f"{self._maybe_turned} shapes of pictures are of JSON-MIN, which does not say whether "
            "a picture was turned in Label Studio; if one was, export in the format JSON",
        )

    def of_pictures(self) -> Iterator[NewAnnotation]:
        """Returns what was drawn on pictures that videos were made of, after all files."""
        return self._on_pictures.annotations(self.single, self._pictures.counts, self._sizes)

    def annotations(self, file: SourceFile) -> Iterator[NewAnnotation]:
        content = parse_json(file.read(), file.name)
        tasks = content if isinstance(content, list) else [content]
        for number, task in enumerate(tasks):
            named = task.get("id", number) if isinstance(task, dict) else number
            where = f"{file.name}: task {named!s:.40}"
            match task:
                case {"data": dict(), "annotations": list()}:
                    yield from self._task(task, where)
                case {"annotation_id": _} | {"annotator": _}:
                    whole, stills = whole_task(task, self.options.video_field, where)
                    self._maybe_turned += stills
                    yield from self._task(whole, where)
                case _:
                    raise VaclipError(
                        f"{file.name}: task {number} has no 'data' and 'annotations'; export in "
                        "the format JSON, not another one"
                    )

    def _task(self, task: dict[str, Any], where: str) -> Iterator[NewAnnotation]:
        field = self.options.video_field
        value = task["data"].get(field)
        if places := self._places(value):
            self._take_pictures(task, places, where)
            return
        if isinstance(value, list):
            raise VaclipError(
                f"{where}: '{field}' lists pictures, not all of which are of clips of the study; "
                "import the clips first, from their pictures"
            )
        if not isinstance(value, str) or not value:
            known = ", ".join(map(str, task["data"]))
            raise VaclipError(
                f"{where}: its data has no '{field}' (it has: {known:.200}); say --video-field NAME"
            )
        video = video_name(value)
        if not video:
            raise VaclipError(f"{where}: '{field}' is hypertext that names no video: {value:.80}")
        listed = any(isinstance(entry, list) and len(entry) > 1 for entry in task["data"].values())
        for annotation, place in self._finished(task, where):
            _check_pages(_list(annotation.get("result"), place), place, several=listed)
            if shapes := self._shapes(annotation, video, place):
                yield NewAnnotation(
                    video, _annotator(annotation.get("completed_by")), shapes, place
                )
            else:
                self.dropped["annotations without any shape that is taken"] += 1
        self.dropped = +self.dropped

    def _finished(self, task: dict[str, Any], where: str) -> Iterator[tuple[dict[str, Any], str]]:
        """Yields the annotations that count, each with its place in the export."""
        self.dropped["predictions"] += len(_list(task.get("predictions"), where))
        for number, annotation in enumerate(task["annotations"]):
            if not isinstance(annotation, dict):
                raise VaclipError(f"{where}: annotation {number} is no object")
            if annotation.get("was_cancelled"):
                self.dropped["skipped annotations"] += 1
            else:
                yield annotation, f"{where}, annotation {annotation.get('id', number)!s:.40}"

    def _places(self, value: Any) -> list[tuple[str, int]]:
        """Returns video and frame of each page; nothing where one is no picture of a clip."""
        pages = value if isinstance(value, list) else [value]
        names = [video_name(page) if isinstance(page, str) and page else "" for page in pages]
        found = [self._pictures.find(name) if name else None for name in names]
        return [place for place in found if place] if all(found) else []

    def _take_pictures(
        self, task: dict[str, Any], places: Sequence[tuple[str, int]], where: str
    ) -> None:
        for annotation, spot in self._finished(task, where):
            who = _annotator(annotation.get("completed_by"))
            for number, result, value in self._results(annotation, spot):
                place = f"{spot}, result {number}"
                page = result.get("item_index") or 0
                if _kind(result) in (*MOVING, "timeline") or page not in range(len(places)):
                    raise VaclipError(f"{place}: is on no page of the task")
                size = _stated_size(result, place) or self._sizes.find(places[page][0])
                kind, key = still(_kind(result), value, size or UNMATCHED, place)
                if key is None:
                    self.dropped["empty shapes"] += 1
                    continue
                self._on_pictures.add(
                    places[page], who, kind, key, _labels(result), size or UNMATCHED, place
                )
        self.dropped = +self.dropped

    def _results(
        self, annotation: dict[str, Any], where: str
    ) -> Iterator[tuple[int, dict[str, Any], dict[str, Any]]]:
        """Yields the results that are taken: number, result and its value."""
        for number, result in enumerate(_list(annotation.get("result"), where)):
            place = f"{where}, result {number}"
            if not isinstance(result, dict) or not isinstance(result.get("type"), str):
                raise VaclipError(f"{place}: expected an object with 'type' and 'value'")
            if value := self._wanted(result, place):
                yield number, result, value

    def _shapes(self, annotation: dict[str, Any], video: str, where: str) -> Shapes | None:
        tracks: list[Track] = []
        labels: list[list[str]] = []
        sizes: set[tuple[int, int]] = set()
        results = _list(annotation.get("result"), where)
        clock: tuple[float, int | None] | None = None
        for number, result, value in self._results(annotation, where):
            place = f"{where}, result {number}"
            size = _stated_size(result, place) or self._sizes.find(video) or UNMATCHED
            if _kind(result) in (*MOVING, "timeline"):
                clock = clock or video_clock(results, self.options.frame_rate, where)
            found = self._tracks(result, value, size, clock, place)
            sizes |= {size} if found else set()
            labels += [_labels(result)] * len(found)
            tracks += found
        if len(sizes) > 1:
            raise VaclipError(f"{where}: its shapes are of pictures of different size")
        if not tracks:
            return None
        rate, frames = clock or (None, None)
        extended = self.single.extended(
            tracks, labels, frame=1 / (rate or math.inf), second=1.0, where=where
        )
        shapes = Shapes(sizes.pop(), extended, "second", frames, rate)
        return checked_shapes(shapes, where)

    def _tracks(
        self,
        result: dict[str, Any],
        value: dict[str, Any],
        size: tuple[int, int],
        clock: tuple[float, int | None] | None,
        where: str,
    ) -> list[Track]:
        """Returns what a result draws; ``clock`` is that of `video_clock`, of what moves."""
        labels, kind, rate = _labels(result), _kind(result), clock[0] if clock else 0.0
        if kind == "timeline":
            times = spans(value, rate, where)
            drawn = [self.spans.track(labels, size, start, end) for start, end in times]
            return [track for track in drawn if track]
        if kind == "videorectangle":
            shape, keys = "box", moving_box(value["sequence"], size, rate, where)
        elif kind == "videovector":
            if (found := moving_vector(value["sequence"], size, rate, where)) is None:
                self.dropped["vectors that branch, curve, or are closed only sometimes"] += 1
                return []
            shape, keys = found
        else:
            shape, key = still(kind, value, size, where)
            keys = (key,) if key else ()
        if not keys:
            self.dropped["empty shapes"] += 1
            return []
        return [Track("; ".join(labels), shape, keys)]

    def _wanted(self, result: dict[str, Any], where: str) -> dict[str, Any] | None:
        kind, value, labels = _kind(result), result.get("value"), _labels(result)
        named = {"timeline": "ranges"} | dict.fromkeys(MOVING, "sequence")
        if kind == "timeline" and not self.spans.means(labels):
            self.dropped["spans of a timeline that --span does not name"] += 1
        elif kind not in (*named, *STILLS):
            self.dropped[f"results of type {result['type']:.40}"] += 1
        elif result.get("image_rotation"):
            self.dropped["shapes on pictures that were turned in Label Studio"] += 1
        elif not isinstance(value, dict) or (
            kind in named and not isinstance(value.get(named[kind]), list)
        ):
            raise VaclipError(
                f"{where}: expected an object 'value', of a video with 'sequence' or 'ranges'"
            )
        else:
            self.labels.update(labels)
            wanted = self.options.label
            if not wanted or kind == "timeline" or set(labels) & set(wanted):
                return value
            self.dropped["shapes of other labels"] += 1
        return None


def _check_pages(results: Sequence[Any], where: str, *, several: bool) -> None:
    """Refuses shapes on one of several pages; ``several``: whether the task has a list of some."""
    pages = [result.get("item_index") for result in results if isinstance(result, dict)]
    if any(page is not None and (page != 0 or several) for page in pages):
        raise VaclipError(
            f"{where}: its shapes are on several pages of the task (item_index), of which nothing "
            "says when in the video they are; annotate the video itself, with the tag Video"
        )


def _annotator(completed_by: Any) -> str:
    person = completed_by if isinstance(completed_by, dict) else {"id": completed_by}
    for field in ("email", "username", "id"):
        if isinstance(name := person.get(field), str) and name.strip():
            return name.strip()
    match person.get("id"):
        case int(number):
            return f"user {number}"
        case _:
            return ""


def _kind(result: dict[str, Any]) -> str:
    """Returns the type of a result, whether its tool has labels of its own or not."""
    return result["type"].removesuffix("labels")


def _labels(result: dict[str, Any]) -> list[str]:
    value = result.get("value")
    listed = value.get(result["type"], value.get("labels")) if isinstance(value, dict) else None
    listed = [listed] if isinstance(listed, str) else listed
    return [str(label) for label in listed] if isinstance(listed, list) else []


def _list(value: Any, where: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise VaclipError(f"{where}: expected lists of results and predictions")
    return value


def _stated_size(result: dict[str, Any], where: str) -> tuple[int, int] | None:
    match [result.get(side) for side in SIZE]:
        case [None, None]:
            return None
        case [int(height), int(width)] if height > 0 and width > 0:
            return height, width
        case _:
            raise VaclipError(f"{where}: 'original_height' or 'original_width' is no size")
