"""``table``: a spreadsheet of clips, its columns named by flags."""

from __future__ import annotations

import argparse
import math
import re
import shlex
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path, PurePosixPath

from vaclip.errors import VaclipError
from vaclip.files import inside_folder
from vaclip.importers.base import Export, Importer, NewClip
from vaclip.importers.reading import CLOCK, Table, read_table
from vaclip.importers.videos.pictures import holds_pictures, picture_recording, without_suffix
from vaclip.study.spelling import quoted
from vaclip.study.study import CLIP_COLUMNS, NAMED_COLUMNS
from vaclip.study.suggestions import Suggestions
from vaclip.study.tables import nearly_named

_MOST_LISTED = 100_000  # files among which a missing one is looked for
_PERSONAL = frozenset(
    "birth birthday birthdate dob geburt geburtsdatum geburtstag naissance nacimiento surname "
    "forename firstname lastname fullname middlename vorname nachname prenom prénom apellido "
    "address adresse anschrift street strasse straße postcode zipcode phone telephone telefon "
    "mobile email mail ssn mrn insurance versichertennummer passport".split()
)
_FLAGS = {"clip_id": "--clip-column", "start_s": "--start-column", "end_s": "--end-column"}
_OF_A_PERSON = frozenset(
    "name of the patient person subject first last full given family middle maiden".split()
)


@dataclass(frozen=True)
class Columns:
    """How a table names what clips.csv needs.

    Attributes:
        video: The file, relative to the folder of videos.
        patient_id: The patient.
        label: The diagnosis.
        clip_id: The clip; None takes the video's path without its suffix.
        start_s: Where the clip begins, in seconds; None where clips are whole videos.
        end_s: Where it ends.
        fps: Pictures a second, of clips that are pictures; None for none.
    """

    video: str = "video"
    patient_id: str = "patient_id"
    label: str = "label"
    clip_id: str | None = None
    start_s: str | None = None
    end_s: str | None = None
    fps: str | None = None


class TableImporter(Importer):
    """Reads clips from CSV, TSV or Excel."""

    summary = "a spreadsheet of clips (CSV, TSV, Excel), its columns named by flags"

    def read(self, sources: Sequence[Path], options: argparse.Namespace) -> Export:
        exports = [read_clips(source, options) for source in sources]
        return Export(
            clips=tuple(clip for export in exports for clip in export.clips),
            dropped=tuple(line for export in exports for line in export.dropped),
            notes=tuple(line for export in exports for line in export.notes),
        )


def add_column_options(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that say how a table of clips is read; every kind takes one as ``--clips``."""
    group = parser.add_argument_group("columns of the table of clips")
    for name, default in (
        ("video", "video"), ("patient", "patient_id"), ("label", "label"),
        ("clip", "clip_id"), ("start", "start_s"), ("end", "end_s"), ("fps", "fps"),
    ):  # fmt: skip
        group.add_argument(f"--{name}-column", metavar="NAME", help=f"default: {default}")
    group.add_argument(
        "--fps", type=float, metavar="N",
        help="pictures a second, where clips are pictures or DICOM and nothing says it",
    )  # fmt: skip
    group.add_argument(
        "--drop-column", action="append", default=[], metavar="NAME",
        help="a further column that shall not come along; repeatable",
    )  # fmt: skip
    group.add_argument(
        "--keep-column", action="append", default=[], metavar="NAME",
        help="a column that comes along though it looks personal; repeatable",
    )  # fmt: skip
    group.add_argument(
        "--rename-label", action="append", default=[], metavar="OLD=NEW",
        help="another name for a diagnosis; repeatable",
    )  # fmt: skip
    group.add_argument("--sheet", metavar="NAME", help="of an Excel file (default: the first)")
    group.add_argument("--encoding", metavar="NAME", help="of text (default: UTF-8 or UTF-16)")


def read_clips(path: Path, options: argparse.Namespace) -> Export:
    """Reads a table of clips with the flags of `add_column_options`."""
    table = read_table(path, encoding=options.encoding, sheet=options.sheet)

    def optional(flag: str | None, usual: str) -> str | None:
        return flag or (usual if usual in table.header else None)

    columns = Columns(
        video=options.video_column or "video",
        patient_id=options.patient_column or "patient_id",
        label=options.label_column or "label",
        clip_id=optional(options.clip_column, "clip_id"),
        start_s=optional(options.start_column, "start_s"),
        end_s=optional(options.end_column, "end_s"),
        fps=optional(options.fps_column, "fps"),
    )
    videos = options.videos or path.parent
    if not videos.is_dir():
        raise VaclipError(f"there is no folder of videos '{videos}'; see --videos")
    return clips_of_table(
        table,
        videos,
        columns,
        drop=options.drop_column,
        keep=options.keep_column,
        renamed_labels=renamed_labels(options),
        skip_missing=options.skip_unmatched,
        fps=options.fps,
    )


def renamed_labels(options: argparse.Namespace) -> dict[str, str]:
    """Returns what ``--rename-label`` says: new names of labels by old ones.

    Raises:
        VaclipError: If a word is not OLD=NEW.
    """
    return dict(new_name(word, "--rename-label") for word in options.rename_label)


def new_name(word: str, flag: str) -> tuple[str, str]:
    """Returns what OLD=NEW says.

    Raises:
        VaclipError: If it is not that.
    """
    old, equals, new = word.partition("=")
    if not equals or not new:
        raise VaclipError(f"{flag} {word}: expected OLD=NEW")
    return old, new


def clips_of_table(
    table: Table,
    videos: Path,
    columns: Columns,
    *,
    drop: Sequence[str] = (),
    keep: Sequence[str] = (),
    renamed_labels: dict[str, str] | None = None,
    skip_missing: bool = False,
    fps: float | None = None,
) -> Export:
    """Turns the rows of a table into clips.

    Args:
        table: The table.
        videos: The folder that its videos lie in.
        columns: How it names what is needed.
        drop: Further columns that are left out.
        keep: Further columns that come along although they look personal.
        renamed_labels: New names of labels by old ones.
        skip_missing: Leave out clips whose video is not there.
        fps: Pictures a second of clips that are pictures, where no column says it.

    Raises:
        VaclipError: If a column or a value is missing, a time is none, or a video is not there;
            all such rows are listed.
    """
    used = [name for name in vars(columns).values() if name is not None]
    for name in (*used, *drop, *keep):
        table.require(name)
    personal = [n for n in table.header if n not in (*used, *drop, *keep) and looks_personal(n)]
    for name in table.header:
        if name in CLIP_COLUMNS and name not in (*used, *drop):
            raise VaclipError(
                f"{table.name}: the column '{name}' means something else in a study; rename it, or "
                f"leave it out by --drop-column {name} (keypoints are imported from pose files)"
            )
    further = [name for name in table.header if name not in (*used, *drop, *personal)]
    names, near = _nearly_named(table, further, columns)
    renamed = renamed_labels or {}
    clips: list[NewClip] = []
    wrong: dict[int, str] = {}
    missing: dict[int, NewClip] = {}
    for number, row in table.rows:
        where = f"{table.name}:{number}"
        try:
            _check_cells(table, number, row, columns)
            clip = _clip(
                row, where, videos, columns, renamed, {n: names.get(n, n) for n in further}
            )
            if holds_pictures(clip.video) and clip.video.exists():
                clip = _of_pictures(clip, row[columns.fps] if columns.fps else "", fps)
        except VaclipError as error:
            wrong[number] = f"{where}: {error}"
        else:
            if clip.video.exists():
                clips.append(clip)
            else:
                missing[number] = clip
    lost = _missing_videos(missing, videos)
    if wrong or (lost and not skip_missing):
        lines = [line for _, line in sorted({**wrong, **({} if skip_missing else lost)}.items())]
        more = "\n--skip-unmatched leaves clips without a video out" if lost else ""
        listed = "\n  ".join(lines)
        raise VaclipError(f"{len(lines)} row(s) cannot be used:\n  {listed}{more}")
    labels = {row[columns.label] for _, row in table.rows}
    unused = [
        f"{table.name}: no row has the label '{old}' of --rename-label"
        for old in renamed
        if old not in labels
    ]
    mixed = table.mixed_columns((columns.patient_id, columns.clip_id))
    unused += [
        f"{table.name}: the column '{name}' looks personal; --keep-column {shlex.quote(name)} "
        "takes it along"
        for name in personal
    ]
    return Export(clips=tuple(clips), dropped=(*unused, *lost.values()), notes=(*mixed, *near))


def _nearly_named(
    table: Table, further: Sequence[str], columns: Columns
) -> tuple[dict[str, str], list[str]]:
    """Looks for further columns with nearly a name that means something in a study.

    Returns:
        The names that those take which differ in spelling alone, and a line for each other one.

    Raises:
        VaclipError: Where a flag would say such a name, or two columns would have it.
    """
    used = ("video", "patient_id", "label", *(name for name in _FLAGS if getattr(columns, name)))
    taken, near = {}, []
    for column, name, alone in nearly_named(further, [n for n in NAMED_COLUMNS if n not in used]):
        what = f"{table.name}: the column {quoted(column)} means nothing in a study, '{name}' would"
        advice = f"say {_FLAGS[name]} {shlex.quote(column)}" if name in _FLAGS else "rename it"
        if alone and (name in _FLAGS or name in taken.values()):
            raise VaclipError(f"{what}: {advice}, or leave it out by --drop-column")
        if alone:
            taken[column] = name
        else:
            near.append(f"{what}: {advice} if that is meant")
    return taken, near


def looks_personal(column: str) -> bool:
    """Whether the name of a column says that it holds what tells who somebody is.

    Examples:
        >>> looks_personal("Date of Birth"), looks_personal("patientName"), looks_personal("name")
        (True, True, True)
        >>> looks_personal("device name"), looks_personal("age")
        (False, False)
    """
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", column).casefold()
    words = set(re.findall(r"[^\W\d_]+", apart))
    return not words.isdisjoint(_PERSONAL) or ("name" in words and words <= _OF_A_PERSON)


def _missing_videos(missing: dict[int, NewClip], videos: Path) -> dict[int, str]:
    """Returns a line for each clip without a video, with the file that may be meant."""
    if not missing:
        return {}
    files = (path for path in islice(videos.rglob("*"), _MOST_LISTED) if path.suffix)
    near = Suggestions(path.relative_to(videos).as_posix() for path in files)
    return {
        number: f"{clip.where}: there is no video '{clip.name}' in the folder '{videos}'."
        f"{near.hint(clip.name)}"
        for number, clip in missing.items()
    }


def _check_cells(table: Table, number: int, row: dict[str, str], columns: Columns) -> None:
    """Raises a VaclipError where a time or a name of a row is not what somebody typed."""
    for column in (columns.start_s, columns.end_s):
        if column is not None and table.kinds.get((number, column)) == CLOCK:
            raise VaclipError(
                f"Excel made a time of day of the cell '{column}' ({row[column]}), and it may mean "
                "m:s or h:m: type seconds as a number, or format the column as text and type it "
                "again"
            )
    table.check_names(number, row, (columns.patient_id, columns.clip_id), (columns.label,))


def _clip(
    row: dict[str, str],
    where: str,
    videos: Path,
    columns: Columns,
    renamed: dict[str, str],
    extra: dict[str, str],
) -> NewClip:
    needed = [columns.video, columns.patient_id, columns.label]
    for name in needed + ([columns.clip_id] if columns.clip_id else []):
        if not row[name]:
            raise VaclipError(f"the cell '{name}' is empty")
    name, path = _find(videos, row[columns.video].replace("\\", "/"))
    label = row[columns.label]
    start_s, end_s = (_seconds(row, column) for column in (columns.start_s, columns.end_s))
    if end_s is not None and end_s <= (start_s or 0.0):
        raise VaclipError(f"the clip ends at {end_s:g} s, before it begins")
    return NewClip(
        clip_id=row[columns.clip_id] if columns.clip_id else _stem(name, path),
        video=path,
        name=str(PurePosixPath(name)),
        patient_id=row[columns.patient_id],
        label=renamed.get(label, label),
        where=where,
        start_s=start_s,
        end_s=end_s,
        extra={name: row[column] for column, name in extra.items()},
    )


def _of_pictures(clip: NewClip, said: str, fps: float | None) -> NewClip:
    """Returns a clip whose video is made of pictures."""
    try:
        rate = float(said.replace(",", ".")) if said else fps
    except ValueError:
        raise VaclipError(f"'{said}' is no number of pictures a second") from None
    if rate is None:
        raise VaclipError(
            f"'{clip.name}' is a series of pictures: say how many a second, by --fps or a column "
            "fps"
        )
    recording = picture_recording(clip.video, rate)
    return replace(clip, name=f"{_stem(clip.name, clip.video)}.mp4", recording=recording)


def _stem(name: str, path: Path) -> str:
    """Returns the name of a video, or of a series of pictures, without its suffix."""
    if holds_pictures(path):
        return without_suffix(name, path)
    return str(PurePosixPath(name).with_suffix(""))


def _find(videos: Path, name: str) -> tuple[str, Path]:
    """Returns a video's name and path, also where the disk spells accented letters otherwise.

    It may not be there.
    """
    for form in (name, *(unicodedata.normalize(form, name) for form in ("NFC", "NFD"))):
        if (path := inside_folder(videos, form, "the folder of videos")).exists():
            return form, path
    return name, path


def _seconds(row: dict[str, str], column: str | None) -> float | None:
    """Reads seconds, also with a decimal comma or as minutes:seconds."""
    text = row[column] if column else ""
    if not text:
        return None
    *above, last = text.replace(",", ".").split(":")
    try:
        value = float(last)
        for number, part in enumerate(reversed(above), start=1):
            value += int(part) * 60**number
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf or len(above) > 2:
        raise VaclipError(f"'{text}' in '{column}' is no time: use seconds, m:s or h:m:s")
    return value
