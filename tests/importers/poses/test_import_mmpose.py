from __future__ import annotations

import json

import pytest

from vaclip.commands.imports import import_parser
from vaclip.errors import VaclipError
from vaclip.importers import IMPORTERS
from vaclip.maps.source import COCO_17

META = {"dataset_name": "own", "keypoint_id2name": {"0": "hip", "1": "knee"}}


def instance(x, score=0.5, joints=2, **more):
    """Joint number j lies at (x, 100 + j)."""
    points = [[x, 100 + j] for j in range(joints)]
    scores = {"keypoints": points, "keypoint_scores": [score] * joints}
    # A list in a list: structures/utils.py has a comma too many.
    return scores | {"bbox": [[0, 0, 9, 9]], "bbox_score": 0.9} | more


def frame(number, *instances):
    return {"frame_id": number, "instances": list(instances)}


@pytest.fixture
def read(tmp_path):
    def read(content, *flags, name="walk_01.json"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content))
        options = import_parser().parse_args(["mmpose", str(path), "--into", "s", *flags])
        return IMPORTERS.build("mmpose").read([path], options)

    return read


def test_demo_scripts_count_from_one(read):
    content = {"meta_info": META, "instance_info": [frame(1, instance(7)), frame(2), frame(3)]}
    export = read(content, name="results_walk_01.json")
    (pose,) = export.poses
    assert (pose.video, pose.open_ended, export.keypoint_names) == (
        "walk_01", False, ("hip", "knee"),
    )  # fmt: skip
    assert pose.keypoints.tolist() == [[[7, 100, 0.5], [7, 101, 0.5]], [[0] * 3] * 2, [[0] * 3] * 2]
    content["instance_info"].append(frame(0))
    with pytest.raises(VaclipError, match="frame number 0, but they begin with 1"):
        read(content)
    assert len(read(content, "--first-frame", "0").poses[0].keypoints) == 4


def test_the_inferencer_counts_from_zero_and_names_no_joints(read):
    export = read([frame(0), frame(1, instance(7, joints=17))], name="results_a.json")
    (pose,) = export.poses
    # Only the demo scripts put "results_" before the name.
    assert (pose.video, export.keypoint_names) == ("results_a", COCO_17)
    assert pose.keypoints[:, 16].tolist() == [[0, 0, 0], [7, 116, 0.5]]
    export = read([frame(0, instance(7))], "--joints", "hip, knee", "--video", "other")
    assert (export.poses[0].video, export.keypoint_names) == ("other", ("hip", "knee"))
    assert read([frame(0)]).keypoint_names == COCO_17  # nobody was found
    with pytest.raises(VaclipError, match="2 joints without names; say --joints"):
        read([frame(0, instance(7))])


def test_of_several_people_the_surest_or_largest_counts(read):
    large = instance(7, 0.25) | {"keypoints": [[0, 0], [90, 90]]}
    content = [frame(0, large, instance(8, 0.75))]
    flags = ("--joints", "a,b")
    assert read(content, *flags).poses[0].keypoints[0, 1].tolist() == [8, 101, 0.75]
    largest = read(content, *flags, "--person", "largest")
    assert largest.poses[0].keypoints[0, 1].tolist() == [90, 90, 0.25]
    assert largest.dropped == ("1 detections of other people",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "expected a list of frames, or 'instance_info'"), ([], "expected a list of frames"),
        ("x", "expected a list of frames"),
        ([instance(1)], "frame 1 in the list has no 'frame_id': run MMPose on the video"),
        ([{"frame_id": 0}], "frame 1 in the list: expected a list 'instances'"),
        ([{"frame_id": "a", "instances": []}], "'a' is no frame number"),
        ([frame(0), frame(1_000_000)], "frame 2 in the list: .*at most 1000000"),
        ([frame(0, 3)], "expected instances with 'keypoints'"),
        ([frame(0, instance(1, keypoints=[[1, 2, 3]] * 2))], r"shape \(2, 3\).* of a 2D model"),
        ([frame(0, instance(1, keypoint_scores=[0.5]))], r"scores of shape \(1,\)"),
        ([frame(0, instance(1, keypoints=None))], "'keypoints': expected a list of numbers"),
        ([frame(0, instance(1), instance(1, joints=3))], "3 joints, but 2 names"),
        ({"meta_info": {"keypoint_id2name": {"0": "a", "2": "b"}}, "instance_info": [frame(1)]},
         "'keypoint_id2name': expected names of joints"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(read, content, message):
    with pytest.raises(VaclipError, match=message):
        read(content, *(["--joints", "a,b"] if isinstance(content, list) else []))
