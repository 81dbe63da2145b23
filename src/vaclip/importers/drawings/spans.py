"""Spans of time without a place: tags and timeline labels, drawn where ``--span`` says.

A label that names no place gives no map. ``--span LABEL=REGION`` says that while it holds, a region
of the study was looked at: it is drawn as the region's box for that time, or, where the region is
one of joints, wherever these are.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from vaclip.errors import VaclipError
from vaclip.importers.drawings.common import check_labels
from vaclip.importers.plan import region_of_word, study_head
from vaclip.maps.shapes import REGION, Key, Track
from vaclip.study.study_yaml import read_region

_Box = tuple[float, float, float, float]


def add_span_option(group: argparse._ArgumentGroup) -> None:
    """Adds ``--span``."""
    group.add_argument("--span", action="append", default=[], metavar="LABEL[=REGION]",
                       help="while this label holds, the region (default: of its name) was looked "
                       "at; repeatable")  # fmt: skip


class Spans:
    """The labels of time that mean a region.

    Raises:
        VaclipError: If the study and ``--region`` have no such region.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self._regions: dict[str, str] = {}
        self._boxes: dict[str, _Box | None] = {}
        self._met: set[str] = set()
        regions = dict(region_of_word(word) for word in options.region)
        known = (study_head(options.into).get("regions") or {}) if options.span else {}
        for word in options.span:
            label, _, region = word.rpartition("=") if "=" in word else (word, "", word)
            box = regions[region].box if region in regions else _box(known, region, word)
            self._regions[label], self._boxes[label] = region, box

    def track(
        self, labels: Sequence[str], size: tuple[int, int], start: float, end: float
    ) -> Track | None:
        """Returns a region for a span of time; None where no label means one.

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
        if (box := self._boxes[label]) is None:
            return Track(self._regions[label], REGION, (Key(start), Key(end, outside=True)))
        x0, y0, x1, y1 = box
        corners = ((x0 * size[1], y0 * size[0]), (x1 * size[1], y1 * size[0]))
        return Track(label, "box", (Key(start, corners), Key(end, outside=True)))

    def labels(self, track: Track) -> set[str]:
        """Returns what a track is called: its label, or those that mean its region."""
        if track.type != REGION:
            return {track.label}
        return {label for label, region in self._regions.items() if region == track.label}

    def means(self, labels: Sequence[str]) -> bool:
        """Whether one of the labels of a span means a region; takes note of them."""
        self._met.update(labels)
        return not self._boxes.keys().isdisjoint(labels)

    def check(self) -> None:
        """Raises a VaclipError where a label was named that no span has."""
        check_labels(self._boxes, self._met, "--span")


def _box(known: dict[str, object], region: str, word: str) -> _Box | None:
    """Returns the box of a region of the study; None where it has joints."""
    if region not in known:
        names = ", ".join(map(str, known)) or "none"
        raise VaclipError(
            f"--span {word}: the study has no region '{region}' (regions: {names}); define it with "
            f"--region {region}=X0,Y0,X1,Y1 (or joints)"
        )
    content = known[region]
    if isinstance(content, dict) and "keypoints" in content:
        return None
    try:
        return read_region(content, ()).box
    except VaclipError as error:
        raise VaclipError(f"region '{region}': {error}") from error
