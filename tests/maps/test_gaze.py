from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotation_files import write_gaze
from vaclip.errors import VaclipError
from vaclip.maps.gaze import Gaze, draw_fixations, gaze_json, parse_gaze
from vaclip.maps.source import AnnotatedClip, Grid, map_source

SIZE, SOURCE = (20, 30), (80, 120)


def grid(samples=4, fps=2.0, start_s=0.0, sigma=0.06):
    times = start_s + np.arange(samples) / fps
    return Grid(np.arange(samples), times, 1 / fps, samples, True, SOURCE, SIZE, sigma)


def gaze(*fixations, size=SOURCE, sigma=8.0):
    return Gaze(size, np.array(fixations, float).reshape(-1, 4), sigma)


def naive(one: Gaze, where: Grid, sigma: float):
    """The definition, pixel by pixel, in (H, W) of the gaze's own pixels."""
    drawn = np.zeros((len(where.time_s), *where.size))
    for s, time in enumerate(where.time_s):
        for begin, end, x, y in one.fixations:
            share = max(0.0, min(end, time + where.sample_s) - max(begin, time)) / where.sample_s
            for i in range(where.size[0]):
                for j in range(where.size[1]):
                    dy = (i + 0.5) * one.size[0] / where.size[0] - y
                    dx = (j + 0.5) * one.size[1] / where.size[1] - x
                    drawn[s, i, j] += share * np.exp(-(dx**2 + dy**2) / (2 * sigma**2))
    return np.minimum(drawn, 1)


def test_fixations_are_gaussians_as_high_as_they_last():
    looked = gaze((0.1, 0.35, 60.0, 40.0), (0.4, 1.2, 20.0, 70.0), (1.9, 9.0, -5.0, 10.0))
    np.testing.assert_allclose(
        draw_fixations(looked, grid()), naive(looked, grid(), 8.0), atol=1e-6
    )


def test_a_whole_sample_on_one_place_is_one():
    looked = gaze((0.5, 1.0, 62.0, 42.0))  # the centre of a pixel
    drawn = draw_fixations(looked, grid())
    assert drawn.max(axis=(1, 2)).tolist() == pytest.approx([0, 1, 0, 0], abs=1e-6)
    assert drawn[1, 10, 15] == pytest.approx(1)


def test_two_at_once_are_cut_at_one():
    looked = gaze((0.0, 9.0, 62.0, 42.0), (0.0, 9.0, 62.0, 42.0))
    assert draw_fixations(looked, grid()).max() == 1


def test_many_at_once_are_summed_in_little_memory():
    count = 5000
    x, y = np.random.default_rng(0).uniform(0, 80, (2, count))
    looked = gaze(*((0.0, 0.5 / count, a, b) for a, b in zip(x, y, strict=True)))
    tracemalloc.start()
    drawn = draw_fixations(looked, grid())[0]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    for i, j in ((0, 0), (10, 10), (19, 29)):  # the grid's pixels are 4 wide
        squares = (4 * j + 2 - x) ** 2 + (4 * i + 2 - y) ** 2
        assert drawn[i, j] == pytest.approx(np.exp(-squares / 128).mean(), abs=1e-6)
    assert peak < 2**21  # of all of them (20 + 30) * 5000 * 8 bytes, several times


def test_time_is_that_of_the_video_not_of_the_clip():
    looked = gaze((2.0, 2.5, 60.0, 40.0))
    assert draw_fixations(looked, grid()).max() == 0
    assert draw_fixations(looked, grid(start_s=1.5)).max(axis=(1, 2))[1] > 0.9


def test_without_a_width_it_is_that_of_joints():
    looked = gaze((0.0, 2.0, 60.0, 40.0), sigma=None)
    where = grid(sigma=0.1)
    np.testing.assert_allclose(draw_fixations(looked, where), naive(looked, where, 8.0), atol=1e-6)


def test_pixels_may_be_those_of_a_screen():
    looked = gaze((0.0, 2.0, 600.0, 400.0), size=(800, 1200), sigma=80.0)
    same = gaze((0.0, 2.0, 60.0, 40.0))
    np.testing.assert_allclose(
        draw_fixations(looked, grid()), draw_fixations(same, grid()), atol=1e-6
    )


def test_nothing_looked_at_is_dark(tmp_path):
    write_gaze(tmp_path / "g.json", gaze())
    drawn = map_source("gaze").render("g.json", AnnotatedClip("c", tmp_path), grid())
    assert drawn.shape == (4, *SIZE)
    assert not drawn.any()


hundredths = st.integers(0, 10**6).map(lambda n: n / 100)
fixations = st.builds(
    lambda begin, lasts, x, y: (begin, begin + lasts, float(x), float(y)),
    hundredths, st.integers(1, 9), st.integers(-99, 9999), st.integers(-99, 9999),
)  # fmt: skip


@given(st.lists(fixations, max_size=5), st.none() | st.floats(0.1, 500))
def test_what_is_written_is_read(rows, sigma):
    looked = gaze(*rows, sigma=sigma)
    read = parse_gaze(json.loads(json.dumps(gaze_json(looked))))
    np.testing.assert_allclose(read.fixations, looked.fixations, atol=1e-9)
    assert (read.size, read.sigma) == (looked.size, looked.sigma)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([], "expected an object"),
        ({"size": [0, 10], "fixations": []}, "'size'"),
        ({"size": [10, 10], "sigma": 0, "fixations": []}, "'sigma'"),
        ({"size": [10, 10], "fixations": {}}, "'fixations'"),
        ({"size": [10, 10], "fixations": [[0, 1, 2]]}, r"fixations\[0\] must be four"),
        ({"size": [10, 10], "fixations": [[0, 1, 2, float("inf")]]}, r"fixations\[0\] must be"),
        ({"size": [10, 10], "fixations": [[0, 1, 2, 2], [1, 1, 2, 3]]}, r"fixations\[1\] ends"),
        ({"size": [10, 10], "fixations": [[0, 1, 2, 2]] * 1_000_001}, "at most 1000000"),
    ],
)
def test_what_is_wrong_is_named(content, said):
    with pytest.raises(VaclipError, match=said):
        parse_gaze(content)
