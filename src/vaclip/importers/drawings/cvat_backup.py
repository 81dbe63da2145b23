"""CVAT's backups of tasks and projects: their JSON becomes the elements of CVAT's XML.

Facts from CVAT's page "Backup task and project" and its exporter (engine/backup.py; the newest one
read is of 2025), its "Dataset manifest", and, for what lies between key frames,
dataset_manager/annotation.py:

- ``task.json`` has ``data`` (``start_frame``, ``frame_filter``, ``deleted_frames``) and ``jobs``,
  ``annotations.json`` one object of ``tags``, ``shapes`` and ``tracks`` a job, in the same order.
  In the backup of a project both lie in ``task_N``. Owner and assignee are left out.
- The third line of ``data/manifest.jsonl`` has the video's name, ``[width, height]`` and number of
  frames; a manifest of pictures lists these instead.
- ``frame`` counts the task's frames from 0, so it shows frame start_frame + step * frame of the
  video. Tracks list key frames alone, and go on to the end of their job. Those on deleted frames
  do not count.
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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any
from xml.etree.ElementTree import Element, SubElement

import numpy as np

from vaclip.errors import VaclipError
from vaclip.importers.base import FARTHEST, MOST_FRAMES
from vaclip.importers.drawings.cvat_outlines import outlines_between
from vaclip.importers.drawings.cvat_tasks import STEP, Task
from vaclip.importers.reading import SourceFile, parse_json

_TAGS = {"rectangle": "box"} | {
    name: name
    for name in ("ellipse", "polygon", "polyline", "points", "mask", "cuboid", "skeleton")
}
_MOST_CORNERS = 1 << 22  # of all frames between two key frames
_COPIES = ("ground_truth", "consensus_replica")


@dataclass(frozen=True)
class _Job:
    """A job: its first frame, the one after its last, and the first that a later job has too."""

    start: int
    end: int
    shared: int
    copy: bool


@dataclass(frozen=True)
class _Row:
    """A shape on a frame of the task."""

    frame: int
    tag: str
    points: tuple[float, ...]
    turn: float
    outside: bool
    occluded: bool
    drawn: bool = True


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
        task = _of_type(_content(own, "task.json", where), dict, f"{where}: task.json")
        self._jobs = _jobs(task, where)
        data = _of_type(task.get("data"), dict, f"{where}: 'data'")
        self._deleted = {
            _whole(frame, f"{where}: 'deleted_frames'")
            for frame in _of_type(data.get("deleted_frames") or [], list, f"{where}: 'data'")
        }
        last = max(job.end for job in self._jobs) - 1
        self.task = _task(data, last, _video(own, where), where, options)
        self._annotations = _of_type(
            _content(own, "annotations.json", where), list, f"{where}: annotations.json"
        )
        if len(self._annotations) != len(self._jobs):
            raise VaclipError(
                f"{where}: annotations.json is of {len(self._annotations)} jobs, task.json of "
                f"{len(self._jobs)}"
            )

    def elements(self) -> Iterator[tuple[Element, str]]:
        """Yields tags and tracks as elements of CVAT's XML, each with its place in the export."""
        for number, (job, content) in enumerate(zip(self._jobs, self._annotations, strict=True)):
            if job.copy:
                self._dropped["jobs of ground truth, or replicas"] += 1
                continue
            where = f"{self._where}: job {number}"
            content = _of_type(content, dict, where)
            yield from self._tags(_of_type(content.get("tags", []), list, where), where)
            for i, shape in enumerate(_of_type(content.get("shapes", []), list, where)):
                place = f"{where}, shape {i}"
                frame = _whole(_of_type(shape, dict, place).get("frame"), f"{place}: 'frame'")
                if frame in self._deleted:
                    self._dropped["shapes on deleted frames"] += 1
                    continue
                yield self._element(_as_track(shape, place), job, frame + 1, place), place
            for i, track in enumerate(_of_type(content.get("tracks", []), list, where)):
                place = f"{where}, track {i}"
                yield self._element(_of_type(track, dict, place), job, job.end, place), place

    def _tags(self, tags: list[Any], where: str) -> Iterator[tuple[Element, str]]:
        for i, tag in enumerate(tags):
            place = f"{where}, tag {i}"
            tag = _of_type(tag, dict, place)
            frame = _whole(tag.get("frame"), f"{place}: 'frame'")
            label = _of_type(tag.get("label"), str, f"{place}: 'label'")
            if frame not in self._deleted:
                yield Element("tag", label=label, frame=self._shown(frame)), place

    def _shown(self, frame: int) -> str:
        """Returns which frame of the video the task shows."""
        return str(self.task.first + self.task.step * frame)

    def _element(self, track: dict[str, Any], job: _Job, end: int, where: str) -> Element:
        element = Element("track", label=_of_type(track.get("label"), str, f"{where}: 'label'"))
        rows = self._rows(track, where)
        joints = _of_type(track.get("elements") or [], list, f"{where}: 'elements'")
        for row in _listed(rows, end, where) if not joints else ():
            element.append(self._xml(row))
        for number, joint in enumerate(joints):
            place = f"{where}, joint {number}"
            name = _of_type(_of_type(joint, dict, place).get("label"), str, f"{place}: 'label'")
            inner = SubElement(element, "track", label=name)
            away = _without(self._rows(joint, place), rows)
            for row in _listed(away, min(end, job.shared), place):
                inner.append(self._xml(row))
        return element

    def _rows(self, track: dict[str, Any], where: str) -> list[_Row]:
        shapes = _of_type(track.get("shapes"), list, f"{where}: 'shapes'")
        rows = [_row(shape, f"{where}, shape {i}") for i, shape in enumerate(shapes)]
        kept = sorted({row for row in rows if row.frame not in self._deleted}, key=_frame)
        self._dropped["key frames on deleted frames"] += sum(
            row.frame in self._deleted for row in rows
        )
        return kept

    def _xml(self, row: _Row) -> Element:
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


def _frame(row: _Row) -> int:
    return row.frame


def _without(joint: list[_Row], skeleton: list[_Row]) -> list[_Row]:
    """Returns the rows of a joint, outside where its skeleton is."""
    gone = {row.frame for row in skeleton if row.outside}
    rows = [row for row in joint if row.frame not in gone]
    for frame in gone:
        if before := [row for row in joint if row.frame <= frame]:
            rows.append(replace(before[-1], frame=frame, outside=True))
    return sorted(rows, key=_frame)


def _listed(keys: Sequence[_Row], end: int, where: str) -> list[_Row]:
    """Returns key frames and what does not follow from them, up to a frame where it is gone."""
    rows: list[_Row] = []
    for key, after in zip(keys, [*keys[1:], None], strict=True):
        if key.frame >= end:
            break
        rows.append(key)
        if after is not None and not key.outside and after.frame > key.frame:
            rows += _between(key, after, min(after.frame, end), where)
    if rows and not rows[-1].outside:
        rows.append(replace(rows[-1], frame=end, outside=True))
    return rows


def _between(key: _Row, after: _Row, end: int, where: str) -> Iterator[_Row]:
    """Yields frames before ``end`` between two keys: of outlines all, of what moves the last."""
    span = after.frame - key.frame
    if key.tag in ("polygon", "polyline") and after.tag == key.tag:
        frames = range(key.frame + 1, end)
        if len(frames) * (len(key.points) + len(after.points)) > 2 * _MOST_CORNERS:
            raise VaclipError(
                f"{where}: from frame {key.frame} to {after.frame} its outlines have more than "
                f"{_MOST_CORNERS} corners; simplify it, or draw more key frames"
            )
        one, other = (np.reshape(row.points, (-1, 2)) for row in (key, after))
        shares = [(frame - key.frame) / span for frame in frames]
        outlines = outlines_between(one, other, shares, closed=key.tag == "polygon")
        for frame, outline in zip(frames, outlines, strict=True):
            points = tuple(outline.ravel().tolist())
            yield replace(key, frame=frame, points=points, drawn=False)
    elif end - key.frame > 1:
        share = (end - 1 - key.frame) / span
        points, turn = key.points, key.turn
        moves = key.tag != "points" or len(points) == 2  # several points wait for the next key
        if moves and len(points) == len(after.points):
            points = tuple(x + share * (u - x) for x, u in zip(points, after.points, strict=True))
            turn += share * ((after.turn - turn + 180) % 360 - 180)
        yield replace(key, frame=end - 1, points=points, turn=turn, drawn=False)


# --- what files say ------------------------------------------------------------------------------


def _content(own: Mapping[str, SourceFile], name: str, where: str) -> Any:
    if name not in own:
        raise VaclipError(
            f"{where}: there is no {name} beside task.json; name the whole backup, as a zip "
            "archive or a folder"
        )
    return parse_json(own[name].read(), f"{where}: {name}")


def _video(own: Mapping[str, SourceFile], where: str) -> dict[str, Any] | None:
    """Returns what the manifest says of the video; None where the task is of pictures."""
    place = f"{where}: data/manifest.jsonl"
    if "data/manifest.jsonl" not in own:
        raise VaclipError(
            f"{place} is missing, which names the video; export the task as 'CVAT for video 1.1'"
        )
    lines = own["data/manifest.jsonl"].read().split(b"\n", 3)
    head = [_of_type(parse_json(line, place), dict, place) for line in lines[:2]]
    if len(lines) < 3 or head[1].get("type") != "video":
        return None
    third = _of_type(parse_json(lines[2], place), dict, place)
    return _of_type(third.get("properties"), dict, f"{place}: 'properties'")


def _task(
    data: dict[str, Any],
    last: int,
    video: dict[str, Any] | None,
    where: str,
    options: argparse.Namespace,
) -> Task:
    step = STEP.search(str(data.get("frame_filter") or ""))
    every = int(step[1]) if step else 1
    first = _whole(data.get("start_frame") or 0, f"{where}: 'start_frame'")
    if not 1 <= (last + 1) * every <= MOST_FRAMES:
        raise VaclipError(f"{where}: more than {MOST_FRAMES} frames, or none")
    last = first + last * every
    if video is None:
        why = (
            f"{where}: the task is of pictures, of which a backup does not say what was left out; "
            "export it as 'CVAT for images 1.1'"
        )
        return Task(where, None, "", (1, 1), first, last, every, 0, whole=False, unnamed=why)
    name, size, length = (video.get(key) for key in ("name", "resolution", "length"))
    match size:
        case [int(width), int(height)] if width > 0 and height > 0:
            pass
        case _:
            raise VaclipError(f"{where}: 'resolution' of the manifest is {size!s:.40}")
    whole = first == 0 and every == 1 and last + 1 == length and not options.partial
    return Task(
        where=where,
        video=_of_type(name, str, f"{where}: 'name' of the manifest"),
        annotator="",
        size=(height, width),
        first=first,
        last=last,
        step=every,
        offset=0,
        whole=whole,
    )


def _jobs(task: dict[str, Any], where: str) -> list[_Job]:
    ranges = []
    for number, job in enumerate(_of_type(task.get("jobs"), list, f"{where}: 'jobs'")):
        place = f"{where}: job {number}"
        job = _of_type(job, dict, place)
        start, stop = (
            _whole(job.get(key), f"{place}: '{key}'") for key in ("start_frame", "stop_frame")
        )
        ranges.append((start, stop + 1, job.get("type") in _COPIES))
    if not ranges:
        raise VaclipError(f"{where}: task.json lists no job")
    starts = [start for start, _, copy in ranges if not copy]
    return [
        _Job(start, end, min([end, *(other for other in starts if other > start)]), copy)
        for start, end, copy in ranges
    ]


def _as_track(shape: dict[str, Any], where: str) -> dict[str, Any]:
    """Returns a shape of one frame as a track."""
    joints = _of_type(shape.get("elements") or [], list, f"{where}: 'elements'")
    inner = [_as_track(_of_type(joint, dict, where), where) for joint in joints]
    return {"label": shape.get("label"), "shapes": [shape], "elements": inner}


def _row(shape: Any, where: str) -> _Row:
    shape = _of_type(shape, dict, where)
    kind = shape.get("type")
    if not isinstance(kind, str) or kind not in _TAGS:
        raise VaclipError(f"{where}: 'type' is {kind!s:.40}; expected {', '.join(_TAGS)}")
    values = _of_type(shape.get("points") or [], list, f"{where}: 'points'")
    farthest = 1e9 if kind == "mask" else FARTHEST
    points = tuple(_number(value, f"{where}: 'points'", farthest) for value in values)
    counts = {"rectangle": len(points) == 4, "ellipse": len(points) == 4, "mask": len(points) > 4}
    if not counts.get(kind, len(points) % 2 == 0) or not (points or kind == "skeleton"):
        raise VaclipError(f"{where}: a {kind} of {len(points)} numbers in 'points'")
    return _Row(
        frame=_whole(shape.get("frame"), f"{where}: 'frame'"),
        tag=_TAGS[kind],
        points=points,
        turn=_number(shape.get("rotation") or 0.0, f"{where}: 'rotation'"),
        outside=_mark(shape, "outside", where),
        occluded=_mark(shape, "occluded", where),
    )


def _mark(shape: dict[str, Any], name: str, where: str) -> bool:
    return _of_type(shape.get(name) or False, bool, f"{where}: '{name}'")


def _number(value: Any, where: str, farthest: float = FARTHEST) -> float:
    if type(value) not in (int, float) or not -farthest <= value <= farthest:
        raise VaclipError(f"{where} has {value!s:.40}; expected a number")
    return float(value)


def _whole(value: Any, where: str) -> int:
    if type(value) is not int or not 0 <= value <= MOST_FRAMES:
        raise VaclipError(f"{where} is {value!s:.40}; expected a whole number from 0")
    return value


def _of_type(value: Any, kind: type[Any], where: str) -> Any:
    if not isinstance(value, kind):
        names = {dict: "an object", list: "a list", str: "a text", bool: "true or false"}
        raise VaclipError(f"{where} is {value!s:.40}; expected {names[kind]}")
    return value
