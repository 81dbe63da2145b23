from __future__ import annotations

import argparse
from collections import Counter

import numpy as np
import pytest
from cases import Video, moving_square
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from conftest import write_video
from vaclip.errors import VaclipError
from vaclip.importers.base import Export, NewClip, NewPose
from vaclip.importers.merge import plan_import
from vaclip.importers.plan import Rules
from vaclip.importers.poses.people import (
    Person,
    PoseVideo,
    frame_number,
    join,
    joint_names,
    number_array,
    patient,
    poses_export,
)

NAMES = ("a", "b")


def someone(x, confidence, track=None, size=1.0):
    """A person of two joints, (x, 0) and (x + size, size)."""
    joints = [(x, 0, confidence), (x + size, size, confidence)]
    return Person(np.array(joints, np.float32), track)


def chosen(people, who="best", frames=4):
    """Returns the first joint's x of each frame (0 for nobody), and how many were left out."""
    dropped = Counter()
    video = PoseVideo("v", NAMES, "v.json", frames, people)
    keypoints = patient(video, who, dropped)
    assert keypoints.shape == (frames, 2, 3)
    assert keypoints.dtype == np.float32
    return keypoints[:, 0, 0].tolist(), dropped.total()


def test_without_identities_it_is_the_surest_of_each_frame():
    people = {0: [someone(1, 0.2), someone(2, 0.9)], 2: [someone(3, 0.9), someone(4, 0.2)]}
    assert chosen(people) == ([2, 0, 3, 0], 2)
    assert chosen({}, frames=2) == ([0, 0], 0)


def test_with_identities_it_is_one_person_for_the_whole_video():
    # "short" is surer where it is seen, but "long" has the higher mean over all four frames.
    people = {
        0: [someone(1, 0.9, "short"), someone(2, 0.6, "long")],
        1: [someone(3, 0.6, "long")],
        3: [someone(4, 0.6, "long"), someone(5, 1.0)],
    }
    assert chosen(people) == ([2, 3, 0, 4], 2)
    assert chosen(people, "short") == ([1, 0, 0, 0], 4)


def test_the_largest_is_told_by_joints_that_were_found():
    people = {0: [someone(1, 0.9, size=2), someone(5, 0.1, size=7)]}
    assert chosen(people, "largest", frames=1) == ([5], 1)
    far = someone(5, 0.1, size=7)
    far.joints[1, 2] = 0  # a single joint has no area
    assert chosen({0: [far, someone(1, 0.9, size=2)]}, "largest", frames=1) == ([1], 1)
    tracked = {0: [someone(1, 1, "p", 3), someone(2, 1, "q", 4)], 1: [someone(3, 1, "p", 3)]}
    assert chosen(tracked, "largest", frames=2) == ([1, 3], 1)


def test_of_two_detections_of_one_track_the_surer_counts():
    assert chosen({0: [someone(1, 0.4, "t"), someone(2, 0.5, "t")]}, frames=1) == ([2], 1)


@pytest.mark.parametrize("track", [None, "t"])
def test_a_person_who_is_not_there_is_named(track):
    known = "t" if track else "nobody is told apart"
    with pytest.raises(VaclipError, match=rf"v\.json: there is no person 'u' \({known}\)"):
        chosen({0: [someone(1, 1, track)]}, "u")


def test_too_long_videos_are_refused_before_memory_is_taken():
    video = PoseVideo("v", tuple("abcdefghijklmnopqrstuvwxyz0123456789"), "v.json", 999_999)
    with pytest.raises(VaclipError, match=r"v\.json: 999999 frames of 36 joints"):
        patient(video, "best", Counter())


@given(
    arrays(np.float64, (3, 2), elements=st.floats(-1e6, 1e6)),
    arrays(np.float64, (3,), elements=st.floats(width=32)),
)
def test_joints_are_defined_and_confidences_in_range(points, scores):
    joined = join(points, scores, "here")
    for (x, y, confidence), point, score in zip(joined, points, scores, strict=True):
        if np.isfinite(score):
            assert (x, y) == tuple(np.float32(point))
            assert confidence == np.float32(min(max(score, 0), 1))
        else:
            assert (x, y, confidence) == (0, 0, 0)


def test_undefined_and_far_coordinates():
    points = [[np.nan, 1], [2, np.inf], [3, 4]]
    assert join(points, [1, 1, 1], "").tolist() == [[0, 0, 0], [0, 0, 0], [3, 4, 1]]
    with pytest.raises(VaclipError, match="here: a joint lies more than 1000000 pixels away"):
        join([[-1.1e6, 0]], [1], "here")


def test_frame_numbers_begin_at_zero_or_one():
    assert frame_number("000012", "") == 12
    assert frame_number(12, "", 1) == 11
    for value, message in (
        (0, "frame number 0, but they begin with 1"), (-1, "frame number -1"),
        (1_000_001, "at most 1000000 are read"), (True, "'True' is no frame number"),
        (1.0, "is no frame number"), (None, "is no frame number"), ("1e3", "is no frame"),
        ("²", "is no frame number"), ("9" * 5000, "is no frame number"), ([1], "is no frame"),
    ):  # fmt: skip
        with pytest.raises(VaclipError, match=f"f: .*{message}"):
            frame_number(value, "f", 1)


@pytest.mark.parametrize("value", [None, "1", [1, "2"], [[1], [1, 2]], [True], [10**400], {"a": 1}])
def test_what_is_no_list_of_numbers_is_named(value):
    with pytest.raises(VaclipError, match=r"here: expected .*numbers"):
        number_array(value, "here")


@pytest.mark.parametrize("value", [None, [], ["a", "a "], ["a", ""], ["a", 1], "ab"])
def test_what_are_no_names_is_named(value):
    with pytest.raises(VaclipError, match="here: expected names of joints, none twice"):
        joint_names(value, "here")


def options(**more):
    return argparse.Namespace(**{"person": "best", "video": None} | more)


def test_one_study_has_one_set_of_joints():
    videos = [PoseVideo("v", NAMES, "v.json", 1), PoseVideo("w", ("a", "c"), "w.json", 1)]
    with pytest.raises(VaclipError, match=r"w\.json has other joints \(a, c\) than v\.json"):
        poses_export(videos, options(), Counter())


def test_the_video_flag_names_one_file():
    videos = [PoseVideo(name, NAMES, name, 1) for name in "vw"]
    assert poses_export(videos[:1], options(video="x"), Counter()).poses[0].video == "x"
    with pytest.raises(VaclipError, match="--video names one video, but these are 2"):
        poses_export(videos, options(video="x"), Counter())


class TestMerge:
    @pytest.fixture
    def clip(self, tmp_path):
        path = write_video(tmp_path / "v.mkv", moving_square(Video(frames=6)))
        return NewClip("v", path, "v.mkv", "p", "ill", "t.csv:2")

    def planned(self, clip, tmp_path, **more):
        keypoints = np.ones((4, 2, 3), np.float32)
        pose = NewPose("v", keypoints, "v.json", **more)
        export = Export(clips=(clip,), poses=(pose,), keypoint_names=NAMES)
        plan = plan_import(tmp_path / "study", [export], Rules())
        ((name, content),) = plan.files.items()
        (tmp_path / "x.npz").write_bytes(content)
        assert plan.clips[0]["keypoints"] == name
        return np.load(tmp_path / "x.npz")["scores"][:, 0].tolist()

    def test_frames_that_a_tool_leaves_out_are_filled_up(self, clip, tmp_path):
        assert self.planned(clip, tmp_path) == [1, 1, 1, 1]  # `data check` will name the length
        assert self.planned(clip, tmp_path, open_ended=True) == [1, 1, 1, 1, 0, 0]

    def test_pictures_of_another_size_are_refused(self, clip, tmp_path):
        assert self.planned(clip, tmp_path, size=(48, 64)) == [1, 1, 1, 1]
        with pytest.raises(VaclipError, match="pictures are 32 x 24, but the video is 64 x 48"):
            self.planned(clip, tmp_path, size=(24, 32))
