"""CVAT's backups of tasks and projects: their JSON becomes the elements of CVAT's XML.

Facts from CVAT's page "Backup task and project" and its exporter (engine/backup.py; the newest one
read is of 2025), its "Dataset manifest", and, for what lies between key frames,
dataset_manager/annotation.py:

- ``task.json`` has ``data`` (``start_frame``, ``frame_filter``, ``deleted_frames``) and ``jobs``,
  ``annotations.json`` one object of ``tags``, ``shapes`` and ``tracks`` a job, in the same order.
  In the backup of a project both lie in ``task_N``. Owner and assignee are left out.
- The third line of ``data/manifest.jsonl`` has the video's name, ``[width, height]`` and number of
  frames; a manifest of pictures lists these instead (`cvat_backup_pictures`).
- ``frame`` counts the task's frames from 0, so it shows frame start_frame + step * frame of the
  video, or its picture of these numbers. Tracks list key frames alone, and go on to the end of
  their job. Those on deleted frames do not count.
- ``points`` are x, y, x, y and so on; of an ellipse its centre, then the x of its right and the y
  of its upper end; of a mask its runs, then its rectangle, the last row and column included.
- Jobs may share frames, at the beginning of each job but the first. Both of their drawings are
  shown; of a skeleton the later job's. Jobs of ground truth and of consensus replicas are copies.
- The joints of a skeleton are tracks in its track. While it is outside, they are, up to their next
  key frame.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any
from xml.etree.ElementTree import Element, SubElement

import numpy as np

from vaclip.errors import VaclipError
from vaclip.importers.drawings.cvat_backup_files import (
    Job,
    Row,
    as_track,
    frame_number,
    of_type,
    read_content,
    read_jobs,
    read_manifest,
    read_row,
    read_task,
)
from vaclip.importers.drawings.cvat_backup_pictures import Pictures, images
from vaclip.importers.drawings.cvat_outlines import outlines_between
from vaclip.importers.reading import SourceFile

_MOST_CORNERS = 1 << 22  # of all frames between two key frames
# Of all rows of a task of pictures, where each frame has its own, numbers and what they weigh.
_MOST_NUMBERS, _ROW = 1 << 24, 32


def backup_folders(files: Sequence[SourceFile]) -> list[str]:
    """Returns the folders of the tasks of a backup, with a slash at the end; "" for the top."""
    names = [PurePosixPath(file.name) for file in files]
    return [str(name)[: -len(name.name)] for name in names if name.name == "task.json"]


class Backup:
    """One task of a backup.

    Args:
        folder: Where it lies, of `backup_folders`.
        files: All files.
        where: What to call it in messages.
        options: The flags of the importer.
        dropped: What is left out, counted.

    Raises:
        VaclipError: If a file is missing or damaged.
    """

    def __init__(
        self,
        folder: str,
        files: Sequence[SourceFile],
        where: str,
        options: argparse.Namespace,
        dropped: Counter[str],
    ) -> None:
        self._where, self._dropped = where, dropped
        own = {file.name[len(folder) :]: file for file in files if file.name.startswith(folder)}
        task = of_type(read_content(own, "task.json", where), dict, f"{where}: task.json")
        self._jobs = read_jobs(task, where)
        data = of_type(task.get("data"), dict, f"{where}: 'data'")
        self._deleted = {
            frame_number(frame, f"{where}: 'deleted_frames'")
            for frame in of_type(data.get("deleted_frames") or [], list, f"{where}: 'data'")
        }
        last = max(job.end for job in self._jobs) - 1
        video, listed = read_manifest(own, where)
        self.task = read_task(data, last, video, where, options)
        self._pictures = Pictures(listed, data, last, where) if video is None else None
        self._numbers = 0
        self._annotations = of_type(
            read_content(own, "annotations.json", where), list, f"{where}: annotations.json"
        )
        if len(self._annotations) != len(self._jobs):
            raise VaclipError(
                f"{where}: annotations.json is of {len(self._annotations)} jobs, task.json of "
                f"{len(self._jobs)}"
            )

    def elements(self) -> Iterator[tuple[Element, str]]:
        """Yields elements of CVAT's XML, each with its place in the export.

        Those are tags and tracks, of a task of pictures the pictures on which something is drawn.
        """
        if self._pictures is None:
            return self._drawn()
        return images(self._drawn(), self._pictures, self._deleted, self._dropped)

    def _drawn(self) -> Iterator[tuple[Element, str]]:
        for number, (job, content) in enumerate(zip(self._jobs, self._annotations, strict=True)):
            if job.copy:
                self._dropped["jobs of ground truth, or replicas"] += 1
                continue
            where = f"{self._where}: job {number}"
            content = of_type(content, dict, where)
            yield from self._tags(of_type(content.get("tags", []), list, where), where)
            for i, shape in enumerate(of_type(content.get("shapes", []), list, where)):
                place = f"{where}, shape {i}"
                frame = frame_number(of_type(shape, dict, place).get("frame"), f"{place}: 'frame'")
                if frame in self._deleted:
                    self._dropped["shapes on deleted frames"] += 1
                    continue
                yield self._element(as_track(shape, place), job, frame + 1, place), place
            for i, track in enumerate(of_type(content.get("tracks", []), list, where)):
                place = f"{where}, track {i}"
                yield self._element(of_type(track, dict, place), job, job.end, place), place

    def _tags(self, tags: list[Any], where: str) -> Iterator[tuple[Element, str]]:
        for i, tag in enumerate(tags):
            place = f"{where}, tag {i}"
            tag = of_type(tag, dict, place)
            frame = frame_number(tag.get("frame"), f"{place}: 'frame'")
            label = of_type(tag.get("label"), str, f"{place}: 'label'")
            if frame not in self._deleted:
                yield Element("tag", label=label, frame=self._shown(frame)), place

    def _shown(self, frame: int) -> str:
        """Returns which frame of the video the task shows."""
        return str(self.task.first + self.task.step * frame)

    def _element(self, track: dict[str, Any], job: Job, end: int, where: str) -> Element:
        element = Element("track", label=of_type(track.get("label"), str, f"{where}: 'label'"))
        rows = self._rows(track, where)
        joints = of_type(track.get("elements") or [], list, f"{where}: 'elements'")
        self._append(element, [] if joints else rows, end, where)
        for number, joint in enumerate(joints):
            place = f"{where}, joint {number}"
            name = of_type(of_type(joint, dict, place).get("label"), str, f"{place}: 'label'")
            inner = SubElement(element, "track", label=name)
            away = _without(self._rows(joint, place), rows)
            self._append(inner, away, min(end, job.shared), place)
        return element

    def _append(self, element: Element, keys: Sequence[Row], end: int, where: str) -> None:
        every = self._pictures is not None
        for row in _listed(keys, end, where, every=every):
            self._numbers += _ROW + len(row.points) if every else 0
            if self._numbers > _MOST_NUMBERS:
                raise VaclipError(
                    f"{where}: what is drawn on the pictures of this task is more than "
                    f"{_MOST_NUMBERS // (_ROW + 4)} boxes; make tasks of fewer pictures"
                )
            element.append(self._xml(row))

    def _rows(self, track: dict[str, Any], where: str) -> list[Row]:
        shapes = of_type(track.get("shapes"), list, f"{where}: 'shapes'")
        rows = [read_row(shape, f"{where}, shape {i}") for i, shape in enumerate(shapes)]
        kept = sorted({row for row in rows if row.frame not in self._deleted}, key=_frame)
        self._dropped["key frames on deleted frames"] += sum(
            row.frame in self._deleted for row in rows
        )
        return kept

    def _xml(self, row: Row) -> Element:
        element = Element(
            row.tag,
            frame=self._shown(row.frame),
            keyframe=str(int(row.drawn)),
            outside=str(int(row.outside)),
            occluded=str(int(row.occluded)),
            rotation=repr(row.turn),
        )
        match row.tag, row.points:
            case "box", (a, b, c, d):
                element.attrib |= {"xtl": str(a), "ytl": str(b), "xbr": str(c), "ybr": str(d)}
            case "ellipse", (x, y, right, top):
                ends = {"cx": x, "cy": y, "rx": right - x, "ry": y - top}
                element.attrib |= {name: str(value) for name, value in ends.items()}
            case "mask", (*runs, left, top, right, bottom):
                box = {"left": left, "top": top, "width": right - left + 1,
                       "height": bottom - top + 1}  # fmt: skip
                element.attrib |= {name: f"{value:.0f}" for name, value in box.items()}
                element.set("rle", ",".join(f"{run:.0f}" for run in runs))
            case _, points:
                pairs = zip(points[::2], points[1::2], strict=True)
                element.set("points", ";".join(f"{x},{y}" for x, y in pairs))
        return element


# --- frames --------------------------------------------------------------------------------------


def _frame(row: Row) -> int:
    return row.frame


def _without(joint: list[Row], skeleton: list[Row]) -> list[Row]:
    """Returns the rows of a joint, outside where its skeleton is."""
    gone = {row.frame for row in skeleton if row.outside}
    rows = [row for row in joint if row.frame not in gone]
    for frame in gone:
        if before := [row for row in joint if row.frame <= frame]:
            rows.append(replace(before[-1], frame=frame, outside=True))
    return sorted(rows, key=_frame)


def _listed(keys: Sequence[Row], end: int, where: str, *, every: bool) -> Iterator[Row]:
    """Yields key frames and what does not follow from them, up to a frame where it is gone.

    Args:
        keys: In their order.
        end: That frame.
        where: For messages.
        every: Whether each frame gets a row, also where it follows from others.
    """
    last = None
    for key, after in zip(keys, [*keys[1:], None], strict=False):
        if key.frame >= end:
            break
        yield key
        last = key
        if after is not None and not key.outside and after.frame > key.frame:
            yield from _between(key, after, min(after.frame, end), where, every=every)
        elif after is None and every and not key.outside:
            stays = range(key.frame + 1, end)
            yield from (replace(key, frame=frame, drawn=False) for frame in stays)
    if last is not None and not last.outside:
        yield replace(last, frame=end, outside=True)


def _between(key: Row, after: Row, end: int, where: str, *, every: bool) -> Iterator[Row]:
    """Yields frames before ``end`` between two keys: of outlines all, of what moves the last."""
    span = after.frame - key.frame
    outlines = key.tag in ("polygon", "polyline") and after.tag == key.tag
    first = key.frame + 1 if outlines or every else max(end - 1, key.frame + 1)
    frames = range(first, end)
    if len(frames) * (len(key.points) + len(after.points)) > 2 * _MOST_CORNERS:
        raise VaclipError(
            f"{where}: from frame {key.frame} to {after.frame} its outlines have more than "
            f"{_MOST_CORNERS} corners; simplify it, or draw more key frames"
        )
    shares = [(frame - key.frame) / span for frame in frames]
    if outlines:
        one, other = (np.reshape(row.points, (-1, 2)) for row in (key, after))
        found = outlines_between(one, other, shares, closed=key.tag == "polygon")
        for frame, outline in zip(frames, found, strict=True):
            points = tuple(outline.ravel().tolist())
            yield replace(key, frame=frame, points=points, drawn=False)
        return
    # Several points wait for the next key, and so do masks, and what changes its type.
    moves = key.tag == after.tag != "mask" and (key.tag != "points" or len(key.points) == 2)
    for frame, share in zip(frames, shares, strict=True):
        points, turn = key.points, key.turn
        if moves and len(points) == len(after.points):
            points = tuple(x + share * (u - x) for x, u in zip(points, after.points, strict=True))
            turn += share * ((after.turn - turn + 180) % 360 - 180)
        yield replace(key, frame=frame, points=points, turn=turn, drawn=False)
