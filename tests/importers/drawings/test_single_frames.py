"""Shapes on single frames: held and moved, against what a frame by frame reader would say."""

from __future__ import annotations

import json
import math
from argparse import Namespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import write_video
from vaclip.commands.imports import import_parser
from vaclip.errors import VaclipError
from vaclip.importers import IMPORTERS
from vaclip.importers.drawings.single_frames import SingleFrames, _matched
from vaclip.maps.shapes import Key, Track, shape_at

SQUARE = ((0.0, 0.0), (10.0, 0.0), (10.0, 10.0), (0.0, 10.0))


def single(at, x=0.0, *, label="lv", kind="polygon", points=SQUARE):
    moved = tuple((u + x, v) for u, v in points)
    return Track(label, kind, (Key(at, moved), Key(at + 1, outside=True)))


def extended(tracks, *, hold=(), interpolate=(), second=25.0, **more):
    frames = SingleFrames(Namespace(hold=list(hold), interpolate=list(interpolate)))
    labels = [{track.label} for track in tracks]
    found = frames.extended(tracks, labels, frame=1, second=second, where="t.xml", **more)
    frames.check({track.label for track in tracks})
    return found


def shown(tracks, frames):
    """Returns the left edges of what is there at each frame."""
    found = [[shape_at(track, frame) for track in tracks] for frame in frames]
    return [[key.points[0][0] for key in keys if key is not None] for keys in found]


def test_as_drawn_a_shape_is_there_for_one_frame():
    assert shown(extended([single(3), single(6)]), range(9)) == [
        [0] if frame in (3, 6) else [] for frame in range(9)
    ]


def test_a_held_shape_stays_until_the_next_frame_with_one():
    tracks = [single(3, 1), single(6, 3), single(3, 2), single(4, 9, label="other")]
    found = extended(tracks, hold=["lv"])
    assert [track.label for track in found] == ["lv", "lv", "lv", "other"]
    assert shown(found[:3], (2, 3, 4, 5, 6, 999)) == [[], [1, 2], [1, 2], [1, 2], [3], [3]]
    assert shown(found[3:], (3, 4, 5)) == [[], [9], []]


@pytest.mark.parametrize(
    ("seconds", "there"),
    [("0.08", {3, 4, 6, 7}), ("0.001", {3, 6}), ("9", {3, 4, 5, 6, 7, 8, 9})],
)
def test_a_shape_is_held_at_most_so_long(seconds, there):
    found = extended([single(3), single(6)], hold=[f"lv={seconds}"], end=10)
    assert {frame for frame, one in enumerate(shown(found, range(20))) if one} == there


def test_shapes_of_several_frames_are_as_they_were():
    long = Track("lv", "box", (Key(0, SQUARE[::2]), Key(5, outside=True)))
    whole = Track("lv", "box", (Key(0, SQUARE[::2]),))
    assert extended([long, whole, single(9)], hold=["lv"])[:2] == (long, whole)
    with pytest.raises(VaclipError, match="--interpolate lv: none of its shapes is on a single"):
        extended([long, whole], interpolate=["lv"])


def test_interpolated_shapes_are_one_that_moves():
    (found,) = extended([single(20, 10), single(10, 0), single(30, 40)], interpolate=["lv"])
    edges = shown([found], range(35))
    for frame, edge in enumerate(edges):
        if 10 <= frame <= 30:
            assert edge == [pytest.approx(np.interp(frame, [10, 20, 30], [0, 10, 40]))]
        else:
            assert edge == []


@given(st.integers(0, 3), st.booleans(), st.integers(0, 9))
def test_from_which_corner_and_which_way_an_outline_is_drawn_does_not_matter(shift, back, extra):
    """A square that grows, drawn differently, with further points on an edge."""
    larger = [(-5.0, -5.0), (15.0, -5.0), (15.0, 15.0), (-5.0, 15.0)]
    edge = [(15.0 - 20 * n / (extra + 1), 15.0) for n in range(1, extra + 1)]
    drawn = [*larger[:3], *edge, larger[3]]
    drawn = drawn[shift:] + drawn[:shift]
    drawn = drawn[::-1] if back else drawn
    first, second = _matched([SQUARE, tuple(drawn)], closed=True)
    assert len(first) == len(second) == 4 + extra
    assert set(SQUARE) <= set(first)
    assert set(drawn) == set(second)
    if not extra:
        half = (np.array(first) + np.array(second)) / 2
        assert sorted(map(tuple, half)) == [(-2.5, -2.5), (-2.5, 12.5), (12.5, -2.5), (12.5, 12.5)]


def test_circles_drawn_with_other_numbers_of_points_move_as_circles():
    def circle(radius, count, turn, way):
        angles = turn + way * np.arange(count) / count * 2 * math.pi
        return tuple((50 + radius * math.cos(a), 50 + radius * math.sin(a)) for a in angles)

    tracks = [single(0, points=circle(10, 40, 0, 1)), single(10, points=circle(20, 61, 2, -1))]
    (found,) = extended(tracks, interpolate=["lv"])
    for frame in range(11):
        radii = np.hypot(*(np.array(shape_at(found, frame).points) - 50).T)
        assert radii == pytest.approx(np.full(61, 10 + frame), abs=0.5)


def test_a_line_has_two_ends():
    line = ((0.0, 0.0), (10.0, 0.0))
    tracks = [
        single(0, kind="polyline", points=line),
        single(10, kind="polyline", points=((10.0, 8.0), (5.0, 8.0), (0.0, 8.0))),
    ]
    (found,) = extended(tracks, interpolate=["lv"])
    assert shape_at(found, 5).points == ((0, 4), (5, 4), (10, 4))


@pytest.mark.parametrize(
    ("tracks", "message"),
    [
        ([single(3), single(3, 9)], r"t\.xml: --interpolate lv: two of its shapes are on one fr"),
        ([single(3), single(4, kind="polyline")], "its shapes are polygon, polyline, which cannot"),
        ([single(3, kind="mask"), single(4, kind="mask")], "its shapes are mask, which cannot"),
    ],
)
def test_what_cannot_move_is_refused(tracks, message):
    with pytest.raises(VaclipError, match=message):
        extended(tracks, interpolate=["lv"])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"hold": ["lw"]}, "--hold lw: no shape has it .* Did you mean 'lv'"),
        ({"interpolate": ["lw"]}, "--interpolate lw: no shape has it"),
        ({"hold": ["lv=0"]}, "--hold lv=0: expected a number of seconds above 0"),
        ({"hold": ["lv=nan"]}, "expected a number of seconds above 0"),
        ({"hold": ["lv"], "interpolate": ["lv"]}, "--hold and --interpolate both name 'lv'"),
    ],
)
def test_flags_are_checked(flags, message):
    with pytest.raises(VaclipError, match=message):
        extended([single(3)], **flags)


def test_a_label_may_hold_the_sign_of_seconds():
    found = extended([single(3, label="a=b"), single(9, label="a=b")], hold=["a=b"])
    assert shown(found, (3, 8, 9, 99)) == [[0]] * 4


# --- from the tools ------------------------------------------------------------------------------


@pytest.fixture
def read(tmp_path):
    """Imports a file beside a video of 164 frames, 25 a second."""
    write_video(tmp_path / "lus_0.mkv", np.zeros((164, 24, 32, 3), np.uint8), fps=25)
    (tmp_path / "clips.csv").write_text("video,patient_id,label\nlus_0.mkv,1,ill\n")

    def read(kind, text, *flags):
        suffix = ".xml" if kind == "cvat" else ".json"
        (tmp_path / f"export{suffix}").write_text(text)
        words = [kind, str(tmp_path / f"export{suffix}"), "--into", str(tmp_path / "study")]
        words += ["--clips", str(tmp_path / "clips.csv"), *flags]
        options = import_parser().parse_args(words)
        (annotation,) = IMPORTERS.build(kind).read(options.sources, options).annotations
        return annotation.content

    return read


def cvat(frames, filters="", video="lus_0.mkv"):
    tracks = "".join(
        f'<track id="{n}" label="lv"><polygon frame="{n}" keyframe="1" outside="0" '
        f'points="6,6;12,6;12,9"></polygon><polygon frame="{n + 1}" keyframe="1" outside="1" '
        f'points="6,6;12,6;12,9"></polygon></track>'
        for n in frames
    )
    return (
        f"<annotations><meta><task><id>0</id><size>164</size><start_frame>0</start_frame>"
        f"<frame_filter>{filters}</frame_filter><original_size><width>32</width><height>24</height>"
        f"</original_size><source>{video}</source></task></meta>{tracks}</annotations>"
    )


def covered(content):
    return [any(shape_at(track, frame) for track in content.tracks) for frame in range(164)]


@pytest.mark.parametrize(
    ("flags", "frames"),
    [
        ((), 2),
        (("--hold", "lv"), 164 - 37),
        (("--hold", "lv=0.2"), 10),
        (("--interpolate", "lv"), 52 - 37 + 1),
        (("--partial", "--hold", "lv"), 164 - 37),
    ],
)
def test_two_frames_of_cvat(read, flags, frames):
    """Tracings at end-diastole and end-systole."""
    assert sum(covered(read("cvat", cvat((37, 52)), *flags))) == frames


def test_sixteen_frames_of_cvat_held(read):
    content = read("cvat", cvat(range(10, 164, 10)[:16]), "--hold", "lv")
    assert covered(content) == [frame >= 10 for frame in range(164)]
    assert [len(track.keys) for track in content.tracks] == [2] * 15 + [1]


def test_a_key_frame_of_label_studio_alone(read):
    box = {"y": 0, "width": 25, "height": 50, "rotation": 0, "enabled": False}
    sequences = [[box | {"frame": f, "x": f / 2, "time": f / 25}] for f in (11, 31)]
    results = [
        {"type": "videorectangle", "value": {"framesCount": 164, "sequence": s, "labels": ["lv"]}}
        for s in sequences
    ]
    text = json.dumps([{"id": 1, "data": {"video": "lus_0.mkv"}, "annotations": [
        {"id": 7, "completed_by": 1, "result": results}]}])  # fmt: skip

    def there(*flags):
        tracks = read("label_studio", text, *flags).tracks
        return [f for f in range(164) if any(shape_at(track, f / 25) for track in tracks)]

    assert there() == [10, 30]
    assert there("--hold", "lv") == list(range(10, 164))
    assert there("--hold", "lv=0.4") == [*range(10, 20), *range(30, 40)]
    assert there("--interpolate", "lv") == list(range(10, 31))
