from __future__ import annotations

import dataclasses
import re

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from study_folder import judged, write_study
from vaclip.reports.figures import FIGURES, draw_figures
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
    names = {"forest", "contrasts", "learning", "noise", "confusion", "reliability", "retrieval"}
    assert set(figures) == names
    for name, figure in figures.items():
        assert figure.svg == (folder / f"{name}.svg").read_bytes()
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
        text = figure.svg.decode()
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
        "reliability",
    }


def test_a_single_arm_of_another_name_has_its_figures(tmp_path):
    study = read_folder(write_study(tmp_path / "s", arms=("K_uniform",), variants=False, seeds=1))
    figures = draw_figures(study, judged(study, **FAST), tmp_path / "figures", FIGURES)
    assert set(figures) == {"forest", "confusion", "reliability", "retrieval"}
