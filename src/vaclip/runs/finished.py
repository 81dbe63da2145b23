"""A finished run, as Python sees it."""

from __future__ import annotations

import html
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from vaclip import keys
from vaclip.errors import VaclipError, counted
from vaclip.evaluation.predictions import Predictions
from vaclip.files import read_json
from vaclip.runs.folder import checkpoint_path, fold_folder, read_config


@dataclass(frozen=True, repr=False)
class Run:
    """What `vaclip.train` and ``vaclip train`` leave; each part is read when it is asked for.

    Attributes:
        folder: The run folder.
    """

    folder: Path

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r}: {self.arm}, {counted(len(self.folds), 'fold')})"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(repr(self))}</p>{self.metrics.T.to_html(max_rows=None)}"

    @cached_property
    def config(self) -> dict[str, Any]:
        """The settings, as the folder keeps them."""
        return read_config(self.folder)

    @property
    def arm(self) -> str:
        """The name of the arm."""
        return str(self.config.get("arm"))

    @cached_property
    def predictions(self) -> Predictions:
        """Of the validation and the test split of every fold that was run."""
        return Predictions.load(self.folder)

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """One row a fold: the metrics of its test split, by name; undefined ones are NaN."""
        content = read_json(self.folder / keys.METRICS_FILE, keys.METRICS_FILE)
        tests = {int(fold): own["test"] for fold, own in content["folds"].items()}
        frame = pd.DataFrame.from_dict(tests, orient="index", dtype=float)
        return frame.rename(columns=lambda name: name.removeprefix("test/")).rename_axis("fold")

    @property
    def folds(self) -> list[int]:
        """The folds that were run."""
        return self.metrics.index.tolist()

    def checkpoint(self, fold: int = 0) -> Path:
        """Returns the chosen checkpoint of a fold.

        Raises:
            VaclipError: If the fold was not run.
        """
        if fold not in self.folds:
            raise VaclipError(f"{self.folder} has no fold {fold}; it has {self.folds}")
        return checkpoint_path(fold_folder(self.folder, fold), "best")


def load_run(folder: str | Path) -> Run:
    """Opens a finished run.

    Args:
        folder: What ``vaclip train`` or `vaclip.train` left.

    Raises:
        VaclipError: If there is no run in it, or it is not finished.

    Examples:
        >>> load_run("nowhere")
        Traceback (most recent call last):
        vaclip.errors.VaclipError: nowhere holds no finished run: metrics.json is missing
    """
    if not (Path(folder) / keys.METRICS_FILE).is_file():
        raise VaclipError(f"{folder} holds no finished run: {keys.METRICS_FILE} is missing")
    return Run(Path(folder))
