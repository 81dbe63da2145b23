"""Which clips of a study are shown: what they are chosen by, page by page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from vaclip.reports.cases import halves
from vaclip.study.study import Clip, Problem, Study
from vaclip.view.outcomes import NOT_TESTED, Outcome

NOBODY = "nobody"
PER_PAGE = 48
KEPT, LEFT_OUT = "in the study", "left out"
UNREMARKABLE = "nothing found"
TITLES = {
    "outcome": "Diagnosis",
    "alignment": "Similarity of video and map",
    "label": "Class",
    "patient": "Patient",
    "annotator": "Annotated by",
    "site": "Site",
    "check": "Check",
    "kept": "Clips",
}
"""By key what clips are chosen by."""
ORDERS = {
    "least sure": lambda one: one.sure,
    "surest": lambda one: -one.sure,
    "least aligned": lambda one: one.similarity,
    "most aligned": lambda one: -one.similarity,
}
"""Another order is that of clips.csv; what has no such value comes last."""


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


@dataclass(frozen=True)
class Shelf:
    """The clips of a study, and what is known of each.

    Attributes:
        study: With the clips that excluded.csv leaves out.
        left_out: By clip id why it is left out.
        said: By clip id what models said of it.
        findings: By clip id what a check found; None where the study was not checked.
    """

    study: Study
    left_out: Mapping[str, str] = field(default_factory=dict)
    said: Mapping[str, Outcome] = field(default_factory=dict)
    findings: Mapping[str, Sequence[Problem]] | None = None

    @cached_property
    def by_id(self) -> dict[str, Clip]:
        """The clips by id."""
        return {clip.clip_id: clip for clip in self.study.clips}

    @cached_property
    def _has(self) -> dict[str, dict[str, set[str]]]:
        half = halves(
            [self._similarity(clip) for clip in self.study.clips], "lower half", "higher half"
        )
        return {
            clip.clip_id: {**self._facts(clip), "alignment": {which}}
            for clip, which in zip(self.study.clips, half, strict=True)
        }

    def facets(self) -> list[Facet]:
        """Returns what the clips can be chosen by: that in which they differ."""
        own = self._has.values()
        found = {key: sorted(set().union(*(has[key] for has in own))) for key in TITLES}
        found["label"] = [name for name in self.study.classes if name in found["label"]]
        return [Facet(key, TITLES[key], tuple(found[key])) for key in TITLES if len(found[key]) > 1]

    def orders(self) -> list[str]:
        """Returns those of `ORDERS` in which clips differ."""
        return [
            name
            for name, value in ORDERS.items()
            if any(math.isfinite(value(one)) for one in self.said.values())
        ]

    def choose(self, wanted: Mapping[str, str]) -> Shown:
        """Returns the clips that fit.

        Args:
            wanted: By key of `TITLES` a value; ``words``, which is part of the id; ``order``, one
                of `ORDERS`; ``page``. What is absent or empty asks for nothing.

        Examples:
            >>> from pathlib import Path
            >>> Shelf(Study(Path("x"), "x", (), (), (), (), {})).choose({"page": "7"}).page
            1
        """
        fitting = [clip for clip in self.study.clips if self._fits(clip, wanted)]
        if value := ORDERS.get(wanted.get("order", "")):
            rank = {clip_id: value(one) for clip_id, one in self.said.items()}
            fitting.sort(key=lambda clip: _last(rank.get(clip.clip_id, math.nan)))
        pages = max(1, -(-len(fitting) // PER_PAGE))
        asked = wanted.get("page", "")
        page = min(max(1, int(asked)), pages) if asked.isdecimal() else 1
        first = (page - 1) * PER_PAGE
        return Shown(tuple(fitting[first : first + PER_PAGE]), len(fitting), page, pages)

    def _facts(self, clip: Clip) -> dict[str, set[str]]:
        outcome = self.said[clip.clip_id].right if clip.clip_id in self.said else NOT_TESTED
        annotations = self.study.annotations.get(clip.clip_id, ())
        worst = [one.severity for one in (self.findings or {}).get(clip.clip_id, ())]
        return {
            "outcome": {outcome},
            "label": {clip.label},
            "patient": {clip.patient_id},
            "annotator": {one.annotator for one in annotations} or {NOBODY},
            "site": {clip.site},
            "check": {min(worst, default=UNREMARKABLE)},  # an error is graver than a warning
            "kept": {LEFT_OUT if clip.clip_id in self.left_out else KEPT},
        }

    def _fits(self, clip: Clip, wanted: Mapping[str, str]) -> bool:
        words = wanted.get("words", "").casefold()
        return words in clip.clip_id.casefold() and all(
            not wanted.get(key) or wanted[key] in values
            for key, values in self._has[clip.clip_id].items()
        )

    def _similarity(self, clip: Clip) -> float:
        return self.said[clip.clip_id].similarity if clip.clip_id in self.said else math.nan


def _last(value: float) -> float:
    return math.inf if math.isnan(value) else value
