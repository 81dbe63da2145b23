"""What ``vaclip predict`` prints and writes."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.markup import escape
from rich.table import Table

from vaclip import keys
from vaclip.files import atomic_file, write_csv
from vaclip.runs.predict import ClipPredictions
from vaclip.study.study import Clip


def write_predictions(table: pd.DataFrame, *, csv: Path | None, json: Path | None) -> None:
    """Writes the table to the files that are asked for."""
    if csv:
        write_csv(table, csv)
    if json:
        with atomic_file(json) as temporary:
            table.to_json(temporary, orient="records", indent=2)


def write_folder(found: ClipPredictions, data: dict[str, Any], out: Path) -> None:
    """Writes predictions.csv, and each predicted map as an array and over its video.

    Args:
        found: Of `predict_videos`.
        data: The ``data`` settings of the model.
        out: The folder.
    """
    from vaclip.audit.predicted import draw_predicted  # here, because it brings Matplotlib

    sampling = {name: data[name] for name in ("frames", "stride", "fps")}
    files = []
    for number, (clip, maps) in enumerate(zip(found.clips, found.maps, strict=True), start=1):
        if maps is None:
            continue
        files.append(f"maps/{plain_name(number, clip)}.npz")
        array = out / files[-1]
        with atomic_file(array) as temporary:
            np.savez_compressed(temporary, map=maps, **sampling)
        draw_predicted(clip, maps, array.with_suffix(".mp4"), **sampling)
    table = found.table.assign(map_file=files) if files else found.table
    write_predictions(table, csv=out / "predictions.csv", json=None)


def plain_name(number: int, clip: Clip) -> str:
    """Names the files of a clip: clips of two videos may be called alike, and a clip anything."""
    plain = re.sub(r"[^A-Za-z0-9_.]+", "-", Path(clip.clip_id).stem)[:60]
    return f"{number:04d}-{plain}"


def prediction_view(table: pd.DataFrame) -> Table:
    """Returns the table for a terminal; videos without a study by what tells their paths apart."""
    view = Table(title="Predictions")
    shown = [name for name in table.columns if name != "video"]
    if (table[keys.PRED_CLIP] == table["video"]).all():
        common = os.path.commonpath([Path(video).parent for video in table["video"]])
        short = [os.path.relpath(video, common) for video in table["video"]]
        table = table.assign(**{keys.PRED_CLIP: short})
    for name in shown:
        view.add_column(escape(name.removeprefix(keys.PRED_PROB_PREFIX)), overflow="fold")
    for row in table[shown].itertuples(index=False):
        cells = (f"{cell:.3f}" if isinstance(cell, float) else escape(str(cell)) for cell in row)
        view.add_row(*cells)
    return view
