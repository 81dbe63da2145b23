from __future__ import annotations

import math
import re

import pytest

from vaclip.evaluation.inference import UNDEFINED, Interval
from vaclip.reports.typeset import (
    MINUS,
    NONE,
    Table,
    interval_text,
    latex,
    markdown,
    number,
    p_text,
)

HOSTILE = "a|b & 50% <script>_x_ {$y$} #1 ~^\\ [z] *"


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.12345, "0.123"), (-0.1, f"{MINUS}0.100"), (-0.0001, "0.000"), (math.nan, NONE),
     (math.inf, NONE)],
)  # fmt: skip
def test_a_number_never_reads_nan_or_minus_zero(value, shown):
    assert number(value) == shown


def test_a_sign_stands_before_every_number_but_zero():
    assert [number(v, 2, sign=True) for v in (0.1, -0.1, 0.001)] == [
        "+0.10",
        f"{MINUS}0.10",
        "0.00",
    ]


def test_intervals_and_p_values():
    assert interval_text(Interval(-0.1, 0.2), sign=True) == f"{MINUS}0.100 to +0.200"
    assert interval_text(UNDEFINED) == NONE
    assert [p_text(p) for p in (0.0004, 0.01, math.nan)] == ["< 0.001", "0.010", NONE]


def one_table(cell: str) -> Table:
    return Table("t", "Caption", ("A", "B"), (("row", cell),), frozenset({"B"}))


def test_a_dash_is_explained_and_only_where_there_is_one():
    assert "undefined" in one_table(NONE).note
    assert one_table("0.1").note == ""


def test_markdown_keeps_the_columns_whatever_a_cell_holds():
    text = markdown([one_table(HOSTILE + "\nsecond")])
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert [len(re.findall(r"(?<!\\)\|", row)) for row in rows] == [3, 3, 3]
    assert "<script>" not in text
    assert "<br>second" in rows[-1]


def test_latex_escapes_all_that_is_special_to_it():
    text = latex([one_table(HOSTILE)])
    row = next(line for line in text.splitlines() if line.startswith("row"))
    bare = re.sub(r"\\[\\&%_#{}$]|\\text\w+\{\}|\{[][*]\}", "", row.removesuffix(r" \\"))
    assert bare.count("&") == 1, "one separator for two columns"
    assert not set(bare) & set("%_#{}$~^\\[]*<>|")
    assert [text.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]
    plain = re.sub(r"\\[{}]", "", text)
    assert plain.count("{") == plain.count("}")


def test_latex_breaks_lines_in_narrow_and_in_wide_columns():
    table = Table("t", "c", ("A", "B"), (("x\ny", "x\ny"),), frozenset({"B"}))
    row = next(line for line in latex([table]).splitlines() if "newline" in line)
    assert row == r"\begin{tabular}[t]{@{}l@{}}x \\ y\end{tabular} & x\newline y \\"
