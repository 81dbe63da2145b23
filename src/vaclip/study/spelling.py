"""Names that differ in spelling alone: one person under two ids, one class under two labels."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from vaclip.study.tables import Report, read_table, refuse

PATIENTS = "patients.csv"
PATIENT_COLUMNS = ("patient_id", "distinct")
_UNSEEN = {"Cc", "Cf"}
_SELECTORS = frozenset(
    map(chr, (0x34F, *range(0xFE00, 0xFE10)))
)  # unseen marks of no such category
_MINUS = "\u2212"  # the one dash that Unicode files under mathematics


def spelling_key(name: str) -> str:
    """Returns what names that differ in spelling alone have in common.

    Left out of account are upper and lower case, how letters are composed, width, characters
    without a width, the kind of a dash, blanks other than between two words or two numbers,
    leading zeros, and the empty decimals of a number.

    Examples:
        >>> spelling_key("P 004") == spelling_key("p4")
        True
        >>> spelling_key("1.0"), spelling_key("12 3")
        ('1', '12 3')
    """
    seen = (c for c in name if c.isspace() or unicodedata.category(c) not in _UNSEEN)
    text = "".join(c for c in seen if c not in _SELECTORS)
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    text = "".join("-" if c == _MINUS or unicodedata.category(c) == "Pd" else c for c in text)
    text = re.sub(r" ?- ?", "-", " ".join(text.split()))
    text = re.sub(r"(?<=\d) (?=\D)|(?<=\D) (?=\d)", "", text)
    text = re.sub(r"(?<!\d)(?<!\d[.,])0+(?=\d)", "", text)  # of 1.05 the zero counts
    return re.sub(r"^(\d+)[.,]0+$", r"\1", text)


def look_alikes(names: Iterable[str]) -> list[list[str]]:
    """Returns the groups of different names that differ in spelling alone.

    Examples:
        >>> look_alikes(["004", "P1", "4", "004"])
        [['004', '4']]
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for name in dict.fromkeys(names):
        groups[spelling_key(name)].append(name)
    return [group for group in groups.values() if len(group) > 1]


def confused_patients(root: Path, names: Iterable[str], report: Report = refuse) -> list[list[str]]:
    """Returns the groups of patient ids that differ in spelling alone, and may be one person.

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
    return [group for group in look_alikes(names) if not distinct.issuperset(group)]


def quoted(name: str) -> str:
    r"""Returns a name in quotes, with codes where eyes cannot tell it from another.

    Examples:
        >>> print(quoted("Ab\u00a03"))
        'Ab\xa03'
    """
    plain = all(c.isascii() or unicodedata.category(c)[0] in "LMN" for c in name)
    if plain and name.isprintable() and unicodedata.is_normalized("NFC", name):
        return f"'{name}'"
    return ascii(name)


def spelt_alike(names: Iterable[str], places: dict[str, str] | None = None) -> str:
    """Returns the sentence that names differ in spelling alone.

    Args:
        names: Two or more.
        places: Where each of them stands first.
    """
    *some, last = (
        quoted(name) + (f" ({places[name]})" if places and places.get(name) else "")
        for name in names
    )
    return f"{', '.join(some)} and {last} differ in spelling alone"
