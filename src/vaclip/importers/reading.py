"""Other people's files: read within bounded memory, and nothing that they hold is run."""

from __future__ import annotations

import codecs
import csv
import json
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, time, timedelta
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import iterparse

from vaclip.errors import VaclipError, did_you_mean
from vaclip.files import LARGEST_TEXT, LARGEST_TREE
from vaclip.study.tables import spoilt

_MOST_FILES = 200_000  # in a folder or an archive
_MOST_ELEMENTS = 5_000_000  # of XML, in memory at a time
_SEPARATORS = ",;\t|"
_EXCEL = (".xlsx", ".xlsm")
CLOCK = "a time of day"
_NUMBER = "a number"
_DECIMALS = "a number with decimals"  # 1.10 became 1.1
_NO_LABEL = ("a date", CLOCK, "true or false", "an error", "a number of more than 15 digits")
_EXACT = 10**15  # Excel keeps 15 digits of a number


@dataclass(frozen=True)
class SourceFile:
    """A file, or a member of an archive.

    Attributes:
        name: Its path below what the user named, with forward slashes.
        read: Returns the content, at most `LARGEST_TEXT` bytes.
    """

    name: str
    read: Callable[[], bytes]


def source_files(source: Path, suffixes: Sequence[str]) -> list[SourceFile]:
    """Lists the files that an export consists of.

    Args:
        source: A file (taken whatever its suffix), a folder or a zip archive.
        suffixes: Which files of a folder or archive, in lower case.

    Returns:
        Sorted by name; links that leave a folder are not followed.

    Raises:
        VaclipError: If there is no such source, or none of its files fits.
    """
    if source.is_dir():
        files = list(_in_folder(source, suffixes))
    elif source.suffix.lower() == ".zip":
        files = list(_in_archive(source, suffixes))
    elif source.is_file():
        return [SourceFile(source.name, lambda: read_bytes(source))]
    else:
        raise VaclipError(f"there is no file or folder '{source}'")
    if not files:
        raise VaclipError(f"'{source.name}' holds no file that ends in {' or '.join(suffixes)}")
    return sorted(files, key=lambda file: file.name)


def files_below(folder: Path, suffixes: Sequence[str] | None = None) -> Iterator[Path]:
    """Yields the files below a folder; links that leave it are not followed.

    Args:
        folder: The folder.
        suffixes: Which of them, in lower case; None for all.

    Raises:
        VaclipError: If there are too many.
    """
    inside = folder.resolve()
    for number, path in enumerate(folder.rglob("*")):
        if number >= _MOST_FILES:
            raise VaclipError(f"'{folder.name}' has more than {_MOST_FILES} files: name a part")
        wanted = path.is_file() if suffixes is None else path.suffix.lower() in suffixes
        if wanted and path.resolve().is_relative_to(inside):
            yield path


def _in_folder(folder: Path, suffixes: Sequence[str]) -> Iterator[SourceFile]:
    for path in files_below(folder, suffixes):
        name = path.relative_to(folder).as_posix()
        yield SourceFile(name, lambda path=path: read_bytes(path))


def _in_archive(path: Path, suffixes: Sequence[str]) -> Iterator[SourceFile]:
    try:
        # It stays open: to read its table of contents anew for each of many members takes hours.
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise VaclipError(f"{path.name}: cannot be read as a zip archive: {error}") from error
    members = archive.infolist()
    if len(members) > _MOST_FILES:
        raise VaclipError(f"{path.name} has more than {_MOST_FILES} members")
    for member in members:
        if Path(member.filename).suffix.lower() in suffixes and not member.is_dir():
            yield SourceFile(
                member.filename, lambda name=member.filename: _read_member(archive, path.name, name)
            )


def _read_member(archive: zipfile.ZipFile, archive_name: str, name: str) -> bytes:
    try:
        with archive.open(name) as member:
            content = member.read(LARGEST_TEXT + 1)
    # A wrong password or an unknown compression is a RuntimeError or NotImplementedError.
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error, ValueError, RuntimeError) as error:
        raise VaclipError(f"{archive_name}: '{name}' cannot be read: {error}") from error
    return _bounded(content, f"{archive_name}: '{name}'")


def read_bytes(path: Path) -> bytes:
    """Reads a file of at most `LARGEST_TEXT` bytes.

    Raises:
        VaclipError: If it is missing or larger.
    """
    try:
        with path.open("rb") as file:
            return _bounded(file.read(LARGEST_TEXT + 1), path.name)
    except OSError as error:
        raise VaclipError(f"{path.name}: cannot be read: {error.strerror}") from error


def _bounded(content: bytes, name: str, most: int = LARGEST_TEXT) -> bytes:
    if len(content) > most:
        raise VaclipError(f"{name} has more than {most >> 20} MiB")
    return content


def decode_text(content: bytes, name: str, encoding: str | None = None) -> str:
    """Returns text; without ``encoding`` it is UTF-16 where a mark says so, else UTF-8.

    Raises:
        VaclipError: If it is neither, or the encoding is unknown.
    """
    annotated = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode(encoding or ("utf-16" if annotated else "utf-8-sig"))
    except (UnicodeDecodeError, LookupError) as error:
        raise VaclipError(
            f"{name}: the text cannot be read ({error}); save it as UTF-8, or say --encoding"
        ) from error


def parse_json(content: bytes, name: str) -> Any:
    """Reads JSON of at most `LARGEST_TREE` bytes.

    Raises:
        VaclipError: If it is none, or larger.
    """
    try:
        return json.loads(decode_text(_bounded(content, name, LARGEST_TREE), name))
    except (ValueError, RecursionError) as error:
        raise VaclipError(f"{name}: cannot be read as JSON: {error}") from error


def xml_elements(content: bytes, name: str, tags: Sequence[str]) -> Iterator[Element]:
    """Yields elements when they are complete, and forgets their content afterwards.

    Entities and document types, by which a small file could grow without bound or name other
    files, are refused.

    Args:
        content: The document.
        name: What to call it in messages.
        tags: Which elements; one that lies in another of them comes with that one.

    Raises:
        VaclipError: If the document is no XML, or asks for what is refused.
    """
    depth = held = within = 0
    root = None
    stream = BytesIO(_bounded(content, name, LARGEST_TREE))
    try:
        for event, element in iterparse(stream, events=("start", "end"), forbid_dtd=True):
            root = element if root is None else root
            depth += 1 if event == "start" else -1
            held += event == "start"
            if depth > 100 or held > _MOST_ELEMENTS:
                raise VaclipError(f"{name}: XML with too many elements, or nested too deep")
            if element.tag in tags:
                within += 1 if event == "start" else -1
                if event == "end" and not within:
                    yield element
                    element.clear()
            if event == "end" and depth == 1:
                root.clear()
                held = 0
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise VaclipError(f"{name}: cannot be read as XML: {error}") from error


@dataclass(frozen=True)
class Table:
    """A table with a header.

    Attributes:
        name: Of its file.
        header: The columns.
        rows: (row number in the file, cells by column), without empty rows.
        kinds: What a spreadsheet made of a cell that is no text, by (row number, column).
    """

    name: str
    header: tuple[str, ...]
    rows: tuple[tuple[int, dict[str, str]], ...]
    kinds: Mapping[tuple[int, str], str] = field(default_factory=dict)

    def check_names(
        self,
        number: int,
        row: Mapping[str, str],
        ids: Iterable[str | None],
        labels: Iterable[str | None] = (),
    ) -> None:
        """Raises a VaclipError where a spreadsheet changed what was typed as an id or a label.

        Args:
            number: Of the row.
            row: Its cells.
            ids: Columns of ids; None is skipped.
            labels: Columns of labels, whose numbers may have decimals.
        """
        for columns, refused in ((ids, (*_NO_LABEL, _DECIMALS)), (labels, _NO_LABEL)):
            for column in columns:
                kind = self.kinds.get((number, column or ""))
                if kind in refused:
                    raise VaclipError(
                        f"Excel made {kind} of the cell '{column}' ({row[column or '']}), which "
                        "may not be what was typed: format the column as text and type it again"
                    )

    def mixed_columns(self, columns: Iterable[str | None]) -> tuple[str, ...]:
        """Returns a line for each of these columns that holds numbers and text, None skipped."""
        found = []
        for column in filter(None, columns):
            first: dict[bool, int] = {}
            for number, row in self.rows:
                if row[column]:
                    first.setdefault(self.kinds.get((number, column)) == _NUMBER, number)
            if self.kinds and len(first) == 2:
                found.append(
                    f"{self.name}: the column '{column}' holds numbers (row {first[True]}) and "
                    f"text (row {first[False]}): numbers lose leading zeros, so one id may be "
                    "spelt in two ways; format the column as text and type the numbers again"
                )
        return tuple(found)

    def require(self, column: str) -> None:
        """Raises a VaclipError where there is no such column."""
        if column not in self.header:
            known = ", ".join(self.header)
            hint = did_you_mean(column, self.header)
            raise VaclipError(
                f"{self.name}: there is no column '{column}' (it has: {known}).{hint}"
            )


def read_table(path: Path, *, encoding: str | None = None, sheet: str | None = None) -> Table:
    """Reads a table: Excel, or text whose columns are parted by , ; | or tabulators.

    Args:
        path: The file.
        encoding: Of text, see `decode_text`.
        sheet: Of an Excel file; None for the first.

    Raises:
        VaclipError: If it cannot be read, has no header, or a row does not fit the header.
    """
    if path.suffix.lower() in _EXCEL:
        return _table(path.name, _excel_rows(path, sheet))
    text = decode_text(read_bytes(path), path.name, encoding)
    return parse_table(text, path.name)


def parse_table(text: str, name: str) -> Table:
    """Reads a table from text, see `read_table`."""
    first, _, rest = text.partition("\n")
    noted = first.strip().casefold().startswith("sep=")  # by Excel, before the header
    separator = max(_SEPARATORS, key=(rest.partition("\n")[0] if noted else first).count)
    body = StringIO(rest if noted else text, newline="")
    try:
        reader = csv.reader(body, delimiter=separator, strict=True)
        return _table(name, ((reader.line_num + noted, cells) for cells in reader))
    except csv.Error as error:
        raise VaclipError(f"{name}: cannot be read as a table: {error}") from error


def _table(name: str, rows: Iterator[tuple[int, Sequence[Any]]]) -> Table:
    _, cells = next(rows, (0, []))
    header = tuple(_cell(cell).strip() for cell in cells)
    while header and not header[-1]:  # a spreadsheet's formatted but empty columns
        header = header[:-1]
    named = [column for column in header if column]
    if not named or len(set(named)) < len(named):
        what = "names a column twice" if named else "is missing"
        raise VaclipError(f"{name}: the header {what} (it is: {', '.join(header)})")
    kept, kinds = [], {}
    for number, cells in rows:
        stripped = [_cell(cell).strip() for cell in cells]
        if not any(stripped):
            continue
        if any(stripped[len(header) :]):
            title = "; does the first line name the columns?" if len(header) == 1 else ""
            raise VaclipError(
                f"{name}:{number}: {len(cells)} cells under a header of {len(header)}; quote "
                f"values that hold a separator{title}"
            )
        padded = stripped + [""] * (len(header) - len(stripped))
        kept.append((number, {c: v for c, v in zip(header, padded, strict=False) if c}))
        for column, cell in zip(header, cells, strict=False):
            if (kind := _kind(cell)) is not None:
                kinds[number, column] = kind
    return Table(name, tuple(named), tuple(kept), kinds)


def _kind(cell: Any) -> str | None:
    """Returns what a spreadsheet made of what was typed; None for text and empty cells."""
    if isinstance(cell, bool):
        return "true or false"
    if isinstance(cell, int | float):
        if abs(cell) >= _EXACT:
            return "a number of more than 15 digits"
        return _NUMBER if float(cell).is_integer() else _DECIMALS
    if isinstance(cell, time | timedelta):
        return CLOCK
    if isinstance(cell, date):  # and datetime
        return "a date"
    return spoilt(cell.strip()) if isinstance(cell, str) else None


def _excel_rows(path: Path, sheet: str | None) -> Iterator[tuple[int, Sequence[Any]]]:
    from openpyxl import load_workbook
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > LARGEST_TEXT:
            raise VaclipError(f"{path.name}: unpacked it has more than {LARGEST_TEXT >> 20} MiB")
        book = load_workbook(path, read_only=True, data_only=True)
        if sheet is not None and sheet not in book.sheetnames:
            known = ", ".join(book.sheetnames)
            raise VaclipError(f"{path.name}: there is no sheet '{sheet}' (it has: {known})")
        chosen = book[sheet] if sheet else book.worksheets[0]
        yield from enumerate(chosen.iter_rows(values_only=True), start=1)
    except (
        InvalidFileException, zipfile.BadZipFile, zlib.error, DefusedXmlException, ParseError,
        OSError, ValueError, TypeError, LookupError, AttributeError, EOFError, RuntimeError,
    ) as error:  # fmt: skip
        raise VaclipError(f"{path.name}: cannot be read as an Excel file: {error}") from error


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
