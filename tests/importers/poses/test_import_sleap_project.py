"""SLEAP's projects: who is where in which video, and what is refused."""

from __future__ import annotations

import copy
import json
import math

import h5py
import numpy as np
import pytest
from slp_files import METADATA, write_slp

from vaclip.commands.imports import import_parser
from vaclip.errors import VaclipError
from vaclip.importers import IMPORTERS

NAN = math.nan
VIDEOS = ({"filename": "C:\\gait\\a.mp4"}, {"filename": "/data/b.mp4"}, {"filename": "c.mp4"})
ANN = {"points": [(1, 2, 0.5), (3, 4, 0.25), (NAN, NAN, 0)], "track": 0}
BOB = {"points": [(11, 12, 1), (13, 14, 1), (15, 16, 1)], "track": 1}
BY_HAND = {"points": [(5, 6), (NAN, NAN), (7, 8)], "track": 0}
ROWS = [(0, 0, [ANN, BOB]), (0, 2, [ANN]), (1, 4, [BOB])]
NOBODY = [[0, 0, 0]] * 3


@pytest.fixture
def read(tmp_path):
    def read(*flags, rows=ROWS, videos=VIDEOS, tracks=("ann", "bob"), change=None, **more):
        path = write_slp(tmp_path / "gait.slp", rows, videos, tracks, **more)
        if change:
            with h5py.File(path, "r+") as file:
                change(file)
        options = import_parser().parse_args(["sleap", str(path), "--into", "s", *flags])
        return IMPORTERS.build("sleap").read([path], options)

    return read


def test_people_of_each_video(read):
    export = read("--person", "bob")
    assert export.keypoint_names == ("left_hip", "nose", "right_hip")
    first, second = export.poses
    assert (first.video, second.video) == ("C:\\gait\\a.mp4", "/data/b.mp4")
    assert first.open_ended
    bob = [[11, 12, 1], [13, 14, 1], [15, 16, 1]]
    assert first.keypoints.tolist() == [bob, NOBODY, NOBODY]  # up to the last with anybody
    assert second.keypoints.tolist() == [*[NOBODY] * 4, bob]
    assert export.dropped == (
        "1 videos of projects without anybody", "2 detections of other people",
    )  # fmt: skip


def test_predictions_have_their_score_and_labels_are_sure(read):
    (pose,) = read(rows=[(0, 0, [ANN]), (0, 1, [BY_HAND])]).poses
    assert pose.keypoints.tolist() == [
        [[1, 2, 0.5], [3, 4, 0.25], [0, 0, 0]], [[5, 6, 1], [0, 0, 0], [7, 8, 1]],
    ]  # fmt: skip


@pytest.mark.parametrize("tracks", [("ann", "bob"), ()])
def test_a_prediction_gives_way_to_who_corrected_it(read, tracks):
    """By the track, and without tracks by the number of the prediction."""
    track = {"track": -1} if not tracks else {}
    rows = [(0, 0, [BOB | track, ANN | track, BY_HAND | track | {"corrects": 1}])]
    if tracks:
        rows[0][2][2]["corrects"] = -1
    export = read("--person", "ann" if tracks else "largest", rows=rows, tracks=tracks)
    assert "1 predictions that a person corrected" in export.dropped
    # Without tracks bob's rectangle is 4 x 4, the corrected one 2 x 2.
    assert export.poses[0].keypoints[0, 0].tolist() == ([5, 6, 1] if tracks else [11, 12, 1])


def test_labels_of_old_formats_count_from_the_corner_of_a_pixel(read):
    rows = [(0, 0, [BY_HAND]), (0, 1, [ANN])]
    (pose,) = read(rows=rows, format_id=1.0).poses
    assert pose.keypoints[:, 0].tolist() == [[4.5, 5.5, 1], [1, 2, 0.5]]


def test_invisible_points_are_not_there(read):
    def hide(file):
        points = file["points"][()]
        points["visible"][0] = False
        file["points"][...] = points

    (pose,) = read(rows=[(0, 0, [BY_HAND])], change=hide).poses
    assert pose.keypoints[0, :, 2].tolist() == [0, 0, 1]


def test_a_project_that_holds_pictures_names_their_source(read):
    def source(file):
        group = file.create_group("video7/source_video")
        group.attrs["json"] = json.dumps({"backend": {"filename": "walk.mp4"}})

    held = ({"filename": ".", "dataset": "video7/video"},)
    rows = [(7, 3, [ANN])]
    (pose,) = read(rows=rows, videos=held, change=source).poses
    assert (pose.video, len(pose.keypoints)) == ("walk.mp4", 4)
    with pytest.raises(VaclipError, match="does not say which video its pictures are of"):
        read(rows=rows, videos=held)


def changed(**more):
    return copy.deepcopy(METADATA) | more


def field(key, name, value):
    def change(file):
        values = file[key][()]
        values[name][0] = value
        file[key][...] = values

    return change


def replaced(key, content):
    def change(file):
        del file[key]
        if content is not None:
            file[key] = content

    return change


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"format_id": 3.0}, r"gait\.slp: format 3\.0 is not known; in SLEAP choose File"),
        ({"rows": []}, "people of 0 skeletons"),
        ({"rows": [(0, 0, [])]}, "people of 0 skeletons"),
        ({"rows": [(0, 0, [BY_HAND | {"points": [(NAN, NAN)] * 3}])]}, "nobody is labelled"),
        ({"rows": [(5, 0, [ANN])]}, "a video that 'videos_json' has not"),
        ({"rows": [(0, 2_000_000, [ANN])]}, "at most 1000000 are read"),
        ({"tracks": ("ann",)}, "a track that 'tracks_json' has not"),
        ({"tracks": ("", "bob")}, "a track in 'tracks_json' has no name"),
        ({"metadata": {}}, "'metadata' has no 'nodes' and 'skeletons'"),
        ({"metadata": changed(skeletons=[])}, "people of 1 skeletons"),
        ({"metadata": changed(skeletons=[{"nodes": [{"id": 9}]}])}, "are not numbered"),
        ({"metadata": changed(skeletons=[{"nodes": [{"id": 0}]}])}, "do not fit 'pred_points'"),
        ({"metadata": changed(nodes=[{"name": "a"}] * 3)}, "names of joints, none twice"),
        ({"videos": ({"filenames": ["1.png"], "filename": "1.png"},)}, "is a list of pictures"),
        ({"change": field("instances", "skeleton", 1)}, "people of 2 skeletons"),
        ({"change": field("instances", "point_id_end", 99)}, "do not fit 'pred_points'"),
        ({"change": field("frames", "instance_id_end", 4)}, "'frames' do not fit 'instances'"),
        ({"change": replaced("points", None)}, "no dataset 'points' in it; is it SLEAP's project"),
        ({"change": replaced("frames", np.zeros((2, 5)))}, "is no table of video, frame_idx"),
        ({"change": replaced("points", h5py.ExternalLink("y.h5", "/p"))}, "no dataset 'points'"),
        ({"change": replaced("videos_json", np.array([b"{}"]))}, "has no 'backend'"),
        ({"change": replaced("videos_json", np.array([b"["]))}, "cannot be read as JSON"),
        ({"change": lambda file: file["metadata"].attrs.pop("json")}, "has no text 'json'"),
    ],
)
def test_what_is_wrong_is_named(read, more, message):
    with pytest.raises(VaclipError, match=message):
        read(**more)
