"""Which clips of a study are shown: what they are chosen by, page by page."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from vaclip.study.study import Clip, Study
from vaclip.view.outcomes import NOT_TESTED, Outcome

NOBODY = "nobody"
PER_PAGE = 48


@dataclass(frozen=True)
class Facet:
    """Something that clips are chosen by."""

    key: str
    title: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Shown:
    """A page of clips.

    Attributes:
        clips: Those of the page.
        count: How many were chosen.
        page: Which page it is, from 1.
        pages: How many there are.
    """

    clips: tuple[Clip, ...]
    count: int
    page: int
    pages: int


ORDERS = {"least sure": 1, "surest": -1}
"""Of the probability of the diagnosis; another order is that of clips.csv."""
Outcomes = Mapping[str, Outcome]


def facets(study: Study, said: Outcomes) -> list[Facet]:
    """Returns what the clips of a study can be chosen by: that in which they differ."""
    rights = {_right(clip, said) for clip in study.clips}
    values = {
        "outcome": ("Diagnosis", tuple(sorted(rights))),
        "label": ("Class", study.classes),
        "patient": ("Patient", tuple(sorted({clip.patient_id for clip in study.clips}))),
        "annotator": ("Annotated by", (*study.annotators, NOBODY)),
        "site": ("Site", tuple(sorted({clip.site for clip in study.clips}))),
    }
    return [Facet(key, *own) for key, own in values.items() if len(own[1]) > 1]


def choose(study: Study, wanted: Mapping[str, str], said: Outcomes) -> Shown:
    """Returns the clips that fit.

    Args:
        study: The study.
        wanted: By key of `facets` a value; ``words``, which is part of the id; ``order``, one of
            `ORDERS`, which puts what was not tested last; ``page``. What is absent or empty asks
            for nothing.
        said: What models said of them.

    Examples:
        >>> from pathlib import Path
        >>> from vaclip.study.study import Study
        >>> choose(Study(Path("x"), "x", (), (), (), (), {}), {"page": "7"}, {}).page
        1
    """
    fitting = [clip for clip in study.clips if _fits(study, clip, wanted, said)]
    if sign := ORDERS.get(wanted.get("order", "")):
        sure = {clip_id: max(one.probs.values()) for clip_id, one in said.items()}
        fitting.sort(key=lambda clip: sign * sure.get(clip.clip_id, sign * math.inf))
    pages = max(1, -(-len(fitting) // PER_PAGE))
    asked = wanted.get("page", "")
    page = min(max(1, int(asked)), pages) if asked.isdecimal() else 1
    first = (page - 1) * PER_PAGE
    return Shown(tuple(fitting[first : first + PER_PAGE]), len(fitting), page, pages)


def _right(clip: Clip, said: Outcomes) -> str:
    return said[clip.clip_id].right if clip.clip_id in said else NOT_TESTED


def _fits(study: Study, clip: Clip, wanted: Mapping[str, str], said: Outcomes) -> bool:
    own = {one.annotator for one in study.annotations.get(clip.clip_id, ())} or {NOBODY}
    has = {
        "outcome": {_right(clip, said)},
        "label": {clip.label},
        "patient": {clip.patient_id},
        "annotator": own,
        "site": {clip.site},
    }
    words = wanted.get("words", "").casefold()
    return words in clip.clip_id.casefold() and all(
        not wanted.get(key) or wanted[key] in values for key, values in has.items()
    )
