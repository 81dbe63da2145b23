"""The tables of a study: UTF-8, with a header, columns parted by commas."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from vaclip.errors import VaclipError
from vaclip.files import atomic_file
from vaclip.study.spelling import quoted, spelling_key

Row = dict[str, str]
Report = Callable[[str, str], None]
"""Told where a table has a problem, ``file:line``, and what is wrong."""


_EXCEL_ERRORS = frozenset("#NULL! #DIV/0! #VALUE! #REF! #NAME? #NUM! #N/A #SPILL! #CALC!".split())
_LONG = re.compile(r"\d([.,]\d+)?E\+\d\d")  # so a CSV file that Excel saved shows long numbers
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_SAVE = "save it as CSV UTF-8, parted by commas"


class Table(NamedTuple):
    """A table as it is read.

    Attributes:
        header: The columns; empty where they cannot be used.
        rows: (``file:line``, cells by column) of each row that fits the header and is not empty.
            They are read as they are asked for, and once.
    """

    header: list[str]
    rows: Iterator[tuple[str, Row]]


def refuse(where: str, what: str) -> None:
    """Raises a problem of a table as a VaclipError."""
    raise VaclipError(f"{where}: {what}")


def read_table(path: Path, required: Sequence[str] = (), report: Report = refuse) -> Table:
    """Reads a table of a study.

    Args:
        path: The file.
        required: Columns that it must have.
        report: Told of every problem; what has one is left out.

    Raises:
        VaclipError: At the first problem, if ``report`` is `refuse`: also while rows are asked for.
    """
    lines = _lines(path, required, report)
    _, header = next(lines, ("", []))
    rows = ((where, dict(zip(header, cells, strict=True))) for where, cells in lines)
    return Table(header, rows)


def _lines(path: Path, required: Sequence[str], report: Report) -> Iterator[tuple[str, list[str]]]:
    """Yields the header if it can be used, then every row that fits it."""
    name = path.name
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = csv.reader(file, strict=True)
            header = [cell.strip() for cell in next(lines, [])]
            if what := _header_problem(header, required):
                report(f"{name}:1", f"the header {what} (it is: {', '.join(header)})")
                return
            yield f"{name}:1", header
            for line in lines:
                where, cells = f"{name}:{lines.line_num}", [cell.strip() for cell in line]
                if any(cells) and len(cells) != len(header):
                    what = f"{len(cells)} cells under a header of {len(header)}"
                    report(where, f"{what}; {_advice(cells, len(header))}")
                elif any(cells):
                    yield where, cells
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = str(error)
        if isinstance(error, UnicodeDecodeError):
            utf_16 = error.object.startswith(_UTF_16)
            reason = f"{'it is UTF-16' if utf_16 else error}: {_SAVE}"
        report(name, f"cannot be read as a UTF-8 CSV file: {reason}")


def _header_problem(header: Sequence[str], required: Sequence[str]) -> str | None:
    if any("\0" in column for column in header):
        return f"has characters without a meaning, as UTF-16 has: {_SAVE}"
    if not any(header):
        return "is empty: the first line names the columns"
    if header[0].casefold().startswith("sep="):
        return "is a note of Excel's on how columns are parted: delete the line"
    if len(header) == 1 and (other := next((c for c in ";\t|" if c in header[0]), None)):
        shown = "tabulators" if other == "\t" else f"'{other}'"
        return f"is parted by {shown}, not by commas: {_SAVE}"
    if "" in header:
        return "has a column without a name: delete the stray comma, or name the column"
    if missing := [column for column in required if column not in header]:
        meant = {spelling_key(column): column for column in missing}
        other = [column for column in header if spelling_key(column) in meant]
        hint = "; ".join(f"{quoted(c)} must be '{meant[spelling_key(c)]}'" for c in other)
        return f"lacks {', '.join(missing)}" + (f": {hint}" if hint else "")
    return "names a column twice" if len(set(header)) < len(header) else None


def _advice(cells: Sequence[str], columns: int) -> str:
    if not any(cells[columns:]) and len(cells) > columns:
        return "delete the stray commas at its end"
    return "quote values that hold a comma, and write decimals after a point"


def nearly_named(header: Iterable[str], names: Sequence[str]) -> Iterator[tuple[str, str, bool]]:
    """Yields columns whose name is nearly one that means something, and that is not there.

    Args:
        header: The columns.
        names: Those that mean something.

    Yields:
        The column, the name, and whether they differ in spelling alone.

    Examples:
        >>> list(nearly_named(["Site", "end", "side"], ["site", "start_s", "end_s"]))
        [('Site', 'site', True), ('end', 'end_s', False)]
    """
    header = list(header)
    lacking = {spelling_key(name): name for name in names if name not in header}
    for column in (name for name in header if name not in names):
        key = spelling_key(column)
        near = [k for k in (key, f"{key}_s") if k in lacking]
        if near := near or get_close_matches(key, lacking, 1, 0.8):
            yield column, lacking[near[0]], near[0] == key


def spoilt(cell: str) -> str | None:
    """Returns what a spreadsheet made of a cell that was saved as text; None where nothing shows.

    Examples:
        >>> spoilt("#N/A"), spoilt("1.23E+17"), spoilt("1E5")
        ('an error', 'a number of more than 15 digits', None)
    """
    if cell in _EXCEL_ERRORS:
        return "an error"
    return "a number of more than 15 digits" if _LONG.fullmatch(cell) else None


def write_table(path: Path, header: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes a UTF-8 CSV file; a column that a row lacks is empty."""
    with atomic_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, header)
        writer.writeheader()
        writer.writerows(rows)
