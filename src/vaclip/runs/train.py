"""Training from Python."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from vaclip.compose import compose_settings
from vaclip.runs.finished import Run
from vaclip.runs.run import run
from vaclip.study.study import Study


def train(
    study: Study | str | Path | None,
    *,
    arm: str = "B3",
    folds: int | Literal["all"] = 0,
    overrides: Sequence[str] = (),
    folder: str | Path | None = None,
    config_dir: str | Path | None = None,
    progress: bool = False,
) -> Run:
    """Trains one arm and tests it, as ``vaclip train`` does.

    Like that command it seeds every random generator of the process.

    Args:
        study: A study, or its folder; None for the generated default cohort.
        arm: Its name; ``vaclip arms`` lists them.
        folds: Which fold of the split, or all.
        overrides: Settings as on the command line, ``KEY=VALUE``.
        folder: The run folder, which is made; None for a new one below ``runs_dir``.
        config_dir: A folder with arms of one's own, ``experiment/NAME.yaml``.
        progress: Whether to show a bar for each epoch.

    Raises:
        VaclipError: For a wrong setting, an unknown arm, or a study that cannot be used.

    Examples:
        >>> train("nowhere", arm="B0")
        Traceback (most recent call last):
        vaclip.errors.VaclipError: the study in nowhere has 1 error(s):
        ...
    """
    root = study.root if isinstance(study, Study) else study
    shown = f"trainer.enable_progress_bar={str(progress).lower()}"
    config = compose_settings(
        [f"experiment={arm}", f"split.fold={folds}", shown, *overrides],
        config_dir=config_dir,
        root=root,
    )
    if folder is not None:
        config.run_dir = str(folder)
    with _quiet_lightning():
        return Run(run(config).folder)


@contextmanager
def _quiet_lightning() -> Generator[None]:
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            # Lightning 2.6 on torch 2.13; nothing that a user could change.
            warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated")
            yield
    finally:
        logger.setLevel(level)
