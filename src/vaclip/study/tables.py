"""The tables of a study as rows of text, to be changed and written again."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vaclip.files import atomic_file


def read_table(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Returns header and rows of a table in which `read_study` found no error."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        header, *rows = ([cell.strip() for cell in row] for row in csv.reader(file) if row)
    return header, [dict(zip(header, row, strict=True)) for row in rows if any(row)]


def write_table(path: Path, header: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes a UTF-8 CSV file; a column that a row lacks is empty."""
    with atomic_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, header)
        writer.writeheader()
        writer.writerows(rows)
