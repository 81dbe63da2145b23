"""Marks of the page against annotations worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaclip.annotate.marks import Said, Scene, annotation_of, read_said
from vaclip.annotate.session import Protocol
from vaclip.errors import VaclipError
from vaclip.maps.gaze import draw_fixations, parse_gaze
from vaclip.maps.shapes import parse_shapes
from vaclip.maps.source import Grid

REGIONS = ("hips", "floor")
SCENE = Scene(start_s=2.0, seconds=4.0, size=(100, 200), regions=REGIONS)
CLASSES = ("sick", "well")


def made(marks, **protocol):
    said = read_said({"marks": marks, "seconds": 1}, CLASSES)
    return annotation_of(said, Protocol(**protocol), SCENE)


def bubble(x=0.25, y=0.5, begin=1.0, end=1.5):
    return {"press": 1, "x": x, "y": y, "from": begin, "to": end, "held": 0.3}


def test_a_bubble_is_a_fixation_in_the_time_of_the_video():
    ((kind, content),) = made([bubble(), bubble(1.0, 0.0, 0.0, 0.5)], radius=0.1)
    assert kind == "gaze"
    assert content == {
        "size": [100, 200],
        "sigma": 5.0,  # half of a tenth of the shorter side
        "fixations": [[2.0, 2.5, 200.0, 0.0], [3.0, 3.5, 50.0, 50.0]],
    }


def test_its_map_is_brightest_where_it_was_made_while_it_was_made():
    ((_, content),) = made([bubble()])
    grid = Grid(
        frame_index=np.arange(2), time_s=np.array([2.0, 3.0]), sample_s=0.5, frame_count=2,
        whole_video=True, source_size=(100, 200), size=(10, 20),
    )  # fmt: skip
    before, during = draw_fixations(parse_gaze(content), grid)
    assert not before.any()
    row, column = np.unravel_index(during.argmax(), during.shape)
    assert row in (4, 5)
    assert column in (4, 5)


def test_what_reaches_beyond_the_clip_ends_with_it():
    ((_, content),) = made([bubble(begin=-0.25, end=0.25), bubble(begin=3.9, end=9.0)])
    assert [row[:2] for row in content["fixations"]] == [[2.0, 2.25], [5.9, 6.0]]


@pytest.mark.parametrize(("begin", "end"), [(4.0, 4.5), (-1.0, 0.0), (5.0, 6.0)])
def test_a_look_at_the_very_end_still_counts(begin, end):
    ((_, content),) = made([bubble(begin=begin, end=end)])
    ((first, last, *_),) = content["fixations"]
    assert 2.0 <= first < last <= 6.0 + 0.001


def test_regions_of_the_whole_clip_are_rows_of_their_own():
    marks = [{"region": name, "confidence": 3, "from": None, "to": None} for name in REGIONS]
    assert made(marks, mode="regions") == [("region", "hips"), ("region", "floor")]


def test_a_region_for_a_part_of_the_clip_is_there_then():
    span = {"confidence": 5, "from": 1.0, "to": 3.0}
    ((kind, content),) = made([{"region": "floor", **span}], mode="regions")
    assert kind == "shapes"
    (track,) = content["tracks"]
    assert (content["unit"], content["size"]) == ("second", [100, 200])
    assert (track["label"], track["type"]) == ("floor", "region")
    assert track["keys"] == [{"at": 3.0}, {"at": 5.0, "outside": True}]


def test_drawn_shapes_are_tracks_in_pixels():
    marks = [
        {"type": "box", "keys": [
            {"at": 2.0, "outside": True}, {"at": 0.5, "points": [[0.1, 0.1], [0.2, 0.3]]}]},
        {"type": "ellipse", "keys": [{"at": 0, "points": [[0.5, 0.8], [0.3, 0.4]]}]},
        {"type": "polygon", "keys": [{"at": 1, "points": [[0, 0], [1, 0], [0.5, 1]]}]},
        {"type": "brush", "keys": [{"at": 1, "points": [[0.5, 0.5]]}]},
    ]  # fmt: skip
    ((kind, content),) = made(marks, mode="draw")
    assert kind == "shapes"
    box, ellipse, polygon, brush = content["tracks"]
    assert box["keys"] == [
        {"at": 2.5, "points": [[20.0, 10.0], [40.0, 30.0]]}, {"at": 4.0, "outside": True}
    ]  # fmt: skip
    # Centre, and the two radii.
    assert ellipse["keys"] == [{"at": 2.0, "points": [[80.0, 60.0], [20.0, 20.0]]}]
    assert polygon["keys"][0]["points"] == [[0.0, 0.0], [200.0, 0.0], [100.0, 100.0]]
    assert (brush["type"], brush["keys"][0]["points"]) == ("polyline", [[100.0, 50.0]])


def test_nothing_marked_is_no_annotation():
    assert annotation_of(Said(nothing=True), Protocol(), SCENE) == []


@pytest.mark.parametrize(
    ("mode", "mark"),
    [
        ("bubbles", {}),
        ("bubbles", bubble(x=None)),
        ("bubbles", bubble(x=float("nan"))),
        ("bubbles", bubble(x=True)),
        ("bubbles", bubble(begin=2.0, end=2.0)),
        ("regions", {"region": "nose", "confidence": 3}),
        ("regions", {"region": ["hips"], "confidence": 3}),
        ("regions", {"region": "hips", "confidence": 9}),
        ("regions", {"region": "hips", "confidence": 3, "from": 1.0}),
        ("draw", {"type": "mask", "keys": [{"at": 0, "points": [[0, 0], [1, 1]]}]}),
        ("draw", {"type": "box", "keys": []}),
        ("draw", {"type": "box", "keys": [{"at": 0, "points": [[0.5, 0.1], [0.5, 0.9]]}]}),
        ("draw", {"type": "box", "keys": [{"at": 0, "points": [[0, 0], [1, 1], [1, 0]]}]}),
        ("draw", {"type": "polygon", "keys": [{"at": 0, "points": [[0, 0], [1, 1]]}]}),
        ("draw", {"type": "box", "keys": [{"at": 0, "outside": True}]}),
        ("draw", {"type": "box", "keys": ["x"]}),
    ],
)
def test_what_the_page_cannot_send_is_refused(mode, mark):
    with pytest.raises(VaclipError, match="reload it"):
        made([mark], mode=mode)


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        {"marks": {}, "seconds": 1},
        {"marks": ["x"], "seconds": 1},
        {"marks": [], "seconds": "1"},
        {"marks": [], "seconds": -1},
        {"marks": [], "seconds": 1, "diagnosis": "cured"},
        {"marks": [], "seconds": 1, "confidence": 6},
        {"marks": [], "seconds": 1, "confidence": True},
        {"marks": [], "seconds": 1, "comment": 3},
    ],
)
def test_a_showing_that_the_page_cannot_send_is_refused(content):
    with pytest.raises(VaclipError, match="reload it"):
        read_said(content, CLASSES)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["x", "y", "from", "to", "region", "confidence", "type", "keys", "points",
                         "at", "outside", "press"]), inner, max_size=6),
    max_leaves=12,
)  # fmt: skip


@given(st.lists(st.dictionaries(st.text(max_size=5), JSON) | JSON, max_size=3),
       st.sampled_from(["bubbles", "regions", "draw"]))  # fmt: skip
def test_any_json_gives_an_annotation_that_can_be_read_or_one_message(marks, mode):
    try:
        found = made(marks, mode=mode)
    except VaclipError:
        return
    for kind, content in found:
        if kind == "region":
            assert content in REGIONS
        else:
            {"gaze": parse_gaze, "shapes": parse_shapes}[kind](content)
