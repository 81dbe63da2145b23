"""``vaclip arms`` and ``vaclip config``: what there is to choose from, and to set."""

from __future__ import annotations

import argparse
import json
import re
import textwrap
from importlib import resources
from pathlib import Path
from typing import Any

# Where settings are explained, and what their keys there begin with.
_EXPLAINED = {
    "config": "",
    "data/_sampling": "data.",
    "model/clip": "model.",
    "features/default": "features.",
    "loss/default": "loss.",
    "optim/default": "optim.",
    "trainer/default": "trainer.",
    "tune/none": "tune.",
    "study/default": "",
}
_KEY = re.compile(r"( *)(\w+):(?: [^#]*)?(?:# (.*))?$")
_MORE = re.compile(r" +# (.*)$")


def add_settings_commands(commands: Any) -> None:
    """Adds ``arms`` and ``config`` to the parsers of the command line."""
    arms = commands.add_parser("arms", help="the arms that there are, and what each is for")
    arms.add_argument(
        "--config-dir", type=Path, metavar="FOLDER", help="also those in FOLDER/experiment"
    )
    arms.set_defaults(run=_arms)
    config = commands.add_parser("config", help="the settings that there are: default and meaning")
    key = config.add_argument("key", nargs="?", metavar="KEY", help="a setting, or a group of them")
    key.completer = complete_key
    config.set_defaults(run=_config)


def complete_key(**_: Any) -> list[str]:
    """Returns what a setting may be called, for the shell's completion."""
    from vaclip.config import StudyRunConfig, all_keys

    return all_keys(StudyRunConfig)


def _arms(options: argparse.Namespace) -> int:
    from vaclip.compose import arm_file, arm_names
    from vaclip.console import speak

    console = speak()

    names = arm_names(options.config_dir)
    indent = max(map(len, names)) + 2
    for name in names:
        about = arm_file(name, options.config_dir).get("about", {})
        lines = [about.get("method") or "-", about.get("question") or ""]
        lines += [f"Cost: {about['cost']}"] if about.get("cost") else []
        text = [part for line in lines for part in textwrap.wrap(line, console.width - indent - 1)]
        for title, part in zip([name] + [""] * len(text), text, strict=False):
            print(f"{title:{indent}}{part}")
    print("\nTrain one: vaclip train experiment=NAME; compare some: vaclip study study.arms=[A,B]")
    return 0


def _config(options: argparse.Namespace) -> int:
    from rich.table import Table

    from vaclip.config import StudyRunConfig, unknown_key
    from vaclip.console import speak
    from vaclip.settings import all_settings

    console = speak()

    wanted, comments = options.key, setting_comments()
    found = [
        (key, value, allowed)
        for key, value, allowed in all_settings(StudyRunConfig())
        if wanted in (None, key) or key.startswith(f"{wanted}.")
    ]
    if not found:
        raise unknown_key(wanted, StudyRunConfig)
    table = Table.grid(padding=(0, 2))
    for key, value, allowed in found:
        meaning = comments[key] or comments.get(key.rpartition(".")[0], "")
        if allowed and key == wanted:
            meaning += f"\nIt must be {allowed.what}."
        shown = json.dumps(value, ensure_ascii=False).replace('"', "")
        table.add_row(f"{key}={shown}", meaning)
    console.print(table, markup=False, highlight=False)
    return 0


def setting_comments() -> dict[str, str]:
    """Returns what the configuration files say of each setting, and group of them, by its key."""
    comments: dict[str, str] = {}
    for name, prefix in _EXPLAINED.items():
        file = resources.files("vaclip.conf") / f"{name}.yaml"
        found = _comments(file.read_text(encoding="utf-8"))
        comments = {f"{prefix}{key}": comment for key, comment in found.items()} | comments
    return comments


def _comments(text: str) -> dict[str, str]:
    """Returns the comment of each key: what stands behind it, and goes on below that."""
    found: dict[str, str] = {}
    path: list[tuple[int, str]] = []
    for line in text.splitlines():
        if begun := _KEY.match(line):
            indent, name, comment = begun.groups()
            path = [*((depth, key) for depth, key in path if depth < len(indent))]
            path.append((len(indent), name))
            found[".".join(key for _, key in path)] = comment or ""
        elif (more := _MORE.match(line)) and path:
            found[".".join(key for _, key in path)] += f" {more[1]}"
    return found
