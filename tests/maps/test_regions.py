from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaclip.errors import VaclipError
from vaclip.maps.regions import RegionMap, draw_box, draw_joints
from vaclip.maps.source import COCO_17, AnnotatedClip, Grid, Region


def grid(samples=1, source=(60, 90), size=(12, 18), sigma=0.08, frames=None, whole=True):
    frames = list(range(samples)) if frames is None else frames
    return Grid(
        np.array(frames), np.array(frames) / 10, 0.1, max(frames) + 1, whole, source, size, sigma
    )


def gaussians(joints, source, size, sigma):
    """One pixel after the other, in pixels of the video."""
    drawn = np.zeros((len(joints), *size))
    for sample, row, column in np.ndindex(drawn.shape):
        pixel_y = (row + 0.5) * source[0] / size[0]
        pixel_x = (column + 0.5) * source[1] / size[1]
        for x, y, confidence in joints[sample]:
            distance = math.hypot(pixel_x - x, pixel_y - y) / (sigma * source[0])
            height = confidence * math.exp(-(distance**2) / 2)
            drawn[sample, row, column] = max(drawn[sample, row, column], height)
    return drawn


@pytest.mark.parametrize("source", [(60, 90), (90, 60)])
def test_gaussians_equal_a_naive_loop(source):
    random = np.random.default_rng(1)
    joints = random.uniform([-10, -10, 0], [source[1] + 10, source[0] + 10, 1], (3, 4, 3))
    drawn = draw_joints(joints.astype(np.float32), grid(3, source))
    np.testing.assert_allclose(drawn, gaussians(joints, source, (12, 18), 0.08), atol=1e-5)


def test_height_is_the_confidence_and_overlap_takes_the_largest():
    centre = [(5 + 0.5) * 5, (7 + 0.5) * 5]  # of column 5, row 7
    joints = np.array([[[*centre, 0.3], [*centre, 0.8], [*centre, 0.0]]], np.float32)
    drawn = draw_joints(joints, grid())
    assert drawn[0, 7, 5] == pytest.approx(0.8)
    assert drawn.max() == drawn[0, 7, 5]


def test_confidence_zero_draws_nothing():
    assert not draw_joints(np.array([[[30.0, 30.0, 0.0]]], np.float32), grid()).any()


def test_sigma_is_a_share_of_the_height():
    wide = grid(source=(100, 100), size=(100, 100), sigma=0.1)
    drawn = draw_joints(np.array([[[50.5, 50.5, 1.0]]], np.float32), wide)
    assert drawn[0, 50, 60] == pytest.approx(math.exp(-0.5), abs=1e-5)  # one sigma: ten pixels
    assert drawn[0, 30, 50] == pytest.approx(math.exp(-2.0), abs=1e-5)


# --- boxes ---------------------------------------------------------------------------------------

EDGES = st.tuples(st.floats(0, 1), st.floats(0, 1)).filter(lambda pair: pair[0] < pair[1])
SIZES = st.tuples(st.integers(1, 20), st.integers(1, 20))


@given(EDGES, EDGES, SIZES)
def test_box_covers_its_area(across, down, size):
    drawn = draw_box((across[0], down[0], across[1], down[1]), size)
    assert drawn.shape == size
    assert drawn.dtype == np.float32
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    area = (across[1] - across[0]) * size[1] * (down[1] - down[0]) * size[0]
    assert drawn.sum() == pytest.approx(area, rel=1e-4, abs=1e-4)


@given(EDGES, EDGES, SIZES)
def test_box_lies_where_it_says(across, down, size):
    drawn = draw_box((across[0], down[0], across[1], down[1]), size)
    for row, column in np.ndindex(size):
        inside_rows = row + 1 > down[0] * size[0] and row < down[1] * size[0]
        inside_columns = column + 1 > across[0] * size[1] and column < across[1] * size[1]
        if not (inside_rows and inside_columns):
            assert drawn[row, column] == 0
        whole_rows = row >= down[0] * size[0] and row + 1 <= down[1] * size[0]
        whole_columns = column >= across[0] * size[1] and column + 1 <= across[1] * size[1]
        if whole_rows and whole_columns:
            assert drawn[row, column] == pytest.approx(1)


def test_box_of_quarters():
    drawn = draw_box((0.25, 0.0, 1.0, 0.5), (2, 2))
    assert drawn.tolist() == [[0.5, 1.0], [0.0, 0.0]]


# --- the kind ------------------------------------------------------------------------------------


def clip_with(tmp_path, keypoints, names=COCO_17, joints=("left_hip",)):
    path = tmp_path / "k.npz"
    np.savez(path, keypoints=keypoints)
    regions = {"hip": Region(keypoints=joints), "box": Region(box=(0, 0, 1, 1))}
    return AnnotatedClip("c", tmp_path, path, regions, names)


def test_draws_the_named_joints_of_the_shown_frames(tmp_path):
    points = np.random.default_rng(0).uniform(0, 60, (6, 17, 2))
    clip = clip_with(tmp_path, points, joints=("right_ankle", "nose"))
    where = grid(frames=[0, 2, 2, 5])
    ones = np.ones((4, 2, 1))
    joints = np.concatenate([points[[0, 2, 2, 5]][:, [16, 0]], ones], axis=-1)
    np.testing.assert_allclose(
        RegionMap().render("hip", clip, where),
        gaussians(joints, (60, 90), (12, 18), 0.08),
        atol=1e-5,
    )


def test_own_joint_names(tmp_path):
    points = np.full((1, 2, 2), 500.0)
    points[0, 1] = 27.5, 37.5
    clip = clip_with(tmp_path, points, names=("a", "b"), joints=("b",))
    drawn = RegionMap().render("hip", clip, grid())
    assert np.unravel_index(drawn.argmax(), drawn.shape) == (0, 7, 5)


def test_wrong_number_of_frames_is_named(tmp_path):
    clip = clip_with(tmp_path, np.zeros((5, 17, 2)))
    with pytest.raises(VaclipError, match=r"k\.npz has 5 frames, but the video gives 6"):
        RegionMap().render("hip", clip, grid(6))


def test_wrong_number_of_joints_is_named(tmp_path):
    clip = clip_with(tmp_path, np.zeros((6, 13, 2)))
    with pytest.raises(VaclipError, match=r"k\.npz has 13 joints, but the study has 17"):
        RegionMap().render("hip", clip, grid(6))


def test_depends_on_the_keypoints_only_where_it_draws_joints(tmp_path):
    clip = clip_with(tmp_path, np.zeros((6, 17, 2)))
    assert RegionMap().files("hip", clip) == [tmp_path / "k.npz"]
    assert RegionMap().files("box", clip) == []


def test_problems_are_named(tmp_path):
    clip = clip_with(tmp_path, np.zeros((6, 17, 2)))
    assert "Did you mean 'hip'?" in RegionMap().problem("hipp", clip)
    without = AnnotatedClip("c", tmp_path, None, clip.regions)
    assert "names no file in the column 'keypoints'" in RegionMap().problem("hip", without)
    assert RegionMap().problem("box", without) is None
