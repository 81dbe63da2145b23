from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaclip.study.study import Clip, Study
from vaclip.view.outcomes import NOT_TESTED, Outcome
from vaclip.view.shelf import NOBODY, PER_PAGE, choose, facets


def study_of(count: int, annotated=(), classes=("a", "b"), sites=("",)) -> Study:
    clips = tuple(
        Clip(f"Clip_{n}", Path("v"), f"p{n // 2}", classes[n % len(classes)],
             extra={"site": sites[n % len(sites)]})
        for n in range(count)
    )  # fmt: skip
    return Study(Path(), "s", classes, {}, ("ann",) if annotated else (), clips, {})


def test_clips_are_chosen_by_all_that_is_asked_for():
    study = study_of(12)
    assert choose(study, {}, {}).clips == study.clips
    chosen = choose(study, {"label": "b", "patient": "p1"}, {})
    assert [clip.clip_id for clip in chosen.clips] == ["Clip_3"]
    assert [clip.clip_id for clip in choose(study, {"words": "P_1"}, {}).clips] == [
        "Clip_1", "Clip_10", "Clip_11"
    ]  # fmt: skip
    assert choose(study, {"label": "", "annotator": NOBODY}, {}).count == 12
    assert choose(study, {"site": "north"}, {}).clips == ()


def test_one_can_choose_by_that_in_which_clips_differ():
    assert [facet.key for facet in facets(study_of(12), {})] == ["label", "patient"]
    several = facets(study_of(12, sites=("north", "south")), {})
    assert {facet.key: facet.values for facet in several}["site"] == ("north", "south")
    assert facets(study_of(2, classes=("a",)), {}) == []


@given(st.integers(0, 3 * PER_PAGE + 5), st.text(max_size=4) | st.integers(0, 9).map(str))
def test_every_clip_is_on_one_page_whatever_is_asked(count, asked):
    study = study_of(count)
    shown = choose(study, {"page": asked}, {})
    assert 1 <= shown.page <= shown.pages
    pages = [choose(study, {"page": str(n + 1)}, {}).clips for n in range(shown.pages)]
    assert [clip for page in pages for clip in page] == list(study.clips)
    assert all(len(page) <= PER_PAGE for page in pages)


@pytest.mark.parametrize("asked", ["0", "-1", "99", "x", "\u0663", ""])
def test_an_odd_page_is_one_that_there_is(asked):
    assert choose(study_of(3), {"page": asked}, {}).page == 1


SAID = {
    "Clip_0": Outcome("a", {"a": 0.9, "b": 0.1}, "right"),
    "Clip_1": Outcome("a", {"a": 0.6, "b": 0.4}, "wrong"),
    "Clip_2": Outcome("b", {"b": 0.7, "a": 0.3}, "wrong"),
}


def test_clips_are_chosen_and_ordered_by_what_models_said():
    study = study_of(4)
    (first, *_) = facets(study, SAID)
    assert (first.key, first.values) == ("outcome", (NOT_TESTED, "right", "wrong"))

    def chosen(**wanted):
        return [clip.clip_id[-1] for clip in choose(study, wanted, SAID).clips]

    assert chosen(outcome="wrong") == ["1", "2"]
    assert chosen(outcome=NOT_TESTED) == ["3"]
    assert chosen(order="surest") == ["0", "2", "1", "3"]
    assert chosen(order="least sure") == ["1", "2", "0", "3"]
    assert chosen(order="of another kind") == ["0", "1", "2", "3"]
