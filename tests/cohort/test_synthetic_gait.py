from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from vaclip.cohort.gait_figure import (
    KEYPOINTS,
    Body,
    Look,
    Motion,
    draw_background,
    draw_frame,
    pose_figure,
)
from vaclip.cohort.synthetic_gait import (
    SIGN_REGION,
    TRUTHS,
    GaitCohort,
    patient_labels,
    simulate_clip,
)
from vaclip.errors import VaclipError

CLASSES = tuple(SIGN_REGION)
TINY = GaitCohort(patients=3, clips_per_patient=1, seconds=0.5, fps=8, size=64)


# --- parameters and labels ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patients": 2}, "patients must be a whole number from 3 .*, not 2"),
        ({"patients": 6.0}, "patients must be a whole number"),
        ({"clips_per_patient": 0}, "clips_per_patient .* from 1"),
        ({"sign_strength": -0.1}, "sign_strength must be a number from 0.0 .*, not -0.1"),
        ({"sign_strength": float("nan")}, "sign_strength .* not nan"),
        ({"agreement": 1.01}, "agreement must be a number from 0.0 to 1.0, not 1.01"),
        ({"truth": "maybe"}, "truth must be one of locates, .*, not 'maybe'"),
        ({"ring": 1.5}, "ring must be a number from 0.0 to 1.0, not 1.5"),
        ({"seed": -1}, "seed"),
        ({"size": 65}, "size must be even, not 65"),
        ({"seconds": 0.01}, "hold no frame"),
    ],
)
def test_impossible_parameters_are_refused(change, message):
    with pytest.raises(VaclipError, match=message):
        replace(TINY, **change)


@pytest.mark.parametrize("truth", TRUTHS)
@pytest.mark.parametrize("patients", [3, 4, 5, 60])
def test_classes_are_balanced_and_assigned_at_random(patients, truth):
    cohort = GaitCohort(patients=patients, truth=truth)
    labels = patient_labels(cohort)
    counts = Counter(labels)
    assert set(counts) == set(cohort.classes)
    assert max(counts.values()) - min(counts.values()) <= 1
    assert len({tuple(patient_labels(replace(cohort, seed=s))) for s in range(9)}) > 1


# --- the figure ----------------------------------------------------------------------------------


def measure(label: str, strength: float) -> dict[str, np.ndarray]:
    """Means over each of 150 patients' clips, from the keypoints alone; angles in degrees."""
    cohort = GaitCohort(patients=150, sign_strength=strength, truth="leaks")
    at = {name: i for i, name in enumerate(KEYPOINTS)}
    values: dict[str, list[float]] = {"lean": [], "head": [], "step": [], "uneven": []}
    for patient in range(cohort.patients):
        k = simulate_clip(cohort, patient, 0, label).keypoints.astype(float)
        hips = (k[:, at["left_hip"]] + k[:, at["right_hip"]]) / 2
        neck = (k[:, at["left_shoulder"]] + k[:, at["right_shoulder"]]) / 2
        trunk, gaze = neck - hips, k[:, at["nose"]] - k[:, at["right_ear"]]
        lean = np.rad2deg(np.arctan2(trunk[:, 0], -trunk[:, 1]))
        values["lean"].append(lean.mean())
        values["head"].append(np.rad2deg(np.arctan2(gaze[:, 1], gaze[:, 0])).mean() - lean.mean())
        apart = k[:, at["right_ankle"], 0] - k[:, at["left_ankle"], 0]
        right, left = np.percentile(apart, 97), -np.percentile(apart, 3)
        values["step"].append((right + left) / 2)
        values["uneven"].append(abs(right - left) / (right + left))
    return {name: np.array(value) for name, value in values.items()}


@pytest.fixture(scope="module")
def baseline() -> dict[str, np.ndarray]:
    return measure("trunk_lean", 0.0)


def test_each_sign_moves_what_it_says_and_little_else(baseline):
    shifts = {c: {k: v - baseline[k] for k, v in measure(c, 1.0).items()} for c in CLASSES}
    assert shifts["trunk_lean"]["lean"].mean() == pytest.approx(12, abs=1)
    assert shifts["head_drop"]["head"].mean() == pytest.approx(30, abs=2)
    ratio = 1 + shifts["short_steps"]["step"].mean() / baseline["step"].mean()
    assert ratio == pytest.approx(0.55, abs=0.05)
    assert shifts["short_steps"]["uneven"].mean() > 0.05
    for label, name, limit in [
        ("trunk_lean", "head", 1.5),
        ("trunk_lean", "step", 0.5),
        ("head_drop", "lean", 0.5),
        ("head_drop", "step", 0.5),
        ("short_steps", "lean", 0.5),
        ("short_steps", "head", 1.5),
    ]:
        assert abs(shifts[label][name].mean()) < limit, (label, name)


def test_strength_zero_is_no_sign_at_all():
    cohort = replace(TINY, sign_strength=0.0, truth="leaks")
    first, *others = (simulate_clip(cohort, 1, 0, label).keypoints for label in CLASSES)
    assert all(np.array_equal(first, other) for other in others)


def test_baselines_overlap_so_that_a_sign_is_not_trivial(baseline):
    assert 4 < baseline["lean"].std() < 8
    assert 10 < baseline["head"].std() < 18
    assert 0.12 < baseline["step"].std() / baseline["step"].mean() < 0.3


def test_gait_is_plausible():
    cohort = GaitCohort(size=256, truth="leaks")
    at = {name: i for i, name in enumerate(KEYPOINTS)}
    for patient in range(20):
        clip = simulate_clip(cohort, patient, 0, CLASSES[patient % 3])
        points, floor = clip.pose.keypoints, clip.body.floor * 256
        lowest = clip.pose.feet[..., 1]
        near, far = lowest[:, 1].max(axis=1), lowest[:, 0].max(axis=1)
        sunk = 0.012 * clip.pose.unit  # the far side is drawn a little higher
        assert np.allclose(np.maximum(near, far + sunk), floor)
        for side in ("left", "right"):
            hip, knee, ankle = (points[:, at[f"{side}_{n}"]] for n in ("hip", "knee", "ankle"))
            thigh, shank = knee - hip, ankle - knee
            bend = thigh[:, 0] * shank[:, 1] - thigh[:, 1] * shank[:, 0]
            assert (bend >= -1e-6).all()  # the ankle is never in front of a straight leg
            assert (ankle[:, 1] > knee[:, 1]).all()
        jumps = [np.abs(b - a).max() / clip.pose.unit for a, b in pairwise(points)]
        assert max(jumps) < 0.15
        assert points.min() > 0
        assert points.max() < 256


def test_keypoints_are_where_the_picture_shows_them():
    skin, shoes, white = (255, 0, 0), (0, 0, 255), (255, 255, 255)
    look = Look(skin=skin, shoes=shoes, hair=(9, 9, 9), shirt=(0, 255, 0), trousers=(255, 255, 0),
                wall=(white, white), ground=white)  # fmt: skip
    body = Body()
    pose = pose_figure(body, Motion(), np.arange(20) / 20, 128)
    empty = draw_background(look, body, 128)
    for shake in [(0, 0), (6, -4)]:
        for i in range(20):
            picture = np.asarray(draw_frame(empty, look, body, pose, i, shake)).astype(int)
            colour = {}
            for name, (x, y) in zip(KEYPOINTS, pose.keypoints[i], strict=True):
                colour[name] = picture[round(y + shake[1] / 2), round(x + shake[0] / 2)]
            assert all(np.ptp(c) > 60 for n, c in colour.items() if "eye" not in n), colour
            assert colour["nose"][0] > colour["nose"][1:].max() + 60
            heel, toe = pose.feet[i, 1] + np.array(shake) / 2
            x, y = (heel + toe) / 2 - [0, 2]
            assert picture[round(y), round(x), 2] > 200
            assert picture[round(y), round(x), 0] < 90


def test_the_camera_shakes_the_whole_picture_and_the_keypoints():
    clip = simulate_clip(GaitCohort(seconds=8, size=256, truth="leaks"), 3, 0, "head_drop")
    moved = np.abs(clip.shake).max(axis=1).argmax()
    dx, dy = (int(d) // 2 for d in clip.shake[moved])
    assert (dx, dy) != (0, 0)
    seen = (clip.keypoints - clip.pose.keypoints).mean(axis=1)
    assert np.allclose(seen, clip.shake / 2, atol=1.5)
    background = draw_background(clip.look, clip.body, 256)
    still, shaken = (
        np.asarray(draw_frame(background, clip.look, clip.body, clip.pose, moved, shift))
        for shift in ((0, 0), (2 * dx, 2 * dy))
    )
    assert np.array_equal(np.roll(still, (dy, dx), axis=(0, 1))[4:-4, 4:-4], shaken[4:-4, 4:-4])
