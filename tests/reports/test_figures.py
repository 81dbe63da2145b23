from __future__ import annotations

import dataclasses
import re
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from study_folder import judged, write_study
from vaclip.reports.drawing import draw_figures
from vaclip.reports.figures import FIGURES
from vaclip.reports.gather import read_folder

FAST = {"n_resamples": 20, "n_permutations": 49}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    classes = ("a$b", "<i>", "x" * 40)
    study = read_folder(write_study(tmp_path_factory.mktemp("study"), classes=classes))
    return study, judged(study, **FAST)


@pytest.fixture(scope="module")
def drawn(found, tmp_path_factory):
    folder = tmp_path_factory.mktemp("figures")
    return draw_figures(*found, folder, FIGURES), folder


def test_every_figure_is_drawn_as_png_and_svg(drawn):
    figures, folder = drawn
    names = {"forest", "contrasts", "learning", "noise", "reliability", "retrieval"}
    names |= {"confusion", "confusion_others"}
    assert set(figures) == names
    for name, figure in figures.items():
        alone = (folder / f"{name}.svg").read_text("utf-8")
        assert ElementTree.fromstring(alone).tag.endswith("svg")
        assert "mark:" not in alone
        with Image.open(folder / f"{name}.png") as picture:
            assert round(picture.info["dpi"][0]) == 200
            assert np.asarray(picture.convert("L")).std() > 0
        assert figure.alt
        assert figure.caption


def test_the_same_numbers_give_the_same_bytes_whatever_the_user_set(found, drawn, tmp_path):
    with mpl.rc_context({"font.size": 20, "axes.facecolor": "red"}):
        draw_figures(*found, tmp_path, FIGURES)
        assert mpl.rcParams["font.size"] == 20
    for path in drawn[1].iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name


def test_an_svg_neither_loads_nor_tells_a_time(drawn):
    for figure in drawn[0].values():
        text = figure.svg
        links = re.findall(r'(?:href|src)="([^"]*)"', text)
        assert all(link.startswith(("#", "data:")) for link in links)
        assert "<dc:date>" not in text


def test_what_was_not_run_is_not_drawn(found, tmp_path):
    study, results = found
    families = {name: [] for name in results.families}
    bare = dataclasses.replace(results, learning={}, noise={}, retrieval={}, families=families)
    assert set(draw_figures(study, bare, tmp_path, FIGURES)) == {
        "forest",
        "confusion",
        "confusion_others",
        "reliability",
    }


def test_a_single_arm_of_another_name_has_its_figures(tmp_path):
    study = read_folder(write_study(tmp_path / "s", arms=("K_uniform",), variants=False, seeds=1))
    figures = draw_figures(study, judged(study, **FAST), tmp_path / "figures", FIGURES)
    assert set(figures) == {"forest", "confusion", "reliability", "retrieval"}


def test_what_is_drawn_of_an_arm_says_so_and_its_value(drawn, found):
    svg = drawn[0]["forest"].svg
    arms = set(found[1].scores["patient"])
    assert {arm for own in re.findall(r'data-arm="([^"]*)"', svg) for arm in own.split()} == arms
    score = found[1].scores["patient"]["B0"].scores["acc_macro"]
    hints = re.findall(r"<title>([^<]*)</title>", svg)
    low, high = (f"{end:.3f}" for end in (score.interval.low, score.interval.high))
    assert f"B0: {score.mean:.3f} ({low} to {high})" in hints
    pairs = re.findall(r'data-arm="([^"]*)"', drawn[0]["contrasts"].svg)
    assert {len(pair.split()) for pair in pairs} == {2}
