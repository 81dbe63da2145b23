"""The words of a command line: as a person types them, and as Hydra takes them."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from vaclip.errors import VaclipError
from vaclip.files import is_address, local_path, user_path
from vaclip.keys import SHARDS_FILE

PATH_SETTINGS = frozenset(
    {"data.root", "data.shards", "data.cache_dir", "features.source", "run_dir", "runs_dir"}
)
"""Settings that name a file or folder, which may be called anything."""
_CONFIG_DIR = ("--config-dir", "-cd")
_FLAGS = (
    "--help --hydra-help --version --cfg --resolve --package --run --multirun --config-dir --info "
    "--config-path --config-name --shell-completion --experimental-rerun --dry-run"
).split()


def home_path(word: str) -> str:
    """Returns a word with ``~/`` made the home folder also behind ``--flag=``, as no shell does.

    Examples:
        >>> home_path("--into=~/study").startswith("--into=/")
        True
    """
    flag, equals, value = word.partition("=")
    if word.startswith("~/"):
        return str(user_path(word))
    if word.startswith("--") and value.startswith("~/"):
        return f"{flag}{equals}{user_path(value)}"
    return word


def require_study(words: Sequence[str]) -> None:
    """Looks for the study folder before Hydra composes the settings that name it.

    Raises:
        VaclipError: If there is none.
    """
    for word in words:
        key, _, value = word.partition("=")
        if key != "data.root" or not value or _for_hydra(value) or _multirun(words):
            continue  # else only Hydra knows what is meant
        folder = user_path(value)
        if not (folder / "study.yaml").is_file():
            raise VaclipError(f"there is no study.yaml in {folder}; is this a study folder?")


def with_shards(words: Sequence[str]) -> list[str]:
    """Returns the words of ``vaclip features`` with ``--shards FOLDER`` as the setting that it is.

    Raises:
        VaclipError: If it names no folder.

    Examples:
        >>> with_shards(["features", "--shards", "out", "backbone=lite0"])
        ['features', 'data.shards=out', 'backbone=lite0']
    """
    found, rest = [*words[:1]], iter(words[1:])
    for word in rest:
        flag, equals, value = word.partition("=")
        if words[0] == "features" and flag == "--shards":
            value = value if equals else next(rest, "")
            if not value or (not equals and (value.startswith("-") or "=" in value)):
                raise VaclipError("--shards needs the folder or address that they are written to")
            word = f"data.shards={value}"
        found.append(word)
    return found


def words_for_hydra(words: Sequence[str], preset: str, elsewhere: str) -> list[str]:
    """Returns the words of a command line as Hydra takes them.

    Args:
        words: As given.
        preset: The group of presets of this command, as ``debug`` of ``vaclip train``.
        elsewhere: What the other command calls it: its presets have the same names.
    """
    renamed = [re.sub(rf"^{elsewhere}=", f"{preset}=", word) for word in words]
    multirun = _multirun(words)
    flags, settings, last = [], [], ""
    for word in renamed:
        if last in _CONFIG_DIR:
            flags[-1] = f"{last}={user_path(word)}"
        elif word.startswith(tuple(f"{flag}=" for flag in _CONFIG_DIR)):
            flag, _, value = word.partition("=")
            flags.append(f"{flag}={user_path(value)}")
        elif word[:1] == "~" or (word[:1] != "-" and "=" in word):
            settings.append(_in_quotes(word, multirun=multirun))
        else:
            flags.append(word)
        last = word
    return [*flags, *settings]  # Hydra refuses a flag between two settings


def _multirun(words: Sequence[str]) -> bool:
    return not {"--multirun", "-m"}.isdisjoint(words)


def _in_quotes(word: str, *, multirun: bool = False) -> str:
    """Quotes the value of KEY=VALUE where Hydra's grammar would not take it as it is."""
    from vaclip.compose import quoted  # slow to import

    key, equals, value = word.partition("=")
    if key.lstrip("+") in PATH_SETTINGS:
        paths = value.split(",") if multirun and not _for_hydra(value) else [value]
        return f"{key}={','.join(map(_path_in_quotes, paths))}"
    if not equals or value.isascii() or value[0] in "'\"[{":
        return word
    return f"{key}={quoted(value)}"


def _path_in_quotes(value: str) -> str:
    from vaclip.compose import quoted

    if not value or _for_hydra(value):
        return value
    return quoted(value if is_address(value) else str(user_path(value)))


def _for_hydra(value: str) -> bool:
    """Whether the value of a path is written in Hydra's own way: quoted, null, or with ${...}."""
    in_quotes = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    return in_quotes or value == "null" or "${" in value


def look_at_study(root: Path) -> None:
    """Reads a study before what is slow is loaded; where it has one warning, that is told.

    On the screen alone: it may name patients, and a log shall not.

    Raises:
        VaclipError: If the study has an error.
    """
    from vaclip.study.load import load_study, read_study

    study, problems = read_study(root)
    if study is None or any(problem.severity == "error" for problem in problems):
        load_study(root)
    if len(problems) == 1:
        print(problems[0], file=sys.stderr)


def look_at_shards(address: str) -> None:
    """Looks for the index of shards, where they lie in a folder, before what is slow is loaded.

    Raises:
        VaclipError: If there is none, or nothing that is installed reads such an address.
    """
    from vaclip.store import open_store

    open_store(address)
    folder = local_path(address)
    if folder is not None and not (folder / SHARDS_FILE).is_file():
        raise VaclipError(
            f"there are no shards in {address}: {SHARDS_FILE} is missing. `vaclip features "
            f"--shards {address} ...` writes them; stopped, the same command goes on"
        )


def refuse_flags(words: Sequence[str]) -> None:
    """Refuses a flag that is a setting, to which Hydra would answer with its usage."""
    for number, word in enumerate(words[1:], start=1):
        flag, equals, value = word.partition("=")
        if not flag.startswith("--") or any(known.startswith(flag) for known in _FLAGS):
            continue
        from vaclip.config import StudyRunConfig, keys_like

        if not equals:
            value = next((w for w in words[number + 1 : number + 2] if w[:1] != "-"), "VALUE")
        near = keys_like(flag.strip("-").replace("-", "_"), StudyRunConfig)
        meant = f": {near[0]}={value}" if near else "; `vaclip config` lists them"
        raise VaclipError(f"there is no flag {flag}. Settings are KEY=VALUE{meant}")
