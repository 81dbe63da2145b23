"""CVAT: closed forms, a naive reader of whole tracks, and everything that is refused."""

from __future__ import annotations

import math
import zipfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from cases import FIXTURES
from hypothesis import given, settings
from hypothesis import strategies as st

from vaclip.commands.imports import import_parser
from vaclip.errors import VaclipError
from vaclip.importers import IMPORTERS
from vaclip.importers.drawings.cvat import _thinned
from vaclip.maps.shapes import Key, Track, shape_at

SIZE = "<original_size><width>64</width><height>48</height></original_size>"


def read(*sources, flags=()):
    words = ["cvat", *map(str, sources), "--into", "study", *flags]
    options = import_parser().parse_args(words)
    return IMPORTERS.build("cvat").read(options.sources, options)


def task(tag="task", frames=20, start=0, step="", number=1, more="", source="a.mp4", stop=0):
    return (
        f"<{tag}><id>{number}</id><size>{frames}</size><subset>default</subset>"
        f"<start_frame>{start}</start_frame><stop_frame>{stop}</stop_frame>"
        f"<frame_filter>{step}</frame_filter>{SIZE}<source>{source}</source>"
        f"<owner><username>eve</username></owner>{more}</{tag}>"
    )


def document(meta: str, tracks: str = "") -> str:
    return f"<annotations><version>1.1</version><meta>{meta}</meta>{tracks}</annotations>"


def box(frame, x=0.0, key=1, outside=0, occluded=0, more=""):
    return (
        f'<box frame="{frame}" keyframe="{key}" outside="{outside}" occluded="{occluded}" '
        f'xtl="{x:.2f}" ytl="0.00" xbr="{x + 10:.2f}" ybr="10.00" {more}></box>'
    )


def track(rows: str, label="foot", more=""):
    return f'<track id="0" label="{label}" {more}>{rows}</track>'


@pytest.fixture
def export(tmp_path):
    """Returns what a document gives."""

    def write(text: str, *flags: str):
        path = tmp_path / "annotations.xml"
        path.write_text(text, "utf-8")
        return read(path, flags=flags)

    return write


@pytest.fixture
def one_track(export):
    """Returns the only track of a document."""

    def write(rows: str, *flags: str, **about):
        (annotation,) = export(document(task(**about), track(rows)), *flags).annotations
        (only,) = annotation.content.tracks
        return only

    return write


def lefts(track: Track, frames=20):
    shapes = [shape_at(track, frame) for frame in range(frames)]
    return [None if key is None else key.points[0][0] for key in shapes]


def test_the_fixture_is_what_it_says():
    export = read(FIXTURES / "cvat" / "exports")
    first, second = export.annotations
    assert (first.video, first.annotator) == ("walk_01.mkv", "reader_1")
    assert (second.video, second.annotator) == ("walk_02.mkv", "reader_2")  # nobody is assigned
    assert first.content.size == (48, 64)
    assert (first.content.unit, first.content.frames) == ("frame", 20)
    foot, spot = first.content.tracks
    assert len(foot.keys) == 3  # the two key frames, and that nothing comes after
    for frame in range(20):
        assert shape_at(foot, frame).points[0] == pytest.approx((frame * 52 / 19, 24), abs=0.02)
    assert [shape_at(spot, frame) is not None for frame in (4, 5, 6)] == [False, True, False]
    assert spot.keys[0].points == ((40, 4), (45, 9))
    values = np.arange(len(spot.keys[0].runs)) % 2
    plus = np.repeat(values, spot.keys[0].runs).reshape(5, 5)
    assert plus.tolist() == [[i == 2 or j == 2 for j in range(5)] for i in range(5)]
    assert export.dropped == ("1 tracks of type cuboid", "1 tracks of type skeleton")


def test_every_frame_of_the_fixture_is_as_the_file_lists_it():
    """A naive reader: what is listed at a frame is what is there; nothing else is."""
    from xml.etree import ElementTree

    annotations = read(FIXTURES / "cvat" / "exports").annotations
    for annotation, number in zip(annotations, (1, 2), strict=True):
        path = FIXTURES / "cvat" / "exports" / f"task_{number}" / "annotations.xml"
        listed = [
            element
            for element in ElementTree.parse(path).getroot().iter("track")
            if element[0].tag not in ("skeleton", "cuboid")
        ]
        for element, found in zip(listed, annotation.content.tracks, strict=True):
            there = {int(row.get("frame")): row for row in element if row.get("outside") == "0"}
            for frame in range(annotation.content.frames):
                key = shape_at(found, frame)
                # Frames 7 and 8 of the ellipse are not listed, because it is outside from 6 on.
                assert (key is not None) == (frame in there), frame
                if key is None or found.type == "mask":
                    continue
                row = there[frame]
                if found.type in ("polygon", "polyline", "points"):
                    numbers = row.get("points").replace(";", ",").split(",")
                elif found.type == "ellipse":
                    numbers = [row.get(name) for name in ("cx", "cy", "rx", "ry")]
                    assert key.turn == pytest.approx(float(row.get("rotation", 0)), abs=0.02)
                else:
                    numbers = [row.get(name) for name in ("xtl", "ytl", "xbr", "ybr")]
                flat = [value for point in key.points for value in point]
                assert flat == pytest.approx([float(n) for n in numbers], abs=0.02)


class TestTime:
    def test_frames_between_key_frames_that_are_not_listed_are_interpolated(self, one_track):
        found = lefts(one_track(box(2, 0.0) + box(6, 8.0)))
        assert found == [None, None, 0, 2, 4, 6, 8] + [None] * 13

    def test_a_shape_ends_with_its_last_row(self, one_track):
        assert lefts(one_track(box(18, 1.0))) == [None] * 18 + [1, None]

    def test_outside_ends_it_and_a_later_row_begins_anew(self, one_track):
        found = lefts(one_track(box(1) + box(3, 4, outside=1) + box(6, 9) + box(7, outside=1)))
        assert found == [None, 0, 0, None, None, None, 9] + [None] * 13

    def test_what_moves_on_towards_a_frame_outside_is_kept(self, one_track):
        rows = box(0) + box(1, 3, key=0) + box(2, 6, key=0) + box(3, 9, outside=1)
        assert lefts(one_track(rows), 5) == [0, 3, 6, None, None]

    def test_occluded_moments_are_left_out_on_demand(self, one_track):
        rows = box(0) + box(1, key=0, occluded=1) + box(2, key=0, occluded=1) + box(3, key=0)
        assert lefts(one_track(rows), 5) == [0, 0, 0, 0, None]
        assert lefts(one_track(rows, "--skip-occluded"), 5) == [0, None, None, 0, None]

    def test_frames_are_of_the_video_where_the_task_leaves_some_out(self, one_track):
        about = {"frames": 4, "start": 3, "step": "step=5"}  # frames 3, 8, 13, 18
        rows = box(3, 0) + box(8, 5, key=0) + box(13, 10) + box(18, outside=1)
        found = lefts(one_track(rows, **about))
        assert found == [None] * 3 + list(range(10)) + [10] * 5 + [None] * 2

    def test_the_last_row_lasts_until_the_next_frame_of_the_task(self, one_track):
        found = lefts(one_track(box(8), frames=4, start=3, step="step=5"))
        assert found == [None] * 8 + [0] * 5 + [None] * 7

    @pytest.mark.parametrize(
        ("about", "flags", "frames"),
        [
            ({}, (), 20),
            ({}, ("--partial",), None),
            ({"start": 1}, (), None),
            ({"step": "step=2"}, (), None),
        ],
    )
    def test_the_number_of_frames_is_that_of_the_video_if_all_are_in_the_task(
        self, export, about, flags, frames
    ):
        text = document(task(**about), track(box(about.get("start", 0))))
        assert export(text, *flags).annotations[0].content.frames == frames

    @pytest.mark.parametrize("frame", [2, 4, 24, 30])
    def test_a_frame_that_the_task_does_not_have_is_refused(self, one_track, frame):
        with pytest.raises(VaclipError, match=r"frames 3 to 18, every 5"):
            one_track(box(frame), frames=4, start=3, step="step=5")

    def test_time_that_does_not_go_on_is_refused(self, one_track):
        with pytest.raises(VaclipError, match="at frame 4"):
            one_track(box(5) + box(4))


class TestThinning:
    coordinates = st.lists(st.integers(0, 50), min_size=2, max_size=12)

    @given(coordinates, st.data())
    @settings(max_examples=60, deadline=None)
    def test_leaves_every_frame_where_it_was(self, steps, data):
        """Key frames and linear frames between them, disturbed or not: nothing moves."""
        keys, fixed, at = [], [], 0
        for left, right in pairwise(steps):
            length = data.draw(st.integers(1, 5))
            shift = data.draw(st.sampled_from([0.0, 0.0, 2.0]))
            for i in range(length):
                x = left + (right - left) * i / length + (shift if i else 0.0)
                keys.append(Key(at + i, ((round(x, 2), 0.0), (99.0, 9.0))))
                fixed.append(i == 0)
            at += length
        kept = _thinned(keys, fixed, "box")
        assert set(kept) <= set(keys)
        for key in keys:
            found = shape_at(Track("", "box", tuple(kept)), key.at)
            assert found.points[0][0] == pytest.approx(key.points[0][0], abs=0.0102)

    def test_a_straight_line_needs_two_keys_and_rest_two(self):
        line = [Key(i, ((0.1 * i, 0.0), (9.0, 9.0))) for i in range(100)]
        rest = [Key(100 + i, ((50.0, 0.0), (9.0, 9.0))) for i in range(100)]
        fixed = [i in (0, 99) for i in range(100)] + [i == 0 for i in range(100)]
        kept = _thinned([*line, *rest], fixed, "box")
        assert [key.at for key in kept] == [0, 99, 100, 199]

    def test_points_that_wait_and_then_jump_keep_the_last_moment_before(self):
        one, other = ((1.0, 1.0), (2.0, 2.0)), ((5.0, 5.0), (6.0, 6.0))
        keys = [Key(i, one if i < 9 else other) for i in range(12)]
        kept = _thinned(keys, [i in (0, 9) for i in range(12)], "points")
        assert [key.at for key in kept] == [0, 8, 9, 11]

    def test_a_half_turn_that_cvat_does_not_take_is_kept(self):
        keys = [Key(i, ((0.0, 0.0), (9.0, 9.0)), turn) for i, turn in enumerate((0, 1, 180))]
        assert _thinned(keys, [True, False, True], "box") == keys

    def test_angles_go_the_shorter_way(self):
        keys = [Key(i, ((0.0, 0.0), (9.0, 9.0)), turn) for i, turn in enumerate((350, 0, 10))]
        assert _thinned(keys, [True, False, True], "box") == [keys[0], keys[2]]


class TestShapes:
    def test_all_types(self, export):
        head = 'frame="0" keyframe="1" outside="0" occluded="0"'
        rows = [
            box(0, more='rotation="30.00"'),
            f'<ellipse {head} cx="9.00" cy="8.00" rx="3.00" ry="2.00" rotation="5.50"></ellipse>',
            f'<polygon {head} points="1.00,2.00;3.00,4.00;5.00,0.00"></polygon>',
            f'<polyline {head} points="1.00,2.00;3.00,4.00"></polyline>',
            f'<points {head} points="1.50,2.00"></points>',
            f'<mask {head} rle="0, 2, 1, 1" left="60" top="46" width="2" height="2"></mask>',
        ]
        export = export(document(task(), "".join(map(track, rows))))
        found = export.annotations[0].content.tracks
        assert [(t.type, t.keys[0]) for t in found] == [
            ("box", Key(0, ((0, 0), (10, 10)), 30)),
            ("ellipse", Key(0, ((9, 8), (3, 2)), 5.5)),
            ("polygon", Key(0, ((1, 2), (3, 4), (5, 0)))),
            ("polyline", Key(0, ((1, 2), (3, 4)))),
            ("points", Key(0, ((1.5, 2),))),
            ("mask", Key(0, ((60, 46), (62, 48)), runs=(0, 2, 1, 1))),
        ]
        assert all(t.keys[1:] == (Key(1, outside=True),) for t in found)

    def test_labels_are_chosen(self, export):
        text = document(task(), track(box(0)) + track(box(1), "shoe"))
        chosen = export(text, "--label", "shoe")
        assert [t.label for t in chosen.annotations[0].content.tracks] == ["shoe"]
        assert chosen.dropped == ("1 tracks of other labels",)
        with pytest.raises(VaclipError, match=r"foot, shoe.*Did you mean 'shoe'"):
            export(text, "--label", "shoes")

    def test_a_task_without_shapes_annotations_nothing(self, export):
        found = export(document(task(), track(box(0, outside=1))))
        assert found.annotations == ()
        assert found.dropped == (
            "1 tasks without any shape that is taken",
            "1 tracks that are never visible",
        )


class TestLeftOut:
    SKELETON = (
        '<skeleton frame="0" outside="0" keyframe="1" points="10,20;30,40"></skeleton>'
        '<skeleton frame="1" outside="1" keyframe="1" points="10,20;30,40"></skeleton>'
    )
    JOINTS = "".join(
        f'<track id="{n}" label="{name}"><points frame="0" outside="0" keyframe="1" '
        f'points="10.00,20.00"></points></track>'
        for n, name in enumerate(("knee", "ankle"))
    )

    @pytest.mark.parametrize("rows", [SKELETON + JOINTS, JOINTS + SKELETON, SKELETON, JOINTS])
    def test_joints_of_a_skeleton_are_no_drawings(self, export, rows):
        text = document(task(), track(rows, label="leg") + track(box(3)))
        found = export(text)
        assert [one.label for one in found.annotations[0].content.tracks] == ["foot"]
        assert found.dropped == ("1 tracks of type skeleton",)
        with pytest.raises(VaclipError, match="--label knee: no shape has it"):
            export(text, "--label", "knee")

    def test_all_shapes_of_a_project(self, export):
        """The frames of the second task follow those of the first; what cannot be drawn is told."""
        shapes = (
            '<ellipse frame="2" keyframe="1" outside="0" cx="10.00" cy="8.00" rx="4.00" ry="2.00" '
            'rotation="350.00"></ellipse><ellipse frame="3" keyframe="1" outside="1" cx="0" cy="0" '
            'rx="1" ry="1"></ellipse>',
            '<mask frame="25" keyframe="1" outside="0" rle="3, 4, 5" left="10" top="20" width="4" '
            'height="3"></mask>',
            '<cuboid frame="22" keyframe="1" outside="0"></cuboid>',
            '<polygon frame="20" keyframe="1" outside="0" points="1,1;6,1;6,6"></polygon>'
            '<polygon frame="21" keyframe="0" outside="0" points="1,1;6,1;6,6;5,6"></polygon>',
            '<skeleton frame="20"><points label="knee" points="1,1"></points></skeleton>',
        )
        tracks = "".join(
            track(rows, label=str(n), more=f'task_id="{11 if n == 0 else 12}" subset="default"')
            for n, rows in enumerate(shapes)
        ) + track("", label="empty", more='task_id="12"')
        first = task(number=11, source="walk 01.mp4")
        second = task(number=12, frames=30, source="walk_02.avi")
        meta = f"<project><id>7</id><tasks>{first}{second}</tasks></project>"
        found = export(document(meta, tracks))
        assert [annotation.video for annotation in found.annotations] == [
            "walk 01.mp4",
            "walk_02.avi",
        ]
        (ellipse,), (mask, polygon) = (one.content.tracks for one in found.annotations)
        assert [key.at for key in ellipse.keys] == [2, 3]
        assert ellipse.keys[0].turn == 350
        assert (mask.keys[0].at, mask.keys[0].runs) == (5, (3, 4, 5))
        assert [(key.at, len(key.points)) for key in polygon.keys] == [(0, 3), (1, 4), (2, 0)]
        assert found.dropped == (
            "1 tracks of type cuboid",
            "1 tracks of type skeleton",
            "1 tracks that are never visible",
        )


class TestSources:
    def test_of_several_tasks_in_archives_and_files(self, tmp_path):
        with zipfile.ZipFile(tmp_path / "job.zip", "w") as archive:
            archive.writestr("annotations.xml", document(task(source="a.mp4"), track(box(0))))
            archive.writestr("images/frame_000000.PNG", b"")
        (tmp_path / "b.xml").write_text(document(task(source="b.mp4"), track(box(0))))
        annotations = read(tmp_path / "job.zip", tmp_path / "b.xml").annotations
        assert [annotation.video for annotation in annotations] == ["a.mp4", "b.mp4"]

    def test_a_project_adds_frames_up_within_a_subset(self, export):
        tasks = (
            task(number=4, frames=10, source="a.mp4")
            + task(number=5, frames=4, start=3, step="step=5", source="b.mp4")
            + task(number=6, frames=10, source="c.mp4")
            + task(number=7, frames=10, source="d.mp4").replace("default", "Test")
        )
        # 10 frames of the first, 3 + 4 * 5 of the second; another subset begins anew.
        tracks = "".join(
            track(box(frame), more=f'task_id="{number}"')
            for number, frame in ((4, 9), (5, 10 + 3), (6, 10 + 23), (7, 2))
        )
        annotations = export(
            document(f"<project><tasks>{tasks}</tasks></project>", tracks)
        ).annotations
        assert [(m.video, m.content.tracks[0].keys[0].at) for m in annotations] == [
            ("a.mp4", 9), ("b.mp4", 3), ("c.mp4", 0), ("d.mp4", 2),
        ]  # fmt: skip
        assert [m.content.frames for m in annotations] == [10, None, 10, 10]

    def test_tasks_of_pictures_in_a_project_are_left_out(self, export):
        pictures = task(number=4, frames=7).replace("<source>a.mp4</source>", "").replace(SIZE, "")
        tasks = pictures + task(number=5)
        tracks = track(box(0), more='task_id="4"') + track(box(7), more='task_id="5"')
        found = export(document(f"<project><tasks>{tasks}</tasks></project>", tracks))
        assert [annotation.content.tracks[0].keys[0].at for annotation in found.annotations] == [0]
        assert "1 tracks in tasks that are not made of a video" in found.dropped

    def test_a_job_needs_the_name_of_its_video(self, export):
        job = (
            task("job", frames=5, start=10).replace(SIZE, "").replace("<source>a.mp4</source>", "")
        )
        text = document(job + SIZE, track(box(10)))
        with pytest.raises(VaclipError, match="say --video NAME"):
            export(text)
        (annotation,) = export(text, "--video", "a.mp4").annotations
        assert (annotation.video, annotation.content.size, annotation.content.frames) == (
            "a.mp4",
            (48, 64),
            None,
        )
        assert annotation.content.tracks[0].keys[0].at == 10

    def test_many_jobs_are_named_by_their_files(self, tmp_path):
        job = task("job", frames=5).replace("<source>a.mp4</source>", "")
        (tmp_path / "jobs" / "deep").mkdir(parents=True)
        (tmp_path / "jobs" / "deep" / "p1.xml").write_text(document(job, track(box(0))))
        with zipfile.ZipFile(tmp_path / "p2.zip", "w") as archive:
            archive.writestr("annotations.xml", document(job, track(box(0))))
        flags = ("--video-template", "clip_{name}.mp4")
        found = read(tmp_path / "jobs", tmp_path / "p2.zip", flags=flags).annotations
        assert [one.video for one in found] == ["clip_p1.mp4", "clip_p2.mp4"]
        with pytest.raises(VaclipError, match=r"expected \{name\} in it"):
            read(tmp_path / "jobs", flags=("--video-template", "clip"))

    def test_an_older_version_names_the_video_beside_the_task(self, export):
        old = task().replace("<source>a.mp4</source>", "") + "<source>old.mp4</source>"
        assert export(document(old, track(box(0)))).annotations[0].video == "old.mp4"

    def test_the_annotator_is_named_assigned_or_owner(self, export):
        assigned = "<assignee><username>mia</username></assignee>"
        text = document(task(more=assigned), track(box(0)))
        assert export(text).annotations[0].annotator == "mia"
        assert export(text.replace("mia", "")).annotations[0].annotator == "eve"
        assert export(text, "--annotator", "dr x").annotations[0].annotator == "dr x"


class TestRefused:
    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ("<meta>", "<meat>", "cannot be read as XML"),
            ("<size>20</size>", "", "<size> is None"),
            ("<size>20</size>", "<size>999999999</size>", "more than 1000000 frames"),
            ("<size>20</size>", "<size>-1</size>", "expected a whole number"),
            ("<source>a.mp4</source>", "", "not made of a video"),
            ("<width>64</width>", "<width>0</width>", "'size' must be"),
            ('frame="0"', 'frame="x"', "'frame' is 'x'"),
            ('frame="0"', "", "'frame' is None"),
            ('xtl="0.00"', 'xtl="1,5"', "'xtl' is '1,5'"),
            ('xtl="0.00"', 'xtl="nan"', "points"),
            ('xtl="0.00"', 'xtl="1e300"', "points"),
            ('xtl="0.00"', "", "'xtl' is None"),
        ],
    )
    def test_damage_is_named(self, export, old, new, message):
        text = document(task(), track(box(0)))
        assert old in text
        with pytest.raises(VaclipError, match=message):
            export(text.replace(old, new))

    @pytest.mark.parametrize(
        ("row", "message"),
        [
            ('<polygon frame="0" points="1,2;3,4"></polygon>', "a polygon of 2 points"),
            ('<polygon frame="0" points="1,2;3"></polygon>', "expected x,y;x,y"),
            ('<polygon frame="0"></polygon>', "expected x,y;x,y"),
            ('<mask frame="0" rle="1, 2" left="0" top="0" width="2" height="2"></mask>', "fill"),
            ('<mask frame="0" rle="4" left="63" top="0" width="2" height="2"></mask>', "inside"),
            ('<mask frame="0" rle="" left="0" top="0" width="2" height="2"></mask>', "'rle'"),
            ('<mask frame="0" rle="4" left="0" top="0" width="2"></mask>', "'height' is None"),
            (box(0) + '<points frame="1" points="1,2"></points>', "type changes"),
            ('<points frame="0" outside="true" points="1,2"></points>', "'outside' is 'true'"),
            ('<points frame="0" keyframe="yes" points="1,2"></points>', "'keyframe' is 'yes'"),
        ],
    )
    def test_shapes_that_cannot_be_drawn(self, export, row, message):
        with pytest.raises(VaclipError, match=message):
            export(document(task(), track(row)))

    def test_pictures_and_other_files(self, export):
        with pytest.raises(VaclipError, match="'height' is None"):
            export(document(task(), '<image id="0" name="a.png"></image>'))
        with pytest.raises(VaclipError, match="no export of CVAT"):
            export("<annotations></annotations>")
        with pytest.raises(VaclipError, match="belongs to no task"):
            export(document("<project><tasks></tasks></project>", track(box(0))))

    def test_entities_are_not_expanded(self, export):
        bomb = '<!DOCTYPE a [<!ENTITY b "c">]>' + document(task(source="&b;"), track(box(0)))
        with pytest.raises(VaclipError, match="cannot be read as XML"):
            export(bomb)


def test_a_long_track_is_read_in_linear_time(export):
    """Ten thousand listed frames of one straight line: two keys and an end."""
    rows = "".join(box(n, n / 500, key=int(n in (0, 9999))) for n in range(10_000))
    (annotation,) = export(document(task(frames=10_000), track(rows))).annotations
    assert len(annotation.content.tracks[0].keys) == 3
    assert math.isclose(shape_at(annotation.content.tracks[0], 5000).points[0][0], 10, abs_tol=0.02)
    assert Path(annotation.video) == Path("a.mp4")
