from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaclip.study.study import Clip, Problem, Study
from vaclip.view.outcomes import NOT_TESTED, Outcome
from vaclip.view.shelf import KEPT, LEFT_OUT, NOBODY, PER_PAGE, UNREMARKABLE, Shelf


def study_of(count: int, annotated=(), classes=("a", "b"), sites=("",)) -> Study:
    clips = tuple(
        Clip(f"Clip_{n}", Path("v"), f"p{n // 2}", classes[n % len(classes)],
             extra={"site": sites[n % len(sites)]})
        for n in range(count)
    )  # fmt: skip
    return Study(Path(), "s", classes, {}, ("ann",) if annotated else (), clips, {})


def test_clips_are_chosen_by_all_that_is_asked_for():
    study = study_of(12)
    assert Shelf(study).choose({}).clips == study.clips
    chosen = Shelf(study).choose({"label": "b", "patient": "p1"})
    assert [clip.clip_id for clip in chosen.clips] == ["Clip_3"]
    assert [clip.clip_id for clip in Shelf(study).choose({"words": "P_1"}).clips] == [
        "Clip_1", "Clip_10", "Clip_11"
    ]  # fmt: skip
    assert Shelf(study).choose({"label": "", "annotator": NOBODY}).count == 12
    assert Shelf(study).choose({"site": "north"}).clips == ()


def test_one_can_choose_by_that_in_which_clips_differ():
    assert [facet.key for facet in Shelf(study_of(12)).facets()] == ["label", "patient"]
    several = Shelf(study_of(12, sites=("north", "south"))).facets()
    assert {facet.key: facet.values for facet in several}["site"] == ("north", "south")
    assert Shelf(study_of(2, classes=("a",))).facets() == []


@given(st.integers(0, 3 * PER_PAGE + 5), st.text(max_size=4) | st.integers(0, 9).map(str))
def test_every_clip_is_on_one_page_whatever_is_asked(count, asked):
    study = study_of(count)
    shown = Shelf(study).choose({"page": asked})
    assert 1 <= shown.page <= shown.pages
    pages = [Shelf(study).choose({"page": str(n + 1)}).clips for n in range(shown.pages)]
    assert [clip for page in pages for clip in page] == list(study.clips)
    assert all(len(page) <= PER_PAGE for page in pages)


@pytest.mark.parametrize("asked", ["0", "-1", "99", "x", "\u0663", ""])
def test_an_odd_page_is_one_that_there_is(asked):
    assert Shelf(study_of(3)).choose({"page": asked}).page == 1


SAID = {
    "Clip_0": Outcome("a", {"a": 0.9, "b": 0.1}, "right", 0.5),
    "Clip_1": Outcome("a", {"a": 0.6, "b": 0.4}, "wrong", -0.2),
    "Clip_2": Outcome("b", {"b": 0.7, "a": 0.3}, "wrong"),
}


def test_clips_are_chosen_and_ordered_by_what_models_said():
    shelf = Shelf(study_of(4), said=SAID)
    values = {facet.key: facet.values for facet in shelf.facets()}
    assert values["outcome"] == (NOT_TESTED, "right", "wrong")
    assert values["alignment"] == ("higher half", "lower half", "undefined")

    def chosen(**wanted):
        return [clip.clip_id[-1] for clip in shelf.choose(wanted).clips]

    assert chosen(outcome="wrong") == ["1", "2"]
    assert chosen(outcome=NOT_TESTED) == ["3"]
    assert chosen(alignment="higher half") == ["0"]
    assert chosen(alignment="undefined") == ["2", "3"]
    assert chosen(order="surest") == ["0", "2", "1", "3"]
    assert chosen(order="least sure") == ["1", "2", "0", "3"]
    assert chosen(order="most aligned") == ["0", "1", "2", "3"]
    assert chosen(order="least aligned") == ["1", "0", "2", "3"]
    assert chosen(order="of another kind") == ["0", "1", "2", "3"]
    assert shelf.orders() == ["least sure", "surest", "least aligned", "most aligned"]


def test_orders_are_those_in_which_clips_differ():
    assert Shelf(study_of(4)).orders() == []
    unaligned = {"Clip_2": SAID["Clip_2"]}
    assert Shelf(study_of(4), said=unaligned).orders() == ["least sure", "surest"]


def test_clips_are_chosen_by_what_a_check_found_and_whether_they_are_left_out():
    found = {
        "Clip_1": [Problem("warning", "w", "x"), Problem("error", "w", "x")],
        "Clip_2": [Problem("warning", "w", "x")],
    }
    shelf = Shelf(study_of(4), {"Clip_3": "blurred"}, findings=found)
    values = {facet.key: facet.values for facet in shelf.facets()}
    assert set(values["check"]) == {"error", "warning", UNREMARKABLE}
    assert set(values["kept"]) == {KEPT, LEFT_OUT}

    def chosen(**wanted):
        return [clip.clip_id[-1] for clip in shelf.choose(wanted).clips]

    assert chosen(check="error") == ["1"]
    assert chosen(check=UNREMARKABLE) == ["0", "3"]
    assert chosen(kept=LEFT_OUT) == ["3"]
    assert "check" not in {facet.key for facet in Shelf(study_of(4)).facets()}
