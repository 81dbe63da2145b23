from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest

from vaclip.commands.imports import import_parser
from vaclip.errors import VaclipError
from vaclip.importers import IMPORTERS
from vaclip.importers.poses.openpose import MODELS
from vaclip.maps.source import COCO_17


def person(joints=25, x=10.0, confidence=0.5, **more):
    """Joint number j lies at (x, 100 + j)."""
    values = [value for j in range(joints) for value in (x, 100.0 + j, confidence)]
    return {"person_id": [-1], "pose_keypoints_2d": values} | more


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def write(folder):
    def write(video, number, *people, content=None):
        path = folder / f"{video}_{number:012d}_keypoints.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content or {"version": 1.3, "people": people}))

    return write


@pytest.fixture
def read(folder):
    def read(*flags, sources=(folder,)):
        words = ["openpose", *map(str, sources), "--into", "s", *flags]
        return IMPORTERS.build("openpose").read(list(sources), import_parser().parse_args(words))

    return read


def test_files_become_frames_and_a_missing_one_has_nobody(write, read):
    write("p1/walk_01", 0, person())
    write("p1/walk_01", 2, person(x=20))
    write("p1/walk_01", 3)
    (pose,) = read().poses
    assert (pose.video, pose.open_ended) == ("p1/walk_01", False)
    assert pose.keypoints[:, 0].tolist() == [[10, 100, 0.5], [0, 0, 0], [20, 100, 0.5], [0, 0, 0]]
    assert pose.keypoints[0, 24].tolist() == [10, 124, 0.5]


# "OpenPose Doc - Output" and poseParameters.cpp: the place of some joints in its order.
@pytest.mark.parametrize(
    ("model", "count", "places"),
    [
        ("body_25", 25, {"nose": 0, "right_wrist": 4, "mid_hip": 8, "right_hip": 9,
                         "left_ankle": 14, "left_ear": 18, "left_big_toe": 19, "right_heel": 24}),
        ("coco", 18, {"neck": 1, "left_wrist": 7, "right_hip": 8, "left_hip": 11, "right_eye": 14,
                      "left_ear": 17}),
        ("mpi", 15, {"head": 0, "neck": 1, "left_shoulder": 5, "left_ankle": 13, "chest": 14}),
        ("body_25b", 25, {"left_eye": 1, "right_ankle": 16, "upper_neck": 17, "head_top": 18,
                          "left_heel": 21, "right_heel": 24}),
    ],
)  # fmt: skip
def test_joints_stand_in_the_order_of_the_model(write, read, model, count, places):
    write("v", 0, person(count))
    flags = ("--model", model) if model == "body_25b" else ()  # the others are told by the count
    names = read(*flags).keypoint_names
    assert names == MODELS[model]
    assert len(names) == count
    assert {name: names.index(name) for name in places} == places


def test_names_are_those_of_coco_where_there_is_such_a_joint():
    assert set(COCO_17) < set(MODELS["coco"]) < set(MODELS["body_25"])


def test_tracking_tells_people_apart(write, read):
    write("v", 0, person(x=1, confidence=0.9, person_id=[4]), person(x=2, person_id=[5]))
    write("v", 1, person(x=3, person_id=[5]), person(x=4, confidence=0.7, person_id=[-1]))
    # Number 5 has 0.5 + 0.5, more than 4's 0.9 in the one frame.
    assert read().poses[0].keypoints[:, 0, 0].tolist() == [2, 3]
    assert read("--person", "4").poses[0].keypoints[:, 0, 0].tolist() == [1, 0]
    assert read().dropped == ("2 detections of other people",)


def test_people_without_a_body_and_old_keys(write, read):
    hands_only = {"pose_keypoints_2d": [], "hand_left_keypoints_2d": [1, 2, 3]}
    write("v", 0, hands_only, {"pose_keypoints": person(18)["pose_keypoints_2d"]})
    export = read()
    assert export.keypoint_names == MODELS["coco"]
    assert export.poses[0].keypoints[0, 1].tolist() == [10, 101, 0.5]


def test_a_video_without_anybody_has_the_joints_of_the_others(write, read):
    write("a", 0)
    write("b", 0, person(15))
    a, b = read().poses
    assert a.keypoints.shape == b.keypoints.shape == (1, 15, 3)
    assert not a.keypoints.any()


def test_archives_and_several_sources(write, read, folder, tmp_path):
    write("v", 0, person())
    archive = tmp_path / "v.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in folder.iterdir():
            file.write(path, f"json/{path.name}")
    one, other = read(sources=(folder, archive)).poses
    assert (one.video, other.video) == ("v", "json/v")
    np.testing.assert_array_equal(one.keypoints, other.keypoints)


def test_other_files_are_counted(write, read, folder):
    write("v", 0, person())
    (folder / "notes.json").write_text("{}")
    assert read().dropped == ("1 JSON files that are not named VIDEO_000000000000_keypoints.json",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "expected {'people'"), ({"people": 3}, "expected {'people'"),
        ({"people": ["x"]}, "person 0: expected an object"),
        ({"people": [{}]}, "person 0: expected numbers|expected a list of numbers"),
        ({"people": [person(24)]}, "72 values; body_25 has 75, coco 54, mpi 45"),
        ({"people": [person(25), person(18)]}, "54 values are not those of 25 joints"),
        ({"people": [person(x=2e6)]}, "pixels away"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(write, read, content, message):
    write("v", 0, content=content or [0])
    with pytest.raises(VaclipError, match=message):
        read()


def test_fractions_pictures_and_nobody_are_refused(write, read, folder):
    write("v", 0, {"pose_keypoints_2d": [0.5, 0.25, 0.9] * 25})
    with pytest.raises(VaclipError, match="out: v: the coordinates are fractions"):
        read()
    write("v", 0)
    with pytest.raises(VaclipError, match="nobody was found in any frame"):
        read()
    next(folder.iterdir()).rename(folder / "picture_keypoints.json")
    with pytest.raises(VaclipError, match="run OpenPose on the video itself"):
        read()
    (folder / "picture_keypoints.json").rename(folder / f"v_{'9' * 12}_keypoints.json")
    with pytest.raises(VaclipError, match="at most 1000000 are read"):
        read()
