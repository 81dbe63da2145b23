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
