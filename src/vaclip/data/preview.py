"""A contact sheet of clips under their attention maps: what `vaclip data preview` draws."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vaclip.data.study import Clip, Study, load_study
from vaclip.data.video import decode_clip
from vaclip.errors import VaclipError
from vaclip.files import atomic_file
from vaclip.maps.source import render_annotator

_SIDE = 224
_FPS = 4.0


def draw_preview(root: Path, out: Path, *, clips: int = 6) -> None:
    """Draws one column a clip and one row an annotator.

    Each cell is the clip's middle picture with the annotator's map over it, red where they
    look. The clips are spread over the classes.

    Args:
        root: The study folder.
        out: The PNG to write.
        clips: How many.

    Raises:
        VaclipError: If the study or one of the clips cannot be read.
    """
    if out.suffix.lower() != ".png":
        raise VaclipError(f"--out is {out}; give a name that ends in .png")
    study = load_study(root)
    chosen = spread_over_classes(study, clips)
    annotators = study.annotators or ("nobody",)
    figure = Figure(figsize=(2.2 * len(chosen), 2.4 * len(annotators) + 0.3), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(annotators), len(chosen), squeeze=False)
    for column, clip in enumerate(chosen):
        picture, maps = _middle(study, clip, annotators)
        for row, annotator in enumerate(annotators):
            cell = axes[row, column]
            cell.imshow(picture)
            if maps[row] is None:
                cell.text(0.5, 0.04, "not marked", transform=cell.transAxes, ha="center",
                          color="white", backgroundcolor="black", fontsize=7)  # fmt: skip
            else:
                cell.imshow(_overlay(maps[row]))
            cell.set_xticks([])
            cell.set_yticks([])
            if row == 0:
                cell.set_title(f"{clip.clip_id}\n{clip.label}", fontsize=8)
            if column == 0:
                cell.set_ylabel(annotator, fontsize=9)
    with atomic_file(out) as temporary:
        figure.savefig(temporary, dpi=110)


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


def _middle(
    study: Study, clip: Clip, annotators: tuple[str, ...]
) -> tuple[NDArray[np.uint8], list[NDArray[np.float32] | None]]:
    height, width = decode_clip(
        clip.video, fps=1e-3, size=(16, 16), start_s=clip.start_s, end_s=clip.end_s
    ).source_size
    scale = _SIDE / max(height, width)
    size = (max(16, round(height * scale)), max(16, round(width * scale)))
    decoded = decode_clip(clip.video, fps=_FPS, size=size, start_s=clip.start_s, end_s=clip.end_s)
    middle = len(decoded.frames) // 2
    marks = study.marks.get(clip.clip_id, ())
    maps: list[NDArray[np.float32] | None] = []
    for annotator in annotators:
        own = [mark for mark in marks if mark.annotator == annotator]
        grid = decoded.grid(size)
        maps.append(render_annotator(own, study.marked(clip), grid)[middle] if own else None)
    return decoded.frames[middle], maps


def _overlay(attn: Any) -> NDArray[np.float32]:
    """Returns (H, W, 4): red, more opaque where the map is higher."""
    rgba = np.zeros((*attn.shape, 4), np.float32)
    rgba[..., 0], rgba[..., 1] = 1.0, 0.15
    rgba[..., 3] = 0.45 * attn
    return rgba
