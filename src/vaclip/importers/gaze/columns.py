"""Tables of gaze: columns found by alias, units by the header, numbers read by the column."""

from __future__ import annotations

import argparse
import csv
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vaclip.errors import VaclipError, did_you_mean
from vaclip.importers.reading import read_table

SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_UNITS = {
    "sec": "s", "seconds": "s", "msec": "ms", "milliseconds": "ms", "microseconds": "us",
    "nanoseconds": "ns", "pixels": "px", "normalized": "norm", "normalised": "norm",
}  # fmt: skip
_BRACKETS = re.compile(r"(.+?)\s*[\[(]([^\[\]()]*)[\])]")
_SUFFIX = re.compile(r"(.+?)[_ ](s|sec|ms|us|ns|px|norm)")
_SEPARATORS = "\t;,|"


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
        index: From 0.
        title: As in the file.
        name: Without unit, in lower case, words parted by one space.
        unit: From brackets or a suffix: ``ms``, ``px``, ``norm``, ``dacspx``, ...; may be empty.
    """

    index: int
    title: str
    name: str
    unit: str


class Cells:
    """The cells of some columns."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self._frame = frame
        self.count = len(frame)

    def texts(self, column: Column | None) -> NDArray[np.object_]:
        """Returns stripped text; empty where there is no such column."""
        if column is None:
            return np.full(self.count, "", object)
        return self._frame[column.index].fillna("").str.strip().to_numpy(object)

    def filled(self, column: Column) -> bool:
        """Says whether there is a value in some row."""
        return bool((self.texts(column) != "").any())

    def numbers(self, column: Column | None) -> NDArray[np.float64]:
        """Returns numbers, also with a decimal comma; NaN where there is none."""
        if column is None:
            return np.full(self.count, np.nan)
        texts = pd.Series(self.texts(column)).str.replace(",", ".", regex=False)
        values = pd.to_numeric(texts, errors="coerce").to_numpy(np.float64, na_value=np.nan)
        return np.where(np.abs(values) < 1e30, values, np.nan)


@dataclass(frozen=True)
class GazeTable:
    """A table of which only the columns that are needed are read.

    Attributes:
        name: Of its file.
        columns: The header.
        load: Returns the text of columns by their index.
    """

    name: str
    columns: tuple[Column, ...]
    load: Callable[[list[int]], pd.DataFrame]

    def find(self, *names: str, units: Sequence[str] | None = None) -> Column | None:
        """Returns the first column with the first of these names that there is.

        Args:
            *names: As of `Column.name`, the best first.
            units: Only with one of these, the best first.
        """
        for name in names:
            fitting = [column for column in self.columns if column.name == name]
            if units is not None:
                fitting = [column for unit in units for column in fitting if column.unit == unit]
            if fitting:
                return fitting[0]
        return None

    def named(self, title: str | None, *names: str) -> Column | None:
        """Returns the column that the user names, else one found by `find`.

        Raises:
            VaclipError: If the user names one that is not there.
        """
        if title is None:
            return self.find(*names)
        for column in self.columns:
            if column.title == title:
                return column
        titles = [column.title for column in self.columns]
        raise VaclipError(
            f"{self.name}: there is no column '{title}' (it has: {', '.join(titles)})."
            f"{did_you_mean(title, titles)}"
        )

    def read(self, *columns: Column | None) -> Cells:
        """Reads columns; those that are None are left out.

        Raises:
            VaclipError: If the rows do not fit the header.
        """
        indices = sorted({column.index for column in columns if column is not None})
        return Cells(self.load(indices))

    def read_filled(self, names: Collection[str]) -> tuple[GazeTable, Cells]:
        """Reads the columns with these names; a column without any value is as good as none.

        Returns:
            The table with only those of these columns that hold something, and the cells.

        Raises:
            VaclipError: If the rows do not fit the header.
        """
        columns = [column for column in self.columns if column.name in names]
        cells = self.read(*columns)
        return replace(self, columns=tuple(filter(cells.filled, columns))), cells

    def seconds(self, column: Column, options: argparse.Namespace) -> float:
        """Returns the seconds that one unit of a column of times lasts.

        Raises:
            VaclipError: If neither the header nor ``--time-unit`` says it.
        """
        if column.unit in SECONDS:
            return SECONDS[column.unit]
        if options.time_unit is None:
            raise VaclipError(
                f"{self.name}: the column '{column.title}' does not say its unit: say --time-unit "
                f"{', '.join(SECONDS)}"
            )
        return SECONDS[options.time_unit]


def gaze_table(content: str, name: str, text: Callable[[], str]) -> GazeTable | None:
    """Returns a table; None where the first line is no header of at least two columns.

    Lines before the header that begin with ``#``, which iMotions writes, are skipped.

    Args:
        content: The file, or its first lines.
        name: What to call it.
        text: Reads it again, so that not all files are held in memory.
    """
    first, skipped = _header(content)
    separator = max(_SEPARATORS, key=first.count)
    try:
        titles = next(csv.reader([first], delimiter=separator, strict=True), [])
    except csv.Error:
        return None
    if len(titles) < 2:
        return None

    def load(indices: list[int]) -> pd.DataFrame:
        body = text().split("\n", skipped + 1)
        rest = body[-1] if len(body) > skipped + 1 else ""
        return _frame(rest, separator, len(titles), indices, name)

    return GazeTable(name, _columns(titles), load)


def _header(content: str) -> tuple[str, int]:
    """Returns the line of the header, and how many stand before it."""
    skipped = begin = 0
    while content.startswith(("#", '"#'), begin) and (end := content.find("\n", begin)) >= 0:
        skipped, begin = skipped + 1, end + 1
    end = content.find("\n", begin)
    return content[begin : end if end >= 0 else len(content)].rstrip("\r"), skipped


def _frame(body: str, separator: str, count: int, indices: list[int], name: str) -> pd.DataFrame:
    # pandas takes the number of columns from the first row, and silently cuts longer ones: a first
    # row of our own has one more than the header, where what is too much then shows up.
    try:
        frame = pd.read_csv(
            StringIO(separator * count + "\n" + body), sep=separator, header=None,
            names=range(count + 1), usecols=[*indices, count], dtype=str, index_col=False,
            na_filter=False, engine="c",
        )[1:]  # fmt: skip
    except (pd.errors.ParserError, ValueError, OverflowError) as error:
        raise VaclipError(f"{name}: cannot be read as a table: {error}") from error
    longer = np.flatnonzero(frame[count].fillna("").str.strip() != "")
    if len(longer):
        raise VaclipError(
            f"{name}:{longer[0] + 2}: more cells than the header has ({count}); quote values that "
            "hold a separator"
        )
    return frame


def excel_table(path: Path, sheet: str | None) -> GazeTable:
    """Returns the table in an Excel file."""
    table = read_table(path, sheet=sheet)
    rows = [[row[title] for title in table.header] for _, row in table.rows]
    frame = pd.DataFrame(rows, columns=range(len(table.header)), dtype=str)
    return GazeTable(path.name, _columns(table.header), lambda indices: frame[indices])


def _columns(titles: Sequence[str]) -> tuple[Column, ...]:
    return tuple(_column(index, title.strip()) for index, title in enumerate(titles))


def _column(index: int, title: str) -> Column:
    text = " ".join(title.casefold().replace("_", " ").split())
    match = _BRACKETS.fullmatch(text) or _SUFFIX.fullmatch(text)
    name, unit = match.groups() if match else (text, "")
    # "μ" is also what the micro sign becomes by casefold.
    unit = "".join(unit.split()).replace("μ", "u")
    return Column(index, title, name, _UNITS.get(unit, unit))
