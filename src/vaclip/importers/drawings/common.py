"""What importers of drawings share: wanted labels, shapes that can be drawn."""

from __future__ import annotations

import argparse
from collections.abc import Collection

from vaclip.errors import VaclipError, did_you_mean
from vaclip.maps.shapes import Shapes, parse_shapes, shapes_json

UNMATCHED = (100, 100)
"""The size of a video that the study does not have: nobody draws on it."""


def add_label_option(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Adds ``--label``, and returns the group for further flags of drawings."""
    group = parser.add_argument_group("which drawings")
    group.add_argument("--label", action="append", default=[], metavar="NAME",
                       help="take only shapes of this label; repeatable")  # fmt: skip
    return group


def check_labels(wanted: Collection[str], present: Collection[str], flag: str = "--label") -> None:
    """Raises a VaclipError where a label is wanted that no shape has."""
    for name in wanted:
        if name not in present:
            known = ", ".join(sorted(present)) or "none"
            raise VaclipError(
                f"{flag} {name}: no shape has it (labels: {known}).{did_you_mean(name, present)}"
            )


def checked_shapes(shapes: Shapes, where: str) -> Shapes:
    """Returns the shapes if they can be written, read back and drawn.

    Raises:
        VaclipError: Otherwise; the message begins with ``where``.
    """
    try:
        parse_shapes(shapes_json(shapes))
    except VaclipError as error:
        raise VaclipError(f"{where}: {error}") from error
    return shapes
