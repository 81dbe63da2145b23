"""Names that differ in spelling alone: one person under two ids, one class under two labels."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable

_UNSEEN = {"Cc", "Cf"}
_SELECTORS = frozenset(
    map(chr, (0x34F, *range(0xFE00, 0xFE10)))
)  # unseen marks of no such category
_MINUS = "\u2212"  # the one dash that Unicode files under mathematics
_APOSTROPHES = str.maketrans(
    dict.fromkeys("\u2018\u2019\u201b\u02b9\u02bb\u02bc\u2032`\u00b4", "'")
)
# Letters that look like a Latin one in upper or lower case: of one alphabet no two like the same,
# so that its own words stay apart (a part of Unicode's confusables.txt, UTS #39).
_LATIN = str.maketrans(
    "авекмнорстухіјѕԁԛԝ" "αβεζηικμνορτυχ" "\u0131",
    "abekmhopctyxijsdqw" "abezhikmnoptyx" "i",
)  # fmt: skip


def spelling_key(name: str) -> str:
    """Returns what names that differ in spelling alone have in common.

    Left out of account are upper and lower case, how letters are composed, width, characters
    without a width, the kind of a dash or an apostrophe, Cyrillic and Greek letters that look like
    Latin ones, the script of digits, blanks other than between two words or two numbers, leading
    zeros, and the empty decimals of a number.

    Examples:
        >>> spelling_key("P 004") == spelling_key("p4") == spelling_key("\u0420\u0664")
        True
        >>> spelling_key("1.0"), spelling_key("12 3")
        ('1', '12 3')
    """
    seen = (c for c in name if c.isspace() or unicodedata.category(c) not in _UNSEEN)
    text = "".join(c for c in seen if c not in _SELECTORS).translate(_APOSTROPHES)
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    text = unicodedata.normalize("NFD", text).translate(_LATIN).replace("i\u0307", "i")
    text = "".join(map(_plain, unicodedata.normalize("NFKC", text)))
    text = re.sub(r" ?- ?", "-", " ".join(text.split()))
    text = re.sub(r"(?<=\d) (?=\D)|(?<=\D) (?=\d)", "", text)
    text = re.sub(r"(?<!\d)(?<!\d[.,])0+(?=\d)", "", text)  # of 1.05 the zero counts
    return re.sub(r"^(\d+)[.,]0+$", r"\1", text)


def _plain(character: str) -> str:
    """Returns one dash for all kinds, and a digit of any script as 0 to 9."""
    kind = unicodedata.category(character)
    if character == _MINUS or kind == "Pd":
        return "-"
    return str(unicodedata.decimal(character)) if kind == "Nd" else character


def look_alikes(names: Iterable[str], key: Callable[[str], str] = spelling_key) -> list[list[str]]:
    """Returns the groups of different names that differ in spelling alone.

    Args:
        names: The names.
        key: What those of a group have in common.

    Examples:
        >>> look_alikes(["004", "P1", "4", "004"])
        [['004', '4']]
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for name in dict.fromkeys(names):
        groups[key(name)].append(name)
    return [group for group in groups.values() if len(group) > 1]


def quoted(name: str) -> str:
    r"""Returns a name in quotes, with codes where eyes cannot tell it from another.

    Examples:
        >>> print(quoted("Ab\u00a03"))
        'Ab\xa03'
    """
    letters = [c for c in name if not c.isascii()]
    plain = all(unicodedata.category(c)[0] in "LMN" for c in letters)
    looks_latin = all(c.casefold().translate(_LATIN).isascii() for c in letters)
    plain = plain and not (letters and looks_latin)
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
