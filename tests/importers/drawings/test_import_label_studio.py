"""Label Studio: the editor's rules in closed form, its brush code against a naive encoder."""

from __future__ import annotations

import copy
import json
import math
from itertools import groupby

import numpy as np
import pytest
from cases import FIXTURES
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import write_video
from vaclip.commands.imports import import_parser
from vaclip.errors import VaclipError
from vaclip.importers import IMPORTERS
from vaclip.importers.drawings.brush import decode_brush, mask_key
from vaclip.importers.drawings.label_studio import video_name
from vaclip.importers.drawings.label_studio_boxes import rectangle
from vaclip.maps.shapes import shape_at

CLIPS = "video,patient_id,label\nwalk_01.mkv,p01,ill\nwalk_02.mkv,p02,well\n"


@pytest.fixture
def folder(tmp_path):
    """Two videos of 64 x 48 in a folder with their table."""
    for name in ("walk_01.mkv", "walk_02.mkv"):
        write_video(tmp_path / name, np.zeros((2, 48, 64, 3), np.uint8), fps=10)
    (tmp_path / "clips.csv").write_text(CLIPS)
    return tmp_path


@pytest.fixture
def export(folder):
    """Returns what tasks give."""

    def write(tasks, *flags):
        (folder / "export.json").write_text(json.dumps(tasks))
        words = ["label_studio", str(folder / "export.json"), "--into", str(folder / "study")]
        words += ["--clips", str(folder / "clips.csv"), *flags]
        options = import_parser().parse_args(words)
        return IMPORTERS.build("label_studio").read(options.sources, options)

    return write


def task(*results, who=11, video="walk_01.mkv", **more):
    annotation = {"id": 7, "completed_by": who, "result": list(results), "was_cancelled": False}
    return {"id": 28, "data": {"video": video}, "annotations": [annotation | more]}


def key(frame, x=0.0, *, enabled=True, rotation=0, fps=10, **more):
    row = {"frame": frame, "x": x, "y": 0, "width": 25, "height": 50, "rotation": rotation}
    return row | {"enabled": enabled, "time": frame / fps} | more


def moving(*keys, labels=("foot",), **more):
    value = {"framesCount": 20, "duration": 2, "sequence": list(keys), "labels": list(labels)}
    return {"type": "videorectangle", "value": value} | more


def still(kind, size=(48, 64), **value):
    return {
        "type": kind,
        "value": value,
        "original_height": size[0],
        "original_width": size[1],
        "image_rotation": 0,
    }


def lefts(track, times):
    """Returns where the left edge of a box is, in percent of 64 pixels."""
    found = [shape_at(track, time_s) for time_s in times]
    return [None if key is None else round(key.points[0][0] / 0.64, 1) for key in found]


def only_track(export):
    (annotation,) = export.annotations
    (track,) = annotation.content.tracks
    return track


def test_the_fixture_is_what_it_says(folder):
    words = ["label_studio", str(FIXTURES / "label_studio" / "project-8.json"), "--into", "study"]
    options = import_parser().parse_args([*words, "--clips", str(folder / "clips.csv")])
    export = IMPORTERS.build("label_studio").read(options.sources, options)
    moved, stills, turned = export.annotations
    assert [annotation.annotator for annotation in export.annotations] == [
        "reader1@clinic.example", "user 12", "user 13",
    ]  # fmt: skip
    assert [annotation.video for annotation in export.annotations] == ["walk_01.mkv"] + [
        "gait/walk_02.mkv"
    ] * 2
    assert (moved.content.size, moved.content.unit, moved.content.fps) == ((48, 64), "second", 5)
    # The square of the video, at 10 pictures a second, until picture 17.
    for picture in range(20):
        found = shape_at(moved.content.tracks[0], picture / 10)
        if picture < 18:
            # A key counts a millisecond earlier; the last of them stays for a frame of the tag.
            x = min(picture, 16) * 52 / 19
            assert np.allclose(found.points, [(x, 24), (x + 12, 36)], atol=0.05)
        else:
            assert found is None
    assert [track.type for track in stills.content.tracks] == [
        "mask", "box", "ellipse", "polygon", "points",
    ]  # fmt: skip
    mask = stills.content.tracks[0].keys[0]
    assert (mask.points, mask.runs) == (((40, 4), (60, 8)), (0, 80))
    assert stills.content.tracks[2].keys[0].points == ((32, 12), (8, 6))
    assert stills.content.tracks[4].keys[0].points == ((57.6, 43.2),)
    assert turned.content.tracks[0].type == "box"
    assert export.dropped == (
        "1 annotations without any shape that is taken",
        "1 predictions",
        "1 results of type choices",
        "1 skipped annotations",
    )


class TestTime:
    def test_frame_one_is_the_first_picture(self, export):
        track = only_track(export([task(moving(key(1, 0), key(5, 40)))]))
        assert lefts(track, [0.0, 0.1, 0.2, 0.4, 1.9]) == pytest.approx(
            [0, 10, 20, 40, 40], abs=0.2
        )

    def test_before_the_first_key_there_is_nothing(self, export):
        track = only_track(export([task(moving(key(4, 7)))]))
        assert lefts(track, [0.0, 0.2, 0.3]) == [None, None, 7]

    def test_a_disabled_key_is_the_last_frame_of_a_span(self, export):
        keys = key(1, 0), key(3, 20, enabled=False), key(6, 50), key(8, 70, enabled=False)
        track = only_track(export([task(moving(*keys))]))
        found = lefts(track, [n / 10 for n in range(10)])
        want = [0, 10, 20, None, None, 50, 60, 70, None, None]
        assert [one is None for one in found] == [one is None for one in want]
        assert [n for n in found if n is not None] == pytest.approx(
            [n for n in want if n is not None], abs=0.2
        )

    def test_a_span_that_begins_at_the_next_frame_is_no_gap(self, export):
        keys = key(1, 0, enabled=False), key(2, 30)
        assert lefts(only_track(export([task(moving(*keys))])), [0.0, 0.1]) == [0, 30]

    def test_disabled_keys_after_a_disabled_one_show_nothing(self, export):
        keys = [key(1, 0, enabled=False), *(key(n, 9, enabled=False) for n in (2, 3, 4))]
        found = lefts(only_track(export([task(moving(*keys))])), [0.0, 0.1, 0.2, 0.3, 0.4])
        assert found == [0, None, None, None, None]

    def test_stamps_that_are_rounded_down_are_met(self, export):
        """A third of a second is 0.333 in a file of milliseconds."""
        keys = key(1, 0, fps=3, enabled=False), key(5, 50, fps=3)
        found = lefts(only_track(export([task(moving(*keys))])), [0.33, 0.333, 1.33, 1.333])
        assert found == [0, None, None, 50]

    def test_order_in_the_file_does_not_matter(self, export):
        keys = key(5, 40), key(1, 0)
        assert lefts(only_track(export([task(moving(*keys))])), [0, 0.4]) == [0, 40]

    def test_the_rate_is_that_of_the_tag(self, export):
        content = export([task(moving(key(1, fps=24), key(25, fps=24)))]).annotations[0].content
        assert (content.fps, content.frames) == (24, 20)
        assert content.tracks[0].keys[1].at == pytest.approx(1.0, abs=0.002)

    def test_without_times_the_rate_must_be_said(self, export):
        bare = [task(moving(key(1, time=None), key(25, time=None)))]
        with pytest.raises(VaclipError, match="say --frame-rate"):
            export(bare)
        content = export(bare, "--frame-rate", "12").annotations[0].content
        assert content.fps == 12
        assert content.tracks[0].keys[1].at == pytest.approx(2.0, abs=0.002)

    @pytest.mark.parametrize("fps", [24, 25, 30, 30000 / 1001, 12.5])
    def test_a_box_drawn_at_frame_100_is_at_frame_100(self, export, fps):
        """Of interpolated keys the time has two decimals; each box begins at another frame."""

        def interpolated(first, last=130):
            drawn = [key(n, n / 2, fps=fps) for n in (first, (first + last) // 2)]
            between = [
                key(n, n / 2, time=round(n / fps, 2), auto=True)
                for n in range(first + 1, last)
                if n != drawn[1]["frame"]
            ]
            return moving(*drawn, *between)

        content = export([task(interpolated(1), interpolated(7))]).annotations[0].content
        assert content.fps == pytest.approx(fps, rel=1e-12)
        for track in content.tracks:
            for frame in (7, 64, 99, 100, 101, 129):  # frame F is the picture F - 1
                assert lefts(track, [(frame - 1) / fps]) == [pytest.approx(frame / 2, abs=0.02)]
        starts = [track.keys[0].at for track in content.tracks]
        assert starts == [0, pytest.approx(6 / fps - 0.001)]

    @pytest.mark.parametrize("fps", [24, 25, 30])
    def test_a_rate_that_only_rounded_times_tell_is_a_whole_one(self, export, fps):
        keys = [key(n, time=round(n / fps, 2), auto=True) for n in range(1, 101)]
        assert export([task(moving(*keys))]).annotations[0].content.fps == fps

    def test_times_that_count_from_zero_need_the_rate(self, export):
        keys = [key(n, time=(n - 1) / 25) for n in (1, 40)]
        with pytest.raises(VaclipError, match=r"is at 0 s, .* say --frame-rate FPS"):
            export([task(moving(*keys))])
        track = only_track(export([task(moving(*keys))], "--frame-rate", "25"))
        assert track.keys[1].at == pytest.approx(39 / 25, abs=0.002)
        assert export([task(moving(key(0), key(40)))]).annotations[0].content.fps == 10

    def test_boxes_of_different_rates_are_refused(self, export):
        with pytest.raises(VaclipError, match=r"different rate \(24 and 30 a second"):
            export([task(moving(key(60, fps=24)), moving(key(60, fps=30)))])


class TestPages:
    BOX = still("rectangle", x=1, y=1, width=1, height=1)

    def test_shapes_of_several_pages_are_refused(self, export):
        pages = [self.BOX | {"item_index": page} for page in (0, 7)]
        with pytest.raises(VaclipError, match=r"several pages of the task \(item_index\)"):
            export([task(*pages)])
        with pytest.raises(VaclipError, match=r"item_index"):
            export([task(pages[1])])
        with pytest.raises(VaclipError, match=r"item_index"):
            export([task(self.BOX | {"item_index": [7]})])

    def test_the_first_of_several_pages_is_one_of_several(self, export):
        first = task(self.BOX | {"item_index": 0})
        first["data"]["pages"] = ["0.png", "1.png"]
        with pytest.raises(VaclipError, match=r"item_index"):
            export([first])

    def test_a_list_of_one_picture_is_a_picture(self, export):
        one = task(self.BOX | {"item_index": 0})
        one["data"]["pages"] = ["0.png"]
        assert only_track(export([one])).type == "box"


class TestJsonMin:
    """One object an annotation; what a tool made stands under its name."""

    @staticmethod
    def record(**tools):
        return {"video": "walk_01.mkv", "id": 28, "annotator": 11, "annotation_id": 7, **tools}

    def test_boxes_of_videos_are_as_in_json(self, export):
        boxes = [
            moving(key(1), key(5, 40, enabled=False)),
            moving(key(3), labels=["shoe"], original_height=480, original_width=640),
            moving(key(4), original_height=480, original_width=640),
        ]
        for some in (boxes[:1], boxes[1:]):
            sizes = [{k: v for k, v in box.items() if k.startswith("original")} for box in some]
            values = [box["value"] | size for box, size in zip(some, sizes, strict=True)]
            assert (
                export([self.record(box=values)]).annotations == export([task(*some)]).annotations
            )

    def test_annotations_of_one_task_stay_apart(self, export):
        records = [self.record(box=[moving(key(1, x))["value"]]) for x in (0, 25)]
        records[1] |= {"annotator": "mia@clinic.example", "annotation_id": 8}
        found = export(records).annotations
        assert [one.annotator for one in found] == ["user 11", "mia@clinic.example"]
        assert [one.content.tracks[0].keys[0].points[0][0] for one in found] == [0, 16]

    def test_labels_are_chosen_and_what_is_no_box_is_counted(self, export):
        record = self.record(
            box=[moving(key(1))["value"], moving(key(2), labels=["shoe"])["value"]],
            phase=[{"ranges": [{"start": 1, "end": 9}], "timelinelabels": ["swing"]}],
            outline=[{"sequence": [{"frame": 1, "vertices": []}], "labels": ["foot"]}],
            side="left",
            tags=["a", "b"],
        )
        found = export([record], "--label", "shoe")
        assert [track.label for track in found.annotations[0].content.tracks] == ["shoe"]
        assert found.dropped == (
            "1 results of type 'outline'", "1 shapes of other labels",
            "1 spans of a timeline that --span does not name",
        )  # fmt: skip

    def test_shapes_of_a_picture_are_known_by_their_keys(self, export):
        shapes = [
            still("rectangle", x=10, y=20, width=30, height=40, rotation=0),
            still("ellipse", x=50, y=50, radiusX=10, radiusY=20, rotation=0),
            still("polygon", points=[[0, 0], [10, 0], [10, 10]]),
            still("keypoint", x=90, y=80, width=1),
        ]
        size = {"original_width": 200, "original_height": 100}
        values = [shape["value"] | size for shape in shapes]
        found = export([self.record(tool=values, other=[{"x": 5, "y": 5, "width": 1} | size])])
        (annotation,) = found.annotations
        drawn = [(one.type, one.keys[0].points[0]) for one in annotation.content.tracks]
        assert annotation.content.size == (100, 200)
        assert drawn == [
            ("box", (20, 20)), ("ellipse", (100, 50)), ("polygon", (0, 0)), ("points", (180, 80)),
            ("points", (10, 5)),
        ]  # fmt: skip
        assert [note[:8] for note in found.notes] == ["5 shapes"]
        assert "turned in Label Studio" in found.notes[0]

    def test_a_mask_of_a_picture_is_known_by_its_code(self, export):
        """Two zeros are no run: the code is damaged, and what is said of it is said of a mask."""
        record = self.record(tool=[still("brush", format="rle", rle=[0, 0])["value"]])
        with pytest.raises(VaclipError, match="result 0: the mask's code is too short"):
            export([record])

    def test_shapes_on_one_of_several_pages_are_refused(self, export):
        record = self.record(tool=[still("rectangle", x=1, y=1, width=1, height=1)["value"]])
        record["video"] = ["a.png", "b.png"]
        with pytest.raises(VaclipError, match=r"'video' has 2 pages.*export in the format JSON"):
            export([record])

    def test_a_record_without_shapes_is_counted(self, export):
        assert export([self.record(box=[])]).dropped == (
            "1 annotations without any shape that is taken",
        )


class TestRotation:
    @given(
        st.floats(-179, 179),
        st.floats(0, 100),
        st.floats(0, 100),
        st.floats(1, 60),
        st.floats(1, 60),
    )
    @settings(max_examples=40, deadline=None)
    def test_a_box_turns_about_its_top_left_corner(self, angle, x, y, width, height):
        from vaclip.maps.outlines import Key, _outline

        row = {"x": x, "y": y, "width": width, "height": height, "rotation": angle}
        points, turn = rectangle(row, (200, 100))
        corners = _outline("box", Key(0, points, turn))
        # Naively: complex numbers, y down, so that a positive angle is clockwise as one sees it.
        corner, w, h = complex(x, 2 * y), width, 2 * height
        spin = complex(math.cos(math.radians(angle)), math.sin(math.radians(angle)))
        want = [corner + spin * side for side in (0, w, complex(w, h), 1j * h)]
        assert np.allclose(corners, [(z.real, z.imag) for z in want], atol=1e-9)

    def test_between_keys_the_corner_goes_straight_and_the_centre_in_an_arc(self, export):
        keys = key(1, 50, rotation=0), key(11, 50, rotation=90)
        track = only_track(export([task(moving(*keys))]))
        for step in range(11):
            found = shape_at(track, step / 10 - 0.001 if step else 0.0)
            angle = math.radians(9 * step)
            centre = np.mean(found.points, axis=0)
            turned = (
                32 + math.cos(angle) * 8 - math.sin(angle) * 12,
                math.sin(angle) * 8 + math.cos(angle) * 12,
            )
            assert np.allclose(centre, turned, atol=0.15)
            assert found.turn == pytest.approx(9 * step, abs=0.2)

    def test_angles_go_the_shorter_way(self, export):
        keys = key(1, rotation=170), key(11, rotation=-170)
        track = only_track(export([task(moving(*keys))]))
        assert shape_at(track, 0.5).turn % 360 == pytest.approx(180, abs=0.5)


def naive_code(values, widths=(3, 4, 8, 16)):
    """As the format says it, block by block: runs of two or more, otherwise literals."""
    bits = f"{len(values):032b}" + f"{7:05b}" + "".join(f"{w - 1:04b}" for w in widths)

    def block(repeated, part):
        chosen = next(i for i, width in enumerate(widths) if len(part) <= 2**width)
        head = f"{repeated:b}{chosen:02b}{len(part) - 1:0{widths[chosen]}b}"
        return head + "".join(f"{value:08b}" for value in (part[:1] if repeated else part))

    literal: list[int] = []
    for _, group in groupby(values):
        run = list(group)
        if len(run) == 1:
            literal += run
            continue
        bits += block(False, literal) if literal else ""
        literal = []
        for start in range(0, len(run), 2 ** max(widths)):
            bits += block(True, run[start : start + 2 ** max(widths)])
    bits += block(False, literal) if literal else ""
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))


class TestBrush:
    @given(st.data(), st.integers(1, 12), st.integers(1, 12))
    @settings(max_examples=60, deadline=None)
    def test_what_was_encoded_is_decoded(self, data, height, width):
        alpha = data.draw(
            st.lists(st.sampled_from([0, 0, 0, 255, 128]), min_size=height * width,
                     max_size=height * width)
        )  # fmt: skip
        values = [v for a in alpha for v in (9 * (a == 0), 8, 7, a)]
        widths = data.draw(st.sampled_from([(3, 4, 8, 16), (10, 10, 10, 10), (1, 2, 9, 16)]))
        mask = decode_brush(naive_code(values, widths), (height, width))
        assert mask.tolist() == (np.reshape(alpha, (height, width)) > 0).tolist()
        key = mask_key(mask)
        if key is None:
            assert not any(alpha)
            return
        (left, top), (right, bottom) = (map(int, point) for point in key.points)
        drawn = np.zeros((height, width), bool)
        runs = np.repeat(np.arange(len(key.runs)) % 2, key.runs)
        drawn[top:bottom, left:right] = runs.reshape(bottom - top, right - left)
        assert (drawn == mask).all()
        edges = drawn[top], drawn[bottom - 1], drawn[:, left], drawn[:, right - 1]
        assert all(edge.any() for edge in edges)

    def test_long_runs_are_split(self):
        values = [0] * 4 * 200_000
        assert not decode_brush(naive_code(values), (400, 500)).any()

    @pytest.mark.parametrize("cut", [1, 5, 8, 20])
    def test_a_code_that_breaks_off_is_refused(self, cut):
        code = naive_code([1, 2, 3, 4] * 30)
        with pytest.raises(VaclipError, match=r"breaks off|too short"):
            decode_brush(code[: len(code) - cut * 6], (5, 6))

    def test_another_size_is_refused(self):
        with pytest.raises(VaclipError, match="has 16 values"):
            decode_brush(naive_code([0] * 16), (3, 2))
        huge = f"{2**32 - 1:032b}" + "0" * 32
        code = bytes(int(huge[i : i + 8], 2) for i in range(0, 64, 8))
        with pytest.raises(VaclipError, match="4294967295 values"):
            decode_brush(code, (2, 2))
        with pytest.raises(VaclipError, match="too short or too long"):
            decode_brush(code, (2**15, 2**15))


class TestStills:
    def test_tools_without_labels_count_too(self, export):
        found = export([task(still("rectangle", x=50, y=50, width=25, height=25))])
        track = only_track(found)
        assert (track.type, track.label) == ("box", "")
        assert track.keys[0].points == ((32, 24), (48, 36))
        assert lefts(track, [0, 100]) == [50, 50]  # for the whole clip

    def test_empty_masks_and_turned_pictures_are_counted(self, export):
        empty = list(naive_code([0] * 16))
        turned = still("ellipse", x=1, y=1, radiusX=1, radiusY=1) | {"image_rotation": 90}
        found = export([task(still("brush", (2, 2), format="rle", rle=empty), turned)])
        assert found.annotations == ()
        assert found.dropped == (
            "1 annotations without any shape that is taken",
            "1 empty shapes",
            "1 shapes on pictures that were turned in Label Studio",
        )


class TestNames:
    @pytest.mark.parametrize(
        ("value", "name"),
        [
            ("/data/upload/8/1fd99634-walk_01.mp4", "walk_01.mp4"),
            ("https://host/data/upload/8/1fd99634-walk%2001.mp4", "walk 01.mp4"),
            ("/data/upload/8/walk_01.mp4", "walk_01.mp4"),
            ("/data/upload/8/1FD99634-walk.mp4", "1FD99634-walk.mp4"),
            ("/data/local-files/?d=gait/1fd99634-walk_01.mp4", "gait/1fd99634-walk_01.mp4"),
            ("http://h:8080/data/local-files/?d=gait%5Cwalk.mp4", "gait\\walk.mp4"),
            ("s3://bucket/gait/walk.mp4", "gait/walk.mp4"),
            ("https://h/gait/walk.mp4?token=1", "gait/walk.mp4"),
            ("50% walk #1?.mp4", "50% walk #1?.mp4"),
            ("<video src='/data/upload/3/1a2b3c4d-walk_01.mp4' width=100%>", "walk_01.mp4"),
            ('<div><Video controls\n src = "x/walk&amp;1.mp4"/></div>', "x/walk&1.mp4"),
            ('<video><source type="a" src="https://h/walk.mp4"></video>', "walk.mp4"),
            ("<p>src='walk.mp4'</p>", ""),
            ("C:\\gait\\walk.mp4", "C:\\gait\\walk.mp4"),
        ],
    )
    def test_names_of_videos(self, value, name):
        assert video_name(value) == name

    def test_hypertext_without_a_video_is_refused(self, export):
        with pytest.raises(VaclipError, match="'video' is hypertext that names no video: <p>hello"):
            export([task(moving(key(1)), video="<p>hello</p>")])

    def test_another_field(self, export):
        one = task(moving(key(1)))
        one["data"] = {"clip": "walk_01.mkv", "fps": 10}
        with pytest.raises(VaclipError, match=r"has: clip, fps\); say --video-field"):
            export([one])
        assert export([one], "--video-field", "clip").annotations[0].video == "walk_01.mkv"

    def test_the_size_is_of_a_video_of_the_study_too(self, export, folder):
        (folder / "study").mkdir()
        (folder / "study" / "clips.csv").write_text(
            "clip_id,video,patient_id,label\nc9,deep.mkv,p9,ill\n"
        )
        write_video(folder / "study" / "deep.mkv", np.zeros((1, 32, 96, 3), np.uint8), fps=10)
        assert export([task(moving(key(1)), video="c9")]).annotations[0].content.size == (32, 96)

    def test_a_stated_size_counts(self, export):
        stated = moving(key(1)) | {"original_width": 640, "original_height": 480}
        assert export([task(stated)]).annotations[0].content.size == (480, 640)

    @pytest.mark.parametrize(
        ("who", "name"),
        [
            (11, "user 11"),
            ({"id": 11}, "user 11"),
            ({"id": 11, "email": "a@b.example", "username": "a"}, "a@b.example"),
            ({"id": 11, "email": "", "username": "a"}, "a"),
            (None, ""),
        ],
    )
    def test_annotators(self, export, who, name):
        tasks = [task(moving(key(1)), who=who)]
        assert export(tasks).annotations[0].annotator == name
        assert export(tasks, "--annotator", "mia").annotations[0].annotator == "mia"

    def test_one_name_for_several_people_is_refused(self, export):
        tasks = [task(moving(key(1)), who=who) for who in (11, 12)]
        with pytest.raises(VaclipError, match="2 people"):
            export(tasks, "--annotator", "mia")


def test_a_label_alone_is_a_label(export):
    box = moving(key(1))
    box["value"]["labels"] = "foot"
    assert only_track(export([task(box)])).label == "foot"


def test_labels_are_chosen(export):
    tasks = [
        task(moving(key(1)), moving(key(2), labels=["shoe", "foot"]), moving(key(3), labels=[]))
    ]
    found = export(tasks, "--label", "shoe")
    assert [track.label for track in found.annotations[0].content.tracks] == ["shoe; foot"]
    assert found.dropped == ("2 shapes of other labels",)
    with pytest.raises(VaclipError, match="Did you mean 'shoe'"):
        export(tasks, "--label", "shoes")


def test_one_task_alone_is_an_export_too(export):
    assert len(export(task(moving(key(1)))).annotations) == 1


BOX = task(moving(key(1), key(3)))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("annotations",), None, "in the format JSON"),
        (("data",), "x", "in the format JSON"),
        (("predictions",), 3, "expected lists"),
        (("annotations", 0), 3, "is no object"),
        (("annotations", 0, "result"), {}, "expected lists"),
        (("annotations", 0, "result", 0), None, "expected an object"),
        (("annotations", 0, "result", 0, "type"), 3, "expected an object"),
        (("annotations", 0, "result", 0, "value"), [], "expected an object"),
        (("annotations", 0, "result", 0, "value", "sequence"), {}, "with 'sequence'"),
        (("annotations", 0, "result", 0, "value", "sequence", 0), 1, "expected an object"),
        (("annotations", 0, "result", 0, "value", "sequence", 0, "x"), "1", "'x' is 1"),
        (("annotations", 0, "result", 0, "value", "sequence", 0, "x"), 1e300, "'x' is 1e"),
        (("annotations", 0, "result", 0, "value", "sequence", 0, "y"), math.nan, "'y' is nan"),
        (("annotations", 0, "result", 0, "value", "sequence", 0), key(3), "same frame"),
        (("annotations", 0, "result", 0, "value", "sequence", 0, "frame"), 30, "different rate"),
        (("annotations", 0, "result", 0, "value", "sequence", 1, "time"), 1e-9, "different rate"),
        (("annotations", 0, "result", 0, "value", "sequence", 0, "time"), 0, "other than number 0"),
        (("annotations", 0, "result", 0, "value", "sequence", 1, "enabled"), 0, "'enabled' is 0"),
        (("annotations", 0, "result", 0, "original_width"), 64, "is no size"),
    ],
)
def test_damage_is_named(export, path, value, message):
    tasks = copy.deepcopy(BOX)
    place = tasks
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(VaclipError, match=message):
        export([tasks])


def test_other_json_and_masks_are_refused(export):
    with pytest.raises(VaclipError, match="has no 'data' and 'annotations'"):
        export([{"video": "walk_01.mkv", "box": []}])
    for value in ({"format": "png", "rle": []}, {"format": "rle", "rle": [256]}, {"rle": 3}):
        with pytest.raises(VaclipError, match="rle"):
            export([task(still("brushlabels", **value))])
    with pytest.raises(VaclipError, match="of different size"):
        export([task(still("rectangle", x=1, y=1, width=1, height=1), moving(key(1)) | {
            "original_width": 100, "original_height": 100})])  # fmt: skip
