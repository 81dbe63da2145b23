"""A pose tool's HDF5 from standard input, its arrays as .npz to standard output.

`vaclip.importers.poses.hdf5` runs this file as a process of its own, because on a damaged file the
HDF5 library can hang or crash, which no exception tells. Nothing else of vaclip is imported. The
first argument says which layout: a function of this file, described where the arrays are used.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

_MOST_VALUES = 1 << 26  # of one dataset
_MOST_ROWS = 1 << 24  # of a table, whose rows have several values
_MOST_LEVELS = 8  # of columns
_FILTERS = {1, 2, 3}  # deflate, shuffle and checksum: HDF5 looks for code to run for others
_PROJECT = {  # tables of a .slp file, and the fields that are needed
    "frames": ("video", "frame_idx", "instance_id_start", "instance_id_end"),
    "instances": (
        "instance_type", "skeleton", "track", "from_predicted", "point_id_start", "point_id_end",
    ),
    "points": ("x", "y", "visible"),
    "pred_points": ("x", "y", "score"),
}  # fmt: skip


def read(content: bytes, layout: str) -> dict[str, Any]:
    """Returns the datasets; texts as bytes, those that are missing as an empty array.

    Raises:
        ValueError: If one does not lie in the file itself, is too large, or of another type.
        Exception: Whatever h5py raises on a damaged file.
    """
    with h5py.File(BytesIO(content), "r") as file:
        if layout == "sleap":
            return project(file) if "metadata" in file else analysis(file)
        if layout == "dlc":
            return frame(file)
        raise ValueError(f"there is no layout '{layout}'")


def analysis(file: h5py.File) -> dict[str, Any]:
    """SLEAP's analysis file."""
    arrays = {
        key: _numbers(_dataset(file, key, "is it SLEAP's analysis HDF5?"))
        for key in ("tracks", "point_scores")
    }
    texts = {key: _texts(file, key) for key in ("node_names", "track_names", "video_path")}
    dims = np.array(str(file["tracks"].attrs.get("dims", "")))
    return {**arrays, **texts, "dims": dims}


def project(file: h5py.File) -> dict[str, Any]:
    """SLEAP's project."""
    arrays: dict[str, Any] = {
        "metadata": np.array([_attribute(_group(file, "metadata"), "json")]),
        "format_id": np.array(float(_group(file, "metadata").attrs.get("format_id", 0))),
    }
    for key in ("videos_json", "tracks_json"):
        arrays[key] = _texts(file, key)
    for key, fields in _PROJECT.items():
        for field, values in _fields(_dataset(file, key, "is it SLEAP's project?"), fields):
            arrays[f"{key}.{field}"] = values
    for key in file:  # of pictures that the project holds itself
        if key.startswith("video") and isinstance(file.get(key, getclass=True), type(h5py.Group)):
            group = _group(file, key)
            if "source_video" in group:
                source = _attribute(_group(group, "source_video"), "json")
                arrays[f"source.{key}"] = np.array([source])
    return arrays


def frame(file: h5py.File) -> dict[str, Any]:
    """A data frame of pandas, with numbers of one type."""
    groups = [key for key in file if isinstance(file.get(key), h5py.Group)]
    if len(groups) != 1:
        raise ValueError(f"it has {len(groups)} groups, where DeepLabCut writes one data frame")
    group = _group(file, groups[0])
    kind = _attribute(group, "pandas_type")
    if kind == b"frame_table":
        return _table_frame(_dataset(group, "table"))
    if kind == b"frame" and group.attrs.get("nblocks") == 1:
        return _fixed_frame(group)
    raise ValueError("its data frame is not one of numbers alone")


def _table_frame(table: h5py.Dataset) -> dict[str, Any]:
    kinds = table.dtype
    block = kinds["values_block_0"] if kinds.names == ("index", "values_block_0") else None
    if (
        block is None
        or block.subdtype is None
        or table.ndim != 1
        or kinds["index"].kind not in "iu"
    ):
        raise ValueError("its rows are no numbered frames of one block of numbers")
    if block.base.kind != "f" or len(block.shape) != 1:
        raise ValueError("its values are no numbers")
    if table.size * block.shape[0] > _MOST_VALUES:
        raise ValueError(f"it has more than {_MOST_VALUES} values")
    content = table[()]
    return {
        "index": content["index"].astype(np.float64),
        "values": content["values_block_0"].astype(np.float64),
        "pickle": np.array([_attribute(table, "values_block_0_kind")]),
    }


def _fixed_frame(group: h5py.Group) -> dict[str, Any]:
    columns = []
    for level in range(int(group.attrs.get("block0_items_nlevels", 1))):
        if level > _MOST_LEVELS:
            raise ValueError("its columns have too many levels")
        texts = _texts(group, f"block0_items_level{level}")
        labels = _numbers(_dataset(group, f"block0_items_label{level}")).astype(np.intp)
        if labels.ndim != 1 or not ((labels >= 0) & (labels < len(texts))).all():
            raise ValueError("its columns are damaged")
        columns.append(texts[labels])
    index = _dataset(group, "axis1")
    if index.dtype.kind not in "iu":
        raise ValueError("its rows are no numbered frames")
    return {
        "index": index[()].astype(np.float64),
        "values": _numbers(_dataset(group, "block0_values")).astype(np.float64),
        "names": np.stack(columns, axis=1),
    }


def _fields(
    dataset: h5py.Dataset, fields: tuple[str, ...]
) -> Iterator[tuple[str, NDArray[np.generic]]]:
    if not set(fields) <= set(dataset.dtype.names or ()) or dataset.ndim != 1:
        raise ValueError(f"'{dataset.name}' is no table of {', '.join(fields)}")
    if dataset.size > _MOST_ROWS:
        raise ValueError(f"'{dataset.name}' has more than {_MOST_ROWS} rows")
    if any(dataset.dtype[field].kind not in "fiub" for field in fields):
        raise ValueError(f"'{dataset.name}' holds no numbers")
    content = dataset[()]
    for field in fields:
        yield field, content[field].astype(np.float64)


def _numbers(dataset: h5py.Dataset) -> NDArray[np.float32]:
    if dataset.dtype.kind not in "fiu":
        raise ValueError(f"'{dataset.name}' holds no numbers")
    return dataset[()].astype(np.float32)


def _texts(file: h5py.Group, key: str) -> NDArray[np.bytes_]:
    values = np.ravel(np.asarray(_dataset(file, key)[()])).tolist() if key in file else []
    if not all(isinstance(value, bytes) for value in values):
        raise ValueError(f"'{key}' holds no texts")
    return np.array(values, bytes)


def _attribute(group: h5py.Group | h5py.Dataset, key: str) -> bytes:
    value = group.attrs.get(key)
    if isinstance(value, np.ndarray) and value.dtype.kind in "SV":
        value = value.tobytes()
    if not isinstance(value, str | bytes):
        raise ValueError(f"'{group.name}' has no text '{key}'")
    return value.encode() if isinstance(value, str) else bytes(value)


def _group(parent: h5py.Group, key: str) -> h5py.Group:
    group = parent.get(key) if _inside(parent, key) else None
    if not isinstance(group, h5py.Group):
        raise ValueError(f"there is no group '{key}' in it")
    return group


def _inside(parent: h5py.Group, key: str) -> bool:
    return isinstance(parent.get(key, getlink=True), h5py.HardLink)


def _dataset(file: h5py.Group, key: str, hint: str = "") -> h5py.Dataset:
    dataset = file.get(key) if _inside(file, key) else None
    if not isinstance(dataset, h5py.Dataset):
        raise ValueError(f"there is no dataset '{key}' in it; {hint}".rstrip("; "))
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
        found = read(sys.stdin.buffer.read(), sys.argv[1])
    # This process is the boundary: what is wrong is told to the one that started it.
    except Exception as error:  # noqa: BLE001
        sys.exit(f"{error}")
    np.savez(sys.stdout.buffer, **found)
