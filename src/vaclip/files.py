"""Files: nothing half-written is left, and no study path leaves its folder."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
import platformdirs

from vaclip.errors import VaclipError

LARGEST_TEXT = 256 << 20
"""Bytes of the largest table that is read."""
LARGEST_TREE = 64 << 20
"""Bytes of the largest JSON or XML that is read: in memory it grows some twenty times."""
# What `numpy.load` lets through of its own, zipfile's, zlib's and tokenize's on damaged files.
_ARRAY_ERRORS = (
    OSError, ValueError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error, TokenError
)  # fmt: skip


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


def read_arrays(path: Path) -> Any:
    """Reads an .npy file as an array, an .npz file as a dictionary of arrays.

    Nothing that the file holds is run: arrays of objects are refused.

    Raises:
        VaclipError: If it is neither, or damaged.
    """
    try:
        loaded = np.load(path, allow_pickle=False)
        return dict(loaded) if isinstance(loaded, np.lib.npyio.NpzFile) else loaded
    except _ARRAY_ERRORS as error:
        raise VaclipError(f"{path.name}: cannot be read as an array: {error}") from error


def read_json(path: Path, name: str) -> Any:
    """Reads a JSON file of at most `LARGEST_TREE` bytes.

    Args:
        path: The file.
        name: What to call it in messages.

    Raises:
        VaclipError: If it is missing, too large, or no JSON.
    """
    try:
        if path.stat().st_size > LARGEST_TREE:
            raise VaclipError(f"{name} has more than {LARGEST_TREE >> 20} MiB")
        return json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise VaclipError(f"{name}: there is no such file") from error
    except (OSError, ValueError, RecursionError) as error:
        raise VaclipError(f"{name} cannot be read as JSON: {error}") from error


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


def inside_folder(root: Path, name: str, what: str = "the study folder") -> Path:
    """Returns the file that a study names by a relative path; ``what`` is the root in messages.

    Raises:
        VaclipError: If the path is absolute or leaves the folder, also through a link.
    """
    try:
        path = (root / name).resolve()
        path.is_file()  # fails here where no file can have the name
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a null byte
        raise VaclipError(f"{name!r} is no usable path: {error}") from error
    if Path(name).is_absolute() or not path.is_relative_to(root.resolve()):
        raise VaclipError(f"'{name}' leaves {what}; use a path relative to it, to a file inside it")
    return path


def cache_root(setting: str | None = None) -> Path:
    """Returns the folder of all caches: ``setting``, else ``$VACLIP_CACHE``, else the user's."""
    chosen = setting or os.environ.get("VACLIP_CACHE") or platformdirs.user_cache_dir("vaclip")
    return Path(chosen).expanduser()
