"""Writes what an import planned."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import yaml

from vaclip.errors import VaclipError
from vaclip.files import atomic_file, inside_folder
from vaclip.importers.plan import Plan, read_rows, study_head
from vaclip.study.study import ANNOTATION_COLUMNS, CLIP_COLUMNS
from vaclip.study.tables import Row, write_table


def carry_out(
    plan: Plan, *, link: bool = False, progress: Callable[[int, int], None] | None = None
) -> None:
    """Writes what was planned: files first, tables last, so that a stopped import can be repeated.

    Args:
        plan: The plan.
        link: Link videos rather than copy them; the same disk then holds them once.
        progress: Called with (done, total) after each video.

    Raises:
        VaclipError: If videos cannot be linked or made, or a folder of the study leads out of it.
    """
    # Asked before anything is written: a folder of the study may be a link to somewhere else.
    places = (*plan.videos, *plan.recordings, *plan.files)
    targets = {name: inside_folder(plan.root, name) for name in places}
    total = len(plan.videos) + len(plan.recordings)
    for done, (name, source) in enumerate(plan.videos.items(), start=1):
        _place(source, targets[name], link=link)
        if progress:
            progress(done, total)
    failures = []
    for done, (name, recording) in enumerate(plan.recordings.items(), start=1 + len(plan.videos)):
        try:
            recording.write(targets[name])
        except VaclipError as error:
            failures.append(str(error))
        if progress:
            progress(done, total)
    if failures:
        listed = "\n".join(f"  {failure}" for failure in failures)
        raise VaclipError(
            f"{len(failures)} of {len(plan.recordings)} videos cannot be made, so no table was "
            f"written; move these files away and repeat the command, which goes on:\n{listed}"
        )
    for name, content in plan.files.items():
        _write(targets[name], content)
    head = yaml.safe_dump(plan.head, sort_keys=False, allow_unicode=True)
    if plan.head != study_head(plan.root):
        _write(plan.root / "study.yaml", head.encode())
    for name, rows, columns in (
        ("clips.csv", plan.clips, CLIP_COLUMNS),
        ("attention.csv", plan.annotations, ANNOTATION_COLUMNS),
    ):
        if rows and rows != read_rows(plan.root, name):
            _write_rows(plan.root / name, rows, columns)


def _place(source: Path, target: Path, *, link: bool) -> None:
    if not link:
        with atomic_file(target) as temporary:
            shutil.copy2(source, temporary)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source.resolve(), target)
    except OSError as error:
        raise VaclipError(
            f"{source.name} cannot be linked ({error.strerror}); leave --link out to copy it"
        ) from error


def _write(path: Path, content: bytes) -> None:
    with atomic_file(path) as temporary:
        temporary.write_bytes(content)


def _write_rows(path: Path, rows: Sequence[Row], columns: Sequence[str]) -> None:
    """Writes a table of the study: usual columns that say something, then the others."""
    further = dict.fromkeys(name for row in rows for name in row if name not in columns)
    used = [name for name in columns if any(row.get(name) for row in rows)]
    header = [*used, *further]
    write_table(path, header, [{name: row.get(name, "") for name in header} for row in rows])
