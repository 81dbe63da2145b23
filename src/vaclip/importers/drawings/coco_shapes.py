"""``coco_shapes``: polygons, masks and boxes in COCO's JSON, of pictures that are frames of videos.

Facts from "COCO Data Format" (Object Detection): ``segmentation`` is a list of polygons, each x, y,
x, y and so on in pixels, which are one thing together, or a run-length code (`coco_rle`); ``bbox``
is x, y, width, height. Where there is a segmentation the box follows from it. Nothing says who
annotated. Pictures: see `coco_pictures`.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vaclip.errors import VaclipError
from vaclip.importers.base import FARTHEST, Export, Importer
from vaclip.importers.coco_pictures import (
    Picture,
    coco_key,
    coco_pictures,
    coco_rows,
    named_pictures,
)
from vaclip.importers.drawings.brush import mask_key
from vaclip.importers.drawings.coco_rle import decode_rle
from vaclip.importers.drawings.common import UNMATCHED, add_label_option, check_labels
from vaclip.importers.drawings.picture_shapes import PictureShapes
from vaclip.importers.drawings.single_frames import SingleFrames, add_single_frame_options
from vaclip.importers.poses.people import first_frame, frame_number, number_array
from vaclip.importers.reading import SourceFile, parse_json, source_files
from vaclip.importers.video_sizes import VideoSizes
from vaclip.importers.video_template import add_video_options, templated
from vaclip.maps.shapes import Key, Points


class CocoShapesImporter(Importer):
    """Reads segmentations and boxes of pictures, and puts them together to videos."""

    summary = "COCO segmentations: JSON polygons, masks and boxes of pictures cut from videos"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        group = add_label_option(parser)
        add_single_frame_options(group)
        add_video_options(
            group, "the one video of the export (default: by the file)", "what it is called there"
        )
        group.add_argument("--first-frame", type=int, choices=(0, 1),
                           help="what the first frame is numbered")  # fmt: skip

    def read(self, sources: Sequence[Path], options: argparse.Namespace) -> Export:
        single = SingleFrames(options)
        reader = _Reader(options)
        for source in sources:
            for file in source_files(source, (".json",)):
                reader.read(file)
        annotations = tuple(reader.shapes.annotations(single, {}, reader.sizes))
        check_labels(options.label, reader.labels)
        single.check(reader.labels)
        lines = tuple(f"{count} {what}" for what, count in sorted(reader.dropped.items()))
        return Export(annotations=annotations, dropped=lines)


class _Reader:
    """Reads files with the same options, and counts what is left out."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.dropped: Counter[str] = Counter()
        self.labels: set[str] = set()
        self.shapes = PictureShapes()
        self.sizes = VideoSizes(options)

    def read(self, file: SourceFile) -> None:
        base, name = parse_json(file.read(), file.name), file.name
        labels = _labels(base, name)
        pictures = named_pictures(coco_pictures(base, name), self.options, name)
        places = self._places(pictures, name)
        for number, row in enumerate(coco_rows(base, "annotations", name)):
            where = f"{name}: annotation {number}"
            if not isinstance(row, dict):
                raise VaclipError(f"{where}: expected an object")
            if (key := coco_key(row.get("image_id"), where)) not in places:
                raise VaclipError(f"{where}: there is no picture with the id {key!r}")
            if (category := coco_key(row.get("category_id"), where)) not in labels:
                raise VaclipError(f"{where}: there is no category with the id {category!r}")
            if self._wants(label := labels[category], row):
                self._take(row, label, places[key], pictures[key].size, where)

    def _wants(self, label: str, row: dict[str, Any]) -> bool:
        self.labels.add(label)
        if self.options.label and label not in self.options.label:
            self.dropped["annotations of other labels"] += 1
            return False
        if row.get("keypoints"):
            self.dropped["skeletons, which the kind coco reads"] += 1
        return True

    def _take(
        self,
        row: dict[str, Any],
        label: str,
        place: tuple[str, int],
        size: tuple[int, int] | None,
        where: str,
    ) -> None:
        size = size or self.sizes.find(place[0]) or UNMATCHED
        drawn = False
        for kind, key in _shapes(row, size, where):
            who = self.options.annotator or ""
            self.shapes.add(place, who, kind, key, [label], size, where)
            drawn = True
        self.dropped["annotations without a segmentation or a box"] += not drawn
        self.dropped = +self.dropped

    def _places(
        self, pictures: dict[int | str, Picture], name: str
    ) -> dict[int | str, tuple[str, int]]:
        """Returns the video and frame of each picture."""
        videos = dict.fromkeys(picture.video for picture in pictures.values())
        video = self.options.video
        if video and len(videos) > 1:
            raise VaclipError(f"{name}: --video names one video, but these are {len(videos)}")
        lowest = min(picture.number for picture in pictures.values())
        first = first_frame(lowest, self.options.first_frame, name)
        places: dict[int | str, tuple[str, int]] = {}
        taken: set[tuple[str, int]] = set()
        for key, picture in pictures.items():
            where = f"{name}: {picture.video}"
            called = video or templated(self.options, picture.video) or picture.video
            place = called, frame_number(picture.number, where, first)
            if place in taken:
                raise VaclipError(f"{where}: two pictures are frame {picture.number}")
            taken.add(place)
            places[key] = place
        return places


def _labels(base: Any, name: str) -> dict[int | str, str]:
    if isinstance(base, list):
        raise VaclipError(
            f"{name} is a results file, which names neither its pictures nor labels; import the "
            "annotations, with 'images' and 'categories'"
        )
    labels = {}
    for number, row in enumerate(coco_rows(base, "categories", name)):
        where = f"{name}: categories[{number}]"
        if not isinstance(row, dict) or not isinstance(row.get("name"), str):
            raise VaclipError(f"{where}: expected 'id' and 'name'")
        labels[coco_key(row.get("id"), where)] = row["name"]
    return labels


def _shapes(row: dict[str, Any], size: tuple[int, int], where: str) -> Iterator[tuple[str, Key]]:
    """Yields type and place of each part of an annotation."""
    match row.get("segmentation"), row.get("bbox"):
        case dict() as code, _:
            try:
                key = mask_key(decode_rle(code, size))
            except VaclipError as error:
                raise VaclipError(f"{where}: {error}") from error
            if key is not None:
                yield "mask", key
        case [*polygons], _ if polygons:
            for polygon in polygons:
                yield "polygon", Key(0.0, _points(polygon, f"{where}: 'segmentation'"))
        case None | [], [*box] if box:
            (x, y), extent = _points(box, f"{where}: 'bbox'", count=2)
            yield "box", Key(0.0, ((x, y), (x + extent[0], y + extent[1])))
        case None | [], None | []:
            return
        case _:
            raise VaclipError(
                f"{where}: expected 'segmentation' as polygons or runs, or 'bbox' as four numbers"
            )


def _points(values: Any, where: str, count: int | None = None) -> Points:
    numbers = number_array(values, where)
    if numbers.ndim != 1 or numbers.size % 2 or (count and numbers.size != 2 * count):
        raise VaclipError(f"{where}: expected x, y, x, y and so on")
    if not (abs(numbers) <= FARTHEST).all():
        raise VaclipError(f"{where}: a corner lies more than {FARTHEST:.0f} pixels away")
    return tuple((float(x), float(y)) for x, y in numbers.reshape(-1, 2))
