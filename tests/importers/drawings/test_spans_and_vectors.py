"""Spans of time that mean a region, and Label Studio's vectors: what is refused.

The right answers to whole exports are in ``test_forms.py``.
"""

from __future__ import annotations

import argparse
import json

import pytest

from vaclip.commands.imports import import_parser
from vaclip.errors import VaclipError
from vaclip.importers import IMPORTERS
from vaclip.importers.drawings.label_studio_vectors import moving_vector
from vaclip.importers.drawings.spans import Spans
from vaclip.maps.shapes import Key, Track


@pytest.fixture
def spans(tmp_path):
    """Returns `Spans` of words; the study has a box and a region of joints."""
    (tmp_path / "study.yaml").write_text(
        "name: s\nclasses: [a, b]\nregions:\n  lower: {box: [0, 0.5, 1, 1]}\n"
        "  hips: {keypoints: [left_hip]}\n  odd: {box: [0, 0, 9, 9]}\n"
    )

    def make(*span, region=()):
        options = argparse.Namespace(into=tmp_path, span=list(span), region=list(region))
        return Spans(options)

    return make


def test_a_box_of_the_study_or_of_the_command(spans):
    found = spans("a=lower", "lower", "x=y=top", region=["top=0.25,0,0.75,0.5"])
    lower = ((0, 50), (200, 100))
    assert found.track(["a"], (100, 200), 1, 2).keys[0].points == lower
    assert found.track(["none", "lower"], (100, 200), 1, 2).label == "lower"
    assert found.track(["x=y"], (100, 200), 1, 2).keys[0].points == ((50, 0), (150, 50))
    assert found.track(["b"], (100, 200), 1, 2) is None
    found.check()


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("a=up", r"no region 'up' \(regions: lower, hips, odd\); define it with --region up="),
        ("a=odd", "region 'odd': 'box' is not inside the frame"),
    ],
)
def test_a_region_that_is_none_is_refused(spans, word, message):
    with pytest.raises(VaclipError, match=message):
        spans(word, region=["legs=left_knee"])


def test_a_region_of_joints_of_the_study_or_of_the_command(spans):
    found = spans("a=hips", "b=legs", "c=hips", region=["legs=left_knee"])
    keys = (Key(1), Key(2, outside=True))
    tracks = [found.track([label], (100, 200), 1, 2) for label in "abc"]
    assert tracks == [Track(name, "region", keys) for name in ("hips", "legs", "hips")]
    assert [found.labels(track) for track in tracks] == [{"a", "c"}, {"b"}, {"a", "c"}]
    assert found.labels(Track("x", "box", keys)) == {"x"}


def test_a_label_that_no_span_has_is_refused(spans):
    found = spans("stance=lower")
    found.track(["stanse"], (10, 10), 0, 1)
    with pytest.raises(VaclipError, match=r"--span stance: no shape has it.*'stanse'"):
        found.check()


def timeline(tmp_path, parts, *flags):
    value = {"ranges": parts, "timelinelabels": ["seen"]}
    annotation = {"completed_by": 1, "result": [{"type": "timelinelabels", "value": value,
                  "original_width": 64, "original_height": 48}]}  # fmt: skip
    path = tmp_path / "export.json"
    path.write_text(json.dumps([{"data": {"video": "a.mp4"}, "annotations": [annotation]}]))
    words = ["label_studio", str(path), "--into", "study", "--region", "all=0,0,1,1",
             "--span", "seen=all", *flags]  # fmt: skip
    options = import_parser().parse_args(words)
    return IMPORTERS.build("label_studio").read(options.sources, options)


def test_spans_alone_need_a_rate(tmp_path):
    with pytest.raises(VaclipError, match="no key frames with 'time'; say --frame-rate FPS"):
        timeline(tmp_path, [{"start": 1, "end": 2}])
    (one,) = timeline(tmp_path, [{"start": 11, "end": 20}], "--frame-rate", "10").annotations
    first, gone = one.content.tracks[0].keys
    assert (first.at, gone.at) == (pytest.approx(0.999), pytest.approx(1.999))
    assert gone.outside


def test_a_span_on_one_frame_can_be_held(tmp_path):
    flags = ("--frame-rate", "10", "--hold", "seen=0.5")
    (one,) = timeline(tmp_path, [{"start": 11, "end": 11}], *flags).annotations
    assert [key.at for key in one.content.tracks[0].keys] == pytest.approx([0.999, 1.499])


@pytest.mark.parametrize("part", [3, {"start": 5, "end": 4}, {"start": None, "end": 4}, {"end": 9}])
def test_a_range_that_is_none_is_refused(tmp_path, part):
    with pytest.raises(VaclipError, match="result 0"):
        timeline(tmp_path, [part], "--frame-rate", "10")


# --- vectors -------------------------------------------------------------------------------------


def vertex(name, x=1.0, y=1.0, **more):
    return {"id": name, "x": x, "y": y, **more}


def key(frame, *vertices, **more):
    return {"frame": frame, "closed": False, "vertices": list(vertices), **more}


def vector(*keys):
    return moving_vector(keys, (100, 200), 10.0, "here")


def test_a_line_is_a_polyline_in_pixels():
    kind, (only,) = vector(key(11, vertex("a", 10, 20), vertex("b", 50, 60, prevPointId="a")))
    assert (kind, only.points) == ("polyline", ((20, 20), (100, 60)))
    assert only.at == pytest.approx(0.999)


@pytest.mark.parametrize(
    "keys",
    [
        [key(1, vertex("a"), vertex("b", prevPointId="a"), vertex("c", prevPointId="a"))],
        [key(1, vertex("a"), vertex("b", prevPointId=None))],  # two lines
        [key(1, vertex("a"), vertex("b", isBezier=True))],
        [key(1, vertex("a")), key(3, vertex("a"), closed=True)],
    ],
)
def test_what_is_no_line_is_none(keys):
    assert vector(*keys) is None


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ([3], "here, key frame 0: expected an object"),
        ([key(1, vertex("a"), vertex("a"))], "two vertices have the id 'a'"),
        ([key(1, {"x": 1, "y": 2})], "expected vertices with 'id'"),
        ([key(1, vertex("a", x="1"))], "'x' is 1; expected a number"),
        ([key(1, vertex("a"), enabled=1)], "'enabled' is 1; expected true or false"),
        ([key(1, vertex("a")), key(1, vertex("a"))], "two key frames are of the same frame"),
    ],
)
def test_a_key_frame_that_is_none_is_named(keys, message):
    with pytest.raises(VaclipError, match=message):
        vector(*keys)
