"""Files in a folder, or at an address of object storage: each is read and written whole.

A folder may lie on a network disk. An address is one of fsspec (``s3://``, ``gs://``, ``sftp://``,
``memory://``), for which the user has its package, such as s3fs. Storage that fails or stalls is
asked again a bounded number of times, each time for so long; then a `VaclipError` says what failed.
"""

from __future__ import annotations

import errno
import filecmp
import hashlib
import os
import re
import shutil
import stat
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar

from vaclip.errors import VaclipError
from vaclip.files import (
    atomic_file,
    cache_root,
    content_digest,
    digest_note,
    file_beside,
    local_path,
)
from vaclip.locks import BusyError, file_lock
from vaclip.patience import GaveUpError, Patience

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

_Result = TypeVar("_Result")
_GIB = 1 << 30
_BLOCK = 16 << 20  # bytes that are fetched at a time
# There a file appears when it is whole; elsewhere it is written beside, and renamed.
_OBJECT_STORES = frozenset(
    {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oci", "oss", "memory"}
)


def fetched_folder(setting: str | None = None) -> Path:
    """Returns where copies of remote files are kept; ``setting`` as of `cache_root`."""
    return cache_root(setting) / "fetched"


def open_store(
    address: str | Path,
    cache: Path | None = None,
    *,
    limit_gb: float | None = None,
    patience: Patience | None = None,
) -> Store:
    """Returns the files at an address; nothing is asked of it yet.

    Args:
        address: A folder, ``file://FOLDER``, or an address of fsspec.
        cache: The folder on this machine that copies are fetched into; by default
            `fetched_folder`.
        limit_gb: GiB of copies that are kept there; None for half of the room that its disk has.
        patience: How long the storage is waited for.

    Raises:
        VaclipError: If nothing that is installed reads such an address.
    """
    settled = (cache or fetched_folder(), limit_gb, patience or Patience())
    if (folder := local_path(address)) is not None:
        return FolderStore(str(folder), *settled)
    from fsspec import get_filesystem_class  # slow to import

    protocol = str(address).partition("://")[0]
    try:
        get_filesystem_class(protocol)
    except (ImportError, ValueError) as error:
        raise VaclipError(
            f"{_shown(str(address))}: nothing here reads {protocol}:// "
            f"({error.__cause__ or error}); install the package of fsspec for it, such as s3fs for "
            "s3://, or name a folder"
        ) from error
    return ObjectStore(str(address), *settled)


class Store(ABC):
    """Files by name, relative and with ``/``, below an address. May be sent to other processes.

    Every method raises a `VaclipError` that names address and file: if there is no such file, if
    the storage refuses, if it fails or stalls in every attempt, or if the name leaves the address.

    Args:
        address: The folder or address.
        cache: See `open_store`.
        limit_gb: See `open_store`.
        patience: How long the storage is waited for.
    """

    def __init__(
        self, address: str, cache: Path, limit_gb: float | None, patience: Patience
    ) -> None:
        self.address = address
        self.cache = cache
        self.limit_gb = limit_gb
        self.patience = patience
        self._connection: tuple[int, AbstractFileSystem, str] | None = None

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""
        return self._find(name) is not None

    def read(self, name: str) -> bytes:
        """Returns what a file holds, which should fit into memory."""
        size = self._stated_size(name)
        return self._attempt("read", name, lambda: self._read(name), size)

    def write(self, name: str, content: bytes | Path) -> None:
        """Writes a file, whole or not at all to every reader; another that is there gives way.

        Several may write the same content at once; of different contents one stays. An attempt
        that was given up may still end, late: other content is safe under another name alone.

        Args:
            name: The file.
            content: What it holds, or a file of this machine that has it.
        """
        size = len(content) if isinstance(content, bytes) else content.stat().st_size
        self._attempt("written", name, lambda: self._write(name, content, size), size)

    def fetch(self, name: str, sha256: str) -> Path:
        """Returns a file of this machine that has the content with this SHA-256.

        Open it at once: where there is no more room, the copies go that were not fetched for
        longest.

        Args:
            name: The file.
            sha256: Of its content, in hexadecimal.

        Raises:
            VaclipError: As all methods; and if the content is another, also when it is read again.
            OSError: If the disk of the cache refuses.
        """
        if re.fullmatch("[0-9a-f]{64}", sha256) and (path := self._fetch(name, sha256)):
            return path
        raise VaclipError(
            f"{_shown(self.address)}: {name} is damaged, or was changed: its SHA-256 is not "
            f"'{sha256[:12]}...'; write it anew"
        )

    @abstractmethod
    def _fetch(self, name: str, sha256: str) -> Path | None:
        """Returns what `fetch` does; None where the content is another."""

    @abstractmethod
    def _size(self, name: str) -> int | None:
        """Returns the bytes of a file; None where there is none."""

    @abstractmethod
    def _read(self, name: str) -> bytes:
        """Reads a file; fails where its end is missing."""

    @abstractmethod
    def _write(self, name: str, content: bytes | Path, size: int) -> None: ...

    def _find(self, name: str) -> int | None:
        return self._attempt("looked for", name, lambda: self._size(name))

    def _stated_size(self, name: str) -> int:
        if (size := self._find(name)) is None:
            raise VaclipError(
                f"{_shown(self.address)} has no {name}; is it the right place, and was it written "
                "to its end?"
            )
        return size

    def _attempt(
        self, done: str, name: str, action: Callable[[], _Result], size: int = 0
    ) -> _Result:
        """Does something to a file of this size, again where it fails or stalls."""
        if not name or name.startswith("/") or ".." in name.split("/"):
            raise VaclipError(f"'{name}' leaves {_shown(self.address)}; name a file inside it")
        try:
            return self.patience.persist(action, size, self._disconnect)
        except GaveUpError as error:
            mend = "mend that" if error.final else "see that the storage can be reached"
            raise VaclipError(
                f"{_shown(self.address)}: {name} cannot be {done}: {error}; {mend}, and go on with "
                "the same command"
            ) from error

    def _disconnect(self) -> None:
        """Has the next attempt connect anew."""
        self._connection = None


class FolderStore(Store):
    """A folder of this machine, or of a network disk."""

    def _fetch(self, name: str, sha256: str) -> Path | None:
        """Returns the file itself, which is read for its SHA-256 once."""
        size, path = self._stated_size(name), self._path(name)
        note, noted = self._attempt("read", name, lambda: digest_note(path, self.cache))
        if noted == sha256:
            return path
        for _ in range(2):
            if self._attempt("read", name, lambda: content_digest(path), size) == sha256:
                with atomic_file(note) as temporary:
                    temporary.write_text(sha256)
                return path
        return None

    def _path(self, name: str) -> Path:
        return Path(self.address) / name

    def _size(self, name: str) -> int | None:
        with suppress(FileNotFoundError, NotADirectoryError):
            status = self._path(name).stat()
            return status.st_size if stat.S_ISREG(status.st_mode) else None
        return None

    def _read(self, name: str) -> bytes:
        with self._path(name).open("rb") as file:
            return _whole(file.read(), os.fstat(file.fileno()).st_size)

    def _write(self, name: str, content: bytes | Path, size: int) -> None:
        path = self._path(name)
        with file_beside(path) as temporary:
            with temporary.open("wb") as file:
                if isinstance(content, bytes):
                    file.write(content)
                else:
                    with content.open("rb") as source:
                        shutil.copyfileobj(source, file, _BLOCK)
                file.flush()
                os.fsync(file.fileno())
            _check_size(temporary.stat().st_size, size)
            temporary.chmod(0o644)
            try:
                os.link(temporary, path)
            except OSError:  # there is one, or the disk knows no links
                # One that is replaced on a network disk is lost to readers on other machines.
                if not (path.is_file() and filecmp.cmp(temporary, path, shallow=False)):
                    temporary.replace(path)


class ObjectStore(Store):
    """An address that a package of fsspec reads."""

    def _fetch(self, name: str, sha256: str) -> Path | None:
        """Returns a copy, which one process of this machine makes."""
        copy = self.cache / "files" / sha256[:2] / f"{sha256}{PurePosixPath(name).suffix}"
        with ExitStack() as kept:
            with suppress(BusyError):  # for so long: then it is copied twice
                lock = self.cache / "locks" / sha256[:2]
                kept.enter_context(file_lock(lock, self.patience.lock_s))
            with suppress(FileNotFoundError):
                os.utime(copy)
                return copy  # nothing but the right content has this name
            for _ in range(2):
                size = self._stated_size(name)
                self._make_room(name, size)
                with file_beside(copy) as temporary:
                    if self._copy(name, size, temporary) == sha256:
                        temporary.chmod(0o644)
                        temporary.replace(copy)
                        return copy
        return None

    def __getstate__(self) -> dict[str, Any]:
        """Leaves the connection behind, which is of this process."""
        return self.__dict__ | {"_connection": None}

    def _connected(self) -> tuple[AbstractFileSystem, str]:
        """Returns the file system, and where in it the address is."""
        from fsspec.core import url_to_fs

        if self._connection is None or self._connection[0] != os.getpid():
            # fsspec itself would keep one for each thread, and every attempt has its own.
            system, root = url_to_fs(self.address, skip_instance_cache=True)
            self._connection = os.getpid(), system, root.rstrip("/")
        _, system, root = self._connection
        system.invalidate_cache()  # its listings: others write there too
        return system, root

    def _size(self, name: str) -> int | None:
        system, root = self._connected()
        with suppress(FileNotFoundError):
            about = system.info(f"{root}/{name}")
            return None if about["type"] == "directory" else about["size"]
        return None

    def _read(self, name: str) -> bytes:
        system, root = self._connected()
        size = system.info(f"{root}/{name}")["size"]
        return _whole(system.cat_file(f"{root}/{name}"), size)

    def _read_block(self, name: str, begin: int, end: int) -> bytes:
        system, root = self._connected()
        # By name: to s3fs the second argument is a version.
        return _whole(system.cat_file(f"{root}/{name}", start=begin, end=end), end - begin)

    def _copy(self, name: str, size: int, to: Path) -> str:
        """Copies a file block by block, and returns the SHA-256 of what was copied."""
        digest = hashlib.sha256()
        with to.open("wb") as file:
            for begin in range(0, size, _BLOCK):
                end = min(begin + _BLOCK, size)
                read = partial(self._read_block, name, begin, end)
                block = self._attempt("read", name, read, end - begin)
                digest.update(block)
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
        return digest.hexdigest()

    def _write(self, name: str, content: bytes | Path, size: int) -> None:
        system, root = self._connected()
        target = place = f"{root}/{name}"
        if self.address.partition("://")[0] not in _OBJECT_STORES:
            folder = target.rpartition("/")[0]
            system.makedirs(folder, exist_ok=True)
            place = f"{folder}/.tmp-{uuid.uuid4().hex}"
        try:
            if isinstance(content, bytes):
                system.pipe_file(place, content)
            else:
                system.put_file(str(content), place)
            system.invalidate_cache()
            _check_size(system.info(place)["size"], size)
            if place != target:
                system.mv(place, target)
        except BaseException:
            if place != target:
                with suppress(OSError):  # what failed is what matters
                    system.rm_file(place)
            raise

    def _make_room(self, name: str, needed: int) -> None:
        """Removes the copies that were not fetched for longest, where there are too many."""
        found = []
        for path in self.cache.glob("files/*/*"):
            with suppress(FileNotFoundError):  # another process makes room too
                status = path.stat()
                found.append((status.st_mtime, status.st_size, path))
        kept = sum(size for _, size, _ in found)
        self.cache.mkdir(parents=True, exist_ok=True)
        room = (kept + shutil.disk_usage(self.cache).free) / 2
        limit = room if self.limit_gb is None else self.limit_gb * _GIB
        if needed > limit:
            raise VaclipError(
                f"{_shown(self.address)}: {name} has {needed / _GIB:.2f} GiB, and {self.cache} may "
                f"hold {limit / _GIB:.2f} GiB of copies; name a larger disk, or write smaller files"
            )
        for _, size, path in sorted(found):
            if kept + needed <= limit:
                break
            path.unlink(missing_ok=True)
            kept -= size


def _whole(content: bytes, size: int) -> bytes:
    _check_size(len(content), size)
    return content


def _check_size(given: int, wanted: int) -> None:
    if given != wanted:
        raise OSError(errno.EIO, f"{given} bytes of {wanted} arrived")


def _shown(address: str) -> str:
    """Returns an address without the name and password that it may hold."""
    return re.sub(r"://[^/@]*@", "://", address)
