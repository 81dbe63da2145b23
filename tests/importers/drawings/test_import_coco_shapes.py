"""COCO segmentations: the fixture's answers by hand, pycocotools' masks, what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from cases import FIXTURES
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as oracle

from vaclip.commands.imports import import_parser
from vaclip.errors import VaclipError
from vaclip.importers import IMPORTERS
from vaclip.importers.drawings.coco_rle import decode_rle

FIXTURE = FIXTURES / "coco_shapes" / "annotations.json"


def read(path, *flags):
    words = ["coco_shapes", str(path), "--into", "study", *flags]
    options = import_parser().parse_args(words)
    return IMPORTERS.build("coco_shapes").read(options.sources, options)


@pytest.fixture
def changed(tmp_path):
    """Returns what the fixture gives after a change to its content."""

    def write(change, *flags):
        content = json.loads(FIXTURE.read_text())
        content = change(content) or content
        path = tmp_path / "annotations.json"
        path.write_text(json.dumps(content))
        return read(path, *flags)

    return write


def test_the_fixture():
    export = read(FIXTURE, "--first-frame", "1", "--annotator", "eve")
    one, other = export.annotations
    assert [(a.video, a.annotator) for a in export.annotations] == [
        ("frames/walk_01", "eve"), ("frames/walk_02", "eve")
    ]  # fmt: skip
    assert (one.content.size, one.content.frames) == ((48, 64), None)
    found = [(t.type, t.label, t.keys[0].at, t.keys[0].points) for t in one.content.tracks]
    assert found == [
        ("polygon", "foot", 2, ((2, 2), (12, 2), (12, 12))),
        ("polygon", "foot", 2, ((30, 30), (40, 30), (40, 40), (30, 40))),
        ("mask", "foot", 5, ((20, 10), (30, 20))),  # 970 = 20 x 48 + 10 pixels before it
        ("polygon", "hand", 5, ((40.5, 30), (50.5, 30), (45.5, 40))),
        ("mask", "foot", 7, ((0, 0), (2, 48))),  # 96 pixels are two columns of 48
    ]
    assert one.content.tracks[2].keys[0].runs == (0, 100)  # filled
    assert all((t.keys[1].at, t.keys[1].outside) == (t.keys[0].at + 1, True)
               for t in one.content.tracks)  # fmt: skip
    (box,) = other.content.tracks
    assert (box.type, box.keys[0].at, box.keys[0].points) == ("box", 3, ((5, 5), (15, 25)))
    assert export.dropped == ("1 annotations without a segmentation or a box",)


def test_labels_and_single_frames(changed):
    export = read(FIXTURE, "--first-frame", "1", "--label", "hand", "--hold", "hand")
    (one,) = export.annotations
    assert [len(track.keys) for track in one.content.tracks] == [1]  # it stays
    assert export.dropped == ("5 annotations of other labels",)

    def with_joints(content):
        content["annotations"][0]["keypoints"] = [1, 2, 2]

    export = changed(with_joints, "--first-frame", "0")
    assert "1 skeletons, which the kind coco reads" in export.dropped
    assert export.annotations[0].content.tracks[0].keys[0].at == 3


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_masks_are_those_of_pycocotools(height, width, seed, share):
    mask = np.random.default_rng(seed).random((height, width)) < share
    code = oracle.encode(np.asfortranarray(mask.astype(np.uint8)))
    text = {"size": code["size"], "counts": code["counts"].decode()}
    np.testing.assert_array_equal(decode_rle(text, (height, width)), mask)


def test_a_code_by_hand():
    """In columns of 4: five, three times two and two in turn, and five again."""
    mask = np.zeros((4, 5), bool)
    mask[1:3, 1:4] = True
    for counts in ("5220003", [5, 2, 2, 2, 2, 2, 5]):
        code = {"size": [4, 5], "counts": counts}
        np.testing.assert_array_equal(decode_rle(code, (4, 5)), mask)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ({"size": [5, 4], "counts": [20]}, r"\[5, 4\], but the picture is 5 x 4"),
        ({"size": [4, 5], "counts": [19]}, "have 19 pixels, the picture 20"),
        ({"size": [4, 5], "counts": [-1, 21]}, "a list of run lengths"),
        ({"size": [4, 5], "counts": [20.0]}, "a list of run lengths"),
        ({"size": [4, 5], "counts": [True] * 20}, "a list of run lengths"),
        ({"size": [4, 5]}, "a list of run lengths"),
        ({"size": [4, 5], "counts": "52200o"}, "breaks off"),
        ({"size": [4, 5], "counts": "52 0003"}, "' ', which is no part"),
        ({"size": [4, 5], "counts": "o" * 9}, "'o', which is no part"),
        ({"size": [4, 5], "counts": "N"}, "a list of run lengths"),  # a run of -2
    ],
)
def test_a_code_that_is_none_is_refused(code, message):
    with pytest.raises(VaclipError, match=message):
        decode_rle(code, (4, 5))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"segmentation": [[1, 2, 3]]}, "annotation 0: 'segmentation': expected x, y"),
        ({"segmentation": [[1, 2, 3, 1e7]]}, "more than 1000000 pixels away"),
        ({"segmentation": [[1, 2, 3, "4"]]}, "'segmentation': expected a list of numbers"),
        ({"segmentation": 4}, "expected 'segmentation' as polygons or runs"),
        ({"segmentation": None, "bbox": [1, 2, 3, 4, 5, 6]}, "'bbox': expected x, y"),
        ({"segmentation": {"size": [48, 60], "counts": [9]}}, "annotation 0: a mask of"),
        ({"segmentation": [[1, 2, 3, 4]]}, "a polygon of 2 points"),
        ({"image_id": 77}, "no picture with the id 77"),
        ({"category_id": 77}, "no category with the id 77"),
        ({"category_id": None}, "'None' is no id"),
    ],
)
def test_an_annotation_that_is_none_is_named(changed, wrong, message):
    with pytest.raises(VaclipError, match=message):
        changed(lambda content: content["annotations"][0].update(wrong), "--first-frame", "1")


def test_pictures_of_one_video_by_name(changed):
    def one_video(content):
        content["images"] = content["images"][:1]
        content["annotations"] = content["annotations"][:1]
        content["images"][0]["file_name"] = "frame_000000.PNG"

    (one,) = changed(one_video, "--video", "walk_01.mkv").annotations
    assert (one.video, one.content.tracks[0].keys[0].at) == ("walk_01.mkv", 0)
    with pytest.raises(VaclipError, match="pictures do not name their video; say --video NAME"):
        changed(one_video)
    with pytest.raises(VaclipError, match="--video names one video, but these are 2"):
        changed(lambda content: None, "--video", "a")
    with pytest.raises(VaclipError, match="no picture is numbered 0; say --first-frame 1"):
        read(FIXTURE)


def test_what_is_no_annotation_file_is_refused(changed):
    with pytest.raises(VaclipError, match="is a results file, which names neither"):
        changed(lambda content: content["annotations"])

    def twice(content):
        content["images"][1]["file_name"] = content["images"][0]["file_name"]

    with pytest.raises(VaclipError, match="two pictures are frame 3"):
        changed(twice, "--first-frame", "1")
