"""Keeps glibc from returning freed activations to the system after every step."""

from __future__ import annotations

import ctypes
import platform

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # malloc.h


def keep_freed_memory() -> bool:
    """Tunes the allocator for training on CPUs.

    Large activations are otherwise mapped and zeroed anew in every step. Costs some hundred
    megabytes of resident memory; ``benchmarks/cpu_step.py`` shows the gain.

    Returns:
        Whether it took effect: only with glibc.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, 256 << 20))
    return all(mallopt(parameter, value) == 1 for parameter, value in settings)
