from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest

from vaclip.locks import BusyError, folder_lock

HOLDS = """
import sys, time
from pathlib import Path
from vaclip.locks import folder_lock
with folder_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_folder_is_kept_to_one_process_and_a_crash_leaves_no_lock(tmp_path):
    folder = tmp_path / "new"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(folder)], stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(BusyError, match="new is being run by another process"):
            folder_lock(folder).__enter__()
        holder.kill()
        holder.wait()
    for _ in range(2):  # and it is given back
        with folder_lock(folder):
            pass


def test_a_disk_without_locks_is_warned_of(tmp_path, monkeypatch, caplog):
    def refuse(number: int) -> None:
        def acquire(*_: object, **__: object) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr("filelock.FileLock.acquire", acquire)

    refuse(errno.ENOLCK)
    with folder_lock(tmp_path):
        assert f"the disk of {tmp_path} knows no locks" in caplog.text
    refuse(errno.EROFS)
    with pytest.raises(OSError, match="Read-only"):
        folder_lock(tmp_path).__enter__()
