"""Which clips of a study are shown: what they are chosen by, page by page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vaclip.study.study import Clip, Study

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


def facets(study: Study) -> list[Facet]:
    """Returns what the clips of a study can be chosen by: that in which they differ."""
    values = {
        "label": ("Class", study.classes),
        "patient": ("Patient", tuple(sorted({clip.patient_id for clip in study.clips}))),
        "annotator": ("Annotated by", (*study.annotators, NOBODY)),
        "site": ("Site", tuple(sorted({clip.site for clip in study.clips}))),
    }
    return [Facet(key, *own) for key, own in values.items() if len(own[1]) > 1]


def choose(study: Study, wanted: Mapping[str, str]) -> Shown:
    """Returns the clips that fit.

    Args:
        study: The study.
        wanted: By key of `facets` a value; ``words``, which is part of the id; ``page``. What is
            absent or empty asks for nothing.

    Examples:
        >>> from pathlib import Path
        >>> from vaclip.study.study import Study
        >>> choose(Study(Path("x"), "x", (), (), (), (), {}), {"page": "7"}).page
        1
    """
    fitting = [clip for clip in study.clips if _fits(study, clip, wanted)]
    pages = max(1, -(-len(fitting) // PER_PAGE))
    asked = wanted.get("page", "")
    page = min(max(1, int(asked)), pages) if asked.isdecimal() else 1
    first = (page - 1) * PER_PAGE
    return Shown(tuple(fitting[first : first + PER_PAGE]), len(fitting), page, pages)


def _fits(study: Study, clip: Clip, wanted: Mapping[str, str]) -> bool:
    own = {one.annotator for one in study.annotations.get(clip.clip_id, ())} or {NOBODY}
    has = {
        "label": {clip.label},
        "patient": {clip.patient_id},
        "annotator": own,
        "site": {clip.site},
    }
    words = wanted.get("words", "").casefold()
    return words in clip.clip_id.casefold() and all(
        not wanted.get(key) or wanted[key] in values for key, values in has.items()
    )
