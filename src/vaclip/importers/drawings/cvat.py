"""``cvat``: "CVAT for video 1.1" and "CVAT for images 1.1", XML exports of tasks, jobs, projects.

Backups, whose facts stand in the module `cvat_backup`, are read as such XML.

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
- "For images" lists pictures with what is drawn on each; tracks are split, and nothing says which
  shapes belonged together. The frames of a video are called frame_000012, by the number in the
  video; pictures by their paths.
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
from vaclip.importers.base import Export, Importer, NewAnnotation
from vaclip.importers.drawings.common import add_label_option, check_labels, checked_shapes
from vaclip.importers.drawings.cvat_backup import Backup, backup_folders
from vaclip.importers.drawings.cvat_shapes import (
    OTHER_TYPES,
    TYPES,
    is_marked,
    shape_key,
    whole_number,
)
from vaclip.importers.drawings.cvat_skeletons import Skeletons
from vaclip.importers.drawings.cvat_tasks import Task, job_video, read_tasks
from vaclip.importers.drawings.picture_names import PictureNames
from vaclip.importers.drawings.single_frames import SingleFrames, add_single_frame_options
from vaclip.importers.drawings.spans import Spans, add_span_option
from vaclip.importers.reading import SourceFile, source_files, xml_elements
from vaclip.importers.video_sizes import VideoSizes
from vaclip.importers.video_template import add_video_options
from vaclip.maps.shapes import Key, Shapes, Track, shape_at

_BACKUP = (".json", ".jsonl")
_FRAME = re.compile(r"(?:^|/)frame_([0-9]{6,9})(?:\.[A-Za-z0-9]+)?$")
# The file gives two decimals: a frame and its two key frames are off by up to half of one each.
_ROUNDING = 0.0101


class CvatImporter(Importer):
    """Reads tracks of boxes, ellipses, polygons, polylines, points and masks."""

    summary = "CVAT for video 1.1, CVAT for images 1.1: XML or zip archive; backups of tasks"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        group = add_label_option(parser)
        add_single_frame_options(group)
        add_span_option(group)
        group.add_argument("--skip-occluded", action="store_true",
                           help="leave out moments that are marked as occluded")  # fmt: skip
        group.add_argument("--partial", action="store_true",
                           help="the tasks stop before the end of their videos: do not compare "
                           "the numbers of frames")  # fmt: skip
        group.add_argument("--skeleton", metavar="LABEL",
                           help="the skeleton that is the patient: its joints become "
                           "keypoints")  # fmt: skip
        add_video_options(
            group, "which video, where a job is exported", "that of the export's file"
        )

    def read(self, sources: Sequence[Path], options: argparse.Namespace) -> Export:
        annotations: list[NewAnnotation] = []
        dropped: Counter[str] = Counter()
        labels: set[str] = set()
        single = SingleFrames(options)
        videos = VideoSizes(options) if single.timed else None
        pictures = PictureNames(options)
        taken = _Taken(options, dropped, labels, Skeletons(options.skeleton), Spans(options))
        for source in sources:
            for video, task, drawn in _exported(source, pictures, taken):
                tracks = single.extended(
                    drawn,
                    [taken.spans.labels(track) for track in drawn],
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
        taken.spans.check()
        lines = tuple(f"{count} {what}" for what, count in sorted(dropped.items()) if count)
        poses, names = taken.skeletons.poses()
        return Export(
            annotations=tuple(annotations), poses=poses, keypoint_names=names, dropped=lines
        )


@dataclass(frozen=True)
class _Taken:
    """Which shapes are taken, and what is found of them in passing."""

    options: argparse.Namespace
    dropped: Counter[str]
    labels: set[str]
    skeletons: Skeletons
    spans: Spans

    def tag(self, element: Element, frame: int, task: Task) -> list[Track]:
        """Returns what a tag of a frame means, if it means a region."""
        label = element.get("label", "")
        track = self.spans.track([label], task.size, frame, frame + task.step)
        if track is None:
            self.dropped["tags that --span does not name"] += 1
            return []
        self.labels.add(label)
        return [track]

    def wants(self, label: str, what: str) -> bool:
        """Whether a shape's label is wanted; takes note of it."""
        self.labels.add(label)
        if self.options.label and label not in self.options.label:
            self.dropped[f"{what} of other labels"] += 1
            return False
        return True


def _exported(
    source: Path, pictures: PictureNames, taken: _Taken
) -> Iterator[tuple[str, Task, list[Track]]]:
    """Yields each task in which something is drawn: its video, the task, what is drawn."""
    files = source_files(source, (".xml", *_BACKUP))
    documents = [file for file in files if not file.name.lower().endswith(_BACKUP)]
    folders = backup_folders(files)
    if not documents and not folders:
        raise VaclipError(
            f"'{source.name}' holds neither XML nor the task.json of a backup; of a backup, name "
            "the zip archive or the whole folder"
        )
    for file in documents:
        yield from _annotated(file, source, pictures, taken)
    for folder in folders:
        where = f"{source.name}: {folder.strip('/') or 'task'}"
        backup = Backup(folder, files, where, taken.options, taken.dropped)
        yield from _backed_up(backup, pictures, taken)


def _backed_up(
    backup: Backup, pictures: PictureNames, taken: _Taken
) -> Iterator[tuple[str, Task, list[Track]]]:
    task = backup.task
    drawn: dict[Task, list[Track]] = defaultdict(list)
    for element, where in backup.elements():
        if element.tag == "image":
            part, frame = _picture(element, task, pictures, where)
            drawn[part] += _shapes(element, frame, part, where, taken)
        elif element.tag == "tag":
            drawn[task] += taken.tag(element, _frame(element, task, where), task)
        elif track := _track(element, task, where, taken):
            drawn[task].append(track)
    found = [(part.video, part, own) for part, own in drawn.items() if part.video and own]
    taken.dropped["tasks without any shape that is taken"] += not found
    yield from found


def _annotated(
    file: SourceFile,
    source: Path,
    pictures: PictureNames,
    taken: _Taken,
) -> Iterator[tuple[str, Task, list[Track]]]:
    """The same of one XML file."""
    tasks: dict[str | None, Task] = {}
    drawn: dict[Task, list[Track]] = defaultdict(list)
    elements = xml_elements(file.read(), file.name, ("meta", "track", "image"))
    for number, element in enumerate(elements):
        if element.tag == "meta":
            tasks = tasks or read_tasks(
                element, taken.options, file.name, job_video(file, source, taken.options)
            )
            continue
        key = element.get("task_id") if len(tasks) > 1 else next(iter(tasks), None)
        where = f"{file.name}: {element.tag} {element.get('id', number)}"
        if key not in tasks:
            raise VaclipError(f"{where} belongs to no task in <meta>")
        if element.tag == "image":
            part, frame = _picture(element, tasks[key], pictures, where)
            drawn[part] += _shapes(element, frame, part, where, taken)
        elif tasks[key].unnamed:
            raise VaclipError(tasks[key].unnamed)
        elif track := _track(element, tasks[key], where, taken):
            drawn[tasks[key]].append(track)
    if not tasks:
        raise VaclipError(f"{file.name}: no export of CVAT: there is no <meta> with a task or job")
    found = [(part.video, part, own) for part, own in drawn.items() if part.video and own]
    idle = len(tasks) - len({part.key for _, part, _ in found})
    if idle:
        taken.dropped["tasks without any shape that is taken"] += idle
    yield from found


# --- pictures ------------------------------------------------------------------------------------


def _picture(element: Element, task: Task, pictures: PictureNames, where: str) -> tuple[Task, int]:
    """Returns what part of a task a picture belongs to, a video of its own, and its frame."""
    name = element.get("name") or ""
    if task.video is not None and (frame := _FRAME.search(name)):
        return task, int(frame[1])
    height, width = (
        whole_number(element.get(side), f"{where}: '{side}'") for side in ("height", "width")
    )
    video, frame = pictures.find(name) or (name, 0)  # by its own name it belongs to no clip
    last = pictures.counts.get(video, 1) - 1
    part = replace(task, where=f"{task.where}: '{name}'" if video == name else task.where,
                   video=video, size=(height, width), first=0, last=last, step=1,
                   whole=video in pictures.counts, unnamed="")  # fmt: skip
    return part, frame


def _shapes(element: Element, frame: int, part: Task, where: str, taken: _Taken) -> list[Track]:
    """Returns what is drawn on a picture, each as a track of one frame."""
    tracks = []
    for row in element:
        if row.tag == "skeleton" and taken.skeletons.wants(row.get("label", "")):
            continue  # below, all at once
        if row.tag == "tag":
            tracks += taken.tag(row, frame, part)
        elif row.tag in OTHER_TYPES:
            taken.dropped[f"shapes of type {row.tag}"] += 1
        elif row.tag in TYPES and taken.wants(label := row.get("label", ""), "shapes"):
            if taken.options.skip_occluded and is_marked(row, "occluded", where):
                taken.dropped["shapes that are occluded"] += 1
                continue
            end = Key(frame + part.step, outside=True)
            tracks.append(Track(label, row.tag, (shape_key(row, frame, where), end)))
    if part.video and any(taken.skeletons.wants(row.get("label", "")) for row in element):
        taken.skeletons.add(element, part.video, size=part.size, last=part.last, whole=part.whole,
                            frame_of=lambda *_: frame, where=where)  # fmt: skip
    return tracks


# --- tracks --------------------------------------------------------------------------------------


def _track(element: Element, task: Task, where: str, taken: _Taken) -> Track | None:
    """Returns a track, without rows that follow from others; None where nothing is left."""
    label = element.get("label", "")
    rows = [row for row in element if row.tag in TYPES + OTHER_TYPES]
    if task.video is None:
        taken.dropped["tracks in tasks that are not made of a video"] += 1
        return None
    other = next((row.tag for row in rows if row.tag in OTHER_TYPES), None)
    if element.find("track") is not None:
        other = "skeleton"
    if other == "skeleton" and taken.skeletons.wants(label):
        taken.skeletons.add(
            element, task.video, size=task.size, last=task.last, whole=task.whole,
            frame_of=lambda row, at: _frame(row, task, at), where=where,
        )  # fmt: skip
        return None
    if other is not None:
        taken.dropped[f"tracks of type {other}"] += 1
        return None
    if not taken.wants(label, "tracks"):
        return None
    keys: list[Key] = []
    fixed: list[bool] = []
    for row in rows:
        key = _key(row, task, where, skip_occluded=taken.options.skip_occluded)
        if row.tag != rows[0].tag or (keys and key.at <= keys[-1].at):
            raise VaclipError(
                f"{where}: at frame {row.get('frame')} its type changes or time does not go on"
            )
        keys.append(key)
        fixed.append(is_marked(row, "keyframe", where, absent=True) or key.outside)
    kept = _without_absence(_thinned(keys, fixed, rows[0].tag)) if keys else []
    if not kept:
        taken.dropped["tracks that are never visible"] += 1
        return None
    if not kept[-1].outside:
        kept.append(Key(keys[-1].at + task.step, outside=True))
    return Track(label, rows[0].tag, tuple(kept))


def _key(row: Element, task: Task, where: str, *, skip_occluded: bool) -> Key:
    frame = _frame(row, task, where)
    where = f"{where}, frame {frame}"
    if is_marked(row, "outside", where) or (skip_occluded and is_marked(row, "occluded", where)):
        return Key(frame, outside=True)
    return shape_key(row, frame, where)


def _frame(row: Element, task: Task, where: str) -> int:
    frame = whole_number(row.get("frame"), f"{where}: 'frame'") - task.offset
    # A shape may be marked as outside just after the last frame.
    if not task.first <= frame <= task.last + task.step or (frame - task.first) % task.step:
        raise VaclipError(
            f"{where}, frame {frame}: the task has the frames {task.first} to {task.last}, every "
            f"{task.step}"
        )
    return frame


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
