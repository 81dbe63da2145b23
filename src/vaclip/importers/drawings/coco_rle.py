"""Masks as COCO keeps them: runs down the columns of the picture, the first one background.

Facts from "COCO Data Format" and pycocotools' maskApi.c. ``counts`` is a list of runs, or a text of
them. In the text each run, from the fourth on less the run two before, is a signed number of groups
of five bits, the lowest first; a character is 48 + the group, + 32 where another group follows. The
highest bit of the last group is the sign.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaclip.errors import VaclipError

_LARGEST = 32_000_000  # pixels
_MOST_GROUPS = 7  # of a number: more than enough for any picture


def decode_rle(code: dict[str, Any], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Returns the mask, (H, W).

    Args:
        code: With ``counts`` and ``size``.
        size: (height, width) of the picture.

    Raises:
        VaclipError: If it is no such code, or of a picture of another size.
    """
    pixels = size[0] * size[1]
    if code.get("size") != list(size) or pixels > _LARGEST:
        raise VaclipError(
            f"a mask of [height, width] {code.get('size')!s:.40}, but the picture is {size[1]} x "
            f"{size[0]}, or has more than {_LARGEST} pixels"
        )
    counts = code.get("counts")
    runs = _runs(counts) if isinstance(counts, str) else counts
    if not isinstance(runs, list) or not all(type(n) is int and 0 <= n <= pixels for n in runs):
        raise VaclipError("'counts' must be a list of run lengths, or the text of one")
    if sum(runs) != pixels:
        raise VaclipError(f"the runs of the mask have {sum(runs)} pixels, the picture {pixels}")
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(size[1], size[0]).T


def _runs(text: str) -> list[int]:
    runs: list[int] = []
    number = groups = 0
    for character in text:
        group = ord(character) - 48
        if not 0 <= group < 64 or groups == _MOST_GROUPS:
            raise VaclipError(f"'counts' holds {character!r}, which is no part of a run's code")
        number |= (group & 31) << 5 * groups
        groups += 1
        if group & 32:
            continue
        if group & 16:
            number -= 1 << 5 * groups
        runs.append(number + (runs[-2] if len(runs) > 2 else 0))
        number = groups = 0
    if groups:
        raise VaclipError("'counts' breaks off")
    return runs
