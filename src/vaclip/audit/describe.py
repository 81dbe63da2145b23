"""What a study folder holds, and what will mislead."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vaclip.audit.data_card import data_card
from vaclip.compose import compose_settings
from vaclip.evaluation.data_card import DataCard
from vaclip.runs.prepare import open_study, prepare_study
from vaclip.study.study import Study


def describe(
    study: Study | str | Path, overrides: Sequence[str] = (), *, workers: int = -1
) -> DataCard:
    """Describes a study folder as `data_card` does.

    The clips are decoded with the settings of a run, so that training finds them in the cache.

    Args:
        study: A study, or its folder.
        overrides: Settings as for ``vaclip train``, ``KEY=VALUE``.
        workers: Processes; -1 for one a core.

    Raises:
        VaclipError: If a setting is wrong, or the study has an error.

    Examples:
        >>> describe("nowhere")
        Traceback (most recent call last):
        vaclip.errors.VaclipError: the study in nowhere has 1 error(s):
        ...
    """
    root = study.root if isinstance(study, Study) else study
    config = compose_settings(overrides, root=root)
    prepared = prepare_study(config.data, open_study(config.data), workers=workers)
    split = config.split
    return data_card(
        config.data, prepared, folds=split.folds, by_site=split.by == "site", workers=workers
    )
