"""``vaclip cache``: what lies in the cache, by study and source, and what is removed of it."""

from __future__ import annotations

import argparse
from typing import Any

from vaclip.errors import VaclipError

_UNKNOWN = "-"


def add_cache_command(commands: Any) -> None:
    """Adds ``cache`` to the parsers of the command line."""
    cache = commands.add_parser(
        "cache",
        help="what lies in the cache, and remove some of it",
        description="List what lies in the cache by kind, study and source of tokens, all or what "
        "the flags choose. Everything in it is made anew where it is needed.",
    )
    cache.add_argument("--kind", help="clips, maps, tokens, views, cohort, fetched or unfinished")
    cache.add_argument("--study", metavar="NAME", help=f"of this study ({_UNKNOWN}: not noted)")
    cache.add_argument("--source", metavar="SOURCE", help="tokens of this features.source")
    cache.add_argument("--all", action="store_true", help="with --remove: everything")
    cache.add_argument("--remove", action="store_true", help="remove what is listed")
    cache.add_argument("--cache-dir", metavar="FOLDER", help="as data.cache_dir")
    cache.set_defaults(run=_cache)


def _cache(options: argparse.Namespace) -> int:
    from vaclip.data.cache_content import KINDS, cache_entries, remove_entries
    from vaclip.errors import did_you_mean
    from vaclip.files import cache_root

    if options.kind not in (None, *KINDS):
        raise VaclipError(
            f"--kind is {options.kind}; use one of {', '.join(KINDS)}."
            f"{did_you_mean(options.kind, KINDS)}"
        )
    wanted = {
        "kind": options.kind,
        "study": "" if options.study == _UNKNOWN else options.study,
        "source": options.source,
    }
    wanted = {name: value for name, value in wanted.items() if value is not None}
    if options.remove and not wanted and not options.all:
        raise VaclipError("--remove needs --kind, --study or --source, or --all")
    found = [
        entry
        for entry in cache_entries(options.cache_dir)
        if all(getattr(entry, name) == value for name, value in wanted.items())
    ]
    from rich.table import Table

    from vaclip.console import speak

    console = speak()
    table = Table(title=f"{cache_root(options.cache_dir)}", title_justify="left")
    for name, side in (
        ("kind", "left"), ("study", "left"), ("source", "left"), ("entries", "right"),
        ("MiB", "right"),
    ):  # fmt: skip
        table.add_column(name, justify=side)
    groups: dict[tuple[str, str, str], list[int]] = {}
    for entry in found:
        groups.setdefault((entry.kind, entry.study, entry.source), []).append(entry.size)
    for names, sizes in sorted(groups.items()):
        shown = (name or _UNKNOWN for name in names)
        table.add_row(*shown, str(len(sizes)), f"{sum(sizes) / 2**20:.1f}")
    table.add_section()
    total = sum(entry.size for entry in found) / 2**20
    table.add_row("all", "", "", str(len(found)), f"{total:.1f}")
    console.print(table)
    if options.remove:
        freed = remove_entries(found)
        console.print(f"Removed: {freed / 2**20:.1f} MiB", highlight=False)
        if freed < sum(entry.size for entry in found):
            console.print("What is unfinished stays for an hour after it was last written to.")
    return 0
