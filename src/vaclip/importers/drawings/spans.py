"""Spans of time without a place: tags and timeline labels, drawn where ``--span`` says.

A label that names no place gives no map. ``--span LABEL=REGION`` says that while it holds, a region
of the study was looked at: it is drawn as the region's box for that time. A region that is drawn
from joints is refused: shapes have no joints, and an annotation of a region is of a whole clip.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from vaclip.errors import VaclipError
from vaclip.importers.drawings.common import check_labels
from vaclip.importers.plan import region_of_word, study_head
from vaclip.maps.shapes import Key, Track
from vaclip.study.study_yaml import read_region


def add_span_option(group: argparse._ArgumentGroup) -> None:
    """Adds ``--span``."""
    group.add_argument("--span", action="append", default=[], metavar="LABEL[=REGION]",
                       help="while this label holds, the region (default: of its name) was looked "
                       "at; repeatable")  # fmt: skip


class Spans:
    """The labels of time that mean a region.

    Raises:
        VaclipError: If the study and ``--region`` have no such region, or it is no box.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self._boxes: dict[str, tuple[float, float, float, float]] = {}
        self._met: set[str] = set()
        regions = dict(region_of_word(word) for word in options.region)
        known = (study_head(options.into).get("regions") or {}) if options.span else {}
        for word in options.span:
            label, _, region = word.rpartition("=") if "=" in word else (word, "", word)
            box = regions[region].box if region in regions else _box(known, region, word)
            if box is None:
                raise VaclipError(
                    f"--span {word}: the region '{region}' is drawn from joints, which cannot be "
                    "shown for a span of time; define a box with --region NAME=X0,Y0,X1,Y1"
                )
            self._boxes[label] = box

    def track(
        self, labels: Sequence[str], size: tuple[int, int], start: float, end: float
    ) -> Track | None:
        """Returns the box of a region for a span of time; None where no label means one.

        Args:
            labels: Of the span.
            size: (height, width) of the picture.
            start: When it begins.
            end: When it is over.
        """
        self._met.update(labels)
        label = next((one for one in labels if one in self._boxes), None)
        if label is None:
            return None
        x0, y0, x1, y1 = self._boxes[label]
        corners = ((x0 * size[1], y0 * size[0]), (x1 * size[1], y1 * size[0]))
        return Track(label, "box", (Key(start, corners), Key(end, outside=True)))

    def means(self, labels: Sequence[str]) -> bool:
        """Whether one of the labels of a span means a region; takes note of them."""
        self._met.update(labels)
        return not self._boxes.keys().isdisjoint(labels)

    def check(self) -> None:
        """Raises a VaclipError where a label was named that no span has."""
        check_labels(self._boxes, self._met, "--span")


def _box(
    known: dict[str, object], region: str, word: str
) -> tuple[float, float, float, float] | None:
    if region not in known:
        names = ", ".join(map(str, known)) or "none"
        raise VaclipError(
            f"--span {word}: the study has no region '{region}' (regions: {names}); define it with "
            f"--region {region}=X0,Y0,X1,Y1"
        )
    content = known[region]
    if isinstance(content, dict) and "keypoints" in content:
        return None
    try:
        return read_region(content, ()).box
    except VaclipError as error:
        raise VaclipError(f"region '{region}': {error}") from error
