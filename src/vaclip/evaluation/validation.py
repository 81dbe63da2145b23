"""Checks of prediction tables, and of the columns that people bring."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

from vaclip import keys
from vaclip.errors import VaclipError

_MODEL: Final = [keys.PRED_ARM, keys.PRED_FOLD, keys.PRED_SEED]
_WHOLE: Final = (keys.PRED_FOLD, keys.PRED_SEED, keys.PRED_SEGMENT, keys.PRED_MAP_ID)
_SUM_TOLERANCE = 1e-3


def typed_column(values: pd.Series, name: str, source: str) -> pd.Series:
    """Returns a column of somebody's table in the type that it shall have.

    Args:
        values: The column.
        name: What it becomes, a column of `keys.PREDICTION_COLUMNS` or of probabilities.
        source: What it is called, for messages.

    Raises:
        VaclipError: If a cell is empty, or no number where one is needed.
    """
    numbers = (*_WHOLE, keys.PRED_SIM)
    if name not in numbers and not name.startswith(keys.PRED_PROB_PREFIX):
        if values.isna().any() and name not in keys.CLIP_NAMES:
            row = values.index[values.isna()][0]
            raise VaclipError(f"column '{source}', row {row}: the cell is empty")
        return values.astype(str)
    try:
        converted = pd.to_numeric(values)
    except (TypeError, ValueError) as error:
        raise VaclipError(f"column '{source}': expected numbers: {error}") from error
    if name in _WHOLE:
        if converted.isna().any() or (converted % 1 != 0).any():
            raise VaclipError(f"column '{source}': expected whole numbers")
        return converted.astype(np.int64)
    return converted.astype(float)


def check_table(table: pd.DataFrame, probs: list[str], classes: tuple[str, ...]) -> None:
    """Checks a table that has all columns of `keys.PREDICTION_COLUMNS`.

    Raises:
        VaclipError: If it has nothing to judge, its probabilities are none, or rows contradict
            each other.
    """
    test = table[table[keys.PRED_SPLIT] == "test"]
    if test.empty:
        raise VaclipError("no row of the prediction table has split 'test': nothing to judge")
    studies = sorted(set(table[keys.PRED_STUDY]))
    if len(studies) > 1:
        raise VaclipError(f"predictions of several studies in one table: {studies}")
    read = table[table[keys.PRED_SPLIT] != "train"]  # thresholds are chosen on val
    unknown = sorted(set(read[keys.PRED_LABEL]) - set(classes))
    if unknown:
        raise VaclipError(f"labels {unknown} have no column of probabilities; classes {classes}")
    unknown = sorted(set(table[keys.PRED_MAP_LABEL]) - {"", *classes})
    if unknown:
        raise VaclipError(f"column {keys.PRED_MAP_LABEL}: {unknown} are no classes of {classes}")
    values = read[probs].to_numpy(np.float64)
    wrong = ~(np.abs(values.sum(axis=1) - 1) < _SUM_TOLERANCE) | (values < 0).any(axis=1)
    if wrong.any():
        row = read[[*_MODEL, keys.PRED_CLIP]].iloc[int(wrong.argmax())].to_dict()
        raise VaclipError(f"probabilities of {wrong.sum()} rows are none, such as of {row}")
    one_each = [keys.PRED_PATIENT, keys.PRED_LABEL, *keys.CLIP_NAMES]
    of_clip = table.groupby(keys.PRED_CLIP)[one_each].nunique()
    torn = of_clip.index[(of_clip > 1).any(axis=1)]
    if len(torn):
        what = "clips with two patients, labels, sessions or sites"
        raise VaclipError(f"{what}: {[*map(str, torn[:5])]}")
    identity = [*_MODEL, keys.PRED_SPLIT, keys.PRED_CLIP, keys.PRED_SEGMENT]
    twice = table[table.duplicated(identity)]
    if len(twice):
        row = twice[identity].iloc[0].to_dict()
        raise VaclipError(f"{len(twice)} segments are predicted twice, such as {row}")
