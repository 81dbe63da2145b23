"""What ``vaclip explain`` computes, prints and writes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from rich.markup import escape
from rich.table import Table

from vaclip import keys
from vaclip.commands.predict import plain_name
from vaclip.errors import VaclipError
from vaclip.evaluation.labels import LOOK_MAPS, LOOK_MEASURES
from vaclip.explain.audit import grid_maps, look_arrays, segment_inputs
from vaclip.explain.measures import OF_TWO_MAPS, Maps
from vaclip.explain.saliency import why_no_place
from vaclip.files import atomic_file, write_csv
from vaclip.runs.named_clips import bare_study
from vaclip.runs.predict import (
    ClipPredictions,
    Predictor,
    clip_segments,
    map_choice,
    model_annotators,
    predict_videos,
)
from vaclip.study.load import load_study


class Explained(NamedTuple):
    """Predictions, and where the model looked.

    Attributes:
        predictions: Of `predict_videos`.
        looks: Of each of its clips the maps by name, (N, T', H', W') over its N segments, with the
            clinicians' as the last where there is one.
    """

    predictions: ClipPredictions
    looks: list[dict[str, Maps]]


def explain_videos(
    predictor: Predictor,
    videos: Sequence[Path],
    *,
    attention: Path | None = None,
    map_from: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Explained:
    """Predicts the class of every clip, and tells where the model looked.

    Args:
        predictor: The model.
        videos: As of `predict_videos`, and so are the next two.
        attention: The maps of this study are compared with, too, whatever guides the model.
        map_from: Whose map guides the model.
        progress: Called with (done, total) clips.

    Raises:
        VaclipError: As `predict_videos`; or if it cannot be told where the model looks.
    """
    if why := why_no_place(predictor.model):
        raise VaclipError(f"where {predictor.checkpoint} looks cannot be told: {why}")
    map_from = map_choice(predictor, map_from, attention is not None)
    study = load_study(attention) if attention else None
    found = predict_videos(predictor, videos, attention=study, map_from=map_from)
    study = study or bare_study([clip.video for clip in found.clips])
    annotators = model_annotators(predictor, study)
    looks = []
    with tempfile.TemporaryDirectory(prefix="vaclip-") as scratch:
        for done, clip in enumerate(found.clips, start=1):
            shown, drawn = (
                clip_segments(predictor, study, clip, annotators, Path(scratch), source)
                for source in (map_from, "given")
            )
            parts = [
                look_arrays(predictor.model, segment_inputs(one, predictor.device)) for one in shown
            ]
            maps = {name: np.concatenate([one[name] for one in parts]) for name in parts[0]}
            grid = maps["gradcam"].shape[1:]
            own = [grid_maps(one[keys.ATTN_MAP][None], grid) for one in drawn]
            truth = np.concatenate(own)
            looks.append(maps | ({keys.LOOK_CLINICIANS: truth} if truth.any() else {}))
            progress(done, len(found.clips))
    return Explained(found, looks)


def agreement_table(found: Explained) -> pd.DataFrame:
    """Returns a row a clip and map of the model: its mean agreement with the clinicians' map."""
    rows = []
    for clip, looks in zip(found.predictions.clips, found.looks, strict=True):
        if keys.LOOK_CLINICIANS not in looks:
            continue
        truth = looks[keys.LOOK_CLINICIANS]
        drawn = truth.any(axis=(1, 2, 3))
        for name, maps in looks.items():
            if name != keys.LOOK_CLINICIANS:
                scores = {
                    measure: pd.Series(of(maps[drawn], truth[drawn])).mean()
                    for measure, of in OF_TWO_MAPS.items()
                }
                rows.append({keys.PRED_CLIP: clip.clip_id, keys.LOOK_MAP: name, **scores})
    return pd.DataFrame(rows, columns=[keys.PRED_CLIP, keys.LOOK_MAP, *OF_TWO_MAPS])


def write_explained(
    found: Explained, agreed: pd.DataFrame, data: dict[str, Any], out: Path
) -> None:
    """Writes predictions.csv, agreement.csv, and each clip's maps as arrays and over its video.

    Args:
        found: Of `explain_videos`.
        agreed: Its `agreement_table`.
        data: The ``data`` settings of the model.
        out: The folder.
    """
    from vaclip.audit.predicted import draw_looks, draw_predicted  # here: it brings Matplotlib

    sampling = {name: data[name] for name in ("frames", "stride", "fps")}
    files = []
    for number, (clip, looks) in enumerate(
        zip(found.predictions.clips, found.looks, strict=True), start=1
    ):
        files.append(f"maps/{plain_name(number, clip)}.npz")
        array = out / files[-1]
        with atomic_file(array) as temporary:
            arrays: dict[str, Any] = {**looks, **sampling}
            np.savez_compressed(temporary, **arrays)
        titled = {LOOK_MAPS[name]: maps for name, maps in looks.items()}
        draw_looks(clip, titled, array.with_suffix(".png"), **sampling)
        for name, maps in looks.items():
            draw_predicted(clip, maps, array.with_name(f"{array.stem}-{name}.mp4"), **sampling)
    table = found.predictions.table.assign(map_file=files)
    write_csv(table, out / "predictions.csv")
    if len(agreed):
        write_csv(agreed, out / "agreement.csv")


def agreement_view(table: pd.DataFrame) -> Table:
    """Returns the table of agreement for a terminal."""
    view = Table(title="Agreement with the clinicians' map")
    for name in ("clip", "map", *(LOOK_MEASURES[measure] for measure in OF_TWO_MAPS)):
        view.add_column(name, overflow="fold")
    for row in table.itertuples(index=False):
        clip, which, *scores = row
        shown = ("-" if np.isnan(score) else f"{score:.2f}" for score in scores)
        view.add_row(escape(str(clip)), LOOK_MAPS[str(which)], *shown)
    return view
