"""Checks a study to the last frame: what `vaclip data check` reports."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import joblib
import numpy as np

from vaclip.data.study import Clip, Problem, Study, read_study
from vaclip.data.video import decode_clip
from vaclip.errors import VaclipError
from vaclip.maps.keypoints import load_keypoints
from vaclip.maps.source import map_source

_SIZE = (32, 32)  # enough to see that frames and maps can be made
_FPS = 1.0


def check_study(
    root: Path, *, workers: int = -1, progress: Callable[[int, int], None] | None = None
) -> tuple[list[Problem], int]:
    """Reads a study, decodes every clip once and draws every map.

    Args:
        root: The study folder.
        workers: Processes; -1 for one a core.
        progress: Called with (done, total) after each clip.

    Returns:
        Everything that is wrong, and the number of clips read.
    """
    study, problems = read_study(root)
    if study is None:
        return problems, 0
    # Missing files and those outside of the folder were reported already.
    inside = study.root.resolve()
    clips = [
        clip
        for clip in study.clips
        if clip.video.is_file() and clip.video.resolve().is_relative_to(inside)
    ]
    pool = joblib.Parallel(n_jobs=workers, return_as="generator", pre_dispatch="4*n_jobs")
    jobs = (joblib.delayed(check_clip)(study.only(clip), clip) for clip in clips)
    for done, found in enumerate(pool(jobs), start=1):
        problems += found
        if progress:
            progress(done, len(clips))
    return problems, len(study.clips)


def check_clip(study: Study, clip: Clip) -> list[Problem]:
    """Decodes a clip, and compares it with what the study says of it."""
    problems: list[Problem] = []

    def error(column: str, what: str) -> None:
        problems.append(Problem("error", f"{clip.where}:{column}", what))

    try:
        decoded = decode_clip(
            clip.video, fps=_FPS, size=_SIZE, start_s=clip.start_s, end_s=clip.end_s
        )
    except VaclipError as failure:
        error("video", str(failure))
        return problems
    stated = clip.extra.get("frames", "")
    if stated and decoded.whole_video and not _equal(stated, decoded.frame_count):
        error("frames", f"states {stated} frames, but {decoded.frame_count} can be decoded")
    # Every frame of a map is looked at, not only those that are sampled.
    every = np.arange(decoded.frame_count)
    times_s = np.interp(every, decoded.frame_index, decoded.time_s)
    grid = dataclasses.replace(decoded.grid(_SIZE), frame_index=every, time_s=times_s)
    if clip.keypoints is not None and clip.keypoints.is_file():
        try:
            grid.check_length(len(load_keypoints(clip.keypoints)), clip.keypoints.name)
        except VaclipError as failure:
            error("keypoints", str(failure))
            return problems
    for mark in study.marks.get(clip.clip_id, ()):
        try:
            map_source(mark.kind).render(mark.value, study.marked(clip), grid)
        except VaclipError as failure:
            where = f"attention.csv: clip '{clip.clip_id}', {mark.annotator}"
            problems.append(Problem("error", where, str(failure)))
    return problems


def _equal(stated: str, frames: int) -> bool:
    try:
        return float(stated) == frames
    except ValueError:
        return False
