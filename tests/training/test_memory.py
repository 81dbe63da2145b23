from __future__ import annotations

import platform
import subprocess
import sys

from vaclip.training.memory import keep_freed_memory


def test_takes_effect_with_glibc_alone():
    """In a process of its own, because the setting stays."""
    code = "from vaclip.training.memory import keep_freed_memory; print(keep_freed_memory())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(platform.libc_ver()[0] == "glibc")


def test_leaves_other_allocators_alone(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr("ctypes.CDLL", None)
    assert keep_freed_memory() is False
