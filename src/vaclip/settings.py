"""Fields of configurations that say what they allow, and configurations by dotted keys."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable, Iterator
from dataclasses import field
from typing import Any, NamedTuple

from vaclip.files import local_path


class Allowed(NamedTuple):
    """What a setting may be.

    Attributes:
        holds: Whether a value is allowed; null is where the type says so.
        what: The same in words, after "it must be".
    """

    holds: Callable[[Any], bool]
    what: str


def number(holds: Callable[[float], bool], what: str) -> Allowed:
    """Allows numbers."""
    return Allowed(lambda value: isinstance(value, int | float) and holds(value), what)


def one_of(*names: str) -> Allowed:
    """Allows these."""
    return Allowed(lambda value: value in names, f"one of {', '.join(names)}")


def listed(each: Allowed | None = None, *, least: int = 0) -> Allowed:
    """Allows lists of so many different things."""
    what = f"a list{' of one or more' if least else ''} that names nothing twice"
    return Allowed(
        lambda values: (
            least <= len(values) == len(set(values))
            and (each is None or all(map(each.holds, values)))
        ),
        f"{what}, each {each.what}" if each else what,
    )


POSITIVE = number(lambda x: 0 < x < math.inf, "above 0")
NOT_NEGATIVE = number(lambda x: 0 <= x < math.inf, "a number, not negative")
FINITE = number(math.isfinite, "a number")
SHARE = number(lambda x: 0 < x <= 1, "in (0, 1]")


FOLDER = Allowed(lambda value: local_path(value) is not None, "a folder, or file://FOLDER")


def setting(default: Any, allowed: Allowed | None = None) -> Any:
    """Returns a field with its default and what is allowed.

    Args:
        default: The value, a list of them, or the dataclass of a group.
        allowed: None: whatever has the type.
    """
    metadata = {"allowed": allowed}
    if isinstance(default, type):
        return field(default_factory=default, metadata=metadata)
    if isinstance(default, list):
        return field(default_factory=lambda: copy.deepcopy(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def all_settings(group: Any, prefix: str = "") -> Iterator[tuple[str, Any, Allowed | None]]:
    """Yields (dotted name, value, what is allowed) of every setting of a configuration."""
    for one in dataclasses.fields(group):
        key, value = f"{prefix}{one.name}", getattr(group, one.name)
        if dataclasses.is_dataclass(value):
            yield from all_settings(value, f"{key}.")
        else:
            yield key, value, one.metadata.get("allowed")


def flat_settings(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns the leaves of nested settings by dotted key."""
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        leaves |= flat_settings(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return leaves
