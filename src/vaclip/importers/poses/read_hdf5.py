"""SLEAP's analysis HDF5 from standard input, its arrays as .npz to standard output.

`vaclip.importers.poses.sleap` runs this file as a process of its own, because on a damaged file the
HDF5 library can hang or crash, which no exception tells. Nothing else of vaclip is imported.
"""

from __future__ import annotations

import math
import sys
from io import BytesIO
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

_NUMBERS = ("tracks", "point_scores")
_TEXTS = ("node_names", "track_names", "video_path")
_MOST_VALUES = 1 << 26  # of one dataset
_FILTERS = {1, 2, 3}  # deflate, shuffle and checksum: HDF5 looks for code to run for others


def read(content: bytes) -> dict[str, Any]:
    """Returns the datasets; texts as bytes, those that are missing as an empty array.

    Raises:
        ValueError: If one does not lie in the file itself, is too large, or of another type.
        Exception: Whatever h5py raises on a damaged file.
    """
    with h5py.File(BytesIO(content), "r") as file:
        arrays = {key: _numbers(_dataset(file, key)) for key in _NUMBERS}
        for key in _TEXTS:
            values = np.ravel(np.asarray(_dataset(file, key)[()])).tolist() if key in file else []
            if not all(isinstance(value, bytes) for value in values):
                raise ValueError(f"'{key}' holds no texts")
            arrays[key] = np.array(values, bytes)
        arrays["dims"] = np.array(str(file["tracks"].attrs.get("dims", "")))
    return arrays


def _numbers(dataset: h5py.Dataset) -> NDArray[np.float32]:
    if dataset.dtype.kind not in "fiu":
        raise ValueError(f"'{dataset.name}' holds no numbers")
    return dataset[()].astype(np.float32)


def _dataset(file: h5py.File, key: str) -> h5py.Dataset:
    inside = isinstance(file.get(key, getlink=True), h5py.HardLink)
    dataset = file.get(key) if inside else None
    if not isinstance(dataset, h5py.Dataset):
        raise ValueError(f"there is no dataset '{key}' in it; is it SLEAP's analysis HDF5?")
    layout = dataset.id.get_create_plist()
    filters = {layout.get_filter(number)[0] for number in range(layout.get_nfilters())}
    largest = max(dataset.size or 0, math.prod(dataset.chunks or ()))
    if dataset.is_virtual or dataset.external or not filters <= _FILTERS:
        raise ValueError(f"'{key}' lies in another file, or is packed in an unusual way")
    if largest > _MOST_VALUES:
        raise ValueError(f"'{key}' has more than {_MOST_VALUES} values")
    return dataset


if __name__ == "__main__":
    try:
        found = read(sys.stdin.buffer.read())
    # This process is the boundary: what is wrong is told to the one that started it.
    except Exception as error:  # noqa: BLE001
        sys.exit(f"{error}")
    np.savez(sys.stdout.buffer, **found)
