"""Files: nothing half-written is left, and no study path leaves its folder."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from tokenize import TokenError
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import platformdirs

from vaclip.errors import VaclipError

if TYPE_CHECKING:
    import pandas as pd

LARGEST_TEXT = 256 << 20
"""Bytes of the largest table that is read."""
LARGEST_TREE = 64 << 20
"""Bytes of the largest JSON or XML that is read: in memory it grows some twenty times."""
LARGEST_ARRAYS = 2 << 30
"""Bytes of the largest array, or the largest .npz file's arrays together, that are read."""
_DIGEST_LETTERS = 64
# How file systems refuse to put a folder where one with content is.
_TAKEN = (errno.EEXIST, errno.ENOTEMPTY)
_ADDRESS = re.compile(r"([a-z][a-z0-9+.:-]*)://(.*)", re.DOTALL)
# What `numpy.load` lets through of its own, zipfile's, zlib's and tokenize's on damaged files.
_ARRAY_ERRORS = (
    OSError, ValueError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error, TokenError,
    TypeError, LookupError, AttributeError, OverflowError, MemoryError, RuntimeError
)  # fmt: skip


@contextmanager
def file_beside(path: Path) -> Generator[Path]:
    """Gives an empty file of a temporary name in the folder of ``path``, and removes it.

    It keeps the suffix, because writers choose the format by it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".tmp-", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_file(path: Path) -> Generator[Path]:
    """Gives a temporary name beside ``path`` and renames it to ``path`` on success."""
    with file_beside(path) as temporary:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)


@contextmanager
def atomic_folder(path: Path) -> Generator[Path]:
    """Gives a temporary folder beside ``path`` and renames it to ``path`` on success.

    Where another process made ``path`` first, on whatever machine, theirs stays and ours is thrown
    away.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=".tmp-"))
    try:
        yield temporary
        temporary.chmod(0o755)
        try:
            temporary.rename(path)
        except OSError as error:
            # A network disk refuses what this machine may not see for some seconds yet.
            if error.errno not in _TAKEN and not path.is_dir():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_folder(path: Path, judged: os.stat_result | None = None) -> None:
    """Removes a folder or a file: at once for all who look for it, then what it holds.

    Who has its files open keeps them; on a network disk those who opened them on this machine.

    Args:
        path: The folder; it may be gone already.
        judged: Its status when it was found to be useless: where another process has put another
            one in its place since, that stays.
    """
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=".tmp-"))
    try:
        with suppress(FileNotFoundError):
            status = path.stat()
            # The number of a folder that was removed is soon that of another.
            if judged is None or (judged.st_ino, judged.st_mtime_ns) == (
                status.st_ino,
                status.st_mtime_ns,
            ):
                path.rename(temporary / path.name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def read_arrays(path: Path, *, mapped: bool = False) -> Any:
    """Reads an .npy file as an array, an .npz file as a dictionary of arrays.

    Nothing that the file holds is run: arrays of objects are refused. Nothing is allocated before
    what the file claims to hold is found to be there, and small enough.

    Args:
        path: The file.
        mapped: Whether the array of an .npy file stays on disk, and is read as it is used.

    Raises:
        VaclipError: If it is neither, damaged, or has more than `LARGEST_ARRAYS`.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                members = archive.infolist()
                _check_claim(sum(member.file_size for member in members))
                for member in members:
                    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                        raise ValueError("it is compressed in a way that NumPy does not write")
                    with archive.open(member) as file:
                        _check_array(file, member.file_size)
            with np.load(path, allow_pickle=False) as arrays:
                return dict(arrays)
        with path.open("rb") as file:
            _check_array(file, path.stat().st_size)
        return np.load(path, allow_pickle=False, mmap_mode="r" if mapped else None)
    except _ARRAY_ERRORS as error:
        raise VaclipError(f"{path.name}: cannot be read as an array: {error}") from error


def _check_array(file: IO[bytes], stated: int) -> None:
    """Raises a ValueError where an array's header claims more than the file can hold."""
    version = np.lib.format.read_magic(file)
    start = file.tell()
    if int.from_bytes(file.read(2 if version == (1, 0) else 4), "little") > stated:
        raise ValueError("its header claims to be longer than the file")
    file.seek(start)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    else:  # 3.0 differs in how it writes names alone
        shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    claimed = math.prod(shape) * dtype.itemsize
    if claimed > stated:
        raise ValueError(f"it claims {claimed} bytes of numbers, and has {stated}")
    _check_claim(claimed)


def _check_claim(size: int) -> None:
    if size > LARGEST_ARRAYS:
        raise ValueError(f"it claims {size / 2**30:.1f} GiB; at most 2 GiB are read")


def link_file(source: Path, target: Path) -> None:
    """Lets a file stand in a second place too, by a hard link or else a copy; none if it is gone.

    Args:
        source: The file.
        target: Where; a file that is there gives way, unless it is the same one.
    """
    if not source.is_file():
        target.unlink(missing_ok=True)
        return
    if target.exists() and target.samefile(source):
        return
    with atomic_file(target) as temporary:
        temporary.unlink(missing_ok=True)
        try:
            os.link(source, temporary)
        except OSError:  # another disk, or one that knows no links
            shutil.copyfile(source, temporary)


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


def write_csv(table: pd.DataFrame, path: Path, **how: Any) -> None:
    """Writes a table without its index, whole or not at all.

    Args:
        table: The table.
        path: The file.
        how: As `pandas.DataFrame.to_csv` takes it.
    """
    with atomic_file(path) as temporary:
        table.to_csv(temporary, index=False, **how)


def json_digest(value: Any) -> str:
    """Returns the SHA-256 of a value as JSON; the order of a dictionary's keys is no matter."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def content_digest(path: Path) -> str:
    """Returns the SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_note(path: Path, notes: Path) -> tuple[Path, str]:
    """Returns where the SHA-256 of a file as it is now is noted, and what is noted.

    Args:
        path: The file; another size or modification time has another note.
        notes: The folder of all notes.

    Returns:
        The note, which `atomic_file` may write, and what it says: nothing where there is none.
    """
    status = path.stat()
    identity = f"{path.resolve()}|{status.st_size}|{status.st_mtime_ns}"
    note = notes / "digests" / hashlib.sha256(identity.encode()).hexdigest()
    noted = note.read_text() if note.is_file() else ""
    return note, noted if len(noted) == _DIGEST_LETTERS else ""  # a power cut may leave less


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and value != value else value


def user_path(text: str | Path) -> Path:
    """Returns the path that a user names; ``~`` is their home folder.

    A name such as ``~old``, where there is no such user, stays as it is.
    """
    return Path(os.path.expanduser(text))  # noqa: PTH111, its twin in pathlib fails there


def local_path(address: str | Path) -> Path | None:
    """Returns the folder that an address names, by ``file://`` or by itself; None for others.

    Examples:
        >>> local_path("file:///shared/cache").as_posix()
        '/shared/cache'
        >>> local_path("s3://bucket/shards") is None
        True
    """
    if isinstance(address, Path) or not (parts := _ADDRESS.fullmatch(address)):
        return user_path(address)
    return user_path(parts[2]) if parts[1] == "file" else None


def is_address(text: str) -> bool:
    """Whether a text is an address, such as ``s3://bucket`` or ``file:///shared``, and no path."""
    return _ADDRESS.fullmatch(text) is not None


def inside_folder(root: Path, name: str, what: str = "the study folder") -> Path:
    """Returns the file that a study names by a relative path; ``what`` is the root in messages.

    Raises:
        VaclipError: If the path is absolute or leaves the folder, also through a link.
    """
    try:
        path = (root / name).resolve()
        path.is_file()  # fails here where no file can have the name
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a null byte
        letters = isinstance(error, UnicodeEncodeError)
        hint = "; its letters are not of this locale: set PYTHONUTF8=1" if letters else ""
        raise VaclipError(f"{name!r} is no usable path: {error}{hint}") from error
    if Path(name).is_absolute() or not path.is_relative_to(root.resolve()):
        raise VaclipError(f"'{name}' leaves {what}; use a path relative to it, to a file inside it")
    return path


class FolderFiles:
    """Finds the files that a study names, and asks for each folder once: a network is slow.

    Args:
        root: The study folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folders: dict[str, tuple[Path, frozenset[str]] | None] = {}

    def find(self, name: str) -> tuple[Path, bool]:
        """Returns the path as `inside_folder` does, and whether there is such a file.

        Raises:
            VaclipError: As `inside_folder`.
        """
        folder, _, file = name.rpartition("/")
        if folder not in self._folders:
            self._folders[folder] = self._ask(folder)
        asked = self._folders[folder]
        if asked and file in asked[1] and not name.startswith("/"):
            return asked[0] / file, True
        path = inside_folder(self._root, name)  # missing, a link, or a name of another spelling
        return path, path.is_file()

    def _ask(self, folder: str) -> tuple[Path, frozenset[str]] | None:
        try:
            path = inside_folder(self._root, folder)
            with os.scandir(path) as entries:
                return path, frozenset(e.name for e in entries if e.is_file(follow_symlinks=False))
        except (OSError, VaclipError):  # what is wrong is told of the file
            return None


def cache_root(setting: str | None = None) -> Path:
    """Returns the folder of all caches: ``setting``, else ``$VACLIP_CACHE``, else the user's.

    Raises:
        VaclipError: If it is an address of something else.
    """
    chosen = setting or os.environ.get("VACLIP_CACHE") or platformdirs.user_cache_dir("vaclip")
    if (folder := local_path(chosen)) is None:
        raise VaclipError(
            f"the cache cannot lie at {chosen}; name a folder, also of a network disk, with "
            "data.cache_dir or VACLIP_CACHE"
        )
    return folder


def without_folder(name: str, value: Any) -> Any:
    """Returns a setting without the folders of an encoder's path, which may name a hospital."""
    if name != "features.source" or value is None:
        return value
    kind, colon, place = value.rpartition(":")
    return f"{kind}{colon}{Path(place).name}"
