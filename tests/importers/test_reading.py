from __future__ import annotations

import csv
import io
import json
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl import Workbook

from vaclip.errors import VaclipError
from vaclip.importers import reading
from vaclip.importers.reading import (
    decode_text,
    parse_json,
    parse_table,
    read_table,
    source_files,
    xml_elements,
)

# --- where files are -----------------------------------------------------------------------------


def names(source, suffixes=(".json",)):
    return {file.name: file.read() for file in source_files(source, suffixes)}


def test_a_file_a_folder_and_an_archive(tmp_path):
    folder = tmp_path / "export"
    (folder / "b").mkdir(parents=True)
    (folder / "a.json").write_bytes(b"1")
    (folder / "b/c.JSON").write_bytes(b"2")
    (folder / "b/d.txt").write_bytes(b"3")
    assert names(folder / "b/d.txt") == {"d.txt": b"3"}
    assert names(folder) == {"a.json": b"1", "b/c.JSON": b"2"}
    with zipfile.ZipFile(tmp_path / "e.zip", "w") as archive:
        archive.write(folder / "b/c.JSON", "b/c.JSON")
        archive.write(folder / "b/d.txt", "d.txt")
    assert names(tmp_path / "e.zip") == {"b/c.JSON": b"2"}


def test_links_out_of_a_folder_are_not_followed(tmp_path):
    (tmp_path / "secret.json").write_text("1")
    (tmp_path / "export").mkdir()
    (tmp_path / "export/link.json").symlink_to(tmp_path / "secret.json")
    with pytest.raises(VaclipError, match=r"'export' holds no file that ends in \.json"):
        source_files(tmp_path / "export", (".json",))


def test_what_is_not_there_or_no_archive_is_named(tmp_path):
    with pytest.raises(VaclipError, match="there is no file or folder"):
        source_files(tmp_path / "nothing", (".json",))
    (tmp_path / "e.zip").write_bytes(b"PK\x03\x04 no zip")
    with pytest.raises(VaclipError, match=r"e\.zip: cannot be read as a zip archive"):
        source_files(tmp_path / "e.zip", (".json",))


def test_files_beyond_the_limit_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "LARGEST_TEXT", 1000)
    monkeypatch.setattr(reading._bounded, "__defaults__", (1000,))
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.json", b"0" * 100_000)
    assert (tmp_path / "bomb.zip").stat().st_size < 1000
    (file,) = source_files(tmp_path / "bomb.zip", (".json",))
    with pytest.raises(VaclipError, match=r"bomb\.zip: 'a\.json' has more than"):
        file.read()
    (tmp_path / "big.json").write_bytes(b"0" * 1001)
    with pytest.raises(VaclipError, match=r"big\.json has more than"):
        source_files(tmp_path / "big.json", (".json",))[0].read()


# --- text, JSON, XML -----------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_text_in_the_encodings_that_tools_write(encoding):
    assert decode_text("Gerät\n".encode(encoding), "t") == "Gerät\n"


def test_other_encodings_are_asked_for():
    with pytest.raises(VaclipError, match=r"t\.csv: the text cannot be read .* or say --encoding"):
        decode_text("Gerät".encode("cp1252"), "t.csv")
    assert decode_text("Gerät".encode("cp1252"), "t.csv", "cp1252") == "Gerät"
    with pytest.raises(VaclipError, match="unknown encoding: nosuch"):
        decode_text(b"a", "t.csv", "nosuch")


@given(st.recursive(st.none() | st.integers() | st.text(), lambda x: st.lists(x), max_leaves=9))
def test_json_is_read(value):
    assert parse_json(json.dumps(value).encode(), "j") == value


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 100_000, b"\xff", b"1" * 5000])
def test_what_is_no_json_is_named(content):
    with pytest.raises(VaclipError, match=r"export\.json"):
        parse_json(content, "export.json")


def test_xml_elements_come_one_after_the_other():
    text = b"<a><t id='1'><b/></t><u><t id='2'/></u><t id='3'/></a>"
    assert [element.get("id") for element in xml_elements(text, "x", ["t"])] == ["1", "2", "3"]
    assert [len(list(element)) for element in xml_elements(text, "x", ["t"])] == [1, 0, 0]


def test_an_xml_element_keeps_those_of_its_kind_that_lie_in_it():
    text = b"<a><t id='1'><s/><t id='2'><b/></t></t><t id='3'/></a>"
    elements = xml_elements(text, "x", ["t"])
    found = [[one.get("id") for one in element.iter("t")] for element in elements]
    assert found == [["1", "2"], ["3"]]


LAUGHS = (
    "<!DOCTYPE a [<!ENTITY a 'ha'>"
    + "".join(f"<!ENTITY a{n} '{f'&a{n - 1};' * 10}'>" for n in range(1, 9)).replace("&a0;", "&a;")
    + "]><a>&a8;</a>"
)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<a>",
        "<a></b>",
        LAUGHS,
        "<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><a>&x;</a>",
        "<!DOCTYPE a SYSTEM 'http://127.0.0.1:1/a.dtd'><a/>",
        "<a>" * 200 + "</a>" * 200,
    ],
    ids=["empty", "cut", "crossed", "laughs", "entity", "dtd", "deep"],
)
def test_bad_xml_is_refused(text):
    with pytest.raises(VaclipError, match=r"x\.xml: "):
        list(xml_elements(text.encode(), "x.xml", ["a", "b"]))


def test_too_many_elements_are_refused_and_those_that_are_done_do_not_count(monkeypatch):
    monkeypatch.setattr(reading, "_MOST_ELEMENTS", 100)
    assert list(xml_elements(b"<a>" + b"<b><c/></b>" * 500 + b"</a>", "x", ["d"])) == []
    with pytest.raises(VaclipError, match="too many elements"):
        list(xml_elements(b"<a><b>" + b"<c/>" * 500 + b"</b></a>", "x", ["d"]))


# --- tables --------------------------------------------------------------------------------------

cells = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=6).map(str.strip)


@given(
    st.sampled_from(",;\t|"),
    st.lists(st.tuples(cells, cells, cells).filter(any), max_size=5),
)
def test_what_a_spreadsheet_writes_is_read(separator, rows):
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator)
    writer.writerows([("clip", "b c", "d"), *rows])
    table = parse_table(text.getvalue(), "t.csv")
    assert table.header == ("clip", "b c", "d")
    assert [tuple(row.values()) for _, row in table.rows] == rows


def test_row_numbers_are_those_of_the_file():
    table = parse_table('a,b\n\n"1\n2",x\n3,y\n', "t.csv")
    assert [(number, row["a"]) for number, row in table.rows] == [(4, "1\n2"), (5, "3")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the header is missing"),
        ("a,b,a\n", "the header names a column twice"),
        ("a,b\n1,2,3\n", r"t\.csv:2: 3 cells under a header of 2"),
        ('a,b\n"1,2\n', "cannot be read as a table"),
    ],
)
def test_bad_tables_are_named(text, said):
    with pytest.raises(VaclipError, match=said):
        parse_table(text, "t.csv")


def test_empty_cells_may_be_missing_at_the_end():
    assert parse_table("a;b;;\n1\n;2;;\n", "t").rows == (
        (2, {"a": "1", "b": ""}),
        (3, {"a": "", "b": "2"}),
    )


def test_a_missing_column_is_named_with_what_there_is():
    with pytest.raises(VaclipError, match=r"no column 'patient' .*has: Patient, b\).*'Patient'\?"):
        parse_table("Patient,b\n", "t").require("patient")


@pytest.fixture
def book(tmp_path):
    made = Workbook()
    made.active.append(["clip", "age", "share", None])
    made.active.append(["c1", 41, 0.5])
    made.active.append([None, None, None])
    made.active.append(["c2", 3.0, True])
    second = made.create_sheet("second")
    second.append(["x"])
    made.save(tmp_path / "t.xlsx")
    return tmp_path / "t.xlsx"


def test_excel_is_read(book):
    assert read_table(book).rows == (
        (2, {"clip": "c1", "age": "41", "share": "0.5"}),
        (4, {"clip": "c2", "age": "3", "share": "True"}),
    )
    assert read_table(book, sheet="second").header == ("x",)
    with pytest.raises(VaclipError, match=r"no sheet 'third' \(it has: Sheet, second\)"):
        read_table(book, sheet="third")


def test_damaged_excel_is_named(book, tmp_path):
    whole = book.read_bytes()
    for number, content in enumerate((b"", b"a,b\n1,2\n", whole[: len(whole) // 2])):
        path = tmp_path / f"{number}.xlsx"
        path.write_bytes(content)
        with pytest.raises(VaclipError, match=rf"{number}\.xlsx: cannot be read as an Excel file"):
            read_table(path)


def test_an_excel_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "LARGEST_TEXT", 10_000)
    with zipfile.ZipFile(tmp_path / "b.xlsx", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", b" " * 1_000_000)
    with pytest.raises(VaclipError, match="unpacked it has more than"):
        read_table(tmp_path / "b.xlsx")
