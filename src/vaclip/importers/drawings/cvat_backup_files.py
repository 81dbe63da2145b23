"""What the files of a CVAT backup say, checked; facts in the module `cvat_backup`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vaclip.errors import VaclipError
from vaclip.importers.base import FARTHEST, MOST_FRAMES
from vaclip.importers.drawings.cvat_tasks import STEP, Task
from vaclip.importers.reading import SourceFile, parse_json

_TAGS = {"rectangle": "box"} | {
    name: name
    for name in ("ellipse", "polygon", "polyline", "points", "mask", "cuboid", "skeleton")
}
_COPIES = ("ground_truth", "consensus_replica")


@dataclass(frozen=True)
class Job:
    """A job: its first frame, the one after its last, and the first that a later job has too."""

    start: int
    end: int
    shared: int
    copy: bool


@dataclass(frozen=True)
class Row:
    """A shape on a frame of the task."""

    frame: int
    tag: str
    points: tuple[float, ...]
    turn: float
    outside: bool
    occluded: bool
    drawn: bool = True


def read_content(own: Mapping[str, SourceFile], name: str, where: str) -> Any:
    """Returns what a file of JSON holds."""
    if name not in own:
        raise VaclipError(
            f"{where}: there is no {name} beside task.json; name the whole backup, as a zip "
            "archive or a folder"
        )
    return parse_json(own[name].read(), f"{where}: {name}")


def read_manifest(
    own: Mapping[str, SourceFile], where: str
) -> tuple[dict[str, Any] | None, list[bytes]]:
    """Returns what the manifest says of the video; else None, and a line for each picture."""
    place = f"{where}: data/manifest.jsonl"
    if "data/manifest.jsonl" not in own:
        raise VaclipError(
            f"{place} is missing, which names the video; export the task as 'CVAT for video 1.1', "
            "a task of pictures as 'CVAT for images 1.1'"
        )
    lines = [line for line in own["data/manifest.jsonl"].read().split(b"\n") if line.strip()]
    head = [of_type(parse_json(line, place), dict, place) for line in lines[:3]]
    if len(head) < 3 or head[1].get("type") != "video":
        return None, lines[2:]
    return of_type(head[2].get("properties"), dict, f"{place}: 'properties'"), []


def shown_frames(data: dict[str, Any], where: str) -> tuple[int, int]:
    """Returns the first frame or picture that a task shows, and every which one."""
    step = STEP.search(str(data.get("frame_filter") or ""))
    first = frame_number(data.get("start_frame") or 0, f"{where}: 'start_frame'")
    return first, int(step[1]) if step else 1


def read_task(
    data: dict[str, Any],
    last: int,
    video: dict[str, Any] | None,
    where: str,
    options: argparse.Namespace,
) -> Task:
    """Returns the task; one of pictures has their numbers in the task as frames, and no video."""
    first, every = shown_frames(data, where)
    if not 1 <= (last + 1) * every <= MOST_FRAMES:
        raise VaclipError(f"{where}: more than {MOST_FRAMES} frames, or none")
    if video is None:
        return Task(where, None, "", (1, 1), 0, last, 1, 0, whole=False)
    last = first + last * every
    name, size, length = (video.get(key) for key in ("name", "resolution", "length"))
    match size:
        case [int(width), int(height)] if width > 0 and height > 0:
            pass
        case _:
            raise VaclipError(f"{where}: 'resolution' of the manifest is {size!s:.40}")
    return Task(
        where=where,
        video=of_type(name, str, f"{where}: 'name' of the manifest"),
        annotator="",
        size=(height, width),
        first=first,
        last=last,
        step=every,
        offset=0,
        whole=first == 0 and every == 1 and last + 1 == length and not options.partial,
    )


def read_jobs(task: dict[str, Any], where: str) -> list[Job]:
    """Returns the jobs, in their order."""
    ranges = []
    for number, job in enumerate(of_type(task.get("jobs"), list, f"{where}: 'jobs'")):
        place = f"{where}: job {number}"
        job = of_type(job, dict, place)
        start, stop = (
            frame_number(job.get(key), f"{place}: '{key}'") for key in ("start_frame", "stop_frame")
        )
        ranges.append((start, stop + 1, job.get("type") in _COPIES))
    if not ranges:
        raise VaclipError(f"{where}: task.json lists no job")
    starts = [start for start, _, copy in ranges if not copy]
    return [
        Job(start, end, min([end, *(other for other in starts if other > start)]), copy)
        for start, end, copy in ranges
    ]


def as_track(shape: dict[str, Any], where: str) -> dict[str, Any]:
    """Returns a shape of one frame as a track."""
    joints = of_type(shape.get("elements") or [], list, f"{where}: 'elements'")
    inner = [as_track(of_type(joint, dict, where), where) for joint in joints]
    return {"label": shape.get("label"), "shapes": [shape], "elements": inner}


def read_row(shape: Any, where: str) -> Row:
    """Returns a shape with its values checked."""
    shape = of_type(shape, dict, where)
    kind = shape.get("type")
    if not isinstance(kind, str) or kind not in _TAGS:
        raise VaclipError(f"{where}: 'type' is {kind!s:.40}; expected {', '.join(_TAGS)}")
    values = of_type(shape.get("points") or [], list, f"{where}: 'points'")
    farthest = 1e9 if kind == "mask" else FARTHEST
    points = tuple(_number(value, f"{where}: 'points'", farthest) for value in values)
    counts = {"rectangle": len(points) == 4, "ellipse": len(points) == 4, "mask": len(points) > 4}
    if not counts.get(kind, len(points) % 2 == 0) or not (points or kind == "skeleton"):
        raise VaclipError(f"{where}: a {kind} of {len(points)} numbers in 'points'")
    return Row(
        frame=frame_number(shape.get("frame"), f"{where}: 'frame'"),
        tag=_TAGS[kind],
        points=points,
        turn=_number(shape.get("rotation") or 0.0, f"{where}: 'rotation'"),
        outside=_mark(shape, "outside", where),
        occluded=_mark(shape, "occluded", where),
    )


def _mark(shape: dict[str, Any], name: str, where: str) -> bool:
    return of_type(shape.get(name) or False, bool, f"{where}: '{name}'")


def _number(value: Any, where: str, farthest: float = FARTHEST) -> float:
    if type(value) not in (int, float) or not -farthest <= value <= farthest:
        raise VaclipError(f"{where} has {value!s:.40}; expected a number")
    return float(value)


def frame_number(value: Any, where: str) -> int:
    """Returns a number of frames, or of one."""
    if type(value) is not int or not 0 <= value <= MOST_FRAMES:
        raise VaclipError(f"{where} is {value!s:.40}; expected a whole number from 0")
    return value


def of_type(value: Any, kind: type[Any], where: str) -> Any:
    """Returns a value that is of a type."""
    if not isinstance(value, kind):
        names = {dict: "an object", list: "a list", str: "a text", bool: "true or false"}
        raise VaclipError(f"{where} is {value!s:.40}; expected {names[kind]}")
    return value
