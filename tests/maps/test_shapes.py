from __future__ import annotations

import copy
import json
import math
import re
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotation_files import write_shapes
from vaclip.errors import VaclipError
from vaclip.maps import shapes as shapes_module
from vaclip.maps.shapes import (
    Key,
    Shapes,
    Track,
    load_shapes,
    parse_shapes,
    shape_at,
    shapes_json,
)
from vaclip.maps.source import AnnotatedClip, Grid, Region, map_source


def grid(frames=(0, 1, 2, 3), *, size=(40, 60), source=(80, 120), count=4, sigma=0.05, fps=10):
    frames = np.asarray(frames)
    return Grid(frames, frames / fps, 1 / fps, count, True, source, size, sigma)


def draw(tmp_path, shapes: Shapes, where: Grid | None = None):
    write_shapes(tmp_path / "s.json", shapes)
    return map_source("shapes").render("s.json", AnnotatedClip("c", tmp_path), where or grid())


def one(kind, *keys, size=(80, 120), **about):
    return Shapes(size, (Track("lesion", kind, keys),), **about)


def pixel_centres(where: Grid):
    """x and y of the map's pixels, in pixels of the video."""
    y = (np.arange(where.size[0]) + 0.5) * where.source_size[0] / where.size[0]
    x = (np.arange(where.size[1]) + 0.5) * where.source_size[1] / where.size[1]
    return np.meshgrid(x, y)


# --- where a shape is ----------------------------------------------------------------------------


def test_shapes_move_in_a_straight_line_and_stay_at_the_end():
    track = Track("", "points", (Key(2, ((0.0, 10.0),)), Key(6, ((8.0, 2.0),))))
    assert shape_at(track, 1) is None
    places = [shape_at(track, moment).points[0] for moment in (2, 3, 5, 6, 99)]
    assert places == [(0, 10), (2, 8), (6, 4), (8, 2), (8, 2)]


def test_a_shape_waits_until_it_is_outside_and_comes_back():
    keys = (Key(0, ((1.0, 1.0),)), Key(4, outside=True), Key(6, ((9.0, 9.0),)))
    track = Track("", "points", keys)
    there = [shape_at(track, moment) for moment in range(8)]
    assert [key and key.points[0] for key in there] == [(1, 1)] * 4 + [None] * 2 + [(9, 9)] * 2


def test_a_shape_whose_points_change_in_number_jumps():
    three, four = ((0.0, 0.0), (9.0, 0.0), (0.0, 9.0)), ((0.0, 0.0),) * 4
    track = Track("", "polygon", (Key(0, three), Key(2, four)))
    assert [len(shape_at(track, moment).points) for moment in (0, 1, 2)] == [3, 3, 4]


def test_turning_takes_the_shorter_way():
    corners = ((0.0, 0.0), (4.0, 2.0))
    track = Track("", "box", (Key(0, corners, turn=350), Key(2, corners, turn=10)))
    assert shape_at(track, 1).turn % 360 == pytest.approx(0)


class Unscanned(tuple):
    """Keys that can be looked up, but not walked through."""

    def __iter__(self):
        raise AssertionError("all keys are looked at for one moment")


def test_one_of_many_keys_is_looked_up():
    ats, places = np.arange(1000) * 3, np.random.default_rng(0).uniform(0, 99, 1000)
    keys = [Key(at, ((x, 1.0),)) for at, x in zip(ats.tolist(), places.tolist(), strict=True)]
    track = Track("", "points", Unscanned(keys))
    moments = np.linspace(0, 3100, 500)
    found = [shape_at(track, moment).points[0][0] for moment in moments.tolist()]
    np.testing.assert_allclose(found, np.interp(moments, ats, places))


# --- how it is drawn -----------------------------------------------------------------------------


def test_box_covers_pixels_by_their_share(tmp_path):
    drawn = draw(tmp_path, one("box", Key(0, ((60.0, 20.0), (31.0, 61.0)))))  # corners any way
    wanted = np.zeros((40, 60))
    wanted[10:30, 15:30] = 1
    wanted[:, 15] *= 0.5  # from x = 31: half of the pixel from 30 to 32
    wanted[30, 15:30] = 0.5 * wanted[29, 15:30]
    np.testing.assert_allclose(drawn[0], wanted, atol=1e-6)


def test_turned_box_is_the_box_about_its_centre(tmp_path):
    turned = draw(tmp_path, one("box", Key(0, ((40.0, 30.0), (80.0, 50.0)), turn=90)))
    upright = draw(tmp_path, one("box", Key(0, ((50.0, 20.0), (70.0, 60.0)))))
    assert np.abs(turned - upright).mean() < 0.01


def test_it_turns_clockwise_as_one_sees_it(tmp_path):
    """A flat bar turned by 30 degrees: its right end points down, where y is larger."""
    drawn = draw(tmp_path, one("box", Key(0, ((30.0, 38.0), (90.0, 42.0)), turn=30)))[0]
    x, y = pixel_centres(grid())
    right = drawn * (x > 75)
    assert (right * y).sum() / right.sum() == pytest.approx(
        40 + (x * right).sum() / right.sum() * math.tan(math.pi / 6) - 60 * math.tan(math.pi / 6),
        abs=0.7,
    )


@pytest.mark.parametrize("turn", [0, 35])
def test_ellipse_is_where_its_equation_says(tmp_path, turn):
    drawn = draw(tmp_path, one("ellipse", Key(0, ((60.0, 40.0), (30.0, 14.0)), turn=turn)))[0]
    x, y = pixel_centres(grid())
    cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    along, across = (x - 60) * cos + (y - 40) * sin, -(x - 60) * sin + (y - 40) * cos
    radius = np.hypot(along / 30, across / 14)
    assert (drawn[radius < 0.88] > 0.99).all()
    assert (drawn[radius > 1.12] < 0.01).all()
    assert drawn.sum() * 4 == pytest.approx(math.pi * 30 * 14, rel=0.03)


def test_polygon_has_its_area(tmp_path):
    drawn = draw(tmp_path, one("polygon", Key(0, ((10.0, 10.0), (110.0, 10.0), (10.0, 70.0)))))[0]
    assert drawn.sum() * 4 == pytest.approx(100 * 60 / 2, rel=0.02)
    assert drawn[10, 10] == 1
    assert drawn[33, 50] == 0


def test_points_and_lines_are_gaussians_of_the_distance(tmp_path):
    sigma = 0.05 * 80
    x, y = pixel_centres(grid())
    dots = draw(tmp_path, one("points", Key(0, ((20.0, 20.0), (100.0, 60.0)))))[0]
    squared = np.minimum((x - 20) ** 2 + (y - 20) ** 2, (x - 100) ** 2 + (y - 60) ** 2)
    np.testing.assert_allclose(dots, np.exp(-squared / (2 * sigma**2)), atol=1e-5)
    line = draw(tmp_path, one("polyline", Key(0, ((20.0, 40.0), (100.0, 40.0)))))[0]
    beside = np.where(x < 20, np.hypot(x - 20, y - 40), np.abs(y - 40))
    beside = np.where(x > 100, np.hypot(x - 100, y - 40), beside)
    np.testing.assert_allclose(line, np.exp(-(beside**2) / (2 * sigma**2)), atol=1e-5)


def test_mask_is_read_row_by_row(tmp_path):
    # A rectangle of 3 x 2 pixels at (2, 4): background, on, on / on, background, on.
    key = Key(0, ((2.0, 4.0), (5.0, 6.0)), runs=(1, 3, 1, 1))
    where = grid(size=(8, 8), source=(8, 8))
    drawn = draw(tmp_path, one("mask", key, size=(8, 8)), where)[0]
    wanted = np.zeros((8, 8))
    wanted[4, 3:5] = wanted[5, 2] = wanted[5, 4] = 1
    np.testing.assert_array_equal(drawn, wanted)


def test_the_largest_counts_where_shapes_overlap(tmp_path):
    tracks = [Track("", "box", (Key(0, ((0.0, 0.0), (x, 80.0))),)) for x in (30.0, 60.0)]
    drawn = draw(tmp_path, Shapes((80, 120), tuple(tracks)))[0]
    np.testing.assert_array_equal(drawn[0], np.repeat([1.0, 0.0], 30))


@pytest.mark.parametrize(
    ("keys", "times"),
    [
        ([Key(0, ((1.0, 1.0), (9.0, 9.0)))], 1),
        ([Key(at, ((1.0, 1.0), (9.0, 9.0))) for at in (0, 9)], 1),  # said twice
        ([Key(at, ((1.0 + at, 1.0), (9.0 + at, 9.0))) for at in (0, 9)], 4),
        ([Key(at, ((1.0 + at, 1.0), (9.0 + at, 9.0))) for at in (0, 2)], 3),
    ],
)
def test_a_shape_is_drawn_once_until_it_moves(tmp_path, monkeypatch, keys, times):
    calls = []
    draw_one = shapes_module.draw_shape
    monkeypatch.setattr(
        shapes_module, "draw_shape", lambda *about: calls.append(about) or draw_one(*about)
    )
    drawn = draw(tmp_path, one("box", *keys))
    assert len(calls) == times
    assert len({picture.tobytes() for picture in drawn}) == times


# --- when ----------------------------------------------------------------------------------------

MOVING = (Key(0, ((0.0, 0.0), (10.0, 10.0))), Key(4, ((80.0, 0.0), (90.0, 10.0))))


def left_edge(picture):
    return int(np.argmax(picture.max(axis=0) > 0.5)) * 2


def test_frames_are_pictures_of_the_video(tmp_path):
    drawn = draw(tmp_path, one("box", *MOVING, frames=5), grid((0, 3, 3, 4), count=5))
    assert [left_edge(picture) for picture in drawn] == [0, 60, 60, 80]


def test_seconds_are_times_of_samples(tmp_path):
    keys = [Key(key.at / 10, key.points) for key in MOVING]
    drawn = draw(tmp_path, one("box", *keys, unit="second"), grid((0, 2, 4), count=5, fps=10))
    assert [left_edge(picture) for picture in drawn] == [0, 40, 80]


def test_a_reencoded_video_knows_its_source_frames(tmp_path):
    shapes = one("box", *MOVING, frames=5, source_frames=(0, 0, 2, 4))
    drawn = draw(tmp_path, shapes, grid((0, 1, 2, 3), count=4))
    assert [left_edge(picture) for picture in drawn] == [0, 0, 40, 80]


def test_regions_are_there_for_their_spans(tmp_path):
    """The knee, whose confidence is 0.5, from frame 1 up to 3; the left half in frame 2 as well."""
    joints = np.array([[[60.0, 40.0]], [[20.0, 20.0]], [[100.0, 60.0]], [[60.0, 40.0]]])
    np.savez(tmp_path / "k.npz", keypoints=joints, scores=np.full((4, 1), 0.5))
    regions = {"knee": Region(keypoints=("knee",)), "left": Region(box=(0, 0, 0.5, 1))}
    tracks = (
        Track("knee", "region", (Key(1), Key(3, outside=True))),
        Track("left", "region", (Key(2), Key(3, outside=True))),
    )
    write_shapes(tmp_path / "s.json", Shapes((80, 120), tracks))
    clip = AnnotatedClip("c", tmp_path, tmp_path / "k.npz", regions, ("knee",))
    where = grid(size=(80, 120))
    drawn = map_source("shapes").render("s.json", clip, where)
    assert not drawn[[0, 3]].any()
    x, y = pixel_centres(where)
    knees = [
        0.5 * np.exp(-((x - at) ** 2 + (y - down) ** 2) / 2 / 4**2)  # sigma: 0.05 of 80 pixels
        for at, down in ((20, 20), (100, 60))
    ]
    np.testing.assert_allclose(drawn[1], knees[0], atol=1e-6)
    np.testing.assert_allclose(drawn[2], np.maximum(knees[1], x < 60), atol=1e-6)
    assert clip.keypoints in map_source("shapes").files("s.json", clip)


@pytest.mark.parametrize(
    ("regions", "message"),
    [
        ({}, r"shapes 's\.json': unknown region 'knee'"),
        ({"knee": Region(keypoints=("left_knee",))}, "the clip names no file in the column"),
        ({"knee": Region(box=(0, 0, 1, 1))}, None),
    ],
)
def test_a_region_that_cannot_be_drawn_is_named(tmp_path, regions, message):
    write_shapes(tmp_path / "s.json", Shapes((80, 120), (Track("knee", "region", (Key(0),)),)))
    problem = map_source("shapes").problem("s.json", AnnotatedClip("c", tmp_path, regions=regions))
    assert problem is None if message is None else re.search(message, problem)


def test_another_number_of_frames_is_an_error(tmp_path):
    with pytest.raises(VaclipError, match="has 9 frames, but the video gives 4"):
        draw(tmp_path, one("box", *MOVING, frames=9))
    with pytest.raises(VaclipError, match="has 3 frames, but the video gives 4"):
        draw(tmp_path, one("box", *MOVING, frames=4, source_frames=(0, 1, 2)))


def test_points_scale_with_the_picture_but_not_with_its_aspect(tmp_path):
    half = draw(tmp_path, one("box", Key(0, ((10.0, 5.0), (30.0, 20.0))), size=(40, 60)))
    full = draw(tmp_path, one("box", Key(0, ((20.0, 10.0), (60.0, 40.0)))))
    np.testing.assert_allclose(half, full)
    with pytest.raises(VaclipError, match="picture of 80 x 120, but the video is 120 x 80"):
        draw(tmp_path, one("box", *MOVING, size=(120, 80)))


def test_a_picture_far_larger_than_the_video_is_refused(tmp_path):
    scaled = Key(0, ((160.0, 80.0), (480.0, 320.0)))
    largest = draw(tmp_path, one("box", scaled, size=(1280, 1920)))
    np.testing.assert_allclose(
        largest, draw(tmp_path, one("box", Key(0, ((10.0, 5.0), (30.0, 20.0)))))
    )
    key = Key(0, ((0.0, 0.0), (6000.0, 4000.0)), runs=(0, 24_000_000))
    with pytest.raises(VaclipError, match=r"6000 x 4000, more than 16 times .*120 x 80"):
        draw(tmp_path, one("mask", key, size=(4000, 6000)))


# --- the file ------------------------------------------------------------------------------------

numbers = st.floats(-1e6, 1e6).map(lambda x: round(x, 3))
places = st.tuples(numbers, numbers)


@st.composite
def tracks(draw):
    kind = draw(st.sampled_from(["box", "ellipse", "polygon", "polyline", "points"]))
    least, most = {"box": (2, 2), "ellipse": (2, 2), "polygon": (3, 6)}.get(kind, (1, 5))
    moments = sorted(draw(st.sets(st.integers(0, 500), min_size=1, max_size=5)))
    keys = []
    for at in moments:
        points = tuple(draw(st.lists(places, min_size=least, max_size=most)))
        outside = draw(st.booleans())
        keys.append(Key(at, outside=True) if outside else Key(at, points, draw(numbers)))
    return Track(draw(st.text(max_size=5)), kind, tuple(keys))


@given(st.lists(tracks(), max_size=3), st.sampled_from(["frame", "second"]))
def test_what_is_written_is_read(drawn, unit):
    shapes = Shapes((480, 640), tuple(drawn), unit, 250, 25.0, (0, 1, 1))
    assert parse_shapes(json.loads(json.dumps(shapes_json(shapes)))) == shapes


GOOD = shapes_json(
    Shapes((80, 120), (Track("a", "mask", (Key(0, ((0.0, 0.0), (4.0, 2.0)), runs=(3, 5)),)),))
)


def test_outlines_have_a_bounded_number_of_points():
    points = tuple((float(n), 0.0) for n in range(10_001))
    content = shapes_json(one("polyline", Key(0, points[:-1])))
    assert parse_shapes(content).tracks[0].keys[0].points == points[:-1]
    content["tracks"][0]["keys"][0]["points"].append([0, 0])
    with pytest.raises(VaclipError, match="polyline of 10001 points; 10000 are read at most"):
        parse_shapes(content)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.pop("size"), "'size'"),
        (lambda c: c.update(size=[10**6, 10**6]), "'size'"),
        (lambda c: c.update(unit="frames"), "'unit' is 'frames'"),
        (lambda c: c.update(frames=0), "'frames'"),
        (lambda c: c.update(fps=float("nan")), "'fps'"),
        (lambda c: c.update(source_frames=[-1]), "'source_frames'"),
        (lambda c: c.update(tracks=None), "'tracks'"),
        (lambda c: c["tracks"][0].update(type="cuboid"), r"tracks\[0\]: 'type'"),
        (lambda c: c["tracks"][0].update(keys=[]), r"tracks\[0\]: 'keys'"),
        (lambda c: c["tracks"][0]["keys"][0].update(at=-1), r"keys\[0\]: 'at'"),
        (lambda c: c["tracks"][0]["keys"].append({"at": 0, "outside": True}), "'at' must grow"),
        (lambda c: c["tracks"][0]["keys"][0].update(points=[[1, 2]]), "a mask of 1 points"),
        (lambda c: c["tracks"][0]["keys"][0].update(points=[[0, 0], [9e9, 1]]), "'points'"),
        (lambda c: c["tracks"][0]["keys"][0].update(points=[[0, 0], [4, 200]]), "not inside"),
        (lambda c: c["tracks"][0]["keys"][0].update(runs=[3, 6]), "do not fill"),
        (lambda c: c["tracks"][0]["keys"][0].update(runs=[-3, 11]), "'runs'"),
        (lambda c: c["tracks"][0]["keys"][0].update(turn="left"), "'turn'"),
    ],
)
def test_what_is_wrong_is_named(change, said):
    content = copy.deepcopy(GOOD)
    parse_shapes(content)
    change(content)
    with pytest.raises(VaclipError, match=said):
        parse_shapes(content)


def test_a_file_that_is_none_is_named(tmp_path):
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(VaclipError, match=r"shapes 'a/bad.json' cannot be read as JSON"):
        load_shapes(tmp_path / "bad.json", "a/bad.json")
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(VaclipError, match="cannot be read"):
        load_shapes(tmp_path / "deep.json", "deep.json")
    with pytest.raises(VaclipError, match="there is no such file"):
        load_shapes(tmp_path / "none.json", "none.json")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["size", "tracks", "keys", "at", "points", "type", "unit", "runs"]),
            inner,
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_any_json_is_read_or_refused(content):
    with suppress(VaclipError):
        parse_shapes(content)
