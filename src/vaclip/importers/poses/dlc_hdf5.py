"""DeepLabCut's HDF5: what ``DataFrame.to_hdf`` of pandas writes, read without pandas or pickle.

Facts from DeepLabCut's ``analyze_videos`` (``to_hdf(..., "df_with_missing", format="table")``) and
from files of pandas 3.1 with PyTables 3.11. A table has the rows' numbers in ``index`` and all
values in ``values_block_0``; what its columns are stands in a pickle of protocol 0, of which the
operations are read one by one here: only texts, lists and tuples, everything else is refused. The
layout ``fixed`` has the columns as plain arrays.
"""

from __future__ import annotations

import pickletools
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaclip.errors import VaclipError

_LEVELS = {3: ("scorer", "bodyparts", "coords"),
           4: ("scorer", "individuals", "bodyparts", "coords")}  # fmt: skip
_AS_CSV = "save it as CSV: deeplabcut.analyze_videos_converth5_to_csv(FOLDER)"


def head_and_values(
    arrays: Mapping[str, NDArray[Any]], name: str
) -> tuple[dict[str, list[str]], NDArray[np.float64]]:
    """Returns the header rows that the CSV file would have, and a row of values for each frame.

    Args:
        arrays: From `vaclip.importers.poses.hdf5.hdf5_arrays`.
        name: What to call the file.

    Raises:
        VaclipError: If the columns are no plain texts, or frames are not numbered 0, 1, 2, ...
    """
    values, index = arrays["values"], arrays["index"]
    if "pickle" in arrays:
        columns = _plain(arrays["pickle"].tolist()[0], name)
    else:
        columns = [tuple(_text(cell, name) for cell in row) for row in arrays["names"].tolist()]
    lengths = {len(column) for column in columns}
    if len(lengths) != 1 or not lengths <= set(_LEVELS) or values.shape[1:] != (len(columns),):
        raise VaclipError(f"{name}: its columns are not DeepLabCut's; {_AS_CSV}")
    if not np.array_equal(index, np.arange(len(values))):
        raise VaclipError(f"{name}: frames must be numbered 0, 1, 2, ... without a gap")
    levels = _LEVELS[lengths.pop()]
    return {level: [c[place] for c in columns] for place, level in enumerate(levels)}, values


def _text(cell: bytes, name: str) -> str:
    try:
        return cell.decode()
    except UnicodeDecodeError as error:
        raise VaclipError(f"{name}: a name in it is no UTF-8; {_AS_CSV}") from error


def _plain(content: bytes, name: str) -> list[tuple[str, ...]]:
    """Returns the list of tuples of texts that a pickle describes; nothing is built from it."""
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[Any, Any] = {}
    try:
        for operation, argument, _ in pickletools.genops(content):
            match operation.name:
                case "MARK":
                    marks.append(len(stack))
                case "LIST" | "TUPLE":
                    start = marks.pop()
                    items = stack[start:]
                    stack[start:] = [items if operation.name == "LIST" else tuple(items)]
                case "UNICODE" | "STRING" | "BINUNICODE":
                    stack.append(argument)
                case "PUT" | "BINPUT":
                    memo[argument] = stack[-1]
                case "GET" | "BINGET":
                    stack.append(memo[argument])
                case "APPEND":
                    item = stack.pop()
                    stack[-1].append(item)
                case "STOP":
                    break
                case other:
                    raise ValueError(f"it has the operation {other}")
        (columns,) = stack
    except (ValueError, LookupError, AttributeError, TypeError) as error:
        raise VaclipError(f"{name}: its columns are no plain texts ({error}); {_AS_CSV}") from error
    if not isinstance(columns, list) or not all(
        isinstance(column, tuple) and all(isinstance(cell, str) for cell in column)
        for column in columns
    ):
        raise VaclipError(f"{name}: its columns are no plain texts; {_AS_CSV}")
    return columns
