"""Suggestions among many names: what is meant, and that unknown names cost no more."""

from __future__ import annotations

import difflib

import pytest

from conftest import read_rows, write_rows
from vaclip.study.load import read_study
from vaclip.study.suggestions import Suggestions

KNOWN = [
    "videos/P01_walk_02.mp4",
    "P02_walk_02",
    "a/cine.avi",
    "b/cine.avi",
    "gait-003",
    "left_knee",
]


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("P01_walk_02.avi", "videos/P01_walk_02.mp4"),  # another suffix, and nearer by letters
        ("C:\\data\\p1 walk 2.MOV", "videos/P01_walk_02.mp4"),
        ("P02-walk-2", "P02_walk_02"),
        ("2024_P02_walk_02.mp4", "P02_walk_02"),  # its ending is a known name
        ("3", "gait-003"),  # the ending of one known name alone
        ("cine", "a/cine.avi"),
        ("left_kne", "left_knee"),  # by letters
        ("", None),
        ("%%%", None),
    ],
)
def test_what_an_unknown_name_most_likely_means(word, meant):
    hint = Suggestions(KNOWN).hint(word)
    assert hint == ("" if meant is None else f" Did you mean '{meant}'?")


def test_an_ending_of_two_names_means_neither():
    assert Suggestions(["ann_walk_1", "bob_walk_1"]).hint("walk_1") in (
        " Did you mean 'ann_walk_1'?",  # by letters: there is no knowing
        " Did you mean 'bob_walk_1'?",
    )
    assert Suggestions(["some_long_name_1", "other_long_name_1"]).hint("1") == ""


def test_an_id_that_is_the_stem_of_its_own_file_stays_one_name():
    assert Suggestions(["walk_1", "walk_1.mp4"]).hint("x_walk_1.avi") == " Did you mean 'walk_1'?"


def test_letters_are_compared_for_a_bounded_number_of_names(tiny_study, monkeypatch):
    root = tiny_study(5)
    rows = read_rows(root / "attention.csv")
    unknown = [row | {"clip_id": f"{'abcdefghij'[n % 10]}{n * 977 % 1000}x"} for n, row in
               enumerate(rows * 40)]  # fmt: skip
    write_rows(root / "attention.csv", unknown)
    asked = []

    def close(word, known, **how):
        asked.append(len(known))
        return []

    monkeypatch.setattr(difflib, "get_close_matches", close)
    monkeypatch.setattr("vaclip.study.suggestions._COMPARED", 100)
    _, problems = read_study(root)
    found = [problem for problem in problems if "clips.csv has no clip" in problem.what]
    assert len(found) > 500
    assert asked == [15] * 6  # 15 clips: 7 times would be more than 100
