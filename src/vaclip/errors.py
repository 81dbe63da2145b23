"""The one exception that a user's mistake raises."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable
from pathlib import Path


class VaclipError(Exception):
    """A mistake that the user can mend.

    The message says what is wrong, where (file, row, field), and what to do.
    The command line prints it without a traceback and exits with status 1.
    """

    def __str__(self) -> str:
        """Returns the message; a loader process of torch sends its whole traceback as one."""
        said = super().__str__()
        return said.rpartition(f"{VaclipError.__module__}.VaclipError: ")[2].rstrip("\n")


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


_FULL = (errno.ENOSPC, errno.EDQUOT)


def system_message(error: OSError) -> str:
    """Returns what the system refused, and where it can be told, what to do.

    Examples:
        >>> system_message(OSError(errno.EACCES, "Permission denied", "runs/.tmp-1.json"))
        'runs: Permission denied'
    """
    named = Path(str(error.filename)) if error.filename else None
    where = named.parent if named and named.name.startswith(".tmp-") else named
    at = f"{where}: " if where else ""
    # NumPy writes arrays by itself, and tells no number: "98304 requested and 40832 written".
    if error.errno in _FULL or (error.errno is None and "requested and" in str(error)):
        return (
            f"{at}the disk is full, or your share of it; make room and go on with the same command "
            "(vaclip train: with resume=true)"
        )
    if error.errno == errno.EFBIG:
        return f"{at}a file outgrew what this system allows (see ulimit -f)"
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return f"{at}too many files are open; allow more, such as by: ulimit -n 1024"
    return f"{at}{error.strerror}" if error.strerror else str(error)
