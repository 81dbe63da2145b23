from __future__ import annotations

from datetime import date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl import Workbook

from vaclip.errors import VaclipError
from vaclip.importers.reading import parse_table, read_table
from vaclip.importers.tables.regions import annotations_of_table
from vaclip.importers.tables.table import Columns, _seconds, clips_of_table


@pytest.fixture
def folder(tmp_path):
    for name in ("a.mkv", "p1/b.v2.mkv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def clips(text, folder, columns=None, **more):
    return clips_of_table(parse_table(text, "t.csv"), folder, columns or Columns(), **more).clips


def test_rows_become_clips(folder):
    columns = Columns("File", "Pat", "Dx", "Id", "From", "To")
    text = 'Id,File,Pat,Dx,From,To,Site,Name\nc1,p1\\b.v2.mkv,7,flu,"1,5",0:02.25,B,Eve\n'
    (one,) = clips(text, folder, columns, drop=["Name"], renamed_labels={"flu": "ill"})
    assert (one.clip_id, one.patient_id, one.label, one.where) == ("c1", "7", "ill", "t.csv:2")
    assert (one.name, one.video) == ("p1/b.v2.mkv", folder / "p1/b.v2.mkv")
    assert (one.start_s, one.end_s, one.extra) == (1.5, 2.25, {"site": "B"})


@pytest.mark.parametrize(
    ("column", "flag"), [("Start_S", "--start-column"), ("clip_ID", "--clip-column")]
)
def test_a_column_that_a_flag_would_name_is_refused(folder, column, flag):
    text = f"video,patient_id,label,{column}\na.mkv,1,x,0\n"
    with pytest.raises(VaclipError, match=f"'{column}' means nothing in a study.* {flag} {column}"):
        clips(text, folder)
    assert clips(text, folder, drop=[column])[0].extra == {}


def test_a_column_with_nearly_such_a_name_comes_along_with_a_note(folder):
    text = "video,patient_id,label,start,start_s,end,sites\na.mkv,1,x,7,0,1,B\n"
    table = parse_table(text, "t.csv")
    found = clips_of_table(table, folder, Columns(start_s="start_s"))
    assert found.clips[0].extra == {"start": "7", "end": "1", "sites": "B"}
    assert found.notes == (
        "t.csv: the column 'end' means nothing in a study, 'end_s' would: say --end-column end "
        "if that is meant",
        "t.csv: the column 'sites' means nothing in a study, 'site' would: rename it if that is "
        "meant",
    )


def test_two_columns_of_one_name_are_refused(folder):
    with pytest.raises(VaclipError, match="'SITE' means nothing in a study, 'site' would"):
        clips("video,patient_id,label,Site,SITE\na.mkv,1,x,A,B\n", folder)


def test_a_note_of_excels_on_how_columns_are_parted_is_followed(folder):
    (one,) = clips("sep=;\nvideo;patient_id;label;note\na.mkv;1;x;a, b, c, d\n", folder)
    assert (one.where, one.extra) == ("t.csv:3", {"note": "a, b, c, d"})


def test_a_title_above_the_header_is_asked_for(folder):
    with pytest.raises(VaclipError, match=r"t\.csv:2: .*does the first line name the columns\?"):
        clips("Study of gait\nvideo,patient_id,label\na.mkv,1,x\n", folder)


def test_without_an_id_it_is_the_path_without_suffix(folder):
    found = clips("video,patient_id,label\na.mkv,1,x\np1/b.v2.mkv,2,x\n", folder)
    assert [one.clip_id for one in found] == ["a", "p1/b.v2"]


@given(st.integers(0, 99), st.integers(0, 59), st.integers(0, 59999))
def test_times_are_read_in_every_way(hours, minutes, milliseconds):
    seconds = milliseconds / 1000
    total = hours * 3600 + minutes * 60 + seconds
    written = f"{total:.3f}"
    clock = f"{hours}:{minutes:02}:{seconds:06.3f}"
    for text in (clock, written, written.replace(".", ",")):
        assert _seconds({"t": text}, "t") == pytest.approx(total)


@pytest.mark.parametrize("text", ["x", "-1", "nan", "inf", "1:2:3:4", "a:1", "1:", "1e999"])
def test_what_is_no_time_is_named(folder, text):
    columns = Columns(start_s="from")
    with pytest.raises(VaclipError, match=r"t\.csv:2: '.*' in 'from' is no time"):
        clips(f"video,patient_id,label,from\na.mkv,1,x,{text}\n", folder, columns)


@pytest.mark.parametrize("typed", [time(0, 1), timedelta(minutes=1)])
def test_times_of_day_of_excel_are_refused(folder, typed):
    book = Workbook()
    book.active.append(["video", "patient_id", "label", "from", "to", "filmed"])
    book.active.append(["a.mkv", 1, "x", "0:01", 2.5, time(14, 30)])
    book.save(folder / "t.xlsx")
    columns = Columns(start_s="from", end_s="to")
    (one,) = clips_of_table(read_table(folder / "t.xlsx"), folder, columns).clips
    assert (one.start_s, one.end_s, one.extra) == (1, 2.5, {"filmed": "14:30:00"})
    book.active["E2"] = typed
    book.save(folder / "t.xlsx")
    with pytest.raises(VaclipError, match=r"t\.xlsx:2: Excel made a time of day of the cell 'to'"):
        clips_of_table(read_table(folder / "t.xlsx"), folder, columns)


HEADER = ["video", "clip_id", "patient_id", "label"]


def workbook(folder, *rows):
    book = Workbook()
    for row in (HEADER, *rows):
        book.active.append(row)
    book.save(folder / "t.xlsx")
    return read_table(folder / "t.xlsx")


@pytest.mark.parametrize("column", HEADER[1:])
@pytest.mark.parametrize(
    ("typed", "made"),
    [
        (12345678901234567890, "a number of more than 15 digits"),
        (1.2345678901234567e19, "a number of more than 15 digits"),
        ("1.23457E+19", "a number of more than 15 digits"),
        (datetime(2024, 3, 4), "a date"),
        (date(2024, 3, 4), "a date"),
        (time(14, 30), "a time of day"),
        (True, "true or false"),
        (False, "true or false"),
        ("#N/A", "an error"),
    ],
)
def test_what_excel_made_of_an_id_or_a_label_is_refused(folder, column, typed, made):
    row = dict(zip(HEADER, ("a.mkv", "c1", "p1", "x"), strict=True)) | {column: typed}
    table = workbook(folder, ["a.mkv", "c2", "p2", "y"], list(row.values()))
    with pytest.raises(VaclipError) as refused:
        clips_of_table(table, folder, Columns(clip_id="clip_id"))
    shown = dict(table.rows)[3][column]
    assert str(refused.value).splitlines()[1] == (
        f"  t.xlsx:3: Excel made {made} of the cell '{column}' ({shown}), which may not be what "
        "was typed: format the column as text and type it again"
    )


def test_decimals_are_refused_in_ids_alone(folder):
    """1.10 was typed, perhaps, and is 1.1 now."""
    table = workbook(folder, ["a.mkv", "c1", 1.1, "x"])
    with pytest.raises(
        VaclipError, match=r"a number with decimals of the cell 'patient_id' \(1\.1"
    ):
        clips_of_table(table, folder, Columns(clip_id="clip_id"))
    (one,) = clips_of_table(
        workbook(folder, ["a.mkv", 7, 999_999_999_999_999, 1.5]), folder, Columns(clip_id="clip_id")
    ).clips
    assert (one.clip_id, one.patient_id, one.label) == ("7", "999999999999999", "1.5")


def test_numbers_and_text_in_one_column_of_ids_are_noted(folder):
    rows = ["a.mkv", 1, 4, "x"], ["a.mkv", 2, 5, "x"], ["a.mkv", 3, "004", "x"]
    found = clips_of_table(workbook(folder, *rows), folder, Columns(clip_id="clip_id"))
    assert found.notes == (
        "t.xlsx: the column 'patient_id' holds numbers (row 2) and text (row 4): numbers lose "
        "leading zeros, so one id may be spelt in two ways; format the column as text and type the "
        "numbers again",
    )
    columns = Columns(clip_id="clip_id")
    assert clips_of_table(workbook(folder, *rows[:2]), folder, columns).notes == ()
    text = "video,patient_id,label\na.mkv,4,x\na.mkv,004,x\n"
    assert clips_of_table(parse_table(text, "t.csv"), folder, Columns()).notes == ()


def test_named_regions_are_no_dates(folder):
    book = Workbook()
    book.active.append(["clip", "who", "region"])
    book.active.append(["c1", "eve", "knee"])
    book.active.append([datetime(2024, 3, 4), "eve", "knee"])
    book.save(folder / "m.xlsx")
    about = {"clip": "clip", "region": "region", "annotator_column": "who"}
    with pytest.raises(VaclipError, match=r"m\.xlsx:3: Excel made a date of the cell 'clip'"):
        annotations_of_table(read_table(folder / "m.xlsx"), **about)


def test_all_wrong_rows_are_listed_at_once(folder):
    text = "video,patient_id,label\na.mkv,,x\nno.mkv,1,x\n../a.mkv,1,x\na.mkv,1,x\n"
    with pytest.raises(VaclipError) as caught:
        clips(text, folder)
    assert str(caught.value).splitlines() == [
        "3 row(s) cannot be used:",
        "  t.csv:2: the cell 'patient_id' is empty",
        f"  t.csv:3: there is no video 'no.mkv' in the folder '{folder}'.",
        "  t.csv:4: '../a.mkv' leaves the folder of videos; use a path relative to it, to a file "
        "inside it",
        "--skip-unmatched leaves clips without a video out",
    ]


def test_clips_without_a_video_are_left_out_on_demand(folder):
    (folder / "P01_walk.mkv").touch()
    text = "video,patient_id,label\np1-walk.mp4,1,x\na.mkv,1,x\n"
    line = f"t.csv:2: there is no video 'p1-walk.mp4' in the folder '{folder}'."
    line += " Did you mean 'P01_walk.mkv'?"
    with pytest.raises(VaclipError) as caught:
        clips(text, folder)
    assert str(caught.value).splitlines()[1].strip() == line
    export = clips_of_table(parse_table(text, "t.csv"), folder, Columns(), skip_missing=True)
    assert [clip.clip_id for clip in export.clips] == ["a"]
    assert export.dropped == (line,)
    with pytest.raises(
        VaclipError, match=r"^1 row\(s\) cannot be used:\n  t.csv:3: the cell 'label'"
    ):
        clips("video,patient_id,label\nno.mkv,1,x\na.mkv,1,\n", folder, skip_missing=True)


@pytest.mark.parametrize(
    "column",
    ["name", "Name", "Patient name", "patientName", "FIRST_NAME", "surname", "Date of birth", "DOB",
     "birthDate", "Geburtsdatum", "home address", "e-mail", "Phone no.", "insurance_number"],
)  # fmt: skip
def test_personal_columns_stay_behind_unless_asked_for(folder, column):
    text = f"video,patient_id,label,{column},age\na.mkv,1,x,secret,70\n"
    export = clips_of_table(parse_table(text, "t.csv"), folder, Columns())
    assert export.clips[0].extra == {"age": "70"}
    (line,) = export.dropped
    assert line.startswith(f"t.csv: the column '{column}' looks personal; --keep-column ")
    (kept,) = clips(text, folder, keep=[column])
    assert kept.extra == {column: "secret", "age": "70"}
    assert (
        clips_of_table(parse_table(text, "t.csv"), folder, Columns(), drop=[column]).dropped == ()
    )


@pytest.mark.parametrize(
    "column", ["age", "device name", "file_name", "hospital", "site", "birthmark", "series", "sex"]
)
def test_other_columns_come_along(folder, column):
    (one,) = clips(f"video,patient_id,label,{column}\na.mkv,1,x,y\n", folder)
    assert one.extra == {column: "y"}


def test_a_missing_column_is_named(folder):
    with pytest.raises(VaclipError, match=r"there is no column 'label' \(it has: video, pat"):
        clips("video,patient_id\na.mkv,1\n", folder)
    with pytest.raises(VaclipError, match="there is no column 'Name'"):
        clips("video,patient_id,label\na.mkv,1,x\n", folder, drop=["Name"])


def annotations(text, **more):
    about = {"clip": "clip", "region": "region", "annotator_column": "who"} | more
    found = annotations_of_table(parse_table(text, "m.csv"), **about)
    return [
        (annotation.video, annotation.annotator, annotation.content, annotation.where)
        for annotation in found
    ]


def test_cells_name_several_regions():
    assert annotations("clip,who,region\nc1,eve,a; b;a;\nc2,eve,\n") == [
        ("c1", "eve", "a", "m.csv:2"), ("c1", "eve", "b", "m.csv:2"),
    ]  # fmt: skip
    by_bob = {"annotator_column": None, "annotator": "bob", "separator": "+"}
    assert annotations("clip,region\nc1,a+b\n", **by_bob) == [
        ("c1", "bob", "a", "m.csv:2"), ("c1", "bob", "b", "m.csv:2"),
    ]  # fmt: skip


def test_a_row_without_clip_or_annotator_is_named():
    for text in ("clip,who,region\n,eve,a\n", "clip,who,region\nc,,a\n"):
        with pytest.raises(VaclipError, match=r"m\.csv:2: the clip or the annotator is missing"):
            annotations(text)
    with pytest.raises(VaclipError, match="no column 'who'"):
        annotations("clip,region\nc,a\n")


def test_a_clip_ends_after_it_begins(folder):
    columns = Columns(start_s="from", end_s="to")
    with pytest.raises(VaclipError, match=r"t\.csv:2: the clip ends at 1 s, before it begins"):
        clips("video,patient_id,label,from,to\na.mkv,1,x,2,1\n", folder, columns)


def test_a_column_that_a_study_would_misread_is_refused_or_dropped(folder):
    text = "video,patient_id,label,keypoints\na.mkv,1,x,../../k.npz\n"
    with pytest.raises(VaclipError, match="the column 'keypoints' means something else in a study"):
        clips(text, folder)
    assert clips(text, folder, drop=["keypoints"])[0].extra == {}


def test_a_video_is_found_however_the_disk_spells_its_letters(folder):
    (folder / "hu\u0308fte.mkv").touch()
    (one,) = clips("video,patient_id,label\nh\u00fcfte.mkv,1,x\n", folder)
    assert one.video.is_file()


def test_a_label_that_is_renamed_but_not_there_is_told(folder):
    table = parse_table("video,patient_id,label\na.mkv,1,x\n", "t.csv")
    export = clips_of_table(table, folder, Columns(), renamed_labels={"x": "ill", "y": "well"})
    assert export.clips[0].label == "ill"
    assert export.dropped == ("t.csv: no row has the label 'y' of --rename-label",)
