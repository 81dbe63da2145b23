"""The one exception that a user's mistake raises."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class VaclipError(Exception):
    """A mistake that the user can mend.

    The message says what is wrong, where (file, row, field), and what to do.
    The command line prints it without a traceback and exits with status 1.
    """


def counted(number: int, noun: str) -> str:
    """Returns a number and its noun, in the plural where there is not one.

    Examples:
        >>> counted(2, "class")
        '2 classes'
    """
    return f"{number} {noun}{'' if number == 1 else 'es' if noun.endswith('s') else 's'}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Returns ``" Did you mean 'x'?"`` for the nearest of ``known``, or an empty string."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" Did you mean '{near[0]}'?" if near else ""
