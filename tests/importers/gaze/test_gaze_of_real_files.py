"""What real exports of Tobii Pro Lab and EyeLink hold beside what their manuals show."""

from __future__ import annotations

import pytest
from cases import Video, moving_square

from conftest import write_video
from vaclip.commands.imports import import_parser
from vaclip.errors import VaclipError
from vaclip.importers import IMPORTERS

CLIPS = "video,patient_id,label\nwalk.mkv,1,ill\nwalk 01.mkv,2,well\n"


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Two videos of 64 x 48 pixels, in a table of clips."""
    root = tmp_path_factory.mktemp("videos")
    for name in ("walk.mkv", "walk 01.mkv"):
        write_video(root / name, moving_square(Video(frames=3)))
    (root / "clips.csv").write_text(CLIPS)
    return root


@pytest.fixture
def read(videos, tmp_path):
    """Reads one file given by its text; returns an export."""

    def read(text: str, *flags: str, name: str = "t.tsv"):
        (tmp_path / name).write_text(text)
        words = [str(tmp_path / name), "--into", str(tmp_path / "study")]
        words += ["--clips", str(videos / "clips.csv"), *flags]
        options = import_parser().parse_args(["gaze", *words])
        return IMPORTERS.build("gaze").read(options.sources, options)

    return read


def looks(export, number=0):
    """Returns (begin, end, x, y) of each look."""
    return export.annotations[number].content.fixations.round(6).tolist()


# --- Tobii ---------------------------------------------------------------------------------------

NAMES = (
    "Recording timestamp [ms]", "Participant name", "Recording name", "Sensor", "Event",
    "Event value", "Presented Media name", "Eye movement type", "Fixation point X [MCS norm]",
    "Fixation point Y [MCS norm]",
)  # fmt: skip


def table(rows, names=NAMES):
    return "\n".join("\t".join(map(str, row)) for row in (names, *rows)) + "\n"


def look(time, x, medium="walk.mkv"):
    return time, "P1", "R1", "Eye Tracker", "", "", medium, "Fixation", x, 0.5


def event(time, kind, value="", medium=""):
    return time, "P1", "R1", "", kind, value, medium, "", "", ""


def playing(*more, medium="walk.mkv"):
    """A video that begins at 1 s; a look at the middle for 3 s, then one at the right for 1 s."""
    start = event(1000, "VideoStimulusStart", "walk.mkv", medium)
    first = [look(time, 0.5, medium) for time in range(1000, 4000, 100)]
    second = [look(time, 0.75, medium) for time in range(4100, 5100, 100)]
    return [look(900, 0.5, ""), start, *first, *more, *second]


RIGHT = [pytest.approx([0, 3, 32, 24]), pytest.approx([3.1, 4.1, 48, 24])]


@pytest.mark.parametrize(
    "between",
    [
        [event(4005, "MouseEvent", "Down, Left")],
        [event(4005, "KeyboardEvent", "Space"), event(4006, "MouseEvent", "Up, Left")],
        [(4005, "P1", "R1", "Mouse", "", "", "", "", "", "")],
        [(4005, "P1", "R1", "Eye Tracker", "", "", "", "EyesNotFound", "", "")],
        [look(4005, 0.1, ""), look(4010, 0.1, "help.png")],
    ],
)
def test_what_names_no_medium_does_not_begin_a_video_anew(read, between):
    export = read(table(playing(*between)))
    videos = [annotation.video for annotation in export.annotations]
    assert [video for video in videos if video != "help.png"] == ["walk.mkv"]
    found = looks(export, videos.index("walk.mkv"))
    assert found[0] == pytest.approx([0, found[0][1], 32, 24])
    assert 2.9 < found[0][1] < 3.02
    assert found[1] == RIGHT[1]


def test_without_sensor_and_event_rows_of_the_mouse_end_nothing(read):
    names, rows = list(NAMES), playing((4005, "P1", "R1", "", "", "", "", "", "", ""))
    keep = [names.index(name) for name in NAMES if name not in ("Sensor", "Event", "Event value")]
    rows = [row for row in rows if not row[4]]  # no row of an event
    text = table([[row[i] for i in keep] for row in rows], [NAMES[i] for i in keep])
    (annotation,) = read(text).annotations
    assert annotation.content.fixations[1].round(6).tolist() == RIGHT[1]


@pytest.mark.parametrize("ended", [True, False])
def test_a_video_that_ended_is_shown_again(read, ended):
    end = [event(4000, "VideoStimulusEnd", "walk.mkv", "walk.mkv")] * ended
    export = read(table(playing(*end, look(4005, 0.1, ""))))
    begins = [looks(export, number)[0][0] for number in range(len(export.annotations))]
    assert begins == ([0, 0] if ended else [0])


def test_gaze_at_no_medium_is_counted(read):
    assert read(table(playing())).dropped[0] == "t.tsv: 1 of 41 rows (2.4 %): no medium is named"


def test_where_no_row_names_a_medium_the_user_says_it(read):
    rows = playing(event(4005, "MouseEvent", "Down, Left"), medium="")
    rows[1] = event(1000, "")
    with pytest.raises(VaclipError, match=r"column 'Presented Media name' is empty: .* --video"):
        read(table(rows))
    with pytest.raises(VaclipError, match="does not say when the video began"):
        read(table(rows), "--video", "walk.mkv")
    export = read(table(rows), "--video", "walk.mkv", "--start", "1000")
    assert looks(export) == RIGHT


def test_columns_that_hold_nothing_are_as_good_as_none(read):
    """Media by the other column, places of the screen, recordings for people; no fixations."""
    names = ("Recording timestamp [ms]", "Participant name", "Recording name",
             "Presented Media name", "Presented Stimulus name", "Eye movement type",
             "Fixation point X [MCS norm]", "Fixation point Y [MCS norm]",
             "Gaze point X [MCS norm]", "Gaze point Y [MCS norm]", "Gaze point X [DACS px]",
             "Gaze point Y [DACS px]")  # fmt: skip
    rows = [(time, "", "R1", "", "walk", "", "", "", "", "", 20, 10) for time in (0, 50)]
    export = read(table(rows, names), "--video-rect", "0,0,64,48")
    (annotation,) = export.annotations
    assert (annotation.video, annotation.annotator) == ("walk", "R1")
    assert looks(export) == [pytest.approx([0, 0.1, 20, 10])]


@pytest.mark.parametrize(
    ("x", "y", "place"),
    [
        ("Gaze point X", "Gaze point Y", (20, 10)),
        ("Gaze point X [MCS px]", "Gaze point Y [MCS px]", (20, 10)),
        ("Gaze point X [MCS norm]", "Gaze point Y [MCS norm]", (0.3125, 10 / 48)),
    ],
)
@pytest.mark.parametrize("sign", ["Gyro X [°/s]", "Accelerometer X", "Recording media name"])
def test_gaze_of_glasses_is_in_the_scene(read, x, y, place, sign):
    names = ("Recording timestamp [ms]", "Sensor", "Presented Media name", sign, x, y)
    rows = [(time, "Eye Tracker", "", "" if "name" not in sign else "scene", *place)
            for time in (0, 50)] + [(70, "Gyroscope", "", "1.5", "", "")]  # fmt: skip
    flags = ("--video", "walk.mkv", "--start", "0", "--annotator", "e")
    with pytest.raises(VaclipError, match=r"t\.tsv: gaze of glasses in the scene camera's picture"):
        read(table(rows, names), *flags, "--video-rect", "screen")
    export = read(table(rows, names), *flags, "--position-unit", "video")
    assert looks(export) == [pytest.approx([0, 0.1, 20, 10])]


def test_gaze_of_glasses_on_a_screen_after_all(read):
    names = ("Recording timestamp [ms]", "Recording media name", "Gaze point X", "Gaze point Y")
    text = table([(0, "screen recording", 40, 20)], names)
    flags = ("--video", "walk.mkv", "--start", "0", "--annotator", "e")
    export = read(text, *flags, "--position-unit", "screen", "--video-rect", "0,0,128,96")
    assert looks(export) == [pytest.approx([0, 0.1, 20, 10])]


MAPPED = (
    "Recording timestamp [ms]", "Participant name", "Event", "Gaze point X", "Gaze point Y",
    "Mapped gaze data X [walk]", "Mapped gaze data Y [walk]", "Eye movement type",
    "Mapped fixation X [b (1)]", "Mapped fixation Y [b (1)]", "Gyro X",
)  # fmt: skip


def mapped(*more):
    """Two samples, in the scene's picture and on a snapshot; what is mapped to another one."""
    rows = [(time, "P1", "", 1, 2, x, 30, "Fixation", *more, 1) for time, x in ((0, ""), (50, 20))]
    return table(rows, MAPPED)


def test_samples_of_one_snapshot_from_its_first(read):
    export = read(mapped("", ""), "--start", "first", "--video", "walk.mkv")
    (annotation,) = export.annotations
    assert (annotation.video, annotation.annotator) == ("walk.mkv", "P1")
    assert looks(export) == [pytest.approx([0, 0.05, 20, 30])]


def test_a_snapshot_of_the_screen_on_which_the_video_lay(read):
    """It was shown twice as large as it is, its corner at 10, 20."""
    export = read(mapped("", ""), "--start", "first", "--video-rect", "10,20,128,96")
    assert looks(export) == [pytest.approx([0, 0.05, 5, 5])]


def test_the_scene_itself_where_that_is_asked_for(read):
    flags = ("--video", "walk.mkv", "--start", "0", "--position-unit", "video")
    assert looks(read(mapped("", ""), *flags)) == [pytest.approx([0, 0.1, 1, 2])]


@pytest.mark.parametrize(
    ("more", "flags", "message"),
    [
        ((5, 6), ("--video", "walk.mkv"), r"to 2 pictures \(walk, b \(1\)\): leave out --video"),
        (("", ""), ("--eye", "left"), "of both eyes together: leave out --eye"),
        (("", ""), (), "'walk', P1: does not say when the video began"),
        (("", ""), ("--from", "fixations"), "export 'Presented Media name'"),  # none is mapped
    ],
)
def test_what_is_not_sure_of_mapped_gaze_is_refused(read, more, flags, message):
    with pytest.raises(VaclipError, match=message):
        read(mapped(*more), *flags)


def test_each_snapshot_is_a_video_of_its_own(read):
    export = read(mapped(5, 6), "--start", "first")
    assert [(one.video, one.where) for one in export.annotations] == [
        ("walk", "t.tsv: 'walk', P1"), ("b (1)", "t.tsv: 'b (1)', P1")
    ]  # fmt: skip


# --- plain tables --------------------------------------------------------------------------------


def test_an_empty_column_of_a_table_is_as_good_as_none(read):
    text = "time_s\tvideo\tduration_s\tvalid\teye\tx\ty\n0\t\t\t\t\t20\t10\n0.05\t\t\t\t\t20\t10\n"
    flags = ("--position-unit", "video", "--annotator", "e")
    assert looks(read(text, *flags, "--video", "walk")) == [pytest.approx([0, 0.1, 20, 10])]
    with pytest.raises(VaclipError, match="say --media-column NAME, or --video NAME"):
        read(text, *flags)


def test_rows_of_a_table_that_name_no_video_are_counted(read):
    text = "time_s\tvideo\tx\ty\n0\twalk\t20\t10\n0.05\t\t20\t10\n"
    export = read(text, "--position-unit", "video", "--annotator", "e")
    assert [annotation.video for annotation in export.annotations] == ["walk"]
    assert export.dropped == ("t.tsv: 1 of 2 rows (50.0 %): no video is named",)


# --- EyeLink -------------------------------------------------------------------------------------


def asc(*lines, coords="DISPLAY_COORDS 0 0 127 95", head="EVENTS\tGAZE\tRIGHT"):
    top = ["** CONVERTED FROM x.edf", f"MSG\t900 {coords}", "START\t950 \tRIGHT\tEVENTS", head]
    return "\n".join([*top, "MSG\t1000 TRIALID 1", *lines]) + "\n"


def frame(time, number, rest="0 0 walk.mkv"):
    return f"MSG\t{time} !V VFRAME {number} {rest}"


FIX = "EFIX R   1200\t1399\t200\t  32.0\t  24.0\t    900"


@pytest.mark.parametrize(
    ("rest", "video", "x", "y"),
    [
        ("0 0 walk.mkv", "walk.mkv", 32, 24),
        ("0 0 walk.mkv resize 192 144", "walk.mkv", 32 / 3, 8),
        ("16 12 walk.mkv resize 128 48", "walk.mkv", 8, 12),
        ("8 4 ../v/walk 01.mkv", "../v/walk 01.mkv", 24, 20),
        (" 8  4  walk.mkv", "walk.mkv", 24, 20),
        ("0 0 walk  01.mkv resize 32 24", None, 64, 48),
        ("0 0 walk 01.mkv  RESIZE 64.0 96.0 ", "walk 01.mkv", 32, 12),
    ],
)
def test_where_a_frame_lay_and_whose_it_was(read, rest, video, x, y):
    """Names go to the end of the line, or to ``resize``; blanks in them count."""
    export = read(asc(frame(1100, 1, rest), FIX), name="P.asc")
    if video is None:
        assert export.annotations[0].video == "walk  01.mkv"  # unknown: it has one blank
        return
    assert export.annotations[0].video == video
    assert looks(export) == [pytest.approx([0.1, 0.3, x, y], abs=1e-6)]


@pytest.mark.parametrize(
    ("frames", "begin"),
    [
        ([(1100, 1), (1140, 2)], 0.1),
        ([(1100, 0), (1140, 1)], 0.1),
        ([(1100, 31), (1140, 32)], 0.1 + 30 * 0.04),
        ([(1100, 31), (1120, 31), (1180, 33)], 0.1 + 30 * 0.04),
        ([(1100, 3), (1200, 5), (1300, 7)], 0.1 + 2 * 0.05),
    ],
)
def test_a_video_begins_at_frame_one_though_a_later_one_is_the_first(read, frames, begin):
    export = read(asc(*(frame(*one) for one in frames), FIX), name="P.asc")
    assert looks(export)[0][:2] == pytest.approx([begin, begin + 0.2])


def test_when_frame_one_was_shown_may_be_unknown(read):
    with pytest.raises(VaclipError, match=r"P\.asc:5: the only frame .* is number 31, not the fir"):
        read(asc(frame(1100, 31), FIX), name="P.asc")
    text = asc(frame(1100, 31), FIX)
    assert looks(read(text, "--start", "1000", name="P.asc"))[0][0] == pytest.approx(0.2)


def test_videos_of_one_trial_are_parted(read):
    later = FIX.replace("1200", "2200").replace("1399", "2399")
    latest = FIX.replace("1200", "3200").replace("1399", "3399")
    lines = [frame(1100, 1), frame(1140, 2), FIX, frame(2100, 1, "16 0 walk 01.mkv"), later,
             frame(3100, 1), latest]  # fmt: skip
    export = read(asc(*lines), name="P.asc")
    assert [annotation.video for annotation in export.annotations] == [
        "walk.mkv",
        "walk 01.mkv",
        "walk.mkv",
    ]
    assert [looks(export, number) for number in range(3)] == [
        [pytest.approx([0.1, 0.3, x, 24])] for x in (32, 16, 32)
    ]


def test_a_video_that_loops_is_shown_again(read):
    later = FIX.replace("1200", "2200").replace("1399", "2399")
    lines = [frame(1100, 1), frame(1140, 2), FIX, frame(2100, 1), frame(2140, 2), later]
    export = read(asc(*lines), name="P.asc")
    assert [looks(export, number)[0][0] for number in range(2)] == pytest.approx([0.1, 0.1])


@pytest.mark.parametrize(
    ("coords", "across", "down"),
    [
        ("DISPLAY_COORDS 0 0 127 95", 128, 96),
        ("GAZE_COORDS 0.00 0.00 128.00 96.00", 128, 96),
        ("GAZE_COORDS 0.00 0.00 127.00 95.00", 128, 96),
        ("DISPLAY_COORDS = 0 0 x", None, None),
    ],
)
def test_screens_have_an_even_number_of_pixels(read, coords, across, down):
    flags = ("--video", "walk.mkv", "--start", "1000", "--video-rect", "screen")
    text = asc(FIX, coords=coords)
    if across is None:
        with pytest.raises(VaclipError, match="how many pixels the screen had"):
            read(text, *flags, name="P.asc")
        return
    place = [32 * 64 / across, 24 * 48 / down]
    assert looks(read(text, *flags, name="P.asc"))[0][2:] == pytest.approx(place)


@pytest.mark.parametrize(
    ("head", "flags", "message"),
    [
        ("EVENTS\tHREF\tRIGHT", (), "its fixations are head-referenced angles .* convert the EDF"),
        ("EVENTS\tPUPIL\tRIGHT", (), "its fixations are raw data of the camera"),
        ("EVENTS\tHREF\tRIGHT\nSAMPLES\tGAZE\tRIGHT\n1100\t32.0\t24.0\t900.0", (),
         "say --from samples, which are gaze"),
        ("EVENTS\tGAZE\tRIGHT\nSAMPLES\tHREF\tRIGHT", ("--from", "samples"),
         "its samples are head-referenced"),
    ],
)  # fmt: skip
def test_what_is_not_of_the_screen_is_refused_by_name(read, head, flags, message):
    lines = (frame(1100, 1), "1200\t32.0\t24.0\t900.0", FIX)
    with pytest.raises(VaclipError, match=rf"P\.asc:\d+: .*{message}"):
        read(asc(*lines, head=head), *flags, name="P.asc")


def test_samples_are_read_beside_head_referenced_fixations(read):
    head = "EVENTS\tHREF\tRIGHT\nSAMPLES\tGAZE\tRIGHT"
    text = asc(frame(1100, 1), "1200\t32.0\t24.0\t900.0", FIX, head=head)
    assert looks(read(text, "--from", "samples", name="P.asc"))[0][2:] == [32, 24]


@pytest.mark.parametrize(
    ("message", "wanted", "begin"),
    [
        ("video_onset 7", "video_onset", 0.1),
        ("video_onset 7", "video_onset 7", 0.1),
        ("video_onset", "video_onset", 0.1),
        ("-5 video_onset 7", "video_onset", 0.095),
        ("video_onsets 7", "video_onset", None),
        ("a video_onset 7", "video_onset", None),
    ],
)
def test_an_event_is_found_by_its_text_or_first_word(read, message, wanted, begin):
    text = asc(f"MSG\t1100 {message}", FIX)
    flags = ("--video", "walk.mkv", "--video-rect", "screen", "--start-event", wanted)
    if begin is None:
        with pytest.raises(VaclipError, match=f"there is no event '{wanted}'"):
            read(text, *flags, name="P.asc")
    else:
        assert looks(read(text, *flags, name="P.asc"))[0][0] == pytest.approx(begin)


def test_messages_do_not_list_what_the_tracker_says(read):
    tracker = [f"MSG\t{1010 + n} !CAL Calibration point {n}" for n in range(200)]
    own = [f"MSG\t{1300 + n} cue_{n}" for n in range(30)]
    flags = ("--video", "walk.mkv", "--video-rect", "screen", "--start-event", "cue_x")
    with pytest.raises(VaclipError) as error:
        read(asc(*tracker, *own, FIX), *flags, name="P.asc")
    assert "!CAL" not in str(error.value)
    assert "cue_10 and 19 more)" in str(error.value)
    assert len(str(error.value)) < 300


def test_what_lies_before_the_first_trial_is_none(read):
    """Practice and calibration: there was no event, so that nothing could be imported."""
    text = asc("MSG\t1100 go", FIX).replace("MSG\t1000 TRIALID", f"{FIX}\nMSG\t1000 TRIALID")
    flags = ("--video", "walk.mkv", "--video-rect", "screen", "--start-event", "go")
    export = read(text, *flags, name="P.asc")
    assert [annotation.where for annotation in export.annotations] == ["P.asc:6"]
    assert export.dropped == ("P.asc: 1 fixations before the first trial (TRIALID)",)
    whole = text.replace("MSG\t1000 TRIALID 1\n", "")  # no trial at all: the file is one
    assert [annotation.where for annotation in read(whole, *flags, name="P.asc").annotations] == [
        "P.asc:1"
    ]
