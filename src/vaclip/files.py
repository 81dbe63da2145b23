"""Files: nothing half-written is left, and no study path leaves its folder."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import platformdirs

from vaclip.errors import VaclipError


@contextmanager
def atomic_file(path: Path) -> Generator[Path]:
    """Gives a temporary name beside ``path`` and renames it to ``path`` on success.

    The temporary file keeps the suffix, because writers choose the format by it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".tmp-", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Generator[Path]:
    """Gives a temporary folder beside ``path`` and renames it to ``path`` on success.

    Where another process made ``path`` first, theirs stays and ours is thrown away.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=".tmp-"))
    try:
        yield temporary
        temporary.chmod(0o755)
        try:
            temporary.rename(path)
        except OSError:
            if not path.is_dir():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_json(path: Path, value: Any) -> None:
    """Writes indented JSON; NaN is written as null, which every JSON reader takes."""
    with atomic_file(path) as temporary:
        text = json.dumps(_without_nan(value), indent=2, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and value != value else value


def inside_folder(root: Path, name: str) -> Path:
    """Returns the file that a study names by a relative path.

    Raises:
        VaclipError: If the path is absolute or leaves the folder, also through a link.
    """
    try:
        path = (root / name).resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a null byte
        raise VaclipError(f"{name!r} is no usable path: {error}") from error
    if Path(name).is_absolute() or not path.is_relative_to(root.resolve()):
        raise VaclipError(
            f"'{name}' leaves the study folder; use a path relative to it, to a file inside it"
        )
    return path


def cache_root(setting: str | None = None) -> Path:
    """Returns the folder of all caches: ``setting``, else ``$VACLIP_CACHE``, else the user's."""
    chosen = setting or os.environ.get("VACLIP_CACHE") or platformdirs.user_cache_dir("vaclip")
    return Path(chosen).expanduser()
