"""Clips under their attention maps, as a sheet or a video: what `vaclip data preview` draws."""

from __future__ import annotations

import math
import warnings
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vaclip.data.video import decode_clip, picture_size
from vaclip.errors import VaclipError
from vaclip.files import atomic_file
from vaclip.fonts import font_families, warn_of_lacking
from vaclip.maps.overlay import overlay
from vaclip.maps.source import Annotation, Grid, annotator_drawer
from vaclip.media import open_video
from vaclip.study.load import load_study
from vaclip.study.study import Clip, Study

_SIDE = 224
_SHEET_FPS, _VIDEO_FPS = 4.0, 10.0
_FINEST_FPS = 60.0  # looked at for annotations
_LOOK = (32, 32)  # enough to see that a map shows
_LONGEST_S = 20.0  # of a clip in a video
_TITLE = 16  # pixels above a panel


def draw_preview(
    root: Path, out: Path, *, clips: int = 6, clip_ids: Sequence[str] | None = None
) -> None:
    """Draws clips with each annotator's map over them, red where they look.

    As PNG: one column a clip, showing the picture nearest to its middle on which most annotators'
    maps show, and one row an annotator. As MP4: the clips one after the other, one panel an
    annotator; of the pictures between two moments one with a map is shown, where there is one.

    Args:
        root: The study folder.
        out: The PNG or MP4 to write.
        clips: How many, spread over the classes.
        clip_ids: These clips instead.

    Raises:
        VaclipError: If the study or one of the clips cannot be read, or there is no such clip.
    """
    suffix = out.suffix.lower()
    if suffix not in (".png", ".mp4"):
        raise VaclipError(f"--out is {out}; give a name that ends in .png or .mp4")
    study = load_study(root)
    chosen = spread_over_classes(study, clips) if clip_ids is None else _named(study, clip_ids)
    names = (*study.annotators, *(name for c in chosen for name in (c.clip_id, c.label)))
    families, lacking = font_families(names)
    if lacking:
        warn_of_lacking(lacking, "it shows boxes for them")
    draw = _draw_sheet if suffix == ".png" else _write_video
    with warnings.catch_warnings(), rc_context({"font.family": families, "text.parse_math": False}):
        warnings.filterwarnings("ignore", r"Glyph .* missing")  # each of them would have its own
        draw(study, chosen, out)


def _named(study: Study, clip_ids: Sequence[str]) -> list[Clip]:
    by_id = {clip.clip_id: clip for clip in study.clips}
    if unknown := [name for name in clip_ids if name not in by_id]:
        raise VaclipError(f"the study has no clip {', '.join(unknown)}")
    return [by_id[name] for name in clip_ids]


def _draw_sheet(study: Study, clips: Sequence[Clip], out: Path) -> None:
    annotators = study.annotators or ("nobody",)
    figure = Figure(figsize=(2.2 * len(clips), 2.4 * len(annotators) + 0.3), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(annotators), len(clips), squeeze=False)
    for column, clip in enumerate(clips):
        panels, annotated, shown = overlaid_clip(study, clip, annotators, fps=_SHEET_FPS)
        moment = middle_moment(shown)
        for row, annotator in enumerate(annotators):
            cell = axes[row, column]
            cell.imshow(panels[row, moment])
            if not annotated[row]:
                cell.text(0.5, 0.04, "not annotated", transform=cell.transAxes, ha="center",
                          color="white", backgroundcolor="black", fontsize=7)  # fmt: skip
            cell.set_xticks([])
            cell.set_yticks([])
            if row == 0:
                cell.set_title(f"{clip.clip_id}\n{clip.label}", fontsize=8)
            if column == 0:
                cell.set_ylabel(annotator, fontsize=9)
    with atomic_file(out) as temporary:
        figure.savefig(temporary, dpi=110)


def _write_video(study: Study, clips: Sequence[Clip], out: Path) -> None:
    annotators = study.annotators or ("nobody",)
    heights = [panel_size(clip)[0] for clip in clips]
    height = _TITLE + max(heights) + max(heights) % 2
    with atomic_file(out) as temporary, av.open(str(temporary), "w") as container:
        stream = container.add_stream("libx264", rate=round(_VIDEO_FPS), options={"crf": "20"})
        stream.width, stream.height, stream.pix_fmt = _SIDE * len(annotators), height, "yuv420p"
        for clip in clips:
            panels, annotated, _ = overlaid_clip(study, clip, annotators, fps=_VIDEO_FPS)
            page = np.zeros((height, _SIDE * len(annotators), 3), np.uint8)
            for number, annotator in enumerate(annotators):
                who = annotator if annotated[number] else f"{annotator}: not annotated"
                title = _title(f"{clip.clip_id}  {who}")
                page[:_TITLE, _SIDE * number : _SIDE * (number + 1)] = title
            tall, wide = panels.shape[2:4]
            for moment in range(panels.shape[1]):
                for number in range(len(annotators)):
                    left = _SIDE * number
                    page[_TITLE : _TITLE + tall, left : left + wide] = panels[number, moment]
                frame = av.VideoFrame.from_ndarray(page, format="rgb24")
                container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _title(text: str) -> NDArray[np.uint8]:
    """Returns white text on black, as wide as a panel."""
    figure = Figure(figsize=(_SIDE / 100, _TITLE / 100), dpi=100, facecolor="black")
    canvas = FigureCanvasAgg(figure)
    figure.text(3 / _SIDE, 0.5, text, color="white", fontsize=8, va="center")
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def overlaid_clip(
    study: Study, clip: Clip, annotators: Sequence[str], *, fps: float
) -> tuple[NDArray[np.uint8], list[bool], NDArray[np.bool_]]:
    """Draws the maps of some annotators over a clip, as `mapped_clip` gives them.

    Returns:
        (A, S, H, W, 3), one row of pictures an annotator; whether each of them annotated the clip;
        and (A, S), on which pictures their map shows.
    """
    own = [annotations_by(study, clip, annotator) for annotator in annotators]
    frames, maps, _ = mapped_clip(study, clip, own, fps=fps)
    panels = np.stack([overlay(frames, attn) for attn in maps])
    return panels, [bool(one) for one in own], np.any(maps, axis=(2, 3))


def annotations_by(study: Study, clip: Clip, annotator: str) -> list[Annotation]:
    """Returns what one annotator said of a clip."""
    found = study.annotations.get(clip.clip_id, ())
    return [annotation for annotation in found if annotation.annotator == annotator]


class MappedClip(NamedTuple):
    """A clip and maps over it.

    Attributes:
        frames: (S, H, W, 3), the longer side 224 pixels.
        maps: (A, S, H, W) in [0, 1].
        time_s: (S,) when each picture is shown, in seconds from the first frame of the video.
    """

    frames: NDArray[np.uint8]
    maps: NDArray[np.float32]
    time_s: NDArray[np.float64]


def mapped_clip(
    study: Study, clip: Clip, layers: Sequence[Sequence[Annotation]], *, fps: float
) -> MappedClip:
    """Reads a clip and draws maps for it.

    An annotation of a single frame would mostly lie between two pictures: of the frames that fall
    to one of them, the one on which most maps show is taken, and the first of equals.

    Args:
        study: The study.
        clip: One of its clips; of a longer one the first 20 s.
        layers: The annotations of each map; one without any is dark.
        fps: Pictures a second.

    Raises:
        VaclipError: If the clip or a map cannot be read.
    """
    size, end_s = panel_size(clip), _end_s(clip)
    finer = max(1, math.ceil(frame_rate(clip) / fps))
    decoded = decode_clip(clip.video, fps=fps * finer, size=size, start_s=clip.start_s, end_s=end_s)

    def maps(grid: Grid) -> list[NDArray[np.float32]]:
        return [annotator_drawer(one, study.annotated(clip))(grid) for one in layers]

    shown = [attn.any(axis=(1, 2)) for attn in maps(decoded.grid(_LOOK))]
    counts = np.sum(shown, axis=0) if shown else np.zeros(len(decoded.frames), np.int64)
    taken = best_of_each(counts, finer)
    grid = decoded.grid(size)
    grid = replace(grid, frame_index=grid.frame_index[taken], time_s=grid.time_s[taken])
    drawn = np.stack(maps(grid)) if layers else np.zeros((0, len(taken), *size), np.float32)
    return MappedClip(decoded.frames[taken], drawn, grid.time_s)


def best_of_each(counts: NDArray[np.integer[Any]], finer: int) -> NDArray[np.intp]:
    """Returns of each ``finer`` consecutive samples the first with the greatest count.

    Examples:
        >>> best_of_each(np.array([0, 0, 2, 1, 1, 0, 0]), 3).tolist()
        [2, 3, 6]
    """
    first = np.arange(0, len(counts), finer)
    return np.array([start + int(counts[start : start + finer].argmax()) for start in first])


def middle_moment(shown: NDArray[np.bool_]) -> int:
    """Returns the sample nearest to the middle among those on which most maps show.

    Args:
        shown: (A, S) on which samples each annotator's map shows.
    """
    counts = shown.sum(axis=0)
    best = np.flatnonzero(counts == counts.max())
    return int(best[np.abs(best - len(counts) // 2).argmin()])


def frame_rate(clip: Clip) -> float:
    """Returns pictures a second, as the file states, within bounds."""
    with open_video(clip.video) as container:
        rate = container.streams.video[0].average_rate
    return min(float(rate or _VIDEO_FPS), _FINEST_FPS)


def _end_s(clip: Clip) -> float:
    return min(clip.start_s + _LONGEST_S, clip.end_s or np.inf)


def panel_size(clip: Clip, side: int = _SIDE) -> tuple[int, int]:
    """Returns (height, width) of a clip on a page: its aspect, the longer side ``side`` pixels."""
    return fitted(picture_size(clip.video), side)


def fitted(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Returns (height, width) of the same aspect, the longer side ``side`` pixels."""
    scale = side / max(size)
    height, width = (max(16, round(pixels * scale)) for pixels in size)
    return height, width


def spread_over_classes(study: Study, count: int) -> list[Clip]:
    """Returns clips class by class in turn, patients that were not shown first."""
    queues: dict[str, list[Clip]] = defaultdict(list)
    seen: set[str] = set()
    again: list[Clip] = []
    for clip in study.clips:
        (again if clip.patient_id in seen else queues[clip.label]).append(clip)
        seen.add(clip.patient_id)
    for clip in again:
        queues[clip.label].append(clip)
    rounds = range(max(len(queue) for queue in queues.values()))
    order = [queues[name][i] for i in rounds for name in study.classes if i < len(queues[name])]
    return order[: max(1, count)]
