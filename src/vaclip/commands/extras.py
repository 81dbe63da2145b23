"""Packages that a command needs beyond those of every command."""

from __future__ import annotations

from importlib.util import find_spec

from vaclip.errors import VaclipError


def require_extra(command: str, extra: str, *names: str) -> None:
    """Looks for packages before anything is imported.

    Raises:
        VaclipError: If one is missing; the message names the extra that brings it.
    """
    if missing := [name for name in names if find_spec(name) is None]:
        raise VaclipError(
            f"vaclip {command} needs more packages ({', '.join(missing)}): pip install "
            f"'vaclip[{extra}]'"
        )
