"""Fonts of figures: names in any script are shown, or it is said that they are not."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

USUAL = ("STIXGeneral", "DejaVu Sans")
_PLACEHOLDER = "Last Resort"  # matplotlib's own: a box for every character there is
_LOG = logging.getLogger(__name__)


def font_families(texts: Iterable[str]) -> tuple[list[str], str]:
    """Chooses the fonts of this machine that show texts.

    Args:
        texts: What is shown.

    Returns:
        The families in the order in which a character is looked for: `USUAL`, and further ones
        only where these lack something; and the characters that no font has.
    """
    lacking = {ord(c) for text in texts for c in text if not c.isspace()}
    families = list(USUAL)
    for family in USUAL:
        lacking -= _characters(font_manager.findfont(family))
    if lacking:
        others = {
            font.name: font.fname
            for font in sorted(font_manager.fontManager.ttflist, key=_plainness)
        }
        for name in sorted(others):
            if not name.startswith(_PLACEHOLDER) and lacking & (has := _characters(others[name])):
                families.append(name)
                lacking -= has
    return families, "".join(map(chr, sorted(lacking)))


def _plainness(font: font_manager.FontEntry) -> tuple[bool, str]:
    """Sorts the upright, regular fonts of a family to the end."""
    return font.style == "normal" and font.weight in (400, "normal", "regular"), font.fname


def _characters(path: str) -> set[int]:
    try:
        return set(FT2Font(path).get_charmap())
    except RuntimeError:  # a font that FreeType cannot read
        return set()


def shown_names(names: Sequence[str], most: int) -> tuple[list[str], list[str]]:
    """Returns class names as a figure shows them: short, different, and without boxes.

    Args:
        names: The classes; they are numbered where no font has some character of theirs.
        most: Characters of a name.

    Returns:
        The families of fonts, and the names.

    Examples:
        >>> shown_names(["normal gait", "normal gait, cane"], 9)[1]
        ['norm…gait', 'norm…cane']
    """
    families, lacking = font_families(names)
    if lacking:
        warn_of_lacking(lacking, "figures number the classes in the order of study.yaml")
        return families, [f"class {number}" for number in range(1, len(names) + 1)]
    for tail in (0, (most - 1) // 2):
        short = [_cut(name, most, tail) for name in names]
        if len(set(short)) == len(names):
            return families, short
    return families, [
        f"{_cut(name, most - 3, 0)} {number}" for number, name in enumerate(names, start=1)
    ]


def warn_of_lacking(characters: str, so: str) -> None:
    """Logs that no font has some characters, and what is shown instead."""
    _LOG.warning(
        "no font here has %s: %s. A font such as Noto Sans of that script shows such names",
        " ".join(characters[:10]),
        so,
    )


def _cut(name: str, most: int, tail: int) -> str:
    """Returns at most so many characters of a name, of which ``tail`` from its end."""
    if len(name) <= most:
        return name
    return f"{name[: most - 1 - tail].rstrip()}…{name[len(name) - tail :].lstrip()}"
