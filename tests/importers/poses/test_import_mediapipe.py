"""MediaPipe's landmarks: every layout gives the same people, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from cases import Video, moving_square

from conftest import write_video
from vaclip.commands.imports import import_parser
from vaclip.errors import VaclipError
from vaclip.importers import IMPORTERS
from vaclip.importers.poses.mediapipe import LANDMARKS

HIP, KNEE = 23, 25  # left: "Pose landmark detection guide", the figure of landmarks
ABSENT = [0, 0, 0]


@pytest.fixture
def read(tmp_path):
    """Reads a file about a video of 64 x 48 pixels; returns an export."""

    def read(content, *flags, name="walk_01.csv"):
        write_video(tmp_path / "walk_01.mkv", moving_square(Video(frames=3)))
        (tmp_path / "clips.csv").write_text("video,patient_id,label\nwalk_01.mkv,1,ill\n")
        path = tmp_path / "exports" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        words = ["mediapipe", str(path), "--into", str(tmp_path / "study")]
        words += ["--clips", str(tmp_path / "clips.csv"), *flags]
        options = import_parser().parse_args(words)
        return IMPORTERS.build("mediapipe").read(options.sources, options)

    return read


def landmarks(x=0.5, y=0.25, visibility=0.75, **more):
    """33 landmarks of one place."""
    return [{"x": x, "y": y, "z": 0, "visibility": visibility} | more] * 33


LONG = (
    "frame,time,landmark,x,y,z,visibility\n"
    "0,0,LEFT_HIP,0.5,0.25,-1,0.75\n"
    "0,0,left_knee,0.25,0.5,-1,0.5\n"
    "2,0.2,left hip,0.75,0.25,-1,0.25\n"
)


def test_the_order_is_that_of_the_guide():
    assert len(LANDMARKS) == 33
    assert (LANDMARKS[0], LANDMARKS[HIP], LANDMARKS[KNEE]) == ("nose", "left_hip", "left_knee")
    assert LANDMARKS[32] == "right_foot_index"


@pytest.mark.parametrize(
    "content",
    [
        LONG,
        LONG.replace("LEFT_HIP", "PoseLandmark.LEFT_HIP").replace("landmark", "keypoint_name"),
        "frame;left_hip_x;left_hip_y;left_hip_visibility;left_knee_x;left_knee_y;left_knee_vis\n"
        "0;0.5;0.25;0.75;0.25;0.5;0.5\n1;;;;;;\n2;0.75;0.25;0.25;;;\n",
        "x_left_hip,y_left_hip,v_left_hip,x_left_knee,y_left_knee,v_left_knee,z_left_hip\n"
        "0.5,0.25,0.75,0.25,0.5,0.5,9\n,,,,,,9\n0.75,0.25,0.25,,,,9\n",
    ],
)
def test_every_table_gives_the_same(read, content):
    (pose,) = read(content).poses
    assert pose.video == "walk_01"
    assert pose.keypoints[:, HIP].tolist() == [[32, 12, 0.75], ABSENT, [48, 12, 0.25]]
    assert pose.keypoints[:, KNEE].tolist() == [[16, 24, 0.5], ABSENT, ABSENT]
    assert not np.delete(pose.keypoints, [HIP, KNEE], axis=1).any()


@pytest.mark.parametrize("pattern", ["{axis}{n}", "landmark_{n}_{axis}", "{n}_{axis}"])
@pytest.mark.parametrize("first", [0, 1])
def test_numbered_columns(read, pattern, first):
    titles, cells = ["class"], ["squat"]
    for number in range(33):
        for axis, value in (("x", number / 64), ("y", 0.5), ("z", 9), ("v", 0.5)):
            titles.append(pattern.format(axis=axis, n=number + first))
            cells.append(str(value))
    (pose,) = read(f"{','.join(titles)}\n{','.join(cells)}\n").poses
    assert pose.keypoints.tolist() == [[[number, 24, 0.5] for number in range(33)]]
    assert not pose.open_ended  # rows are all frames


@pytest.mark.parametrize(
    "content",
    [
        [landmarks(), None, landmarks(0.75)],
        {"fps": 30, "frames": [{"landmarks": [one] if one else []}
                               for one in (landmarks(), None, landmarks(0.75))]},
        [{"frame": 0, "pose_landmarks": landmarks()},
         {"frame": 2, "pose_landmarks": landmarks(0.75)}],
        [[[0.5, 0.25, 9, 0.75]] * 33, [], [[0.75, 0.25, 9, 0.75, 1.0]] * 33],
        [{"landmarks": {"LEFT_HIP": {"x": 0.5, "y": 0.25, "v": 0.75}}}, {"landmarks": None},
         {"landmarks": {"left_hip": {"x": 0.75, "y": 0.25, "v": 0.75}}}],
    ],
)  # fmt: skip
def test_every_json_gives_the_same(read, content):
    (pose,) = read(content, name="walk_01.json").poses
    assert pose.keypoints[:, HIP].tolist() == [[32, 12, 0.75], ABSENT, [48, 12, 0.75]]


def test_without_visibility_what_is_there_is_sure(read):
    (pose,) = read("frame,landmark,x,y\n0,left_hip,0.5,0.5\n").poses
    assert pose.keypoints[0, HIP].tolist() == [32, 24, 1]
    (pose,) = read([[[0.5, 0.5]] * 33], name="walk_01.json").poses
    assert pose.keypoints[0, HIP].tolist() == [32, 24, 1]


def test_people(read):
    """Without names each frame's surest counts; with names one person counts throughout."""
    both = [landmarks(0.5, visibility=0.25), landmarks(0.75, visibility=0.5)]
    export = read([{"landmarks": both}, {"landmarks": both[:1]}], name="walk_01.json")
    assert export.poses[0].keypoints[:, HIP, 0].tolist() == [48, 32]
    assert export.dropped == ("1 detections of other people",)
    text = (
        "frame,person,landmark,x,y,visibility\n0,a,left_hip,0.5,0.5,0.25\n"
        "0,b,left_hip,0.75,0.5,0.75\n1,a,left_hip,0.5,0.5,0.25\n"
    )
    assert read(text).poses[0].keypoints[:, HIP, 0].tolist() == [48, 0]
    assert read(text, "--person", "a").poses[0].keypoints[:, HIP, 0].tolist() == [32, 32]


def test_frames_that_begin_with_one(read):
    text = LONG.replace("\n0,", "\n1,")
    with pytest.raises(VaclipError, match="no picture is numbered 0; say --first-frame 1"):
        read(text)
    assert len(read(text, "--first-frame", "1").poses[0].keypoints) == 2


def test_pixels_only_where_they_are_said(read):
    text = "frame,landmark,x,y\n0,left_hip,32,24\n"
    with pytest.raises(VaclipError, match=r"a coordinate is 32, .* say --keypoint-unit pixel"):
        read(text)
    (pose,) = read(text, "--keypoint-unit", "pixel").poses
    assert pose.keypoints[0, HIP].tolist() == [32, 24, 1]


@pytest.mark.parametrize(
    ("name", "video"),
    [("walk_01_pose_landmarks.csv", "walk_01"), ("walk_01.mediapipe.csv", "walk_01"),
     ("landmarks.csv", "landmarks"), ("posed.csv", "posed")],
)  # fmt: skip
def test_the_file_name_says_the_video(read, name, video):
    assert read(LONG, name=name).poses[0].video == video
    assert read(LONG, "--video", "walk_01", name=name).poses[0].keypoints[0, HIP, 0] == 32


def test_a_column_may_name_the_videos(read):
    rows = "video,frame,landmark,x,y\nwalk_01,0,left_hip,0.5,0.5\nb.mp4,0,left_hip,0.5,0.5\n"
    assert [pose.video for pose in read(rows).poses] == ["walk_01", "b.mp4"]


def test_landmarks_that_a_table_has_not_are_told(read):
    text = "frame,left_hip_x,left_hip_y\n0,0.5,0.5\n"
    assert read(text).dropped == ("32 landmarks of MediaPipe that the tables do not have",)


WORLD = (
    "frame,landmark,x,y\n0,left_hip,0.1,0.01\n0,right_hip,-0.1,-0.01\n0,nose,0.02,-0.6\n"
    "1,left_hip,0.1,0\n1,right_hip,-0.1,0\n1,nose,0.02,-0.6\n"
)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (LONG.replace("frame", "time2"), "no column numbers the frames"),
        (LONG.replace("LEFT_HIP", "wrist"), "'wrist' is no landmark of MediaPipe Pose"),
        (LONG.replace("LEFT_HIP", "40"), "'40' is no landmark"),
        ("frame,landmark,x,y\n0,0,0.1,0.1\n0,467,0.1,0.1\n", "numbered 0 to 467; .* 0 to 32"),
        ("frame,landmark,x,y\n0,5,0.1,0.1\n0,7,0.1,0.1\n", "numbered 5 to 7; .* 0 to 32"),
        (LONG + "2,0.2,LEFT_HIP,0.1,0.1,0,1\n", r"walk_01\.csv:5: a second 'LEFT_HIP'"),
        (LONG.replace("0.75,0.25,-1", "wide,0.25,-1"), r"walk_01\.csv:4: could not convert"),
        (LONG.replace("\n2,", "\n2.5,"), r"walk_01\.csv:4: '2\.5' is no frame number"),
        (LONG.replace("-1,0.75", "-1,1.5"), "a visibility is 1.5, .* in 0 to 1"),
        (LONG.replace("-1,0.75", "-1,-3"), "a visibility is -3, .* sigmoid"),
        (WORLD, "these are world landmarks"),
        ("frame,x,y\n0,0.5,0.5\n", "no columns of landmarks are known; expected columns frame"),
        ("frame,left_hip_x\n0,0.5\n", "'left_hip' has not both x and y"),
        ("frame,left_hip_x,left_hip_y\n0,0.5,0.5\n0,0.5,0.5\n", "a second row of frame 0"),
        ("frame,left_hip_x,left_hip_y\n0,,\n", "nobody is in it"),
    ],
)
def test_what_is_wrong_in_a_table_is_named(read, content, message):
    with pytest.raises(VaclipError, match=message):
        read(content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": 1}, "expected a list of frames"),
        ([], "expected a list of frames"),
        ([{"frame": 0, "face": []}], "entry 1 in the list of frames: expected a list"),
        ([landmarks()[:21]], "entry 1 .*: 21 values where MediaPipe Pose has 33 .*a hand has 21"),
        ([{"landmarks": {"tail": {"x": 1, "y": 1}}}], "'tail' is no landmark"),
        ([landmarks("left")], "x, y and visibility must be numbers"),
        ([landmarks(True)], "x, y and visibility must be numbers"),
        ([landmarks(10**400)], "a number is too large"),
        ([[[0.5, 0.5, 0.5]] * 33], "is no landmark; expected an object"),
        ([{"frame": 0, "landmarks": landmarks()}, {"landmarks": landmarks()}], "others have none"),
        ([{"frame": 0, "landmarks": landmarks()}] * 2, "entry 2 .*: a second frame 0"),
        ([{"frame": "x", "landmarks": landmarks()}], "'x' is no frame number"),
        ([None, []], "nobody is in it"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_json_is_named(read, content, message):
    with pytest.raises(VaclipError, match=message):
        read(content, name="walk_01.json")


def test_other_files_are_refused_by_name(read):
    with pytest.raises(VaclipError, match=r"walk_01\.npy: not read; write columns frame, landmark"):
        read("", name="walk_01.npy")
