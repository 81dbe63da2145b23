"""Masks as Label Studio's brush keeps them: a packed run-length code of the picture's RGBA bytes.

Facts from the format rle-pack of @thi.ng/umbrella, which Label Studio's brush uses, as quoted in
label-studio-converter's brush.py. As a stream of bits, the highest of a byte first: the number of
values (32 bits), bits of a value - 1 (5 bits), four widths - 1 (4 bits each). Then blocks: one bit
whether a value is repeated, two bits that choose a width, that many bits of a count - 1, and one
value, or as many as counted. The mask is where alpha is not 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vaclip.errors import VaclipError
from vaclip.maps.shapes import Key

_HEAD = 32 + 5 + 4 * 4
_LARGEST = 32_000_000  # pixels


def decode_brush(code: bytes, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Returns the mask, (H, W).

    Args:
        code: The numbers of ``rle``.
        size: (height, width) of the picture.

    Raises:
        VaclipError: If it is no such code, or of a picture of another size.
    """
    bits = np.unpackbits(np.frombuffer(code, np.uint8))
    values = 4 * size[0] * size[1]
    if len(bits) < _HEAD or size[0] * size[1] > _LARGEST or len(code) > 2 * values + _HEAD:
        raise VaclipError("the mask's code is too short or too long for its picture")
    if (count := _number(bits, 0, 32)) != values or _number(bits, 32, 5) != 7:
        raise VaclipError(
            f"the mask's code has {count} values; {size[1]} x {size[0]} pixels of four bytes have "
            f"{values}"
        )
    widths = [_number(bits, 37 + 4 * i, 4) + 1 for i in range(4)]
    out = np.zeros(values, np.uint8)
    place, done = _HEAD, 0
    while done < values:
        if place + 3 > len(bits):
            raise VaclipError("the mask's code breaks off")
        repeated, width = bits[place], widths[_number(bits, place + 1, 2)]
        length = min(_number(bits, place + 3, width) + 1, values - done)
        start, place = place + 3 + width, place + 3 + width + 8 * (1 if repeated else length)
        if place > len(bits):
            raise VaclipError("the mask's code breaks off")
        out[done : done + length] = np.packbits(bits[start:place])
        done += length
    return out.reshape(*size, 4)[..., 3] > 0


def _number(bits: NDArray[np.uint8], start: int, width: int) -> int:
    number = 0
    for bit in bits[start : start + width].tolist():
        number = 2 * number + bit
    return number


def mask_key(mask: NDArray[np.bool_], at: float = 0.0) -> Key | None:
    """Returns a mask, (H, W), as runs in the rectangle that it fills; None where it is empty."""
    ys, xs = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if not len(ys):
        return None
    top, bottom, left, right = int(ys[0]), int(ys[-1]) + 1, int(xs[0]), int(xs[-1]) + 1
    flat = mask[top:bottom, left:right].ravel()
    edges = np.flatnonzero(np.diff(flat, prepend=False)).tolist()  # the first run is background
    runs = np.diff([0, *edges, flat.size]).tolist()
    corners = ((float(left), float(top)), (float(right), float(bottom)))
    return Key(at, corners, runs=tuple(runs))
