"""The tasks, jobs and projects that a CVAT export is of; facts in the module `cvat`."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from xml.etree.ElementTree import Element

from vaclip.errors import VaclipError
from vaclip.importers.base import MOST_FRAMES
from vaclip.importers.drawings.cvat_shapes import whole_number
from vaclip.importers.reading import SourceFile
from vaclip.importers.video_template import templated

STEP = re.compile(r"step\s*=\s*([0-9]{1,6})")
"""In a task's ``frame_filter``: every which frame it shows."""


@dataclass(frozen=True)
class Task:
    """A task or job: a video, or a part of one.

    Attributes:
        where: The place in the export, for messages.
        video: The file's name; None where the export does not say it.
        unnamed: Why not.
        annotator: Who, "" where nobody is named.
        size: (height, width) in pixels.
        first: The first frame of the video.
        last: The last one.
        step: Every which frame.
        offset: What the file adds to the frames of this task.
        whole: Whether the task shows all frames of its video.
        key: What the file calls the task.
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
    unnamed: str = ""
    key: str | None = None


def job_video(file: SourceFile, source: Path, options: argparse.Namespace) -> str | None:
    """Returns the video that an export of a job is of, as the user says it."""
    stem = source.stem if source.suffix.lower() == ".zip" else PurePosixPath(file.name).stem
    return templated(options, stem) or options.video


def read_tasks(
    meta: Element, options: argparse.Namespace, name: str, job_video: str | None
) -> dict[str | None, Task]:
    """Returns the tasks by what tracks call them; the only one of a file by None.

    Args:
        meta: The element.
        options: The flags of the importer.
        name: Of the file, for messages.
        job_video: The video of a job.

    Raises:
        VaclipError: If a number is none, or a project's task is not made of a video.
    """
    for tag in ("task", "job"):
        if (found := meta.find(tag)) is not None:
            return {None: _task(found, meta, name, options, 0, job_video)}
    tasks: dict[str | None, Task] = {}
    offset, subset = 0, None
    for element in meta.findall("project/tasks/task"):
        where = f"{name}: task {element.findtext('id', '?')}"
        if element.findtext("subset") != subset:
            offset, subset = 0, element.findtext("subset")
        task = _task(element, element, where, options, offset)
        tasks[element.findtext("id")] = replace(task, key=element.findtext("id"))
        offset += task.last + task.step
    return tasks


def _task(
    element: Element,
    around: Element,
    where: str,
    options: argparse.Namespace,
    offset: int,
    job_video: str | None = None,
) -> Task:
    step = STEP.search(element.findtext("frame_filter") or "")
    every = int(step[1]) if step else 1
    first = whole_number(element.findtext("start_frame") or "0", f"{where}: <start_frame>")
    count = whole_number(element.findtext("size"), f"{where}: <size>")
    if not 1 <= count * every <= MOST_FRAMES or first > MOST_FRAMES:
        raise VaclipError(f"{where}: more than {MOST_FRAMES} frames, or none")
    # Earlier versions of CVAT, and exports of jobs, have these beside the task.
    video = element.findtext("source") or around.findtext("source")
    size = element.find("original_size")
    size = around.find("original_size") if size is None else size
    if element.tag == "job":
        video = job_video
    if size is None or not video:
        if element.tag == "job":
            why = (
                "the export of a job does not name its video; say --video NAME or --video-template "
                "TEXT, or export the task"
            )
        else:
            why = (
                "the task is not made of a video: there is no <source> or no <original_size>; make "
                "a task of the video itself, or export it as 'CVAT for images'"
            )
        return Task(where, None, _annotator(element), (1, 1), first, first + (count - 1) * every,
                     every, offset, whole=False,
                     unnamed=f"{where}: {why}" if element is not around else "")  # fmt: skip
    height, width = (
        whole_number(size.findtext(side), f"{where}: <{side}>") for side in ("height", "width")
    )
    return Task(
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
