from __future__ import annotations

import io
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from vaclip.commands.imports import import_parser
from vaclip.errors import VaclipError
from vaclip.importers import IMPORTERS
from vaclip.importers.poses.dlc import _video
from vaclip.importers.reading import SourceFile

SCORER = "DLC_resnet50_gaitJun30shuffle1_103000"
SINGLE = (
    f"scorer,{SCORER},{SCORER},{SCORER},{SCORER},{SCORER},{SCORER}\n"
    "bodyparts,hip,hip,hip,knee,knee,knee\n"
    "coords,x,y,likelihood,x,y,likelihood\n"
    "0,1.5,2,0.5,3,4,0.25\n"
    "1,5,6,1e-05,,,\n"
)


@pytest.fixture
def read(tmp_path):
    def read(text=SINGLE, *flags, name=f"walk_01{SCORER}.csv"):
        path = tmp_path / name
        path.write_text(text)
        options = import_parser().parse_args(["dlc", str(path), "--into", "s", *flags])
        return IMPORTERS.build("dlc").read([path], options)

    return read


def table_of(parts, individuals=("",), frames=1):
    """A file in DeepLabCut's layout, by pandas; value number k of a frame is 100 frame + k."""
    columns = [(SCORER, who, part, c) for who in individuals for part in parts
               for c in ("x", "y", "likelihood")]  # fmt: skip
    names = ["scorer", "individuals", "bodyparts", "coords"]
    values = np.arange(len(columns)) + 100 * np.arange(frames)[:, None]
    frame = pd.DataFrame(values, columns=pd.MultiIndex.from_tuples(columns, names=names))
    return (frame if individuals != ("",) else frame.droplevel("individuals", axis=1)).to_csv()


def test_rows_become_frames(read):
    export = read()
    (pose,) = export.poses
    assert (pose.video, pose.open_ended, export.keypoint_names) == (
        "walk_01", False, ("hip", "knee"),
    )  # fmt: skip
    assert pose.keypoints.tolist() == [
        [[1.5, 2, 0.5], [3, 4, 0.25]], [[5, 6, np.float32(1e-5)], [0, 0, 0]],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "video", "flags"),
    [
        (f"walk_01{SCORER}_filtered.csv", "walk_01", ()), (f"a.b{SCORER}_el.csv", "a.b", ()),
        (f"DLC_1{SCORER}.csv", "DLC_1", ()),  # the first row knows better than "DLC_"
        ("walk_01DLC_other.csv", "walk_01", ()), ("walk_01.csv", "walk_01", ()),
        (f"{SCORER}.csv", SCORER, ()), ("x.csv", "walk_02", ("--video", "walk_02")),
    ],
)  # fmt: skip
def test_the_file_name_says_the_video(read, name, video, flags):
    assert read(SINGLE, *flags, name=name).poses[0].video == video


def test_individuals_are_told_apart(read):
    text = table_of(["hip"], ["ann", "bob"])  # likelihoods are 2 and 5, cut off at 1
    text = text.replace("0,0,1,2,3,4,5", "0,0,1,0.5,3,4,0.75\n1,8,9,0.5,,,")
    assert read(text).poses[0].keypoints.tolist() == [[[0, 1, 0.5]], [[8, 9, 0.5]]]  # ann: 1.0
    assert read(text, "--person", "bob").poses[0].keypoints.tolist() == [[[3, 4, 0.75]], [[0] * 3]]
    assert read(text).dropped == ("1 detections of other people",)


def test_what_pandas_writes_is_read(read):
    text = table_of(["hip", "knee"], frames=3)
    assert read(text).poses[0].keypoints[2].tolist() == [[200, 201, 1], [203, 204, 1]]


@settings(max_examples=30)
@given(
    arrays(
        np.float64,
        array_shapes(min_dims=2, max_dims=2, max_side=4).map(lambda shape: (*shape, 3)),
        elements=st.floats(0, 1000) | st.just(np.nan),
    )
)
def test_any_table_comes_back(values):
    frames, joints, _ = values.shape
    columns = pd.MultiIndex.from_product([[SCORER], [f"j{j}" for j in range(joints)],
                                          ["x", "y", "likelihood"]],
                                         names=["scorer", "bodyparts", "coords"])  # fmt: skip
    text = io.StringIO()
    pd.DataFrame(values.reshape(frames, -1), columns=columns).to_csv(text)
    video = _video(SourceFile("v.csv", lambda: text.getvalue().encode()), None, Counter())
    assert video.frames == frames
    for frame in range(frames):
        expected = np.where(np.isfinite(values[frame]).all(-1)[:, None], values[frame], 0)
        expected[:, 2] = np.minimum(expected[:, 2], 1)
        found = video.people[frame]
        if expected.astype(np.float32)[:, 2].any():
            np.testing.assert_array_equal(found[0].joints, expected.astype(np.float32))
        else:
            assert found == []


def test_body_parts_of_nobody_are_left_out(read):
    both = table_of(["hip"], ["ann", "single"]).replace("single,single,single", "single," * 2 + "x")
    with pytest.raises(VaclipError, match="each body part must have the columns"):
        read(both)
    export = read(table_of(["hip"], ["ann", "single"]))
    assert export.dropped == ("1 body parts that belong to no individual",)
    assert export.poses[0].keypoints.shape == (1, 1, 3)
    assert read(table_of(["hip"], ["single"])).poses[0].keypoints.shape == (1, 1, 3)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("scorer", "scorers", "expected DeepLabCut's header rows"),
        ("\ncoords,x", "\ncoords", "header rows .* of one length"),
        ("likelihood", "p", "labelled pictures, not the predictions of a video"),
        ("x,y,likelihood", "y,x,likelihood", "must have the columns x, y, likelihood"),
        ("hip,hip,hip,knee", "hip,hip,knee,hip", "must stand side by side"),
        ("knee", "hip", "none twice"),
        ("1,5,6,1e-05,,,", "2,5,6,1e-05,,,", "frame 1: frames must be numbered 0, 1, 2"),
        ("1,5,6,1e-05,,,", "img1.png,5,6,1,,,", "frame 1: 'img1.png' is no frame number"),
        ("1,5,6,1e-05,,,", "1,5,6,1e-05,,", "frame 1: 6 cells under a header of 7"),
        ("1,5,6,1e-05,,,", "1,5,6,high,,,", "frame 1: could not convert string"),
        ("0,1.5,2,0.5,3,4,0.25\n1,5,6,1e-05,,,\n", "", "no frame below the header"),
        ("1,5,6,1e-05,,,", '1,5,6,"1"x,,,', "cannot be read as CSV"),
    ],
)
def test_what_is_wrong_is_named(read, old, new, message):
    assert old in SINGLE
    with pytest.raises(VaclipError, match=f"walk_01{SCORER}.csv: .*{message}"):
        read(SINGLE.replace(old, new))


def test_individuals_with_different_body_parts_are_refused(read):
    text = table_of(["hip", "knee"], ["ann", "bob"]).replace("hip,hip,hip", "toe,toe,toe", 1)
    with pytest.raises(VaclipError, match="the individuals have different body parts"):
        read(text)
