"""What is played of a clip: its pictures, and what lies over them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from vaclip.audit.preview import annotations_by, mapped_clip
from vaclip.evaluation.labels import LOOK_MAPS
from vaclip.files import inside_folder
from vaclip.maps.gaze import Gaze, load_gaze
from vaclip.maps.source import Annotation, map_source
from vaclip.reports.pictures import Movie, movie
from vaclip.study.study import Clip, Study

if TYPE_CHECKING:
    from vaclip.view.models import Looks

FPS: Final = 8.0  # the player's
_TRAIL_S: Final = 1.5  # how long a path is seen
_REGION: Final = "region"


def clip_movie(study: Study, clip: Clip, looks: Looks | None = None) -> Movie:
    """Draws a clip, of a longer one the first 20 s, and what lies over it.

    That is each annotator's map, the study's regions, each annotator's gaze path, and where a
    model looked, in this order.

    Args:
        study: The study.
        clip: One of its clips.
        looks: Where a model looked; None for nowhere.

    Raises:
        VaclipError: If the clip or a map cannot be read.
    """
    own = {name: annotations_by(study, clip, name) for name in study.annotators}
    drawn = {name: said for name, said in own.items() if said}
    drawn |= {f"Region: {name}": region for name, region in _regions(study, clip).items()}
    mapped = mapped_clip(study, clip, list(drawn.values()), fps=FPS)
    layers = dict(zip(drawn, np.rint(255 * mapped.maps).astype(np.uint8), strict=True))
    for name, said in own.items():
        gazes = [
            load_gaze(inside_folder(study.root, one.value), one.value)
            for one in said
            if one.kind == "gaze"
        ]
        if gazes:
            layers[f"{name}: path"] = gaze_path(gazes, mapped.time_s, mapped.frames.shape[1:3])
    if looks is not None:
        sample = np.round((mapped.time_s - clip.start_s) * looks.fps).astype(np.int64)
        for name, maps in looks.maps.items():
            shown = maps[np.minimum(sample, len(maps) - 1)]
            layers[f"Model: {LOOK_MAPS[name]}"] = np.rint(255 * shown).astype(np.uint8)
    height = mapped.frames.shape[1]
    return movie(mapped.frames, layers, clip.clip_id, height, height // 2)


def _regions(study: Study, clip: Clip) -> dict[str, list[Annotation]]:
    source, about = map_source(_REGION), study.annotated(clip)
    return {
        name: [Annotation("", _REGION, name)]
        for name in study.regions
        if source.problem(name, about) is None
    }


def gaze_path(
    gazes: Sequence[Gaze], time_s: NDArray[np.float64], size: tuple[int, int]
) -> NDArray[np.uint8]:
    """Draws where gaze went: a disc where it is, and a line from where it was before.

    Args:
        gazes: Of one annotator, each with fixations in the order of their begin.
        time_s: (S,) in seconds from the first frame of the video.
        size: (H, W) of a picture.

    Returns:
        (S, H, W), 255 on disc and line.
    """
    height, width = size
    radius, pictures = max(2.0, height / 40), []
    for time in time_s:
        picture = Image.new("L", (width, height))
        draw = ImageDraw.Draw(picture)
        for gaze in gazes:
            begin, end, x, y = gaze.fixations.T
            seen = (begin <= time) & (end > time - _TRAIL_S)
            places = list(
                zip(x[seen] * width / gaze.size[1], y[seen] * height / gaze.size[0], strict=True)
            )
            draw.line(places, fill=255, width=2)
            if seen.any() and end[seen][-1] > time:
                draw.circle(places[-1], radius, fill=255)
        pictures.append(np.asarray(picture))
    return np.stack(pictures)
