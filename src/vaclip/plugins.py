"""Parts by name: vaclip's own, and those of installed packages (entry points).

A name is looked up where it is needed, so that every process finds the same parts.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from vaclip.errors import VaclipError, did_you_mean

Part = TypeVar("Part")


@dataclass(frozen=True)
class Registry(Generic[Part]):
    """The parts of one sort.

    Attributes:
        group: The entry points of packages, such as ``vaclip.encoders``.
        what: What has such a name, for messages: the key of a setting.
        base: What every part is a subclass of.
        builtin: vaclip's own parts: their ``package.module:Class`` by name.
        by_path: Whether any ``package.module:Class`` is a name, too. Never where names come with
            data, because the module is run.
    """

    group: str
    what: str
    base: type[Part]
    builtin: Mapping[str, str]
    by_path: bool = False

    def names(self) -> list[str]:
        """Returns every name, vaclip's own first. Nothing is imported."""
        return list(dict.fromkeys([*self.builtin, *(e.name for e in _installed(self.group))]))

    def load(self, name: str) -> type[Part]:
        """Imports and returns the class of a part.

        Raises:
            VaclipError: If there is none, two have the name, or it is not what it must be.
        """
        entry = self._find(name)
        try:
            part = entry.load()
        except (ImportError, AttributeError) as error:
            if name in self.builtin:
                raise
            advice = "mend or remove" if entry.dist else "put its folder on PYTHONPATH, or install"
            raise VaclipError(
                f"{self._told(entry)} cannot be loaded: {type(error).__name__}: {error}; "
                f"{advice} its package"
            ) from error
        base = f"{self.base.__module__}.{self.base.__qualname__}"
        if not (inspect.isclass(part) and issubclass(part, self.base)):
            raise VaclipError(f"{self._told(entry)} is no subclass of {base}")
        if inspect.isabstract(part):
            lacking = ", ".join(sorted(part.__abstractmethods__))
            raise VaclipError(f"{self._told(entry)} lacks what {base} asks for: {lacking}")
        return part

    def build(self, name: str, **arguments: Any) -> Part:
        """Builds a part from the arguments that all of its sort take.

        Raises:
            VaclipError: As `load` does, and if its constructor takes other arguments.
        """
        part = self.load(name)
        if misfit := _misfit(part, tuple(arguments)):
            taken = ", ".join(arguments) or "nothing"
            raise VaclipError(
                f"{self._told(self._find(name))} must be built from {taken}: {misfit}"
            )
        return part(**arguments)

    def package(self, name: str) -> str | None:
        """Returns ``name version`` of the package that adds a part; None for vaclip's own."""
        return _package(self._find(name))

    def _find(self, name: str) -> EntryPoint:
        found = [entry for entry in _installed(self.group) if entry.name == name]
        if len(found) + (name in self.builtin) > 1:
            owners = ["vaclip itself"] * (name in self.builtin) + [str(_package(e)) for e in found]
            raise VaclipError(
                f"{self.what} '{name}' is the name of a part of {' and of '.join(owners)}; "
                "rename one, or uninstall its package"
            )
        if found:
            return found[0]
        if name in self.builtin:
            return EntryPoint(name, self.builtin[name], self.group)
        if self.by_path and re.fullmatch(r"[\w.]+:[\w.]+", name):
            return EntryPoint(name, name, self.group)
        path = " or package.module:Class" * self.by_path
        raise VaclipError(
            f"{self.what} is '{name}'; use one of {', '.join(self.names())}{path}, or install the "
            f"package that adds it.{did_you_mean(name, self.names())}"
        )

    def _told(self, entry: EntryPoint) -> str:
        package = _package(entry)
        return f"{self.what} '{entry.name}'" + (f" of the package {package}" if package else "")


@cache  # every annotation has its part built
def _misfit(part: type, arguments: tuple[str, ...]) -> str:
    """Returns why a class cannot be built from arguments of these names; empty where it can."""
    try:
        inspect.signature(part).bind(**dict.fromkeys(arguments))
    except TypeError as error:
        return str(error)
    return ""


@cache
def _installed(group: str) -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=group))


def _package(entry: EntryPoint) -> str | None:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else None
