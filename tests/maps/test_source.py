from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from annotation_files import write_gaze, write_shapes
from vaclip.errors import VaclipError
from vaclip.maps import source as module
from vaclip.maps.gaze import Gaze
from vaclip.maps.shapes import Key, Shapes, Track
from vaclip.maps.source import (
    COCO_17,
    KINDS,
    AnnotatedClip,
    Annotation,
    Grid,
    Region,
    annotator_drawer,
    combine_annotators,
    draw_map,
    map_source,
)

FRAMES = 6
GRID = Grid(np.array([0, 1, 1, 3, 5]), np.arange(5) / 4, 0.25, FRAMES, True, (24, 30), (8, 10), 0.1)
BOXES = {
    "left": Region(box=(0.0, 0.0, 0.5, 1.0)),
    "top": Region(box=(0.0, 0.0, 1.0, 0.5)),
    "pixel": Region(box=(0.0, 0.0, 0.05, 0.0625)),  # a quarter of the first pixel
}


# --- the contract of every kind ------------------------------------------------------------------


def box_case(root: Path):
    return "top", AnnotatedClip("c", root, regions=BOXES)


def joints_case(root: Path):
    random = np.random.default_rng(0)
    np.savez(
        root / "k.npz",
        keypoints=random.uniform(-5, 40, (FRAMES, 17, 2)),
        scores=random.uniform(0, 1, (FRAMES, 17)),
    )
    return "hips", AnnotatedClip(
        "c", root, root / "k.npz", {"hips": Region(keypoints=("left_hip", "right_hip"))}
    )


def drawn_case(root: Path):
    np.save(root / "m.npy", np.random.default_rng(0).uniform(0, 1, (FRAMES, 12, 15)))
    return "m.npy", AnnotatedClip("c", root)


def still_case(root: Path):
    np.save(root / "still.npy", np.random.default_rng(0).uniform(0, 1, (12, 15)))
    return "still.npy", AnnotatedClip("c", root)


def shapes_case(root: Path):
    track = Track(
        "", "box", (Key(0, ((0.0, 0.0), (9.0, 9.0))), Key(5, ((20.0, 9.0), (30.0, 20.0))))
    )
    write_shapes(root / "s.json", Shapes((24, 30), (track,), frames=FRAMES))
    return "s.json", AnnotatedClip("c", root)


def spans_case(root: Path):
    """The hips and a box, for some frames each; only samples of frames 0 to 3 are of them."""
    keys = (Key(0), Key(4, outside=True))
    tracks = Track("hips", "region", keys), Track("pixel", "region", (Key(1), keys[1]))
    write_shapes(root / "r.json", Shapes((24, 30), tracks, frames=FRAMES))
    _, clip = joints_case(root)
    return "r.json", replace(clip, regions=clip.regions | BOXES)


def gaze_case(root: Path):
    write_gaze(root / "g.json", Gaze((24, 30), np.array([(0.0, 0.4, 9.0, 9.0)]), 4.0))
    return "g.json", AnnotatedClip("c", root)


CASES = {
    "region": [box_case, joints_case],
    "map": [drawn_case, still_case],
    "shapes": [shapes_case, spans_case],
    "gaze": [gaze_case],
}
"""For each kind, functions that write what it needs and return (value, clip); clips fit `GRID`."""
BY_THE_CLOCK = {"gaze"}
"""Kinds that go on while a frame stands still."""


def test_every_kind_has_a_case():
    assert set(CASES) == set(KINDS.builtin), "add the new kind to CASES"


@pytest.mark.parametrize(
    ("kind", "case"), [(kind, case) for kind, cases in CASES.items() for case in cases]
)
class TestContract:
    @pytest.fixture
    def parts(self, kind, case, tmp_path):
        value, clip = case(tmp_path)
        return map_source(kind), value, clip

    def test_shape_type_and_range(self, kind, parts):
        source, value, clip = parts
        drawn = source.render(value, clip, GRID)
        assert drawn.shape == (5, 8, 10)
        assert drawn.dtype == np.float32
        assert np.isfinite(drawn).all()
        assert drawn.min() >= 0
        assert 0 < drawn.max() <= 1

    def test_is_deterministic(self, kind, parts):
        source, value, clip = parts
        np.testing.assert_array_equal(
            source.render(value, clip, GRID), source.render(value, clip, GRID)
        )

    def test_samples_of_one_frame_are_equal(self, kind, parts):
        source, value, clip = parts
        if kind in BY_THE_CLOCK:
            pytest.skip("looking goes on while a frame stands still")
        drawn = source.render(value, clip, GRID)
        np.testing.assert_array_equal(drawn[1], drawn[2])  # GRID shows frame 1 twice

    def test_good_value_has_no_problem_and_a_bad_one_is_named(self, kind, parts):
        source, value, clip = parts
        assert source.problem(value, clip) is None
        assert "no_such_value" in source.problem("no_such_value", clip)

    def test_its_files_exist(self, kind, parts):
        source, value, clip = parts
        files = source.files(value, clip)
        assert all(file.is_file() for file in files)
        drawing = source.drawing(value, clip)
        assert drawing is None or drawing in files


def test_unknown_kind_is_named():
    with pytest.raises(VaclipError, match=r"kind of map is 'regoin'.*Did you mean 'region'\?"):
        map_source("regoin")


def test_coco_names():
    assert len(COCO_17) == len(set(COCO_17)) == 17
    assert (COCO_17[0], COCO_17[11], COCO_17[16]) == ("nose", "left_hip", "right_ankle")


# --- one annotator -------------------------------------------------------------------------------


def annotations(*names, annotator="ann"):
    return [Annotation(annotator, "region", name) for name in names]


def test_annotations_add_up_and_are_cut_at_one(tmp_path):
    clip = AnnotatedClip("c", tmp_path, regions=BOXES)
    total = annotator_drawer(annotations("left", "top", "pixel"), clip)(GRID)
    wanted = np.zeros((8, 10))
    wanted[:, :5] += 1
    wanted[:4] += 1
    np.testing.assert_array_equal(total, np.broadcast_to(np.minimum(wanted, 1), (5, 8, 10)))
    quarters = annotator_drawer(annotations("pixel", "pixel"), clip)(GRID)
    assert quarters[:, 0, 0] == pytest.approx(0.5, abs=1e-6)
    assert quarters.sum() == pytest.approx(2.5, abs=1e-5)


def test_no_annotation_draws_nothing(tmp_path):
    assert not annotator_drawer([], AnnotatedClip("c", tmp_path))(GRID).any()


# --- in parts ------------------------------------------------------------------------------------

SAMPLES = 3000
LONG = Grid(np.arange(SAMPLES) // 2, np.arange(SAMPLES) / 8, 1 / 8, SAMPLES // 2, True, (48, 60),
            (24, 30), 0.1)  # fmt: skip


def long_annotations(tmp_path):
    """One annotation of each kind that moves, for as long as the grid lasts."""
    random = np.random.default_rng(0)
    np.save(tmp_path / "map.npy", random.random((SAMPLES // 2, 12, 15)))
    joints = random.uniform(0, 48, (SAMPLES // 2, 17, 2))
    np.savez(tmp_path / "joints.npz", keypoints=joints)
    keys = (Key(0, ((3.0, 3.0), (20.0, 20.0))), Key(SAMPLES // 2, ((30.0, 20.0), (55.0, 40.0))))
    write_shapes(tmp_path / "shapes.json", Shapes((48, 60), (Track("", "box", keys),)))
    begins = np.sort(random.uniform(0, SAMPLES / 8, 400))
    looked = np.stack([begins, begins + 0.5, *random.uniform(0, 48, (2, 400))], axis=1)
    write_gaze(tmp_path / "gaze.json", Gaze((48, 60), looked))
    return {
        "map": "map.npy",
        "shapes": "shapes.json",
        "gaze": "gaze.json",
        "region": "hips",
    }, AnnotatedClip(
        "c", tmp_path, tmp_path / "joints.npz", {"hips": Region(keypoints=("left_hip", "nose"))}
    )


@pytest.mark.parametrize("how", ["mean", "max", "stack"])
def test_a_map_in_parts_is_the_map_of_the_whole(how, tmp_path, monkeypatch):
    values, clip = long_annotations(tmp_path)
    own = [[Annotation("ann", kind, value)] for kind, value in values.items()]
    own.append([])
    whole = [annotator_drawer(one, clip)(LONG) if one else None for one in own]
    wanted = np.rint(combine_annotators(whole, how) * 255)
    monkeypatch.setattr(module, "_AT_ONCE", 7 * 24 * 30)  # 7 samples at a time
    drawn = draw_map(own, clip, LONG, how)
    assert drawn.dtype == np.uint8
    np.testing.assert_array_equal(drawn, wanted)


@pytest.mark.parametrize("kind", ["map", "shapes", "gaze", "region"])
def test_drawing_takes_little_more_than_the_map(kind, tmp_path):
    values, clip = long_annotations(tmp_path)
    grid = replace(LONG, size=(96, 96))
    own = [[Annotation(name, kind, values[kind])] for name in ("ann", "bob")]
    draw_map(
        own, clip, replace(grid, frame_index=grid.frame_index[:1], time_s=grid.time_s[:1]), "mean"
    )
    tracemalloc.start()
    drawn = draw_map(own, clip, grid, "mean")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak - drawn.nbytes < 0.5 * drawn.nbytes  # 27 MB


# --- several annotators --------------------------------------------------------------------------

A = np.full((2, 3, 4), 1.0, np.float32)
B = np.zeros((2, 3, 4), np.float32)
B[0] = 0.5


def test_mean_of_those_who_annotated():
    np.testing.assert_array_equal(combine_annotators([A, B], "mean"), ((A + B) / 2)[None])
    np.testing.assert_array_equal(combine_annotators([None, B, None], "mean"), B[None])


def test_two_of_two_weigh_one_and_one_of_two_a_half():
    one, other = np.zeros((2, 1, 1, 3), np.float32)
    one[..., :2], other[..., 1:] = 1, 1
    assert combine_annotators([one, other], "mean")[0, 0, 0].tolist() == [0.5, 1.0, 0.5]


def test_max():
    np.testing.assert_array_equal(combine_annotators([A, None, B], "max"), A[None])
    np.testing.assert_array_equal(combine_annotators([B, B * 0], "max"), B[None])


def test_stack_keeps_each_annotator_in_its_channel():
    stacked = combine_annotators([B, None, A], "stack")
    np.testing.assert_array_equal(stacked, np.stack([B, np.zeros_like(A), A]))


@pytest.mark.parametrize("how", ["mean", "max", "stack"])
def test_nobody_annotated(how):
    assert combine_annotators([None, None], how) is None
    assert combine_annotators([], how) is None


def test_unknown_combination_is_named():
    with pytest.raises(VaclipError, match=r"data\.combine is 'sum'; use mean, max or stack"):
        combine_annotators([A], "sum")


# --- lengths -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("whole", "length", "fits"),
    [
        (True, 6, True),
        (True, 5, False),
        (True, 7, False),
        (False, 6, True),
        (False, 5, False),
        (False, 7, True),
    ],
)
def test_length_is_compared_with_the_video(whole, length, fits):
    grid = Grid(np.array([0]), np.zeros(1), 1.0, 6, whole, (8, 8), (8, 8))
    if fits:
        grid.check_length(length, "k.npz")
    else:
        with pytest.raises(VaclipError, match=f"k.npz has {length} frames, but the video gives 6"):
            grid.check_length(length, "k.npz")
