"""Ids of patients: which may be one person under two, and which name nobody."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from vaclip.errors import counted
from vaclip.study.spelling import look_alikes, spelling_key
from vaclip.study.tables import Report, read_table, refuse

PATIENTS = "patients.csv"
PATIENT_COLUMNS = ("patient_id", "distinct")
_PARTED = r"[-_./\\]"
_JOINED = re.compile(rf"(?<=[^\W\d_]){_PARTED}(?=\d)|(?<=\d){_PARTED}(?=[^\W\d_])")
_AROUND = "'\"#.,;: "
_NOBODY = frozenset(
    "nan na n/a n.a. none null nil unknown missing anonymous tbd xxx ? ?? - -- \u2013 \u2014 . "
    "unbekannt inconnu desconocido".split()
)
_MONTHS = (
    "jan feb mar m\u00e4r mrz apr may mai mayo jun jul aug ago sep set oct okt dec dez dic".split()
)
_DATE = re.compile(
    rf"\d{{1,4}}([./-])\d{{1,2}}\1\d{{2,4}}( \d.*)?"
    rf"|\d{{1,4}}[-. ]+({'|'.join(_MONTHS)})[a-z]*\.?([-. ]+\d{{2,4}})?"
    rf"|({'|'.join(_MONTHS)})[a-z]*\.?[-. ]+\d{{2,4}}"
)


def confused_patients(root: Path, names: Iterable[str], report: Report = refuse) -> list[list[str]]:
    """Returns the groups of patient ids that differ in spelling alone, and may be one person.

    Of them ``P-1``, ``P/1``, ``#P1`` and ``P1`` are alike too: the worst is a needless question.

    Args:
        root: The study folder; its patients.csv names the ids that are people of their own.
        names: The ids.
        report: Told of every problem of patients.csv.
    """
    distinct = set()
    if (root / PATIENTS).exists():
        for where, row in read_table(root / PATIENTS, PATIENT_COLUMNS, report).rows:
            if row["distinct"] not in ("", "yes"):
                report(f"{where}:distinct", f"'{row['distinct']}' is neither yes nor empty")
            elif row["distinct"]:
                distinct.add(row["patient_id"])
    return [group for group in look_alikes(names, _id_key) if not distinct.issuperset(group)]


def _id_key(name: str) -> str:
    """As `spelling_key`; nor count quotes and the like around, or what parts letter and number."""
    return spelling_key(_JOINED.sub("", spelling_key(name)).strip(_AROUND).replace("_", "-"))


def names_nobody(patient: str) -> bool:
    """Whether an id stands for none.

    Examples:
        >>> names_nobody("N/A"), names_nobody("Unknown"), names_nobody("Nan 2")
        (True, True, False)
    """
    return patient.casefold() in _NOBODY


def _dates_among(names: Iterable[str]) -> list[str]:
    """Returns the names that look like dates, where others do not.

    Examples:
        >>> _dates_among(["P1", "01-Mar", "3.4.2024"]), _dates_among(["2024-01-02", "2024-01-03"])
        (['01-Mar', '3.4.2024'], [])
    """
    names = list(dict.fromkeys(names))
    found = [name for name in names if _DATE.fullmatch(name.casefold())]
    return found if len(found) < len(names) else []


def odd_patients(clips_of: dict[str, int]) -> list[str]:
    """Says which ids of patients are most likely none.

    Args:
        clips_of: How many clips each has.
    """
    told = [
        f"'{name}' ({counted(count, 'clip')}) names nobody: clips of different people would count "
        "as one patient, and no one's other clips are kept with them; give each person an id"
        for name, count in clips_of.items()
        if names_nobody(name)
    ]
    if dates := _dates_among(clips_of):
        told.append(
            f"{', '.join(map(repr, dates[:5]))}{', ...' * (len(dates) > 5)}: a date among other "
            "ids: a spreadsheet makes dates of ids such as MAR1 and 1-2; format the column as text "
            "and type them again"
        )
    return told
