"""The one reader of a study's tables; what the loader makes of problems is in test_study.py."""

from __future__ import annotations

import pytest

from vaclip.errors import VaclipError
from vaclip.study.tables import read_table, write_table


def write(tmp_path, content: str | bytes):
    path = tmp_path / "clips.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_header_and_rows_with_their_lines(tmp_path):
    path = write(tmp_path, '\ufeff a ,b\n 1 ,"2\n3"\n\n , \nä,"x,y"\n')
    header, rows = read_table(path, ("b",))
    assert header == ["a", "b"]
    assert list(rows) == [
        ("clips.csv:3", {"a": "1", "b": "2\n3"}),
        ("clips.csv:6", {"a": "ä", "b": "x,y"}),
    ]


def test_what_is_written_is_read_again(tmp_path):
    rows = [{"a": 'x,"y"', "b": "1"}, {"a": "ä"}]
    write_table(tmp_path / "t.csv", ["a", "b"], rows)
    found = [row for _, row in read_table(tmp_path / "t.csv").rows]
    assert found == [{"a": 'x,"y"', "b": "1"}, {"a": "ä", "b": ""}]


PROBLEMS = [
    ("a\n1\n", "clips.csv:1", "the header lacks b (it is: a)", 0),
    ("", "clips.csv:1", "the header is empty: the first line names the columns", 0),
    ("\n\na,b\n1,2\n", "clips.csv:1", "the header is empty: the first line names the columns", 0),
    (
        "A,b \u200b\n1,2\n",
        "clips.csv:1",
        r"the header lacks a, b: 'A' must be 'a'; 'b \u200b' must",
        0,
    ),
    ("sep=,\na,b\n1,2\n", "clips.csv:1", "the header is a note of Excel's on how columns are", 0),
    ("sep=;\na;b\n1;2\n", "clips.csv:1", "the header is a note of Excel's on how columns are", 0),
    ("a,b\n1,2\n".encode("utf-16-le"), "clips.csv:1", "the header has characters without a mea", 0),
    ("a,b,a\n1,2,3\n", "clips.csv:1", "the header names a column twice (it is: a, b, a)", 0),
    ("a,b\n1,2\n1,2,3\n4,5\n", "clips.csv:3", "3 cells under a header of 2; quote", 2),
    ("a,b\n1\n4,5\n", "clips.csv:2", "1 cells under a header of 2; quote", 1),
    ("a,b\n1,2,,\n4,5\n", "clips.csv:2", "4 cells under a header of 2; delete the stray commas", 1),
    (
        "a,b\n1,2,5\n",
        "clips.csv:2",
        "3 cells under a header of 2; quote values that hold a comma, and "
        "write decimals after a point",
        0,
    ),
    ("a,b,\n1,2,\n", "clips.csv:1", "the header has a column without a name: delete the stray", 0),
    ("a;b\n1;2\n", "clips.csv:1", "the header is parted by ';', not by commas: save it as CSV", 0),
    ("a\tb\n1\t2\n", "clips.csv:1", "the header is parted by tabulators, not by commas", 0),
    (
        "a,b\n1,2\n".encode("utf-16"),
        "clips.csv",
        "cannot be read as a UTF-8 CSV file: it is UTF-16: save it as CSV UTF-8, parted by commas",
        0,
    ),
    ('a,b\n1,2\n"3,4\n', "clips.csv", "cannot be read as a UTF-8 CSV file", 1),
    (
        b"a,b\n1,\xff\n",
        "clips.csv",
        "cannot be read as a UTF-8 CSV file: 'utf-8' codec can't decode byte 0xff in position 6: "
        "invalid start byte: save it as CSV UTF-8, parted by commas",
        0,
    ),
]


@pytest.mark.parametrize(("content", "where", "what", "left"), PROBLEMS)
def test_a_problem_is_reported_and_the_other_rows_are_read(tmp_path, content, where, what, left):
    told = []
    table = read_table(write(tmp_path, content), ("a", "b"), lambda *problem: told.append(problem))
    assert len(list(table.rows)) == left
    ((found_where, found_what),) = told
    assert found_where == where
    assert found_what.startswith(what)


@pytest.mark.parametrize(("content", "where", "what", "left"), PROBLEMS)
def test_a_problem_is_an_error_where_nobody_takes_reports(tmp_path, content, where, what, left):
    with pytest.raises(VaclipError) as error:
        list(read_table(write(tmp_path, content), ("a", "b")).rows)
    assert str(error.value).startswith(f"{where}: {what}")


def test_a_missing_file_is_a_problem(tmp_path):
    with pytest.raises(VaclipError, match=r"^gone\.csv: cannot be read as a UTF-8 CSV file: "):
        read_table(tmp_path / "gone.csv")
