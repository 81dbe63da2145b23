"""``cvat``: "CVAT for video 1.1", the XML export of tasks, jobs and projects.

Facts from CVAT's "XML annotation format" and, for what that page leaves open, from its exporter
(dataset_manager/formats/cvat.py, bindings.py and annotation.py):

- ``frame`` counts decoded pictures of the video from 0, also in a task that leaves some out: it is
  start_frame + step * (number in the task). In a project the frames of all earlier tasks of the
  same subset are added.
- Every frame of a track is listed, those between key frames as CVAT interpolated them. A track
  that is not there any more has one row with ``outside``, and a shape of a single frame too, but
  not where the task ends soon after, and in a project seldom: so a shape ends with its last row.
- ``rle`` of a mask are runs in its rectangle, row by row, the first one background.
- A skeleton is a track; its joints are points in it, or, in files of 2022, tracks in it.
- Angles are in degrees, clockwise, about the centre.
"""

from __future__ import annotations

import argparse
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree.ElementTree import Element

from vaclip.errors import VaclipError
from vaclip.importers.base import MOST_FRAMES, Export, Importer, NewAnnotation
from vaclip.importers.drawings.common import add_label_option, check_labels, checked_shapes
from vaclip.importers.drawings.single_frames import SingleFrames, add_single_frame_options
from vaclip.importers.reading import SourceFile, source_files, xml_elements
from vaclip.importers.video_sizes import VideoSizes
from vaclip.maps.shapes import Key, Points, Shapes, Track, shape_at

_TYPES = ("box", "ellipse", "polygon", "polyline", "points", "mask")
_OTHER_TYPES = ("skeleton", "cuboid")
_STEP = re.compile(r"step\s*=\s*([0-9]{1,6})")
# The file gives two decimals: a frame and its two key frames are off by up to half of one each.
_ROUNDING = 0.0101


class CvatImporter(Importer):
    """Reads tracks of boxes, ellipses, polygons, polylines, points and masks."""

    summary = "CVAT for video 1.1: XML, or the zip archive that holds it"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        group = add_label_option(parser)
        add_single_frame_options(group)
        group.add_argument("--skip-occluded", action="store_true",
                           help="leave out moments that are marked as occluded")  # fmt: skip
        group.add_argument("--partial", action="store_true",
                           help="the tasks stop before the end of their videos: do not compare "
                           "the numbers of frames")  # fmt: skip
        group.add_argument("--video", metavar="NAME",
                           help="which video, where a job is exported")  # fmt: skip

    def read(self, sources: Sequence[Path], options: argparse.Namespace) -> Export:
        annotations: list[NewAnnotation] = []
        dropped: Counter[str] = Counter()
        labels: set[str] = set()
        single = SingleFrames(options)
        videos = VideoSizes(options) if single.timed else None
        for source in sources:
            for file in source_files(source, (".xml",)):
                for video, task, drawn in _annotated(file, options, dropped, labels):
                    tracks = single.extended(
                        drawn,
                        [{track.label} for track in drawn],
                        frame=task.step,
                        second=(videos.rate(video) if videos else None) or 1.0,
                        end=math.inf if task.whole else task.last + task.step,
                        where=task.where,
                    )
                    frames = task.last + 1 if task.whole else None
                    shapes = checked_shapes(Shapes(task.size, tracks, frames=frames), task.where)
                    who = options.annotator or task.annotator
                    annotations.append(NewAnnotation(video, who, shapes, task.where))
        check_labels(options.label, labels)
        single.check(labels)
        lines = tuple(f"{count} {what}" for what, count in sorted(dropped.items()))
        return Export(annotations=tuple(annotations), dropped=lines)


@dataclass(frozen=True)
class _Task:
    """A task or job: a video, or a part of one.

    Attributes:
        where: The place in the export, for messages.
        video: The file's name; None for a task of pictures.
        annotator: Who, "" where nobody is named.
        size: (height, width) in pixels.
        first: The first frame of the video.
        last: The last one.
        step: Every which frame.
        offset: What the file adds to the frames of this task.
        whole: Whether the task shows all frames of its video.
    """

    where: str
    video: str | None
    annotator: str
    size: tuple[int, int]
    first: int
    last: int
    step: int
    offset: int
    whole: bool


def _annotated(
    file: SourceFile, options: argparse.Namespace, dropped: Counter[str], labels: set[str]
) -> Iterator[tuple[str, _Task, list[Track]]]:
    """Yields each task in which something is drawn: its video, the task, what is drawn."""
    tasks: dict[str | None, _Task] = {}
    tracks: dict[str | None, list[Track]] = defaultdict(list)
    elements = xml_elements(file.read(), file.name, ("meta", "track", "image"))
    for number, element in enumerate(elements):
        if element.tag == "meta" and not tasks:
            tasks = _tasks(element, options, file.name)
        elif element.tag == "image":
            raise VaclipError(
                f"{file.name}: this is 'CVAT for images'; export the task of a video as "
                "'CVAT for video 1.1'"
            )
        elif element.tag == "track":
            key = element.get("task_id") if len(tasks) > 1 else next(iter(tasks), None)
            if key not in tasks:
                raise VaclipError(
                    f"{file.name}: track {element.get('id', number)} belongs to no task in <meta>"
                )
            where = f"{file.name}: track {element.get('id', number)}"
            if track := _track(element, tasks[key], where, options, dropped, labels):
                tracks[key].append(track)
    if not tasks:
        raise VaclipError(f"{file.name}: no export of CVAT: there is no <meta> with a task or job")
    for key, task in tasks.items():
        if task.video is None or not tracks[key]:
            dropped["tasks without any shape that is taken"] += 1
            continue
        yield task.video, task, tracks[key]


# --- tasks ---------------------------------------------------------------------------------------


def _tasks(meta: Element, options: argparse.Namespace, name: str) -> dict[str | None, _Task]:
    """Returns the tasks by what tracks call them; the only one of a file by None."""
    for tag in ("task", "job"):
        if (found := meta.find(tag)) is not None:
            return {None: _task(found, meta, name, options, offset=0)}
    tasks: dict[str | None, _Task] = {}
    offset, subset = 0, None
    for element in meta.findall("project/tasks/task"):
        where = f"{name}: task {element.findtext('id', '?')}"
        if element.findtext("subset") != subset:
            offset, subset = 0, element.findtext("subset")
        task = _task(element, element, where, options, offset)
        tasks[element.findtext("id")] = task
        offset += task.last + task.step
    return tasks


def _task(
    element: Element, around: Element, where: str, options: argparse.Namespace, offset: int
) -> _Task:
    step = _STEP.search(element.findtext("frame_filter") or "")
    every = int(step[1]) if step else 1
    first = _whole(element.findtext("start_frame") or "0", f"{where}: <start_frame>")
    count = _whole(element.findtext("size"), f"{where}: <size>")
    if not 1 <= count * every <= MOST_FRAMES or first > MOST_FRAMES:
        raise VaclipError(f"{where}: more than {MOST_FRAMES} frames, or none")
    # Earlier versions of CVAT, and exports of jobs, have these beside the task.
    video = element.findtext("source") or around.findtext("source")
    size = element.find("original_size")
    size = around.find("original_size") if size is None else size
    if element.tag == "job":
        video = options.video
        if not video:
            raise VaclipError(
                f"{where}: the export of a job does not name its video; say --video NAME, or "
                "export the task"
            )
    if size is None or not video:
        if element is not around:
            raise VaclipError(
                f"{where}: the task is not made of a video: there is no <source> or no "
                "<original_size>; make a task of the video itself"
            )
        return _Task(where, None, "", (1, 1), first, first + (count - 1) * every, every, offset,
                     whole=False)  # fmt: skip
    height, width = (
        _whole(size.findtext(side), f"{where}: <{side}>") for side in ("height", "width")
    )
    return _Task(
        where=where,
        video=video.strip(),
        annotator=_annotator(element),
        size=(height, width),
        first=first,
        last=first + (count - 1) * every,
        step=every,
        offset=offset,
        whole=element.tag == "task" and first == 0 and every == 1 and not options.partial,
    )


def _annotator(element: Element) -> str:
    for role in ("assignee", "owner"):
        if name := (element.findtext(f"{role}/username") or "").strip():
            return name
    return ""


def _whole(text: str | None, where: str) -> int:
    """Returns a whole number from 0."""
    if text is None or not re.fullmatch(r"[0-9]{1,12}", text.strip()):
        raise VaclipError(f"{where} is {text!r:.40}; expected a whole number from 0")
    return int(text)


# --- tracks --------------------------------------------------------------------------------------


def _track(
    element: Element,
    task: _Task,
    where: str,
    options: argparse.Namespace,
    dropped: Counter[str],
    labels: set[str],
) -> Track | None:
    """Returns a track, without rows that follow from others; None where nothing is left."""
    label = element.get("label", "")
    rows = [row for row in element if row.tag in _TYPES + _OTHER_TYPES]
    if task.video is None:
        dropped["tracks in tasks that are not made of a video"] += 1
        return None
    other = next((row.tag for row in rows if row.tag in _OTHER_TYPES), None)
    if element.find("track") is not None:
        other = "skeleton"
    if other is not None:
        dropped[f"tracks of type {other}"] += 1
        return None
    labels.add(label)
    if options.label and label not in options.label:
        dropped["tracks of other labels"] += 1
        return None
    keys: list[Key] = []
    fixed: list[bool] = []
    for row in rows:
        key = _key(row, task, where, skip_occluded=options.skip_occluded)
        if row.tag != rows[0].tag or (keys and key.at <= keys[-1].at):
            raise VaclipError(
                f"{where}: at frame {row.get('frame')} its type changes or time does not go on"
            )
        keys.append(key)
        fixed.append(_yes(row, "keyframe", where, absent=True) or key.outside)
    kept = _without_absence(_thinned(keys, fixed, rows[0].tag)) if keys else []
    if not kept:
        dropped["tracks that are never visible"] += 1
        return None
    if not kept[-1].outside:
        kept.append(Key(keys[-1].at + task.step, outside=True))
    return Track(label, rows[0].tag, tuple(kept))


def _key(row: Element, task: _Task, where: str, *, skip_occluded: bool) -> Key:
    frame = _whole(row.get("frame"), f"{where}: 'frame'") - task.offset
    where = f"{where}, frame {frame}"
    # A shape may be marked as outside just after the last frame.
    if not task.first <= frame <= task.last + task.step or (frame - task.first) % task.step:
        raise VaclipError(
            f"{where}: the task has the frames {task.first} to {task.last}, every {task.step}"
        )
    if _yes(row, "outside", where) or (skip_occluded and _yes(row, "occluded", where)):
        return Key(frame, outside=True)
    if row.tag == "mask":
        left, top, width, height = (
            _whole(row.get(name), f"{where}: '{name}'")
            for name in ("left", "top", "width", "height")
        )
        runs = tuple(_whole(run, f"{where}: 'rle'") for run in (row.get("rle") or "").split(","))
        corners = ((float(left), float(top)), (float(left + width), float(top + height)))
        return Key(frame, corners, runs=runs)
    if row.tag not in ("box", "ellipse"):
        return Key(frame, _points(row.get("points"), where))
    names = ("xtl", "ytl", "xbr", "ybr") if row.tag == "box" else ("cx", "cy", "rx", "ry")
    a, b, c, d = (_number(row.get(name), f"{where}: '{name}'") for name in names)
    return Key(frame, ((a, b), (c, d)), _number(row.get("rotation", "0"), f"{where}: 'rotation'"))


def _yes(row: Element, name: str, where: str, *, absent: bool = False) -> bool:
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


def _thinned(keys: Sequence[Key], fixed: Sequence[bool], kind: str) -> list[Key]:
    """Leaves out what `shape_at` gives anyhow, within the rounding of the file.

    Args:
        keys: Every frame that the file lists.
        fixed: Which of them are key frames.
        kind: The type of the track.
    """
    kept, last = [keys[0]], 0
    for number in range(1, len(keys)):
        if not fixed[number] and number + 1 < len(keys):
            continue
        pair = Track("", kind, (keys[last], keys[number]))
        between = range(last + 1, number)
        if not all(_alike(shape_at(pair, keys[i].at), keys[i]) for i in between):
            kept += [
                keys[i] for i in between
                if any(replace(keys[j], at=keys[i].at) != keys[i] for j in (i - 1, i + 1))
            ]  # fmt: skip
        kept.append(keys[number])
        last = number
    return kept


def _alike(one: Key | None, other: Key) -> bool:
    if one is None or len(one.points) != len(other.points) or one.runs != other.runs:
        return False
    apart = [abs((one.turn - other.turn + 180) % 360 - 180)]
    for (x, y), (u, v) in zip(one.points, other.points, strict=True):
        apart += abs(x - u), abs(y - v)
    return max(apart) <= _ROUNDING


def _without_absence(keys: Sequence[Key]) -> list[Key]:
    """Leaves out keys that say again, or at the beginning, that a shape is not there."""
    before = [True, *(key.outside for key in keys)]
    return [key for key, absent in zip(keys, before, strict=False) if not (key.outside and absent)]
