"""AlphaPose: who is where, and everything that is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from vaclip.commands.imports import import_parser
from vaclip.errors import VaclipError
from vaclip.importers import IMPORTERS
from vaclip.importers.poses.alphapose import HALPE_26
from vaclip.maps.source import COCO_17


def person(frame, x, confidence=0.5, joints=17, **more):
    keypoints = np.tile([x, 7.0, confidence], joints).tolist()
    return {"image_id": f"{frame}.jpg", "category_id": 1, "keypoints": keypoints} | more


@pytest.fixture
def read(tmp_path):
    def write(content, *flags, name="walk/alphapose-results.json"):
        path = tmp_path / "results" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
        words = ["alphapose", str(tmp_path / "results"), "--into", str(tmp_path / "s"), *flags]
        options = import_parser().parse_args(words)
        return IMPORTERS.build("alphapose").read(options.sources, options)

    return write


@pytest.mark.parametrize(
    ("name", "video"),
    [
        ("walk/alphapose-results.json", "walk"),
        ("alphapose-results_walk.json", "walk"),
        ("deep/walk_alphapose-results.json", "deep/walk"),
        ("walk.json", "walk"),
        ("alphapose-results.json", "alphapose-results"),
    ],
)
def test_the_video_is_named_by_file_or_folder(read, name, video):
    (pose,) = read([person(0, 1)], name=name).poses
    assert pose.video == video
    (pose,) = read([person(0, 1)], "--video", "x.mp4", name=name).poses
    assert pose.video == "x.mp4"


def test_frames_without_anybody_are_filled(read):
    (pose,) = read([person(1, 10), person(3, 30)]).poses
    assert pose.keypoints.shape == (4, 17, 3)
    assert pose.keypoints[:, 0].tolist() == [[0, 0, 0], [10, 7, 0.5], [0, 0, 0], [30, 7, 0.5]]
    assert pose.open_ended
    (pose,) = read([person(1, 10)], "--first-frame", "1").poses
    assert len(pose.keypoints) == 1


@pytest.mark.parametrize("form", [lambda n: n, lambda n: [n, 0], lambda n: float(n)])
def test_a_tracked_patient_stays_one_person(read, form):
    people = [
        person(0, 10, 0.6, idx=form(1)), person(0, 90, 0.9, idx=form(2)),
        person(1, 11, 0.6, idx=form(1)),
    ]  # fmt: skip
    found = read(people)
    assert found.poses[0].keypoints[:, 0, 0].tolist() == [10, 11]
    assert found.dropped == ("1 detections of other people",)
    assert read(people, "--person", "2").poses[0].keypoints[:, 0, 0].tolist() == [90, 0]
    for one in people:
        del one["idx"]
    assert read(people).poses[0].keypoints[:, 0, 0].tolist() == [90, 11]


@pytest.mark.parametrize(("joints", "names"), [(17, COCO_17), (26, HALPE_26), (136, HALPE_26)])
def test_models(read, joints, names):
    found = read([person(0, 1, 3.0, joints)])
    assert found.keypoint_names == names
    assert found.poses[0].keypoints.shape == (1, len(names), 3)
    assert found.poses[0].keypoints[..., 2].max() == 1  # a model of COCO gives up to 6


def test_nobody_in_the_whole_video(read):
    (pose,) = read([]).poses
    assert pose.keypoints.shape == (0, 17, 3)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"version": 0.1, "bodies": []}, "expected a list of people"),
        ([[1]], "expected an object"),
        ([person("a", 1)], "which is no frame of a video"),
        ([person(0, 1) | {"image_id": "walk_07.jpg"}], "run AlphaPose on the video itself"),
        ([person(0, 1, joints=16)], "48 values; a person of COCO has 51"),
        ([person(0, 1), person(0, 1, joints=26)], "all of a file the same"),
        ([person(0, 1) | {"keypoints": "x"}], "expected a list of numbers"),
        ([person(10**7, 1)], "at most"),
        ([person(0, 1e9)], "pixels away"),
    ],
)
def test_what_is_no_result_is_refused(read, content, said):
    with pytest.raises(VaclipError, match=said):
        read(content)
