from __future__ import annotations

import copy
import json
import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from vaclip.commands.imports import import_parser
from vaclip.errors import VaclipError
from vaclip.importers import IMPORTERS
from vaclip.importers.coco_pictures import _PICTURE, _picture

CONTENT = {
    "images": [
        {"id": 7, "file_name": "a/000000.jpg", "width": 64, "height": 48},
        {"id": 8, "file_name": "a/000002.jpg", "width": 64, "height": 48},
        {"id": "x", "file_name": "b_0001.png"},
    ],
    "annotations": [
        {"image_id": 7, "category_id": 1, "keypoints": [1, 2, 2, 3, 4, 1]},
        {"image_id": 8, "category_id": 1, "keypoints": [5, 6, 2, 0, 0, 0]},
        {"image_id": "x", "category_id": 1, "keypoints": [7, 8, 2, 9, 10, 2]},
    ],
    "categories": [{"id": 1, "name": "person", "keypoints": ["hip", "knee"]}],
}


@pytest.fixture
def content():
    return copy.deepcopy(CONTENT)


@pytest.fixture
def read(tmp_path):
    def read(content, *flags):
        path = tmp_path / "poses.json"
        path.write_text(json.dumps(content))
        options = import_parser().parse_args(["coco", str(path), "--into", "s", *flags])
        return IMPORTERS.build("coco").read([path], options)

    return read


def test_pictures_become_frames_and_visibility_confidence(read, content):
    export = read(content)
    assert export.keypoint_names == ("hip", "knee")
    a, b = export.poses
    assert (a.video, a.size, a.open_ended) == ("a", (48, 64), True)
    assert (b.video, b.size, b.open_ended) == ("b", None, True)
    # An occluded joint (1) counts as one that is seen: where it lies was said.
    assert a.keypoints.tolist() == [
        [[1, 2, 1], [3, 4, 1]], [[0, 0, 0], [0, 0, 0]], [[5, 6, 1], [0, 0, 0]],
    ]  # fmt: skip
    assert b.keypoints.tolist() == [[[0, 0, 0]] * 2, [[7, 8, 1], [9, 10, 1]]]


def test_the_first_frame_must_be_clear(read, content):
    del content["images"][0], content["annotations"][0]
    with pytest.raises(VaclipError, match="no picture is numbered 0; say --first-frame 1"):
        read(content)
    assert [len(pose.keypoints) for pose in read(content, "--first-frame", "1").poses] == [2, 1]
    assert [len(pose.keypoints) for pose in read(content, "--first-frame", "0").poses] == [3, 2]
    with pytest.raises(VaclipError, match="a: frame number 0, but they begin with 1"):
        read(CONTENT, "--first-frame", "1")


def test_results_take_scores_and_need_the_pictures(read, content, tmp_path):
    results = [
        {"image_id": 7, "category_id": 1, "keypoints": [1, 2, 0.25, 3, 4, 7.5], "score": 0.9},
        {"image_id": 7, "category_id": 1, "keypoints": [5, 6, 0.125, 0, 0, 0.5], "score": 0.1},
    ]
    with pytest.raises(VaclipError, match=r"poses\.json is a results file.*say --images"):
        read(results)
    images = tmp_path / "images.json"
    del content["annotations"]  # the test set's list has none
    images.write_text(json.dumps(content))
    export = read(results, "--images", str(images))
    assert export.poses[0].keypoints[0].tolist() == [[1, 2, 0.25], [3, 4, 1]]
    assert export.dropped == ("1 detections of other people",)


@pytest.mark.parametrize(
    "track", [{"track_id": 3}, {"instance_id": 3}, {"attributes": {"track_id": 3}}]
)
def test_tracks_tell_people_apart(read, content, track):
    content["annotations"][0] |= track
    content["annotations"][1] |= track
    content["annotations"][2] = {
        "image_id": 7, "category_id": 1, "track_id": 4, "keypoints": [50, 50, 2, 60, 60, 2],
    }  # fmt: skip
    content["images"] = content["images"][:2]
    assert read(content).poses[0].keypoints[:, 0, 0].tolist() == [1, 0, 5]
    assert read(content, "--person", "4").poses[0].keypoints[:, 0, 0].tolist() == [50, 0, 0]


def test_videos_say_frames_better_than_file_names(read, content):
    content["videos"] = [{"id": 1, "name": "walk.mp4"}, {"id": 2, "name": "run"}]
    for image, video, frame in zip(content["images"], (1, 2, 1), (4, 0, 1), strict=True):
        image |= {"video_id": video, "frame_id": frame, "file_name": "x9.jpg", "width": None}
    walk, run = read(content).poses
    assert (walk.video, run.video) == ("walk.mp4", "run")
    assert walk.keypoints[:, 0, 0].tolist() == [0, 7, 0, 0, 1]
    assert run.keypoints[:, 0, 0].tolist() == [5]


@pytest.mark.parametrize(
    ("name", "video", "number"),
    [
        ("walk_01/000012.jpg", "walk_01", 12), ("p1/walk.01/frame_0007.png", "p1/walk.01", 7),
        ("walk_01_000012.png", "walk_01", 12), ("p1\\walk-01-Frame12.JPG", "p1/walk-01", 12),
        ("walk_01_img_3.jpg", "walk_01", 3), ("v/IMG0003.jpg", "v", 3),
        ("d/walk 01.mp4.55.jpg", "d/walk 01.mp4", 55),
    ],
)  # fmt: skip
def test_file_names_say_video_and_frame(name, video, number):
    found = _picture({"file_name": name}, {}, "")
    assert (found.video, found.number) == (video, number)


@given(
    st.from_regex(r"[a-z][a-z0-9]{0,5}(?:[_ .-][a-z0-9]{1,5}){0,2}", fullmatch=True),
    st.sampled_from("_-. "),
    st.integers(0, 999_999),
    st.integers(1, 12),
)
def test_any_video_name_is_found_before_the_number(video, separator, number, digits):
    assume(not re.search("frame|image|img", video))
    match = _PICTURE.fullmatch(f"{video}{separator}{number:0{digits}d}")
    assert match
    assert (match["video"], int(match["number"])) == (video, number)


def test_pictures_of_one_task_need_the_videos_name(read, content):
    content["images"] = content["images"][:2]
    del content["annotations"][2]
    for image in content["images"]:
        image["file_name"] = f"frame_{image['id']:06d}.PNG"  # as CVAT names them
    with pytest.raises(VaclipError, match="pictures do not name their video; say --video NAME"):
        read(content, "--first-frame", "0")
    (pose,) = read(content, "--first-frame", "0", "--video", "walk_01.mp4").poses
    assert (pose.video, len(pose.keypoints)) == ("walk_01.mp4", 9)


def test_several_categories_need_a_choice(read, content):
    content["categories"] += [{"id": 2, "name": "horse", "keypoints": ["hoof"]}, {"id": 3}]
    content["annotations"][0]["category_id"] = 3
    with pytest.raises(VaclipError, match=r"2 categories with 'keypoints' \(person, horse\)"):
        read(content)
    assert read(content, "--category", "person").dropped == (
        "1 annotations of other categories, or without keypoints",
    )
    with pytest.raises(VaclipError, match=r"no category 'dog' with .* \(person, horse\)"):
        read(content, "--category", "dog")


@pytest.mark.parametrize("keypoints", [{"keypoints": [], "skeleton": []}, {}])
def test_labels_that_are_no_skeletons_are_called_so(read, content, keypoints):
    content["categories"] = [{"id": n, "name": name, **keypoints} for n, name in enumerate("KF")]
    with pytest.raises(VaclipError, match=r"none of its categories \(K, F\) has keypoints: .*"
                       "export 'COCO Keypoints'.*coco_shapes"):  # fmt: skip
        read(content)


def broken(path, value):
    def change(content):
        *above, last = path
        place = content
        for key in above:
            place = place[key]
        place[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (broken(["images"], {}), "expected COCO's lists"),
        (broken(["images"], []), "no picture in 'images'"),
        (broken(["images", 0], 5), r"images\[0\]: expected 'id' and 'file_name'"),
        (broken(["images", 0, "id"], [1]), r"images\[0\]: '\[1\]' is no id"),
        (broken(["images", 1, "id"], 7), r"images\[1\]: a second one with the id 7"),
        (broken(["images", 0, "file_name"], "walk.jpg"), "'walk.jpg' has no frame number"),
        (broken(["images", 0, "file_name"], "a/9999999.jpg"), "at most 1000000 are read"),
        (broken(["images", 0, "file_name"], "a/2.jpg"), "a: two pictures are frame 2"),
        (broken(["images", 0, "width"], 65), "a: its pictures have different sizes"),
        (broken(["videos"], 3), "expected COCO's lists"),
        (broken(["videos"], [{"id": 1}]), r"videos\[0\]: expected 'id' and 'name'"),
        (broken(["videos"], [{"id": 1, "name": n} for n in "ab"]), r"videos\[1\]: a second one"),
        (broken(["annotations", 0], "x"), "annotation 0: expected an object"),
        (broken(["annotations", 0, "image_id"], 99), "no picture with the id 99"),
        (broken(["annotations", 0, "keypoints"], [1, 2, 2]), "3 values in 'keypoints'; 2 joints"),
        (broken(["annotations", 0, "keypoints"], "abc"), "'keypoints': expected a list of numbers"),
        (broken(["annotations", 0, "keypoints", 2], 0.5), "visibility of a joint must be 0, 1"),
        (broken(["annotations", 0, "track_id"], {}), "'track_id': '{}' is no id"),
        (broken(["categories", 0, "keypoints"], ["hip", "hip"]), "none twice"),
    ],
)
def test_what_is_wrong_is_named(read, content, change, message):
    change(content)
    if "images" in content and content["images"] and isinstance(content["images"], list):
        content["images"].append({"id": 0, "file_name": "c_0.jpg"})
    with pytest.raises(VaclipError, match=message):
        read(content)
