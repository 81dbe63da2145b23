"""An entry of the cache: a folder of arrays with notes, whole or not there. Nothing is locked."""

from __future__ import annotations

import errno
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaclip.files import atomic_folder, json_digest, remove_folder

_LOG = logging.getLogger(__name__)
META = "meta.json"
"""The notes of an entry."""
_BYTES = "bytes"  # among them: of each array's file
# What is said of files that are missing, or that another machine has just removed.
_INCOMPLETE = (None, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ESTALE)


def entry_path(root: Path, kind: str, source: dict[str, Any]) -> Path:
    """Returns the folder of an entry, from everything that it depends on."""
    digest = json_digest(source)
    return root / kind / digest[:2] / digest


def write_entry(entry: Path, arrays: dict[str, NDArray[Any]], meta: dict[str, Any]) -> None:
    """Writes an entry's arrays and notes, whole or not at all."""
    with atomic_folder(entry) as temporary:
        for name, array in arrays.items():
            np.save(temporary / f"{name}.npy", array)
        sizes = {name: (temporary / f"{name}.npy").stat().st_size for name in arrays}
        (temporary / META).write_text(json.dumps(meta | {_BYTES: sizes}))


def read_entry(
    entry: Path,
    arrays: Sequence[str],
    sound: Callable[[dict[str, Any]], bool] = lambda notes: True,
) -> dict[str, Any] | None:
    """Returns an entry's notes; None where it is missing or damaged (then it is removed).

    Args:
        entry: The folder.
        arrays: Names of what it holds.
        sound: Says of the notes whether the content is what they tell.
    """
    try:
        status = entry.stat()
    except FileNotFoundError:
        return None
    try:
        meta = json.loads((entry / META).read_text())
        if not isinstance(meta, dict):
            raise ValueError(f"{META} holds no notes")
        sizes = meta.pop(_BYTES, {})
        for name in arrays:
            array = entry / f"{name}.npy"
            if name not in sizes:  # of an earlier version
                np.load(array, mmap_mode="r")  # fails on a file cut short
            elif array.stat().st_size != sizes[name]:
                raise ValueError(f"{array.name} has not the length that it was written with")
        if not sound(meta):
            raise ValueError("it has not the content that it was written with")
        return meta
    except (OSError, ValueError, EOFError) as error:
        if isinstance(error, OSError) and error.errno not in _INCOMPLETE:
            raise  # the disk is at fault, and not the entry
        _LOG.warning("a damaged cache entry is made anew: %s", entry.name)
        remove_folder(entry, status)
        return None
