"""Decode once: each clip's samples and map lie on disk as memory-mapped uint8 arrays.

An entry is a folder named by a hash of everything that it was made from: the bytes of the
source files and the settings. It is written under a temporary name and renamed, so a
half-written entry is never read, two runs may fill the cache at once, also on two machines, and a
changed source or setting leads to another entry. Nothing is locked. The cache may be deleted at any
time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np
from numpy.typing import NDArray

from vaclip.data.entries import entry_path, read_entry, write_entry
from vaclip.data.video import DECODE_LIMIT_S, DecodedClip, decode_spans
from vaclip.errors import VaclipError
from vaclip.files import (
    atomic_file,
    cache_root,
    content_digest,
    digest_note,
)
from vaclip.maps.source import (
    KEYPOINT_SIGMA,
    KINDS,
    Annotation,
    Grid,
    draw_map,
    map_source,
)
from vaclip.study.study import Clip, Study

if TYPE_CHECKING:
    from vaclip.data.arrays import ArrayFile  # loads torch

_VERSION = 1  # raise it when decoding or drawing changes


@dataclass(frozen=True)
class SampleSettings:
    """How clips and maps are sampled; part of every entry's address.

    Attributes:
        fps: Samples a second.
        size: (H, W) in pixels.
        annotators: Whose annotations count, in the order of the channels.
        combine: See `combine_annotators`.
        keypoint_sigma: See `Grid`.
    """

    fps: float
    size: tuple[int, int]
    annotators: tuple[str, ...]
    combine: str = "mean"
    keypoint_sigma: float = KEYPOINT_SIGMA

    @classmethod
    def from_settings(cls, data: Mapping[str, Any], annotators: tuple[str, ...]) -> SampleSettings:
        """Reads the ``data`` settings of a run, as a configuration or a checkpoint has them."""
        height, width = data["size"]
        return cls(
            data["fps"], (height, width), annotators, data["combine"], data["keypoint_sigma"]
        )


@dataclass(frozen=True)
class CachedTokens:
    """Where the tokens of a frozen encoder lie, see `vaclip.features.cache`.

    Attributes:
        path: Of (S', H', W', D) float16.
        steps: S'.
        step: Samples that a token covers; the last may cover fewer.
    """

    path: ArrayFile
    steps: int
    step: int


@dataclass(frozen=True)
class CachedClip:
    """Where a clip's arrays lie.

    Attributes:
        clip: The clip.
        frames: Of (S, H, W, 3) uint8.
        samples: S.
        attn: Of (C, S, H, W) uint8; None where no chosen annotator annotated the clip.
        tokens: What a frozen encoder made of the clip; None where the model sees its pixels.
    """

    clip: Clip
    frames: ArrayFile
    samples: int
    attn: ArrayFile | None
    tokens: CachedTokens | None = None


def clip_cache(setting: str | None = None) -> Path:
    """Returns the cache folder of clips and maps; ``setting`` as of `vaclip.files.cache_root`."""
    return cache_root(setting) / "segments"


def cache_study(
    study: Study,
    settings: SampleSettings,
    root: Path,
    *,
    workers: int = -1,
    limit_s: float = DECODE_LIMIT_S,
    progress: Callable[[int, int], None] | None = None,
) -> list[CachedClip]:
    """Makes every entry of a study that is not there yet; a video of several clips is decoded once.

    Args:
        study: The study.
        settings: How to sample.
        root: The cache folder.
        workers: Processes; -1 for one a core.
        limit_s: Seconds that the decoding of one video may take.
        progress: Called with (done, total) clips after each video.

    Returns:
        One item a clip, in the study's order.

    Raises:
        VaclipError: If clips cannot be read; the message names every one of them.
    """
    by_video: dict[Path, list[Clip]] = {}
    for clip in study.clips:
        by_video.setdefault(clip.video, []).append(clip)
    jobs = (
        joblib.delayed(cache_video)(study.only(clips), settings, root, limit_s)
        for clips in by_video.values()
    )
    pool = joblib.Parallel(n_jobs=workers, return_as="generator", pre_dispatch="4*n_jobs")
    made: dict[str, CachedClip | VaclipError] = {}
    for clips, results in zip(by_video.values(), pool(jobs), strict=True):
        made |= {clip.clip_id: result for clip, result in zip(clips, results, strict=True)}
        if progress:
            progress(len(made), len(study.clips))
    cached: list[CachedClip] = []
    failures: list[str] = []
    for clip in study.clips:
        if isinstance(result := made[clip.clip_id], CachedClip):
            cached.append(result)
        else:
            failures.append(f"{clip.where}: clip '{clip.clip_id}': {result}")
    if failures:
        listed = "\n".join(f"  {failure}" for failure in failures)
        raise VaclipError(
            f"{len(failures)} clip(s) of {study.name} cannot be used:\n{listed}\n"
            f"Mend them, or leave them out: `vaclip data check {study.root} --quarantine` writes "
            "excluded.csv."
        )
    return cached


def cache_clip(study: Study, clip: Clip, settings: SampleSettings, root: Path) -> CachedClip:
    """Makes a clip's entries where they are not there yet.

    Raises:
        VaclipError: If its video or a map cannot be read.
    """
    (made,) = cache_video(study.only([clip]), settings, root)
    if isinstance(made, VaclipError):
        raise made
    return made


def cache_video(
    study: Study, settings: SampleSettings, root: Path, limit_s: float = DECODE_LIMIT_S
) -> list[CachedClip | VaclipError]:
    """Makes the entries of clips of one video, which is decoded once, and only if it has to be.

    Args:
        study: A study whose clips share a video.
        settings: How to sample.
        root: The cache folder.
        limit_s: Seconds that decoding may take.

    Returns:
        Each clip, or why it cannot be used.
    """
    clips, video = study.clips, study.clips[0].video
    try:
        digest = file_digest(video, root)
    except VaclipError as error:
        return [error] * len(clips)
    how = {"version": _VERSION, "video": digest, "fps": settings.fps, "size": settings.size}
    entries = [
        entry_path(root, "clips", how | {"span": [clip.start_s, clip.end_s]}) for clip in clips
    ]
    metas: dict[Path, dict[str, Any] | VaclipError | None] = {
        entry: read_entry(entry, ("frames", "frame_index")) for entry in dict.fromkeys(entries)
    }
    spans = {
        entry: (clip.start_s, clip.end_s)
        for entry, clip in zip(entries, clips, strict=True)
        if metas[entry] is None
    }
    if spans:
        missing, wanted = list(spans), list(spans.values())
        fps, size = settings.fps, settings.size
        for number, clip in decode_spans(video, wanted, fps=fps, size=size, limit_s=limit_s):
            entry = missing[number]
            metas[entry] = (
                clip if isinstance(clip, VaclipError) else _write_clip(entry, clip, study.name)
            )
    return [
        _cached_clip(study, clip, settings, root, entry, metas[entry])
        for entry, clip in zip(entries, clips, strict=True)
    ]


def _write_clip(entry: Path, decoded: DecodedClip, study: str) -> dict[str, Any]:
    meta = {
        "study": study,
        "frame_count": decoded.frame_count,
        "whole_video": decoded.whole_video,
        "source_size": decoded.source_size,
        "samples": len(decoded.frames),
    }
    arrays = {"frames": decoded.frames, "frame_index": decoded.frame_index}
    write_entry(entry, arrays, meta)
    return meta


def _cached_clip(
    study: Study,
    clip: Clip,
    settings: SampleSettings,
    root: Path,
    entry: Path,
    meta: dict[str, Any] | VaclipError | None,
) -> CachedClip | VaclipError:
    assert meta is not None  # each span that was missing had a result
    if isinstance(meta, VaclipError):
        return meta
    try:
        attn = _cache_map(study, clip, settings, root, entry, meta)
    except VaclipError as error:
        return error
    return CachedClip(clip, entry / "frames.npy", meta["samples"], attn)


def _cache_map(
    study: Study,
    clip: Clip,
    settings: SampleSettings,
    root: Path,
    clip_entry: Path,
    meta: dict[str, Any],
) -> Path | None:
    chosen = [
        annotation
        for annotation in study.annotations.get(clip.clip_id, ())
        if annotation.annotator in settings.annotators
    ]
    if not chosen:
        return None
    annotated = study.annotated(clip)
    source = {
        "version": _VERSION,
        "clip": clip_entry.name,
        "annotations": [
            [annotation.annotator, annotation.kind, annotation.value]
            + [
                file_digest(f, root)
                for f in map_source(annotation.kind).files(annotation.value, annotated)
            ]
            # Another version of a package may draw its kind otherwise.
            + [package for package in [KINDS.package(annotation.kind)] if package]
            for annotation in chosen
        ],
        "regions": {name: asdict(region) for name, region in study.regions.items()},
        "keypoint_names": study.keypoint_names,
        "settings": asdict(settings),
    }

    def draw() -> NDArray[np.uint8]:
        grid = Grid(
            np.load(clip_entry / "frame_index.npy"),
            clip.start_s + np.arange(meta["samples"]) / settings.fps,
            1 / settings.fps,
            meta["frame_count"],
            meta["whole_video"],
            tuple(meta["source_size"]),
            settings.size,
            settings.keypoint_sigma,
        )
        own = [_of(chosen, annotator) for annotator in settings.annotators]
        return draw_map(own, annotated, grid, settings.combine)

    return cache_map(root, source, draw, study.name)


def cache_map(
    root: Path, source: dict[str, Any], draw: Callable[[], NDArray[np.uint8]], study: str = ""
) -> Path:
    """Returns the entry's map.npy, drawn where it is not there yet.

    Args:
        root: The cache folder.
        source: Everything that the map depends on, as JSON.
        draw: Gives the map, (C, S, H, W).
        study: Its name, which an entry notes; control maps may serve several.
    """
    entry = entry_path(root, "maps", source)
    if read_entry(entry, ("map",)) is None:
        write_entry(entry, {"map": draw()}, {"study": study})
    return entry / "map.npy"


def _of(annotations: Sequence[Annotation], annotator: str) -> list[Annotation]:
    return [annotation for annotation in annotations if annotation.annotator == annotator]


def file_digest(path: Path, root: Path) -> str:
    """Returns the SHA-256 of a file, read once for each (path, size, modification time)."""
    try:
        note, noted = digest_note(path, root)
        digest = noted or content_digest(path)
    except OSError as error:
        raise VaclipError(f"{path.name}: cannot be read: {error.strerror}") from error
    if not noted:
        with atomic_file(note) as temporary:
            temporary.write_text(digest)
    return digest


def map_identities(
    study: Study, settings: SampleSettings, root: Path
) -> dict[str, tuple[Any, ...]]:
    """Returns for each annotated clip a value that is equal exactly where annotations are.

    Regions count by name, map files by content. Which annotator said what makes no
    difference, unless each has a channel of their own.
    """
    identities = {}
    for clip in study.clips:
        annotated = study.annotated(clip)
        said: dict[str, list[str]] = {}
        for annotation in study.annotations.get(clip.clip_id, ()):
            if annotation.annotator in settings.annotators:
                drawing = map_source(annotation.kind).drawing(annotation.value, annotated)
                content = file_digest(drawing, root) if drawing else annotation.value
                said.setdefault(annotation.annotator, []).append(f"{annotation.kind}:{content}")
        if said:
            named = settings.combine == "stack"
            rows = [(name if named else "", *sorted(values)) for name, values in said.items()]
            identities[clip.clip_id] = tuple(sorted(rows))
    return identities
