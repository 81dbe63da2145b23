"""Names in figures: shown in any script, told apart, or said not to be shown."""

from __future__ import annotations

import logging

import pytest
from matplotlib import font_manager

from vaclip import fonts
from vaclip.fonts import USUAL, font_families, shown_names

NOWHERE = "\U0010fffd"  # of the private use: no font has it


def test_latin_names_take_the_usual_fonts():
    assert font_families(["steady gait", "gêne à la marche", "αβγ"]) == (list(USUAL), "")


def test_a_font_of_the_machine_shows_what_the_usual_ones_lack(monkeypatch):
    monkeypatch.setattr(fonts, "USUAL", ("STIXGeneral",))
    families, lacking = font_families(["عرج"])  # which DejaVu Sans has
    assert families[0] == "STIXGeneral"
    assert len(families) == 2
    assert lacking == ""
    shown = fonts._characters(font_manager.findfont(families[1]))
    assert set(map(ord, "عرج")) <= shown


def test_what_no_font_has_is_named():
    assert font_families([f"a {NOWHERE} b"]) == (list(USUAL), NOWHERE)


def test_classes_that_cannot_be_shown_are_numbered_and_it_is_said(caplog):
    with caplog.at_level(logging.WARNING):
        assert shown_names(["steady", NOWHERE], 10)[1] == ["class 1", "class 2"]
    (record,) = caplog.records
    assert "no font here has" in record.getMessage()


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (["ill", "well enough"], ["ill", "well enou…"]),
        (["normal gait", "normal gait, cane"], ["norma…gait", "norma…cane"]),
        (["aaaaaaaaaaaaX", "aaaaaaaaaaaaXX"], ["aaaaa…aaaX", "aaaaa…aaXX"]),
        (["a" * 20 + "b" * 20, "a" * 21 + "b" * 20], ["aaaaaa… 1", "aaaaaa… 2"]),
    ],
)
def test_names_are_cut_but_never_to_the_same(names, shown):
    _, found = shown_names(names, 10)
    assert found == shown
    assert max(map(len, found)) <= 11
