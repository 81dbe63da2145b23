"""DeepLabCut's HDF5, as ``DataFrame.to_hdf`` of pandas lays it out in both formats."""

from __future__ import annotations

import pickle
from pathlib import Path

import h5py
import numpy as np

SCORER = "DLC_resnet50_gaitJun30shuffle1_103000"


def columns_of(parts: list[str], individuals: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Returns the columns, in DeepLabCut's order."""
    return [
        (SCORER, *who, part, coordinate)
        for who in ([(one,) for one in individuals] or [()])
        for part in parts
        for coordinate in ("x", "y", "likelihood")
    ]


def write_table(path: Path, columns: object, values: np.ndarray, first: int = 0) -> Path:
    """Writes ``format="table"``, DeepLabCut's: the columns are a pickle of protocol 0."""
    rows = np.zeros(len(values), [("index", "<i8"), ("values_block_0", "<f8", values.shape[1:])])
    rows["index"], rows["values_block_0"] = np.arange(len(values)) + first, values
    with h5py.File(path, "w") as file:
        group = file.create_group("df_with_missing")
        group.attrs["pandas_type"] = np.bytes_("frame_table")
        group["table"] = rows
        group["table"].attrs["values_block_0_kind"] = np.bytes_(pickle.dumps(columns, 0))
    return path


def write_fixed(path: Path, columns: list[tuple[str, ...]], values: np.ndarray) -> Path:
    """Writes ``format="fixed"``."""
    with h5py.File(path, "w") as file:
        group = file.create_group("df_with_missing")
        group.attrs["pandas_type"] = np.bytes_("frame")
        group.attrs["nblocks"] = 1
        group.attrs["block0_items_nlevels"] = len(columns[0])
        for level, cells in enumerate(zip(*columns, strict=True)):
            texts, labels = np.unique(np.array(cells, "S50"), return_inverse=True)
            group[f"block0_items_level{level}"] = texts
            group[f"block0_items_label{level}"] = labels.astype("i1")
        group["axis1"], group["block0_values"] = np.arange(len(values)), values
    return path
