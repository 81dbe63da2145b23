"""DeepLabCut's HDF5: both layouts of pandas, and what is refused."""

from __future__ import annotations

import os
import pickle

import h5py
import numpy as np
import pytest
from dlc_files import SCORER, columns_of, write_fixed, write_table

from vaclip.commands.imports import import_parser
from vaclip.errors import VaclipError
from vaclip.importers import IMPORTERS

VALUES = np.array([[1, 2, 0.5, 3, 4, 0.25], [5, 6, 0.75, np.nan, np.nan, np.nan]])
PARTS = columns_of(["hip", "knee"])
TWO = columns_of(["hip"], ("ann", "bob"))


@pytest.fixture
def read(tmp_path):
    def read(*flags, source=None):
        path = source or tmp_path / f"walk_01{SCORER}.h5"
        options = import_parser().parse_args(["dlc", str(path), "--into", "s", *flags])
        return IMPORTERS.build("dlc").read(options.sources, options)

    return read


@pytest.fixture
def path(tmp_path):
    return tmp_path / f"walk_01{SCORER}.h5"


@pytest.mark.parametrize("write", [write_table, write_fixed])
def test_both_layouts_give_the_same(read, path, write):
    write(path, PARTS, VALUES)
    export = read()
    (pose,) = export.poses
    assert (pose.video, pose.open_ended, export.keypoint_names) == (
        "walk_01", False, ("hip", "knee"),
    )  # fmt: skip
    assert pose.keypoints.tolist() == [
        [[1, 2, 0.5], [3, 4, 0.25]], [[5, 6, 0.75], [0, 0, 0]],
    ]  # fmt: skip


@pytest.mark.parametrize("write", [write_table, write_fixed])
def test_individuals(read, path, write):
    write(path, TWO, VALUES)
    assert read().poses[0].keypoints[:, 0].tolist() == [[1, 2, 0.5], [5, 6, 0.75]]
    assert read("--person", "bob").poses[0].keypoints[:, 0].tolist() == [[3, 4, 0.25], [0, 0, 0]]


def test_of_two_forms_of_one_file_the_csv_is_read(read, path, tmp_path):
    write_table(path, PARTS, VALUES)
    rows = [f"scorer,{','.join([SCORER] * 3)}", "bodyparts,hip,hip,hip", "coords,x,y,likelihood"]
    path.with_suffix(".csv").write_text("\n".join([*rows, "0,7,8,1"]))
    export = read(source=tmp_path)
    assert export.poses[0].keypoints.tolist() == [[[7, 8, 1]]]
    assert export.dropped == ("1 HDF5 files beside a CSV file of the same name",)


class Code:
    def __reduce__(self):
        return os.mkdir, ("code_ran",)


def test_no_code_of_the_pickle_runs(read, path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_table(path, [Code()], VALUES)
    with pytest.raises(VaclipError, match=r"no plain texts \(it has the operation GLOBAL\); save"):
        read()
    assert not (tmp_path / "code_ran").exists()


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("hip", "its columns are no plain texts; save it as CSV"),
        ([("hip", 1)], "it has the operation INT"),
        ([("a", "b")] * 6, "its columns are not DeepLabCut's"),
        (PARTS[:3], "its columns are not DeepLabCut's"),
        ([(*c[:-1], "z") for c in PARTS], "labelled pictures"),
        ([PARTS[1], PARTS[0], *PARTS[2:]], "must have the columns x, y, likelihood"),
    ],
)
def test_columns_that_are_others_are_refused(read, path, columns, message):
    write_table(path, columns, VALUES)
    with pytest.raises(VaclipError, match=message):
        read()


def test_a_pickle_that_is_cut_off_is_refused(read, path):
    write_table(path, PARTS, VALUES)
    with h5py.File(path, "r+") as file:
        whole = pickle.dumps(PARTS, 0)
        file["df_with_missing/table"].attrs["values_block_0_kind"] = np.bytes_(whole[:-9])
    with pytest.raises(VaclipError, match="no plain texts"):
        read()


def test_frames_that_do_not_begin_with_0_are_refused(read, path):
    write_table(path, PARTS, VALUES, first=1)
    with pytest.raises(VaclipError, match="frames must be numbered 0, 1, 2"):
        read()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda file: file.create_group("more"), "it has 2 groups"),
        (lambda file: file["df_with_missing"].attrs.pop("pandas_type"), "no text 'pandas_type'"),
        (lambda file: file["df_with_missing"].pop("table"), "there is no dataset 'table' in it$"),
        (lambda file: file["df_with_missing"].attrs.modify("pandas_type", np.bytes_("series")),
         "is not one of numbers alone"),
    ],
)  # fmt: skip
def test_other_files_are_refused(read, path, change, message):
    write_table(path, PARTS, VALUES)
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(VaclipError, match=message):
        read()


def test_pickles_are_refused_by_name(read, tmp_path):
    with pytest.raises(VaclipError, match=r"x_full\.pickle: no pickle is read; name the \.h5"):
        read(source=tmp_path / "x_full.pickle")
