"""Figures as part of a page."""

from __future__ import annotations

import io
import re
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from vaclip.reports.svg import inline_svg, mark, plain_svg

ODD = "a \"b\" <c> & 'd' \u00e9 -- \u20ac"


def drawn(*, raster=False) -> bytes:
    with mpl.rc_context({"svg.hashsalt": "x"}):
        figure = Figure()
        FigureCanvasAgg(figure)
        ax = figure.add_subplot()
        (line,) = ax.plot([0, 1], [0, 1], "o-", color="#1b3a5c", clip_on=False)
        mark(line, "B3", ODD)
        (bar,) = ax.bar([0], [1], hatch="///")
        mark(bar, "B3 B0")
        if raster:
            ax.imshow(np.eye(3))
        out = io.BytesIO()
        figure.savefig(out, format="svg")
    return out.getvalue()


def test_a_marked_group_has_its_arm_and_what_is_said_of_it():
    root = ElementTree.fromstring(inline_svg(drawn(), "forest", ODD))
    arms = {e.get("data-arm"): e for e in root.iter() if e.get("data-arm")}
    assert set(arms) == {"B3", "B3 B0"}
    assert arms["B3"][0].tag.endswith("title")
    assert arms["B3"][0].text == ODD
    assert not [e for e in arms["B3 B0"] if e.tag.endswith("title")]
    assert root.get("aria-label") == ODD
    assert root.get("role") == "img"


def test_no_style_is_left_that_a_policy_would_refuse_and_none_of_it_is_lost():
    svg = drawn()
    inline = inline_svg(svg, "forest", "")
    assert not re.search(r"style|<metadata|mark:", inline)
    root = ElementTree.fromstring(inline)
    lines = [e for e in root.iter() if e.get("stroke") == "#1b3a5c" and e.tag.endswith("path")]
    assert len(lines) == 1
    assert lines[0].get("fill") == "none"
    assert float(lines[0].get("stroke-width")) == 1.5


@pytest.mark.parametrize("raster", [False, True])
def test_every_reference_leads_to_an_id_of_the_figure(raster):
    inline = inline_svg(drawn(raster=raster), "forest", "")
    ids = re.findall(r' id="([^"]*)"', inline)
    assert len(ids) == len(set(ids))
    assert all(one.startswith("forest-") for one in ids)
    used = re.findall(r'href="#([^"]*)"', inline) + re.findall(r"url\(#([^)]*)\)", inline)
    assert used
    assert set(used) <= set(ids)
    assert ('class="raster"' in inline) == ("data:image/png" in inline) == raster


def test_alone_a_figure_is_the_same_but_for_its_marks():
    svg = drawn()
    alone = plain_svg(svg)
    assert b"mark:" in svg
    assert b"mark:" not in alone
    assert re.sub(rb' id="[^"]*"', b"", alone) == re.sub(rb' id="[^"]*"', b"", svg)


def test_places_are_told_to_hundredths_of_a_point_and_values_after_the_text():
    svg = b"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10">
        <g id="mark:%5B%22B3%22%2C%20%22B3%3A%200.5%22%5D">
        <path d="M -0.0012345 1.98765 L 12.5 7" transform="translate(1.23456 -2) scale(0.0955555)"/>
        </g></svg>"""
    inline = inline_svg(svg, "forest", "A forest.")
    assert 'd="M -0 1.99 L 12.5 7"' in inline
    assert 'transform="translate(1.235 -2) scale(0.096)"' in inline
    assert ElementTree.fromstring(inline).get("aria-label") == "A forest. B3: 0.5."
