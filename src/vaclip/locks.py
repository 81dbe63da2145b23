"""One process at a time: locks of the operating system, which no crash leaves behind."""

from __future__ import annotations

import errno
import logging
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from vaclip.errors import VaclipError

_LOG = logging.getLogger(__name__)
# What file systems say that cannot lock, such as a Lustre or NFS that is mounted without.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


class BusyError(VaclipError):
    """Another process works there."""


@contextmanager
def file_lock(path: Path, wait_s: float = 0) -> Generator[bool]:
    """Keeps a lock of the operating system, on a file that is made if need be and stays.

    The system holds it (``flock``, on network disks too where they can) and drops it when the
    process ends, however it ends: none is left by a crash.

    Args:
        path: The file.
        wait_s: Seconds to wait for another process.

    Yields:
        Whether there is a lock: not on a disk that knows none.

    Raises:
        BusyError: If another process still has it.
    """
    from filelock import FileLock, Timeout  # slow to import

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=wait_s)
    except Timeout as error:
        raise BusyError(f"{path.parent} is being run by another process") from error
    except (OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
            raise
    try:
        yield lock.is_locked
    finally:
        lock.release()


@contextmanager
def folder_lock(folder: Path) -> Generator[None]:
    """Keeps a folder, which is made if need be, to one process, by a `file_lock`.

    Raises:
        BusyError: If another process has it.
    """
    with file_lock(folder / "lock") as kept:
        if not kept:
            _LOG.warning(
                "the disk of %s knows no locks: see to it that no other process runs there", folder
            )
        yield
