"""What the system refuses, in words."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from vaclip.errors import system_message

FULL = Path("/dev/full")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ((errno.ENOSPC, "No space left on device"), "the disk is full"),
        ((errno.EDQUOT, "Disk quota exceeded", "runs/a.csv"), "runs/a.csv: the disk is full"),
        (("98304 requested and 40832 written",), "the disk is full"),
        ((errno.EFBIG, "File too large"), "ulimit -f"),
        ((errno.EMFILE, "Too many open files", "a.mp4"), "a.mp4: too many files are open"),
        ((errno.EROFS, "Read-only file system", "runs/.tmp-1.json"), "runs: Read-only file sys"),
        ((errno.EACCES, os.strerror(errno.EACCES), "a.csv"), "a.csv: Permission denied"),
        (("a text alone",), "a text alone"),
    ],
)
def test_what_the_system_refuses(error, said):
    assert said in system_message(OSError(*error))


@pytest.mark.skipif(not FULL.exists(), reason="Linux has it")
def test_a_full_disk_by_numpy():
    with pytest.raises(OSError, match="requested and") as caught, FULL.open("wb", 0) as full:
        np.zeros(1 << 16).tofile(full)
    assert system_message(caught.value).startswith("the disk is full")
