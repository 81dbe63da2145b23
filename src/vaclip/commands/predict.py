"""What ``vaclip predict`` prints and writes."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from rich.markup import escape
from rich.table import Table

from vaclip import keys
from vaclip.files import atomic_file


def write_predictions(table: pd.DataFrame, *, csv: Path | None, json: Path | None) -> None:
    """Writes the table to the files that are asked for."""
    if csv:
        with atomic_file(csv) as temporary:
            table.to_csv(temporary, index=False)
    if json:
        with atomic_file(json) as temporary:
            table.to_json(temporary, orient="records", indent=2)


def prediction_view(table: pd.DataFrame) -> Table:
    """Returns the table for a terminal."""
    view = Table(title="Predictions")
    shown = [name for name in table.columns if name != "video"]
    for name in shown:
        view.add_column(escape(name.removeprefix(keys.PRED_PROB_PREFIX)), overflow="fold")
    for row in table[shown].itertuples(index=False):
        cells = (f"{cell:.3f}" if isinstance(cell, float) else escape(str(cell)) for cell in row)
        view.add_row(*cells)
    return view
