"""Generated cohorts as study folders, written once into the cache."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import av
import joblib
import numpy as np
import yaml

from vaclip.cohort.annotators import ANNOTATORS, annotate, study_regions
from vaclip.cohort.synthetic_gait import (
    GaitCohort,
    check_number,
    draw_clip,
    patient_labels,
    sign_place,
    simulate_clip,
)
from vaclip.errors import VaclipError
from vaclip.files import atomic_folder, cache_root, json_digest

GENERATOR_VERSION = 4
"""Raise it whenever the files of a cohort change: cached cohorts are then written anew."""

Progress = Callable[[int, int], None]
Job = tuple[int, int, str]  # patient, clip, label


def clip_id(patient: int, clip: int) -> str:
    """Returns the name of a clip, such as ``P007_c2``; names count from 1."""
    return f"P{patient + 1:03d}_c{clip + 1}"


def _write_video(path: Path, frames: Iterable[np.ndarray], fps: int, size: int) -> None:
    # With mb-tree, x264 reads memory that nobody wrote: the bytes then differ between runs.
    options = {"crf": "20", "g": "25", "preset": "veryfast", "threads": "1"}
    options["x264-params"] = "mbtree=0:bframes=0"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options=options)
        stream.width = stream.height = size
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def _write_clip(cohort: GaitCohort, folder: Path, job: Job) -> None:
    clip = simulate_clip(cohort, *job)
    name = clip_id(*job[:2])
    frames = draw_clip(clip, cohort.size)
    _write_video(folder / "videos" / f"{name}.mp4", frames, cohort.fps, cohort.size)
    np.savez(folder / "keypoints" / f"{name}.npz", keypoints=clip.keypoints, scores=clip.scores)


def _write_tables(cohort: GaitCohort, folder: Path, jobs: Sequence[Job]) -> None:
    names = [clip_id(patient, clip) for patient, clip, _ in jobs]
    clips = [
        (name, f"videos/{name}.mp4", name.split("_")[0], label, f"keypoints/{name}.npz")
        for name, (_, _, label) in zip(names, jobs, strict=True)
    ]
    pairs = annotate(cohort, [sign_place(cohort, patient, label) for patient, _, label in jobs])
    annotations = [
        (name, annotator, "region", region)
        for name, pair in zip(names, pairs, strict=True)
        for annotator, region in zip(ANNOTATORS, pair, strict=True)
    ]
    tables = {
        "clips.csv": (("clip_id", "video", "patient_id", "label", "keypoints"), clips),
        "attention.csv": (("clip_id", "annotator", "kind", "value"), annotations),
    }
    for file, (header, rows) in tables.items():
        with (folder / file).open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream, lineterminator="\n").writerows([header, *rows])
    told = cohort.truth != "null"  # else the annotators point at random
    study = {
        "name": "synthetic_gait",
        "description": f"Generated walking patients, side view; the truth is {cohort.truth!r}.",
        "classes": list(cohort.classes),
        "annotation": {
            "blinded": not told,
            "saw": ["the simulated sign"] if told else [],
            "when": "after",
        },
        "regions": study_regions(cohort),
    }
    text = yaml.safe_dump(study, sort_keys=False)
    (folder / "study.yaml").write_text(text, encoding="utf-8", newline="\n")


def _write_clips(
    write: Callable[[Job], None], jobs: Sequence[Job], progress: Progress | None, workers: int
) -> None:
    pool = joblib.Parallel(n_jobs=workers, return_as="generator")
    for count, _ in enumerate(pool(joblib.delayed(write)(job) for job in jobs), start=1):
        if progress:
            progress(count, len(jobs))


def _write(
    cohort: GaitCohort, folder: Path, progress: Progress | None, workers: int | None
) -> None:
    """Writes beside the folder, then renames; whoever is first with a folder wins."""
    workers = (os.cpu_count() or 1) if workers is None else workers
    check_number("workers", workers, 1, 1024)
    labels = patient_labels(cohort)
    clips = range(cohort.clips_per_patient)
    jobs = [(patient, clip, label) for patient, label in enumerate(labels) for clip in clips]
    with atomic_folder(folder) as draft:
        for part in ("videos", "keypoints"):
            (draft / part).mkdir()
        _write_tables(cohort, draft, jobs)
        write = partial(_write_clip, cohort, draft)
        _write_clips(write, jobs, progress, min(workers, len(jobs)))


def write_cohort(
    cohort: GaitCohort,
    folder: Path,
    progress: Progress | None = None,
    workers: int | None = None,
) -> None:
    """Writes a cohort as a study folder: complete, or not at all.

    Args:
        cohort: the parameters.
        folder: where to write; it must not exist yet, or be empty.
        progress: called with the number of clips written and of all clips.
        workers: number of processes, by default one for each core; the files do not depend on it.

    Raises:
        VaclipError: where the folder holds something already.
    """
    folder = Path(folder).resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise VaclipError(f"Synthetic cohort: {folder} is not empty; name a new folder.")
    _write(cohort, folder, progress, workers)


def cohort_folder(
    cohort: GaitCohort,
    root: Path | None = None,
    progress: Progress | None = None,
    workers: int | None = None,
) -> Path:
    """Returns the folder of a cohort in the cache, and writes it if it is not there.

    Args:
        cohort: the parameters.
        root: the cache; by default as `vaclip.files.cache_root` says.
        progress: as for ``write_cohort``.
        workers: as for ``write_cohort``.
    """
    values = {
        name: value if isinstance(value, str) else float(value)
        for name, value in asdict(cohort).items()
    }
    digest = json_digest([GENERATOR_VERSION, values])[:16]
    folder = (root or cache_root()).resolve() / "synthetic_gait" / digest
    if not (folder / "study.yaml").is_file():
        _write(cohort, folder, progress, workers)
    return folder
