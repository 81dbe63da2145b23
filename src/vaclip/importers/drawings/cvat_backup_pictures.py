"""Backups of CVAT's tasks of pictures, as the pictures that "CVAT for images" lists.

Facts from CVAT's exporter (engine/backup.py) and what makes its tasks (engine/task.py), both of
2025, and its "Dataset manifest":

- Behind two lines the manifest has a line for each picture in the order of the task, ``name``
  and ``extension``, ``width`` and ``height``. Its pictures are numbered from 0, and frame n of the
  task is number start_frame + step * n. A backup that leaves other pictures out of the manifest
  leaves ``start_frame`` and ``frame_filter`` out as well.
- With honeypots (``validation_layout``) pictures are shown several times, under numbers that CVAT
  deals out anew: such a task is refused.
- A track goes over the pictures of the task in their order; "for images" splits it, and so is it
  here. It is not shown on deleted pictures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any
from xml.etree.ElementTree import Element, SubElement

from vaclip.errors import VaclipError
from vaclip.importers.drawings.cvat_backup_files import frame_number, of_type, shown_frames
from vaclip.importers.reading import parse_json

_INSTEAD = "export the task as 'CVAT for images 1.1'"


class Pictures:
    """The pictures of a task, by its frames.

    Args:
        lines: Of the manifest, behind its head.
        data: As task.json has it.
        last: The task's last frame.
        where: What to call the task in messages.

    Raises:
        VaclipError: If it is not sure which picture a frame shows.
    """

    def __init__(self, lines: Sequence[bytes], data: dict[str, Any], last: int, where: str) -> None:
        self.where = where
        if data.get("validation_layout"):
            raise VaclipError(
                f"{where}: the task has honeypots, pictures that it shows several times; {_INSTEAD}"
            )
        first, step = shown_frames(data, where)
        if first + step * last >= len(lines):
            raise VaclipError(
                f"{where}: the task has {last + 1} pictures, of which the manifest lacks some (it "
                f"lists {len(lines)}); {_INSTEAD}"
            )
        self._lines = lines[first : first + step * last + 1 : step]

    def element(self, frame: int) -> Element:
        """Returns the picture of a frame, on which nothing is drawn yet."""
        place = f"{self.where}: picture {frame} of data/manifest.jsonl"
        if frame >= len(self._lines):
            raise VaclipError(f"{place} is drawn on, but the task has {len(self._lines)}")
        about = of_type(parse_json(self._lines[frame], place), dict, place)
        name, suffix = (
            of_type(about.get(key), str, f"{place}: '{key}'") for key in ("name", "extension")
        )
        width, height = (
            frame_number(about.get(key), f"{place}: '{key}'") for key in ("width", "height")
        )
        return Element("image", name=f"{name}{suffix}", width=str(width), height=str(height))


def images(
    drawn: Iterable[tuple[Element, str]],
    pictures: Pictures,
    deleted: Collection[int],
    dropped: Counter[str],
) -> Iterator[tuple[Element, str]]:
    """Yields the pictures on which something is drawn, each with its place in the export.

    Args:
        drawn: Tags, and tracks that list every frame.
        pictures: Of the task.
        deleted: Frames that do not count.
        dropped: What is left out, counted.
    """
    found: dict[int, Element] = {}

    def picture(row: Element) -> Element | None:
        frame = int(row.attrib["frame"])
        if frame in deleted:
            dropped["shapes on deleted frames"] += 1
            return None
        if frame not in found:
            found[frame] = pictures.element(frame)
        return found[frame]

    for element, _ in drawn:
        label = element.attrib["label"]
        if element.tag == "tag" and (image := picture(element)) is not None:
            image.append(element)
        for row in element if element.find("track") is None else ():
            if row.get("outside") == "0" and (image := picture(row)) is not None:
                row.set("label", label)
                image.append(row)
        for frame, joints in _skeletons(element).items():
            if (image := picture(joints[0])) is not None:
                SubElement(image, "skeleton", label=label, frame=frame).extend(joints)
    for frame in sorted(found):
        yield found[frame], f"{pictures.where}: picture '{found[frame].get('name')}'"


def _skeletons(element: Element) -> dict[str, list[Element]]:
    """Returns the joints of a skeleton on each frame that has one."""
    frames: dict[str, list[Element]] = {}
    for inner in element.findall("track"):
        for row in inner:
            if row.get("outside") == "0":
                row.set("label", inner.attrib["label"])
                frames.setdefault(row.attrib["frame"], []).append(row)
    return frames
