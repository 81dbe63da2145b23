from __future__ import annotations

import math
import re
from argparse import Namespace

import numpy as np
import pytest
from cases import Video, all_cases, moving_square
from hypothesis import given
from hypothesis import strategies as st
from openpyxl import Workbook

from conftest import write_video
from vaclip.commands.imports import import_parser, import_rules
from vaclip.errors import VaclipError
from vaclip.importers import IMPORTERS
from vaclip.importers.gaze.clock import showings
from vaclip.importers.gaze.columns import gaze_table
from vaclip.importers.gaze.fixations import both_eyes, merged, until_next
from vaclip.importers.merge import plan_import
from vaclip.importers.tables.table import read_clips
from vaclip.maps.gaze import draw_fixations, gaze_json, parse_gaze
from vaclip.maps.source import Grid


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two videos of 64 x 48 pixels, in a table of clips."""
    root = tmp_path_factory.mktemp("gaze")
    for name in ("a.mkv", "b.mkv"):
        write_video(root / name, moving_square(Video(frames=3)))
    (root / "clips.csv").write_text("video,patient_id,label\na.mkv,1,ill\nb.mkv,2,well\n")
    return root


@pytest.fixture
def gaze(folder, tmp_path):
    """Reads files given by name and text; returns an export."""

    def read(files: dict[str, str | bytes], *flags: str, sources: tuple[str, ...] = ()):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        words = [str(tmp_path / name) for name in sources or files]
        common = ["--into", str(tmp_path / "study"), "--clips", str(folder / "clips.csv")]
        options = import_parser().parse_args(["gaze", *words, *common, *flags])
        return IMPORTERS.build("gaze").read(options.sources, options)

    return read


def fixations(export, number=0):
    return export.annotations[number].content.fixations.round(9)


def rows(text):
    """A table: blanks part columns."""
    return "".join("\t".join(line.split()) + "\n" for line in text.strip().splitlines())


# --- fixations ---------------------------------------------------------------------------


def test_a_sample_lasts_until_the_next_and_at_most_100_ms():
    assert until_next(np.array([0.0, 0.02, 0.04, 0.5])).tolist() == pytest.approx(
        [0.02, 0.04, 0.14, 0.52]
    )
    assert until_next(np.array([3.0])).tolist() == pytest.approx([3.1])
    assert until_next(np.array([])).tolist() == []


intervals = st.lists(
    st.tuples(st.integers(0, 6), st.integers(1, 6), st.integers(0, 9), st.integers(0, 9)),
    max_size=8,
)


def spread(steps):
    """Turns (gap, length, x, y) into fixations that do not overlap, in tenths of a second."""
    end, made = 0, []
    for gap, length, x, y in steps:
        made.append((end + gap, end + gap + length, x, y))
        end += gap + length
    return np.array(made, float).reshape(-1, 4)


def place_at(time, eye):
    return [row[2:] for row in eye if row[0] <= time < row[1]]


@given(intervals, intervals)
def test_both_eyes_are_averaged_where_both_look(left, right):
    left, right = spread(left), spread(right)
    both = both_eyes(left, right)
    for tick in range(120):
        time = tick + 0.5
        wanted = place_at(time, left) + place_at(time, right)
        found = place_at(time, both)
        assert len(found) == (len(wanted) > 0)
        if wanted:
            assert found[0] == pytest.approx(np.mean(wanted, axis=0))


@given(intervals)
def test_joining_keeps_when_somebody_looked_and_where_to_a_pixel(steps):
    before = spread([(gap, length, x / 3, y / 3) for gap, length, x, y in steps])
    after = merged(before)
    assert len(after) <= len(before)
    for tick in range(120):
        old, new = place_at(tick + 0.5, before), place_at(tick + 0.5, after)
        assert len(old) == len(new)
        if old:
            assert np.round(old[0]) == pytest.approx(np.round(new[0]))
    if len(after) > 1:
        same = (np.round(after[1:, 2:]) == np.round(after[:-1, 2:])).all(axis=1)
        assert not (same & (after[1:, 0] == after[:-1, 1])).any()


def test_joined_places_are_averaged_by_time():
    found = merged(np.array([[0, 1, 2.0, 5.0], [1, 4, 2.4, 5.0], [5, 6, 2.4, 5.0]], float))
    assert found.tolist() == [
        pytest.approx([0, 4, 2.3, 5.0]), pytest.approx([5, 6, 2.4, 5.0]),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("end_event", "spans"),
    [
        (None, [(10, 20), (20, math.inf)]),
        ("stop", [(10, 13), (20, 27)]),
        ("pause", [(10, 20), (20, 25)]),
        ("never", [(10, 20), (20, math.inf)]),
    ],
)
def test_a_showing_ends_at_the_next_end_or_begin(end_event, spans):
    options = Namespace(start=None, start_event="play", end_event=end_event)
    events = [(20.0, "play"), (10.0, "play"), (27.0, "stop"), (13.0, "stop"), (5.0, "stop"),
              (25.0, "pause")]  # fmt: skip
    assert showings(options, events, 1.0, "here") == spans


# --- columns -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("title", "name", "unit"),
    [
        ("Recording timestamp [μs]", "recording timestamp", "us"),
        ("Recording timestamp [µs]", "recording timestamp", "us"),
        ("Gaze point X (MCSnorm)", "gaze point x", "mcsnorm"),
        ("Gaze point X [DACS px]", "gaze point x", "dacspx"),
        ("time_ms", "time", "ms"),
        ("Start_Time (sec)", "start time", "s"),
        ("x_norm", "x", "norm"),
        ("norm_pos_x", "norm pos x", ""),
        ("gaze position on surface x [normalized]", "gaze position on surface x", "norm"),
        ("eyes", "eyes", ""),
    ],
)
def test_units_are_parted_from_names(title, name, unit):
    table = gaze_table(f"{title}\tother\n", "t", str)
    assert (table.columns[0].name, table.columns[0].unit) == (name, unit)


# --- plain tables --------------------------------------------------------------------------------


PLAIN = "video,reader,start_ms,duration_ms,x_px,y_px\n"


def test_fixations_of_a_table(gaze):
    export = gaze({"t.csv": PLAIN + "a.mkv,eve,100,250,32,24\nb,bob,0,50,1,2\n"},
                  "--position-unit", "video")  # fmt: skip
    assert [(m.video, m.annotator, m.where) for m in export.annotations] == [
        ("a.mkv", "eve", "t.csv:2"), ("b", "bob", "t.csv:3"),
    ]  # fmt: skip
    assert fixations(export).tolist() == [pytest.approx([0.1, 0.35, 32, 24])]
    assert export.annotations[0].content.size == (48, 64)
    assert export.annotations[0].content.sigma is None
    assert export.dropped == ()


def test_a_fixation_is_seen_where_and_when_it_was(gaze):
    """Screen 1000 x 800; the video twice as large as it is, its corner at 100, 50."""
    export = gaze({"t.csv": PLAIN + "a,eve,100,150,180,80\n"}, "--position-unit", "screen",
                  "--video-rect", "100,50,128,96", "--sigma", "2px")  # fmt: skip
    grid = Grid((48, 64), np.arange(4) / 10, 0.1, np.arange(4), 3, True, (48, 64), 0.05)
    drawn = draw_fixations(export.annotations[0].content, grid)
    assert drawn.max(axis=(1, 2)) == pytest.approx([0, 1, 0.5, 0], rel=0.1)
    # (180 - 100) / 2, (80 - 50) / 2 is the corner that four pixels share.
    mass = drawn[1] / drawn[1].sum()
    assert (mass.sum(axis=0) @ (np.arange(64) + 0.5)) == pytest.approx(40, abs=0.01)
    assert (mass.sum(axis=1) @ (np.arange(48) + 0.5)) == pytest.approx(15, abs=0.01)


@pytest.mark.parametrize(
    ("rect", "x", "y"),
    [  # of the point 600, 500 on a screen of 1280 x 720, a video of 64 x 48
        ("screen", 600 / 20, 500 / 15),
        ("fit", (600 - 160) / 15, 500 / 15),
        ("centre", 600 - 608, 500 - 336),
        ("500,400,640,480", 10, 10),
    ],
)
def test_where_the_video_lay(gaze, rect, x, y):
    text = PLAIN + "a,eve,0,100,600,500\na,eve,200,100,640,360\n"
    export = gaze({"t.csv": text}, "--position-unit", "screen", "--screen", "1280x720",
                  "--video-rect", rect)  # fmt: skip
    fractions = gaze(
        {"t.csv": text.replace("600,500", f"{600 / 1280},{500 / 720}")
                      .replace("640,360", "0.5,0.5").replace("_px", "")},
        "--position-unit", "screen-fraction", "--screen", "1280x720", "--video-rect", rect,
    )  # fmt: skip
    if rect == "centre":  # the first is off the picture
        assert fixations(export).tolist() == [pytest.approx([0.2, 0.3, 32, 24])]
        assert export.dropped == ("t.csv: 1 of 2 rows (50.0 %): off the picture",)
    else:
        assert fixations(export)[0].tolist() == pytest.approx([0, 0.1, x, y])
    assert fixations(fractions) == pytest.approx(fixations(export))


def test_fractions_of_the_video(gaze):
    export = gaze({"t.csv": "time_s,x_norm,y_norm\n0,0.25,0.75\n"}, "--video", "a.mkv",
                  "--annotator", "eve", "--position-unit", "video-fraction")  # fmt: skip
    assert fixations(export).tolist() == [pytest.approx([0, 0.1, 16, 36])]


@pytest.mark.parametrize(
    ("flags", "sigma"),
    [
        (("--sigma", "5px"), 5),
        (("--sigma", "2deg", "--pixels-per-degree", "30"), 60),
        (("--sigma", "2deg", "--pixels-per-degree", "30", "--video-rect", "0,0,128,96"), 30),
        # 1 degree at 57.29 cm is 1 cm (2 * 57.29 * tan(0.5 degrees) = 1.0000), here 20 pixels.
        (("--sigma", "1deg", "--screen-cm", "50", "--distance-cm", "57.2943", "--screen",
          "1000x800", "--video-rect", "0,0,128,96"), 10),
        (("--sigma", "1deg", "--pixels-per-degree", "30", "--video-rect", "0,0,256,48"), 15),
    ],
)  # fmt: skip
def test_sigma(gaze, flags, sigma):
    export = gaze({"t.csv": PLAIN + "a,eve,0,100,6,5\n"}, "--position-unit", "video", *flags)
    assert export.annotations[0].content.sigma == pytest.approx(sigma, rel=1e-4)


def test_samples_of_a_table_are_dropped_and_counted_by_reason(gaze):
    text = rows("""
        t[ms] x y valid confidence
        0 10 10 1 0.9
        20 10 10 1 0.9
        40 99 10 1 0.9
        60 20 10 0 0.9
        80 20 10 1 0.5
        100 NaN 10 1 0.9
        120 20 . 1 0.9
        140 30 10 True 0.6
        160 30 -1 1 1
    """)
    export = gaze({"t.tsv": text}, "--video", "a", "--annotator", "e", "--position-unit", "video")
    assert fixations(export).tolist() == [
        pytest.approx([0, 0.04, 10, 10]), pytest.approx([0.14, 0.16, 30, 10]),
    ]  # fmt: skip
    assert export.dropped == (
        "t.tsv: 2 of 9 rows (22.2 %): no time, or no gaze",
        "t.tsv: 1 of 9 rows (11.1 %): marked as invalid",
        "t.tsv: 1 of 9 rows (11.1 %): confidence below 0.6",
        "t.tsv: 2 of 9 rows (22.2 %): off the picture",
    )


def test_codes_of_validity_must_be_explained(gaze):
    text = "time_s,x,y,validity\n0,1,1,0\n0.1,2,2,4\n"
    flags = ("--video", "a", "--annotator", "e", "--position-unit", "video")
    with pytest.raises(VaclipError, match="which numbers of 'validity' mean valid"):
        gaze({"t.csv": text}, *flags)
    assert fixations(gaze({"t.csv": text}, *flags, "--valid", "0,1"))[:, 2].tolist() == [1]
    assert fixations(gaze({"t.csv": text}, *flags, "--valid", "4"))[:, 2].tolist() == [2]
    words = text.replace(",0\n", ",Valid\n").replace(",4\n", ",Invalid\n")
    assert fixations(gaze({"t.csv": words}, *flags))[:, 2].tolist() == [1]


def test_columns_may_have_other_names(gaze):
    text = "Zeit;links;oben;Dauer;Film;Wer;gut\n1,5;2,5;3;0,25;a;eve;ja\n"
    export = gaze(
        {"t.csv": text}, "--time-column", "Zeit", "--x-column", "links", "--y-column", "oben",
        "--duration-column", "Dauer", "--media-column", "Film", "--participant-column", "Wer",
        "--validity-column", "gut", "--valid", "ja", "--time-unit", "s", "--position-unit", "video",
    )  # fmt: skip
    assert fixations(export).tolist() == [pytest.approx([1.5, 1.75, 2.5, 3])]
    assert export.annotations[0].annotator == "eve"


def test_a_video_shown_twice_gives_two_annotations(gaze):
    text = (
        PLAIN + "a,e,2000,100,1,1\nb,e,0,100,2,2\na,e,0,100,3,3\na,e,1500,99,4,4\na,e,0,100,5,5\n"
    )
    export = gaze({"t.csv": text}, "--position-unit", "video")
    assert [(m.video, m.where) for m in export.annotations] == [
        ("a", "t.csv:2"), ("b", "t.csv:3"), ("a", "t.csv:4 (showing 2)"),
        ("a", "t.csv:6 (showing 3)"),
    ]  # fmt: skip
    assert [fixations(export, number)[:, 2].tolist() for number in range(4)] == [
        [1],
        [2],
        [3, 4],
        [5],
    ]


TAKEN = "video,reader,time_ms,x,y\n"


@pytest.mark.parametrize(("flags", "late"), [((), 0.02), (("--start", "first"), 0)])
def test_rows_of_two_readers_may_alternate(gaze, flags, late):
    text = TAKEN + "".join(f"a,{'RS'[n % 2]},{20 * n},{10 + 4 * n},10\n" for n in range(6))
    export = gaze({"t.csv": text}, "--position-unit", "video", *flags)
    assert [(m.annotator, m.where) for m in export.annotations] == [
        ("R", "t.csv:2"),
        ("S", "t.csv:3"),
    ]
    assert fixations(export) == pytest.approx(
        np.array([[0, 0.04, 10, 10], [0.04, 0.08, 18, 10], [0.08, 0.12, 26, 10]])
    )
    assert fixations(export, 1) == pytest.approx(fixations(export) + np.array([late, late, 4, 0]))


def test_rows_of_two_videos_may_alternate(gaze):
    text = TAKEN + "a,e,0,1,1\nb,e,0,9,9\na,e,40,5,5\nb,e,40,20,20\n"
    export = gaze({"t.csv": text}, "--position-unit", "video")
    assert [m.video for m in export.annotations] == ["a", "b"]
    assert fixations(export)[:, :3].tolist() == [
        pytest.approx([0, 0.04, 1]), pytest.approx([0.04, 0.08, 5]),
    ]  # fmt: skip


def test_on_a_clock_that_runs_on_another_video_ends_a_showing(gaze):
    text = PLAIN + "a,e,100,50,1,1\nb,f,100,50,3,3\nb,e,9000,50,2,2\na,e,20000,50,5,5\n"
    export = gaze({"t.csv": text}, "--position-unit", "video", "--start", "first")
    assert [(m.video, m.annotator) for m in export.annotations] == [
        ("a", "e"), ("b", "f"), ("b", "e"), ("a", "e"),
    ]  # fmt: skip
    assert [fixations(export, n).tolist() for n in (0, 3)] == [
        [pytest.approx([0, 0.05, 1, 1])], [pytest.approx([0, 0.05, 5, 5])],
    ]  # fmt: skip


def test_what_rounds_to_nothing_is_dropped_and_counted(gaze):
    """A file's times are in 0.1 ms, and a look that ends as it begins could not be read back."""
    text = "time_s,duration_s,x,y\n-0.2,0.20004,5,5\n1,0.00002,5,5\n2,0.5,9,9\n"
    export = gaze({"t.csv": text}, "--video", "a", "--annotator", "e", "--position-unit", "video")
    assert export.dropped == ("t.csv: 2 of 3 rows (66.7 %): lasts less than 0.1 ms",)
    written = parse_gaze(gaze_json(export.annotations[0].content))
    assert written.fixations.tolist() == [[2, 2.5, 9, 9]]


def test_eyes_that_begin_almost_together_leave_no_sliver(gaze):
    text = "eye,start_s,end_s,x,y\nL,0.5,1,10,10\nR,0.50002,1.00002,20,10\n"
    export = gaze({"t.csv": text}, "--video", "a", "--annotator", "e", "--position-unit", "video")
    assert parse_gaze(gaze_json(export.annotations[0].content)).fixations.tolist() == [
        [0.5, 1, 15, 10]
    ]


def test_a_width_that_cannot_be_read_back_is_refused(gaze):
    with pytest.raises(VaclipError, match=r"t\.csv:2: 'sigma' must be .* at least 0.1"):
        gaze({"t.csv": PLAIN + "a,e,0,99,1,1\n"}, "--position-unit", "video", "--sigma", "0.05px")


def test_time_zero_of_a_table(gaze):
    text = "time_s,x,y\n100.0,1,1\n100.1,9,9\n"
    flags = ("--video", "a", "--annotator", "e", "--position-unit", "video")
    assert fixations(gaze({"t.csv": text}, *flags))[0, 0] == pytest.approx(100)
    assert fixations(gaze({"t.csv": text}, *flags, "--start", "first"))[0, 0] == 0
    export = gaze({"t.csv": text}, *flags, "--start", "100.05")
    assert fixations(export).tolist() == [
        pytest.approx([0, 0.05, 1, 1]), pytest.approx([0.05, 0.15, 9, 9]),
    ]  # fmt: skip
    late = gaze({"t.csv": text}, *flags, "--start", "100.11")
    assert late.dropped == ("t.csv: 1 of 2 rows (50.0 %): before or after the video",)
    with pytest.raises(VaclipError, match="100000000000 s after the video's begin"):
        gaze({"t.csv": text.replace("100.", "100000000000.")}, *flags)


def test_rows_of_two_eyes_are_averaged_or_one_is_taken(gaze):
    text = "eye,start_s,end_s,x,y\nL,0,1,10,10\nR,0.5,1.5,20,10\n"
    flags = ("--video", "a", "--annotator", "e", "--position-unit", "video")
    assert fixations(gaze({"t.csv": text}, *flags)).tolist() == [
        pytest.approx([0, 0.5, 10, 10]), pytest.approx([0.5, 1, 15, 10]),
        pytest.approx([1, 1.5, 20, 10]),
    ]  # fmt: skip
    export = gaze({"t.csv": text}, *flags, "--eye", "right")
    assert fixations(export).tolist() == [pytest.approx([0.5, 1.5, 20, 10])]
    assert export.dropped == ("t.csv: 1 of 2 rows (50.0 %): of the other eye",)
    with pytest.raises(VaclipError, match="'X' in 'eye' is neither left nor right"):
        gaze({"t.csv": text.replace("L,", "X,")}, *flags)


def test_rows_of_left_right_and_both_eyes_are_all_kept(gaze):
    text = "eye,start_s,end_s,x,y\nL,0,1,10,10\nR,0,1,20,10\nboth,1,2,30,10\nboth,0,0.5,30,10\n"
    export = gaze({"t.csv": text}, "--video", "a", "--annotator", "e", "--position-unit", "video")
    assert fixations(export).tolist() == [
        pytest.approx([0, 0.5, 20, 10]), pytest.approx([0.5, 1, 15, 10]),
        pytest.approx([1, 2, 30, 10]),
    ]  # fmt: skip


def test_samples_may_be_asked_for(gaze):
    text = PLAIN + "a,e,0,500,1,1\na,e,20,500,9,9\n"
    export = gaze({"t.csv": text}, "--position-unit", "video", "--from", "samples")
    assert fixations(export)[:, :2].tolist() == [
        pytest.approx([0, 0.02]),
        pytest.approx([0.02, 0.04]),
    ]


def test_excel_and_utf_16_are_read(gaze, tmp_path):
    book = Workbook()
    book.active.append(["video", "reader", "start_ms", "duration_ms", "x", "y"])
    book.active.append(["a", "e", 100, 50, 3.5, 4])
    book.save(tmp_path / "t.xlsx")
    export = gaze({}, "--position-unit", "video", sources=("t.xlsx",))
    assert fixations(export).tolist() == [pytest.approx([0.1, 0.15, 3.5, 4])]
    export = gaze({"u.csv": (PLAIN + "a,e,100,50,3.5,4\n").encode("utf-16")},
                  "--position-unit", "video")  # fmt: skip
    assert fixations(export).tolist() == [pytest.approx([0.1, 0.15, 3.5, 4])]


@pytest.mark.parametrize(
    ("text", "flags", "message"),
    [
        (PLAIN + "a,e,0,1,1,1\n", (), "t.csv: what does 'x_px' count"),
        (PLAIN + "a,e,0,1,1,1\n", ("--position-unit", "screen"), "where did the video lie"),
        (PLAIN + "a,e,0,1,1,1\n", ("--position-unit", "screen", "--video-rect", "fit"),
         "t.csv:2: say how many pixels the screen had"),
        (PLAIN, ("--position-unit", "video"), "no row under the header"),
        (PLAIN + "a,e,0,1,1,1\n", ("--position-unit", "video", "--video", "b"), "leave out --vid"),
        (PLAIN + "a,e,0,1,1,1\na,f,0,1,1,1\n", ("--position-unit", "video", "--annotator", "g"),
         "holds gaze of 2 people"),
        (PLAIN + "a,e,0,1,1,1\n", ("--x-column", "X_px"), "no gaze that is known"),
        (PLAIN + "a,e,0,1,1,1\n", ("--position-unit", "video", "--sigma", "1deg"),
         "needs --pixels-per-degree"),
        (PLAIN + "a,e,0,1,1,1\n", ("--position-unit", "video", "--media-column", "Video"),
         r"no column 'Video' \(it has: video, .*Did you mean 'video'"),
        ("time,x,y\n0,1,1\n", ("--position-unit", "video"), "'time' does not say its unit"),
        ("time_s,x,y\n0,1,1\n", ("--position-unit", "video"), "say --media-column NAME, or --vi"),
        ("time_s,x_norm,y_norm\n0,1,1\n", ("--position-unit", "video"), "what does 'x_norm' c"),
        ("time_s,x,y\n0,1,1\n", ("--position-unit", "video", "--from", "fixations"),
         "how long fixations last"),
        ("time_s,x,y\n0,1,1\n", ("--format", "tobii"), "no gaze that is known"),
        ("time_s,x,y\n\"0,1,1\n", ("--position-unit", "video"), "cannot be read as a table"),
        (PLAIN + "a,e,0,1,1,1\na,e,0,1,1,5,1,5\n", ("--position-unit", "video"),
         "t.csv:3: more cells than the header has"),
        ("nothing\n", (), "no gaze that is known"),
        ("", (), "no gaze that is known"),
        (PLAIN, ("--screen", "0x7"), "--screen 0x7: expected 1920x1080"),
        (PLAIN, ("--sigma", "1"), "--sigma 1: expected 30px or 1deg"),
        (PLAIN, ("--sigma", "0px"), "--sigma must be above 0"),
        (PLAIN, ("--video-rect", "1,2,3"), "--video-rect 1,2,3: expected X,Y,W"),
        (PLAIN, ("--video-rect", "1,2,3,0"), "width and height must be above 0"),
        (PLAIN, ("--screen-cm", "nan"), "--screen-cm must be a number above 0"),
        (PLAIN, ("--start", "then"), "--start then: expected a time"),
        (PLAIN, ("--start", "1", "--start-event", "x"), "exclude each other"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_table_is_said(gaze, text, flags, message):
    if text.startswith("time") and "--video" not in flags and "say --media" not in message:
        flags = (*flags, "--video", "a")
    with pytest.raises(VaclipError, match=message):
        gaze({"t.csv": text}, *flags)


def test_a_annotation_of_which_nothing_is_left_is_told(gaze):
    export = gaze({"t.csv": PLAIN + "a,e,0,1,99,1\nb,e,0,1,9,1\n"}, "--position-unit", "video")
    assert [annotation.video for annotation in export.annotations] == ["b"]
    assert export.dropped[0] == "t.csv:2: nothing is left of the gaze at 'a'"


def test_an_unknown_video_is_given_to_the_merger_once(gaze):
    text = PLAIN + "help.png,e,0,1,1,1\na,e,0,1,1,1\nhelp.png,e,0,1,1,1\n"
    export = gaze({"t.csv": text}, "--position-unit", "video")
    assert [annotation.video for annotation in export.annotations] == ["help.png", "a"]
    assert export.dropped == ()  # its rows are not counted


# --- Tobii ---------------------------------------------------------------------------------------


def tobii(lines, header=None):
    """A Tobii export; ``-`` is an empty cell."""
    names = header or [
        "Recording timestamp [ms]", "Sensor", "Participant name", "Recording name", "Event",
        "Event value", "Gaze point X [MCS norm]", "Gaze point Y [MCS norm]", "Validity left",
        "Validity right", "Presented Media name", "Eye movement type",
        "Fixation point X [MCS norm]", "Fixation point Y [MCS norm]",
    ]  # fmt: skip
    cells = [["" if cell == "-" else cell for cell in line.split()] for line in lines]
    return "﻿" + "\r\n".join("\t".join(row) for row in [names, *cells]) + "\r\n"


TOBII = [
    "1000 - eve Rec1 VideoStimulusStart a - - - - a.mkv - - -",
    "1010 ET eve Rec1 - - 0.50 0.5 Valid Valid a.mkv Fixation 0.25 0.5",
    "1030 ET eve Rec1 - - 0.52 0.5 Valid Invalid a.mkv Fixation 0.25 0.5",
    "1030 - eve Rec1 MouseEvent Down - - - - a.mkv - - -",
    "1050 ET eve Rec1 - - 0.75 0.5 Valid Valid a.mkv Saccade - -",
    "1070 ET eve Rec1 - - - - Invalid Invalid a.mkv EyesNotFound - -",
    "1090 ET eve Rec1 - - 0.90 0.5 Valid Valid a.mkv Fixation 0.875 0.5",
    "1110 ET eve Rec1 - - 0.90 0.5 Valid Valid a.mkv Fixation 1.5 0.5",
    "1130 ET eve Rec1 - - 0.90 0.5 Valid Valid - Fixation 0.1 0.5",
]
TOBII = [line.replace(" ET ", " Eye_Tracker ") for line in TOBII]


def test_fixations_of_tobii(gaze):
    export = gaze({"t.tsv": tobii(TOBII).replace("Eye_Tracker", "Eye Tracker")})
    (annotation,) = export.annotations
    assert (annotation.video, annotation.annotator, annotation.where) == ("a.mkv", "eve", "t.tsv:2")
    # Time zero is the event; a fixation ends with the next row of the eye tracker.
    assert fixations(export).tolist() == [
        pytest.approx([0.01, 0.05, 16, 24]), pytest.approx([0.09, 0.11, 56, 24]),
    ]  # fmt: skip
    assert export.dropped == (
        "t.tsv: 1 of 7 rows (14.3 %): no medium is named",
        "t.tsv: 1 of 6 rows (16.7 %): eyes not found",
        "t.tsv: 1 of 6 rows (16.7 %): no fixation, but a saccade or unclassified",
        "t.tsv: 1 of 6 rows (16.7 %): off the picture",
    )


def test_samples_of_tobii(gaze):
    text = tobii(TOBII).replace("Eye_Tracker", "Eye Tracker")
    export = gaze({"t.tsv": text}, "--from", "samples")
    assert fixations(export).tolist() == [
        pytest.approx([0.01, 0.03, 32, 24]), pytest.approx([0.03, 0.05, 33.28, 24]),
        pytest.approx([0.05, 0.07, 48, 24]), pytest.approx([0.09, 0.13, 57.6, 24]),
    ]  # fmt: skip


def test_tobii_in_pixels_of_the_screen_with_decimal_commas_and_microseconds(gaze):
    header = ["Recording timestamp [μs]", "Recording name", "Presented Stimulus name",
              "Gaze point X [DACS px]", "Gaze point Y [DACS px]"]  # fmt: skip
    text = tobii(["1000000 Rec1 a 200,5 150", "1010000 Rec1 a 200,5 150"], header)
    export = gaze({"t.tsv": text}, "--video-rect", "100,50,640,480")
    assert fixations(export).tolist() == [pytest.approx([0, 0.02, 10.05, 10])]
    assert export.annotations[0].annotator == "Rec1"
    with pytest.raises(VaclipError, match="where did the video lie"):
        gaze({"t.tsv": text})


def test_old_tobii_names_no_unit_of_time(gaze):
    header = ["Recording timestamp", "Presented Media name", "Gaze point X (MCSnorm)",
              "Gaze point Y (MCSnorm)"]  # fmt: skip
    text = tobii(["500 a 0.5 0.5", "520 a 0.5 0.5"], header)
    with pytest.raises(VaclipError, match="'Recording timestamp' does not say its unit"):
        gaze({"t.tsv": text}, "--annotator", "e")
    export = gaze({"t.tsv": text}, "--annotator", "e", "--time-unit", "ms")
    assert fixations(export).tolist() == [pytest.approx([0, 0.04, 32, 24])]


def test_tobii_shows_videos_to_several_people_twice(gaze):
    again = [line.replace("1", "3", 1) for line in TOBII]
    bob = [line.replace("eve", "bob") for line in TOBII]
    text = tobii([*TOBII[:-1], *again, *bob]).replace("Eye_Tracker", "Eye Tracker")
    export = gaze({"t.tsv": text})
    assert [(m.annotator, m.where) for m in export.annotations] == [
        ("eve", "t.tsv:2"), ("eve", "t.tsv:10 (showing 2)"), ("bob", "t.tsv:19"),
    ]  # fmt: skip
    assert fixations(export, 1) == pytest.approx(fixations(export, 0))
    with pytest.raises(VaclipError, match="holds gaze of 2 people"):
        gaze({"t.tsv": text}, "--annotator", "x")


def test_an_event_names_the_video_before_its_first_row(gaze):
    first = "1000 - eve Rec1 VideoStimulusStart a.mkv - - - - - - - -"
    lines = [first, *TOBII[1:]]
    export = gaze({"t.tsv": tobii(lines).replace("Eye_Tracker", "Eye Tracker")})
    assert fixations(export)[0, 0] == pytest.approx(0.01)


def test_gaze_at_the_medium_before_it_plays_is_dropped(gaze):
    early = [TOBII[1].replace("1010", time) for time in ("850", "870")]
    text = tobii([*early, *TOBII, *TOBII[:-1]]).replace("Eye_Tracker", "Eye Tracker")
    export = gaze({"t.tsv": text})
    assert [m.where for m in export.annotations] == ["t.tsv:2", "t.tsv:13 (showing 2)"]
    assert fixations(export).tolist() == [
        pytest.approx([0.01, 0.05, 16, 24]), pytest.approx([0.09, 0.11, 56, 24]),
    ]  # fmt: skip
    assert fixations(export, 1) == pytest.approx(fixations(export))
    assert "t.tsv: 2 of 14 rows (14.3 %): before or after the video" in export.dropped


def test_tobii_without_media_needs_a_video_and_a_start(gaze):
    header = ["Recording timestamp [ms]", "Participant name", "Event", "Gaze point X [MCS norm]",
              "Gaze point Y [MCS norm]"]  # fmt: skip
    text = tobii(
        ["900 e - 0.1 0.5", "990 e go - -", "1000 e - 0.5 0.5", "1020 e - 0.5 0.5"], header
    )
    with pytest.raises(VaclipError, match="export 'Presented Media name', or say --video"):
        gaze({"t.tsv": text})
    with pytest.raises(VaclipError, match="does not say when the video began"):
        gaze({"t.tsv": text}, "--video", "a")
    with pytest.raises(VaclipError, match=r"there is no event 'stop' \(of: "):
        gaze({"t.tsv": text}, "--video", "a", "--start-event", "stop")
    for flags in (("--start-event", "go"), ("--start", "990")):
        export = gaze({"t.tsv": text}, "--video", "a", *flags)
        # The sample before the event lasts until 1000; the last one as long as is usual, 60 ms.
        assert fixations(export).tolist() == [
            pytest.approx([0, 0.01, 6.4, 24]), pytest.approx([0.01, 0.09, 32, 24]),
        ]  # fmt: skip
    with pytest.raises(VaclipError, match="leave out --video"):
        gaze({"t.tsv": tobii(TOBII)}, "--video", "a")


def test_one_eye_of_tobii(gaze):
    header = ["Recording timestamp [ms]", "Presented Media name", "Gaze point X [MCS norm]",
              "Gaze point Y [MCS norm]", "Gaze point left X [MCS norm]",
              "Gaze point left Y [MCS norm]"]  # fmt: skip
    text = tobii(["0 a 0.5 0.5 0.25 0.5", "10 a 0.5 0.5 0.25 0.5"], header)
    assert fixations(gaze({"t.tsv": text}, "--eye", "left"))[0, 2] == 16
    with pytest.raises(VaclipError, match="no fixations or samples of --eye right"):
        gaze({"t.tsv": text}, "--eye", "right")


# --- EyeLink -------------------------------------------------------------------------------------


ASC = """** CONVERTED FROM P07.edf using edfapi
** TYPE: EDF_FILE BINARY EVENT SAMPLE TAGGED
MSG\t900 DISPLAY_COORDS 0 0 1279 719
MSG\t1000 TRIALID 1
START\t1001 \tLEFT\tRIGHT\tSAMPLES\tEVENTS
SAMPLES\tGAZE\tLEFT\tRIGHT\tRATE\t 500.00\tTRACKING\tCR\tFILTER\t2
MSG\t1105 5 !V VFRAME 1 600 300 ../clips/a.mkv
MSG\t1205 5 !V VFRAME 2 600 300 ../clips/a.mkv
1198\t  610.0\t  310.0\t 900.0\t  614.0\t  310.0\t 900.0\t.....
1200\t  610.0\t  310.0\t 900.0\t    .\t    .\t   0.0\t.....
1202\t    .\t    .\t   0.0\t    .\t    .\t   0.0\t.C.C.
EFIX L   1050\t1198\t150\t  610.0\t  310.0\t    900
EFIX R   1100\t1248\t150\t  614.0\t  310.0\t    900
EBLINK L 1300\t1400\t102
EFIX R   1400\t1498\t100\t  .\t  310.0\t    900
EFIX R   1500\t1598\t100\t  700.0\t  310.0\t    900
END\t2000 \tSAMPLES\tEVENTS\tRES\t  38.54\t  31.12
MSG\t2001 !V TRIAL_VAR video a.mkv
MSG\t2002 TRIAL_RESULT 0
"""


def test_fixations_of_eyelink(gaze):
    """The first frame is at 1100 ms, the offset subtracted; its corner is at 600, 300."""
    export = gaze({"P07.asc": ASC})
    (annotation,) = export.annotations
    assert (annotation.video, annotation.annotator, annotation.where) == (
        "a.mkv",
        "P07",
        "P07.asc:4",
    )
    assert fixations(export).tolist() == [
        pytest.approx([0, 0.1, 12, 10]), pytest.approx([0.1, 0.15, 14, 10]),
    ]  # fmt: skip
    assert export.dropped == (
        "P07.asc: 1 of 4 rows (25.0 %): no time, or no gaze",
        "P07.asc: 1 of 4 rows (25.0 %): off the picture",
    )
    one = gaze({"P07.asc": ASC}, "--eye", "left", "--annotator", "e")
    assert fixations(one).tolist() == [pytest.approx([0, 0.1, 10, 10])]
    assert one.annotations[0].annotator == "e"


def test_samples_of_eyelink(gaze):
    export = gaze({"P07.asc": ASC}, "--from", "samples")
    assert fixations(export).tolist() == [
        pytest.approx([0.098, 0.1, 12, 10]), pytest.approx([0.1, 0.102, 10, 10]),
    ]  # fmt: skip
    events = "".join(line for line in ASC.splitlines(True) if not line.startswith("EFIX"))
    assert fixations(gaze({"P07.asc": events})) == pytest.approx(fixations(export))
    with pytest.raises(VaclipError, match="holds no fixations"):
        gaze({"P07.asc": events}, "--from", "fixations")
    # Of one eye there are four columns, and maybe more behind them.
    mono = re.sub(r"\tLEFT\tRIGHT\tRATE", "\tRIGHT\tRATE", events)
    mono = re.sub(
        r"(?m)^(\d+\t[^\t]+\t[^\t]+\t[^\t]+)\t[^\t]+\t[^\t]+\t[^\t]+\t", r"\1\t 0.1\t", mono
    )
    assert fixations(gaze({"P07.asc": mono}, "--eye", "right")).tolist() == [
        pytest.approx([0.098, 0.102, 10, 10])
    ]


def test_eyelink_without_frames_takes_a_message_and_a_rectangle(gaze):
    text = "".join(line for line in ASC.splitlines(True) if "VFRAME" not in line)
    text = text.replace("START\t1001", "MSG\t1150 PLAY video 1\nSTART\t1001")
    with pytest.raises(VaclipError, match=r"P07\.asc:4: does not say when the video began"):
        gaze({"P07.asc": text}, "--video-rect", "screen")
    with pytest.raises(VaclipError, match="where did the video lie"):
        gaze({"P07.asc": text}, "--start-event", "PLAY video 1")
    for flags in (("--start-event", "PLAY video 1"), ("--start", "1150")):
        export = gaze({"P07.asc": text}, *flags, "--video-rect", "screen")
        # Both eyes for 50 ms at 612, the right one for 50 ms at 614: the same pixel of the video.
        assert fixations(export)[0].tolist() == pytest.approx([0, 0.1, 613 / 20, 310 / 15])


def test_eyelink_screens_need_not_begin_at_zero(gaze):
    text = ASC.replace("0 0 1279 719", "-640 -360 639 359")
    text = text.replace("  610.0\t  310.0", "  -30.0\t  -50.0")
    assert fixations(gaze({"P07.asc": text}, "--eye", "left")).tolist() == [
        pytest.approx([0, 0.1, 10, 10])
    ]


def test_eyelink_trials_are_parted(gaze):
    second = ASC[ASC.index("MSG\t1000"):].replace("a.mkv", "b.mkv")  # fmt: skip
    third = ASC[ASC.index("MSG\t1000") :]
    export = gaze({"P07.asc": ASC + second + third})
    assert [(m.video, m.where) for m in export.annotations] == [
        ("a.mkv", "P07.asc:4"), ("b.mkv", "P07.asc:20"), ("a.mkv", "P07.asc:36 (showing 2)"),
    ]  # fmt: skip
    other = (ASC + second).replace("TRIAL_VAR video", "TRIAL_VAR Film")
    assert [m.video for m in gaze({"P07.asc": other}).annotations] == [
        "../clips/a.mkv",
        "../clips/b.mkv",
    ]
    named = gaze({"P07.asc": other}, "--video-variable", "Film")
    assert [m.video for m in named.annotations] == ["a.mkv", "b.mkv"]
    with pytest.raises(VaclipError, match="no trial names a video"):
        gaze({"P07.asc": other}, "--video-variable", "Movie")


# --- Pupil Labs ----------------------------------------------------------------------------------


CORE_FIXATIONS = """\
world_timestamp,world_index,fixation_id,start_timestamp,duration,dispersion,\
norm_pos_x,norm_pos_y,x_scaled,y_scaled,on_surf
50.00,0,7,50.1,200.0,1.0,0.25,0.75,1,1,True
50.03,1,7,50.1,200.0,1.0,0.35,0.75,1,1,True
50.06,2,7,50.1,200.0,1.0,9.99,0.75,1,1,False
50.30,9,8,50.4,100.0,1.0,1.75,0.75,1,1,False
"""
CORE_GAZE = """\
world_timestamp,world_index,gaze_timestamp,x_norm,y_norm,x_scaled,y_scaled,on_surf,confidence
50.0,0,50.02,0.5,0.25,1,1,True,0.9
50.0,0,50.00,0.5,0.25,1,1,True,0.9
50.0,0,50.04,0.5,0.25,1,1,True,0.2
50.0,0,50.06,0.5,1.25,1,1,False,0.9
"""
ANNOTATIONS = "index,timestamp,label,duration\n0,50.0,play,0.0\n9,50.25,stop,0.0\n"
SURFACE = ("--video", "a", "--annotator", "e", "--video-rect", "screen")


def test_fixations_on_a_surface_of_pupil_player(gaze):
    """A fixation has a row in each frame, and y counts upwards."""
    files = {"fixations_on_surface_s.csv": CORE_FIXATIONS, "annotations.csv": ANNOTATIONS}
    export = gaze(files, *SURFACE, "--start-event", "play")
    assert fixations(export).tolist() == [pytest.approx([0.1, 0.3, 0.3 * 64, 0.25 * 48])]
    assert export.dropped == (
        "fixations_on_surface_s.csv: 1 of 2 rows (50.0 %): not on the surface",
    )
    cut = gaze(files, *SURFACE, "--start-event", "play", "--end-event", "stop")
    assert fixations(cut)[0, :2].tolist() == pytest.approx([0.1, 0.25])


def test_samples_on_a_surface_of_pupil_player(gaze):
    export = gaze({"gaze_positions_on_surface_s.csv": CORE_GAZE}, *SURFACE, "--start", "49.5")
    assert fixations(export).tolist() == [pytest.approx([0.5, 0.54, 32, 36])]
    assert export.dropped == (
        "gaze_positions_on_surface_s.csv: 1 of 4 rows (25.0 %): confidence below 0.6",
        "gaze_positions_on_surface_s.csv: 1 of 4 rows (25.0 %): not on the surface",
    )


def test_the_video_need_not_fill_the_surface(gaze):
    export = gaze({"f.csv": CORE_FIXATIONS}, "--video", "a", "--annotator", "e", "--start", "50",
                  "--screen", "1000x1000", "--video-rect", "200,150,400,200")  # fmt: skip
    assert fixations(export).tolist() == [pytest.approx([0.1, 0.3, 16, 24])]


CLOUD_FIXATIONS = """\
section id,recording id,fixation id,start timestamp [ns],end timestamp [ns],duration [ms],\
fixation detected on surface,fixation x [normalized],fixation y [normalized]
s1,r1,1,1700000000100000000,1700000000300000000,200,True,0.25,0.75
s1,r1,2,1700000000400000000,1700000000500000000,100,False,1.25,0.75
s2,r2,1,1800000000000000000,1800000000100000000,100,True,0.5,0.5
"""
EVENTS = """recording id,timestamp [ns],name,type
r1,1700000000000000000,play,recording
r2,1800000000000000000,play,recording
r2,1900000000000000000,play,recording
"""
SECTIONS = (
    "section id,recording id,recording name,wearer id,wearer name\ns1,r1,A,1,eve\ns2,r2,B,2,bob\n"
)


def test_fixations_of_the_marker_mapper(gaze):
    files = {"fixations.csv": CLOUD_FIXATIONS, "events.csv": EVENTS, "sections.csv": SECTIONS}
    flags = ("--video", "a", "--video-rect", "screen", "--start-event", "play")
    export = gaze(files, *flags)
    assert [(m.annotator, m.where) for m in export.annotations] == [
        ("eve", "fixations.csv, recording r1"), ("bob", "fixations.csv, recording r2"),
    ]  # fmt: skip
    assert fixations(export).tolist() == [pytest.approx([0.1, 0.3, 16, 36], abs=1e-6)]
    assert fixations(export, 1).tolist() == [pytest.approx([0, 0.1, 32, 24], abs=1e-6)]
    # The second time that it was played, nobody looked.
    assert any("nothing is left of the gaze at 'a'" in line for line in export.dropped)
    with pytest.raises(VaclipError, match="holds 2 recordings, but --annotator names one"):
        gaze(files, *flags, "--annotator", "x")


def test_sections_alone_are_enough_for_the_marker_mapper(gaze):
    """The section of r1 begins and ends with events; beside events.csv they count once."""
    sections = (
        "section id,recording id,wearer name,section start time [ns],section end time [ns],"
        "start event name,end event name\n"
        "s1,r1,eve,1700000000000000000,1700000000250000000,play,stop\n"
        "s2,r2,bob,1800000000000000000,1800000009000000000,play,stop\n"
    )
    flags = ("--video", "a", "--video-rect", "screen", "--start-event", "play")
    files = {"fixations.csv": CLOUD_FIXATIONS, "sections.csv": sections}
    for more in ({}, {"events.csv": EVENTS.rpartition("r2,19")[0]}):
        export = gaze(files | more, *flags)
        assert [one.annotator for one in export.annotations] == ["eve", "bob"]
        assert fixations(export).tolist() == [pytest.approx([0.1, 0.3, 16, 36], abs=1e-6)]
    export = gaze(files, *flags, "--end-event", "stop")
    assert fixations(export).tolist() == [pytest.approx([0.1, 0.25, 16, 36], abs=1e-6)]


def test_gaze_on_a_surface_goes_before_that_of_the_scene_camera(gaze):
    """As in an export of Pupil Player: the scene's files lie one folder above the surface's."""
    files = {
        "x/gaze_positions.csv": "gaze_timestamp,norm_pos_x,norm_pos_y\n50.1,0.5,0.5\n",
        "x/annotations.csv": ANNOTATIONS,
        "x/surfaces/fixations_on_surface_s.csv": CORE_FIXATIONS,
    }
    flags = ("--video", "a", "--annotator", "e", "--start-event", "play")
    export = gaze(files, *flags, "--video-rect", "screen", sources=("x",))
    assert len(export.annotations) == 1
    assert export.annotations[0].where == "surfaces/fixations_on_surface_s.csv"
    left_out = "gaze_positions.csv: not read, because other files have the gaze on a surface"
    assert left_out in export.dropped


CLOUD_GAZE = """\
section id,recording id,timestamp [ns],gaze x [px],gaze y [px],worn,fixation id,blink id
s1,r1,1700000000000000000,10,20,1.0,,
s1,r1,1700000000020000000,11,20,0.0,,
s1,r1,1700000000040000000,12,20,1.0,,3
s1,r1,1700000000060000000,13,20,,,
"""


def test_gaze_in_the_scene_is_refused_unless_the_scene_is_the_video(gaze):
    flags = ("--video", "a", "--annotator", "e", "--start", "1700000000000000000")
    with pytest.raises(VaclipError, match="gaze in the scene camera's picture"):
        gaze({"gaze.csv": CLOUD_GAZE}, *flags)
    export = gaze({"gaze.csv": CLOUD_GAZE}, *flags, "--position-unit", "video")
    assert fixations(export)[:, 2].tolist() == [10, 13]
    assert export.dropped == (
        "gaze.csv: 1 of 4 rows (25.0 %): tracker not worn",
        "gaze.csv: 1 of 4 rows (25.0 %): blink",
    )


REFERENCE = """\
section id,recording id,fixation id,start timestamp [ns],end timestamp [ns],duration [ms],{},\
fixation x [px],fixation y [px]
s1,r1,1,1700000000100000000,1700000000300000000,200,True,20,10
s1,r1,2,1700000000300000000,1700000000400000000,100,False,30,10
"""


@pytest.mark.parametrize("told", ["fixation detected in reference image", "fixation status"])
@pytest.mark.parametrize(
    ("flags", "place"), [((), [20, 10]), (("--video-rect", "10,0,32,24"), [20, 20])]
)
def test_fixations_on_a_reference_image(gaze, told, flags, place):
    """It is the video itself, or shows the screen where it lay, half as large as it is."""
    start = ("--video", "a", "--annotator", "e", "--start", "1700000000000000000")
    files = {"x/m/fixations.csv": REFERENCE.format(told), "x/r/gaze.csv": CLOUD_GAZE}
    export = gaze(files, *start, *flags, sources=("x",))
    assert fixations(export).tolist() == [pytest.approx([0.1, 0.3, *place], abs=1e-6)]
    assert export.dropped == (
        "r/gaze.csv: not read, because other files have the gaze on a surface",
        "m/fixations.csv: 1 of 2 rows (50.0 %): not on the picture",
    )


def test_samples_on_a_reference_image(gaze):
    text = """\
section id,recording id,timestamp [ns],gaze detected in reference image,\
gaze position in reference image x [px],gaze position in reference image y [px],fixation id,blink id
s1,r1,1700000000000000000,True,20,10,1,
s1,r1,1700000000020000000,False,,,,
"""
    flags = ("--video", "a", "--annotator", "e", "--start", "1700000000000000000")
    export = gaze({"gaze.csv": text}, *flags)
    assert fixations(export).tolist() == [pytest.approx([0, 0.02, 20, 10], abs=1e-6)]


def test_samples_of_the_marker_mapper(gaze):
    text = """\
section id,recording id,timestamp [ns],gaze detected on surface,\
gaze position on surface x [normalized],gaze position on surface y [normalized]
s1,r1,1700000000000000000,True,0.5,0.25
s1,r1,1700000000020000000,False,1.5,0.25
s1,r1,1700000000040000000,,,
"""
    export = gaze({"gaze.csv": text}, *SURFACE, "--start", "1700000000000000000")
    assert fixations(export).tolist() == [pytest.approx([0, 0.02, 32, 12], abs=1e-6)]


def test_a_folder_holds_other_files_and_fixations_are_preferred(gaze):
    files = {
        "x/surfaces/fixations_on_surface_s.csv": CORE_FIXATIONS,
        "x/surfaces/gaze_positions_on_surface_s.csv": CORE_GAZE,
        "x/annotations.csv": ANNOTATIONS,
        "x/blinks.csv": "id,start_timestamp,duration\n1,2,3\n",
        "x/notes.txt": "hello\n",
    }
    flags = (*SURFACE, "--start-event", "play")
    export = gaze(files, *flags, sources=("x",))
    assert [annotation.where for annotation in export.annotations] == [
        "surfaces/fixations_on_surface_s.csv"
    ]
    assert [line.split(": not read, because ") for line in export.dropped[:3]] == [
        ["blinks.csv", "it holds no gaze that is known"],
        ["notes.txt", "it holds no gaze that is known"],
        ["surfaces/gaze_positions_on_surface_s.csv", "another file has the fixations"],
    ]
    export = gaze(files, *flags, "--from", "samples", sources=("x",))
    assert [annotation.where for annotation in export.annotations] == [
        "surfaces/gaze_positions_on_surface_s.csv"
    ]


@pytest.mark.parametrize(
    "sources",
    [("A", "B"), (".",), ("A/surfaces/f.csv", "A/notes.csv", "B/surfaces/f.csv", "B/notes.csv")],
)
def test_events_belong_to_the_gaze_beside_them(gaze, sources):
    files = {
        "A/surfaces/f.csv": CORE_FIXATIONS, "A/notes.csv": ANNOTATIONS,
        "B/surfaces/f.csv": CORE_FIXATIONS, "B/notes.csv": ANNOTATIONS.replace("50.0,", "50.15,"),
    }  # fmt: skip
    export = gaze(files, *SURFACE, "--start-event", "play", sources=sources)
    assert [fixations(export, n)[:, :2].tolist() for n in range(len(export.annotations))] == [
        [pytest.approx([0.1, 0.3])], [pytest.approx([0, 0.15])],
    ]  # fmt: skip


def test_events_of_another_recording_are_not_taken(gaze):
    files = {"A/f.csv": CORE_FIXATIONS, "A/notes.csv": ANNOTATIONS, "B/f.csv": CORE_FIXATIONS}
    with pytest.raises(VaclipError, match=r"B/f\.csv: there is no event 'play' \(of: none\)"):
        gaze(files, *SURFACE, "--start-event", "play", sources=(".",))


def test_one_file_of_events_may_lie_elsewhere(gaze):
    files = {"A/f.csv": CORE_FIXATIONS, "A/g.csv": CORE_FIXATIONS, "B/notes.csv": ANNOTATIONS}
    export = gaze(files, *SURFACE, "--start-event", "play")
    assert [fixations(export, n)[0, 0] for n in (0, 1)] == [pytest.approx(0.1)] * 2


def test_samples_of_one_recording_are_kept_beside_fixations_of_another(gaze):
    files = {
        "A/fixations_on_surface_s.csv": CORE_FIXATIONS,
        "B/gaze_positions_on_surface_s.csv": CORE_GAZE,
    }
    export = gaze(files, *SURFACE, "--start", "49.5", sources=("A", "B"))
    assert [m.where for m in export.annotations] == [
        "fixations_on_surface_s.csv", "gaze_positions_on_surface_s.csv",
    ]  # fmt: skip
    assert not any("another file" in line for line in export.dropped)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--annotator", "e"), "does not say which video was shown"),
        (("--video", "a", "--start", "1"), "where did the video lie on it"),
        (SURFACE, "does not say when the video began: say --start-event"),
        ((*SURFACE, "--start-event", "play"), r"no event 'play' \(of: none\)"),
        ((*SURFACE, "--start", "1", "--from", "samples"), "holds no samples, which --from asks"),
    ],
)
def test_what_pupil_labs_files_do_not_say_is_asked_for(gaze, flags, message):
    with pytest.raises(VaclipError, match=message):
        gaze({"f.csv": CORE_FIXATIONS}, *flags)


def test_events_alone_are_no_gaze(gaze):
    with pytest.raises(VaclipError, match="events, but no gaze"):
        gaze({"annotations.csv": ANNOTATIONS}, *SURFACE)


# --- into a study --------------------------------------------------------------------------------


def test_gaze_of_the_case_follows_the_square(tmp_path):
    """Each reader looked within the square, whichever tracker it was."""
    case = all_cases()["gaze"]
    folder = case.copy_to(tmp_path / "export")
    words = case.words(folder, tmp_path / "study")[2:]
    options = import_parser().parse_args(words)
    export = IMPORTERS.build("gaze").read(options.sources, options)
    assert {annotation.annotator for annotation in export.annotations} == {
        "reader 1",
        "reader_2",
        "reader 3",
    }
    for annotation in export.annotations:
        for begin, end, x, y in annotation.content.fixations:
            frame = min(19, int((begin + end) / 2 * 10))
            assert abs(x - (frame * 52 / 19 + 6)) < 8, annotation.where
            assert abs(y - 30) < 1, annotation.where
        seconds = np.diff(annotation.content.fixations[:, :2], axis=1).sum()
        assert 1.4 < seconds < 2, annotation.where
    plan = plan_import(tmp_path / "study", [read_clips(options.clips, options), export],
                       import_rules(options))  # fmt: skip
    assert plan.counts["annotations of kind gaze"] == 6


def test_areas_of_tobii_studio_and_of_wearers(gaze):
    studio = (
        "ParticipantName\tRecordingTimestamp\tMediaName\tGazePointX (MCSpx)\tAOI[Hip]Hit\n"
        "P1\t1\ta.mkv\t3\t1\nP1\t2\tb.mkv\t3\t0\nP1\t3\tb.mkv\t3\t-1\n"
    )
    (one,) = gaze({"studio.tsv": studio}, "--aoi").annotations
    assert (one.video, one.annotator, one.content, one.kind) == ("a.mkv", "P1", "Hip", "region")
    files = {
        "aoi_fixations.csv": "aoi id,aoi name,recording id,fixation id\nx,knee,r1,1\nx,knee,r2,1\n",
        "sections.csv": SECTIONS,
    }
    export = gaze(files, "--aoi", "--video", "a.mkv")
    assert [(one.annotator, one.content) for one in export.annotations] == [
        ("eve", "knee"), ("bob", "knee"),
    ]  # fmt: skip
    with pytest.raises(VaclipError, match="does not say which video was shown: say --video NAME"):
        gaze(files, "--aoi")
    with pytest.raises(VaclipError, match=r"nobody looked at an area .* columns 'AOI hit \[...\]'"):
        gaze({"gaze.csv": CLOUD_GAZE}, "--aoi", "--video", "a", sources=("gaze.csv",))
