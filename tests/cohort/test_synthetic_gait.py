from __future__ import annotations

import csv
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
import yaml

from vaclip.cohort import synthetic_gait
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
    CLASSES,
    REGIONS,
    SIGN_REGION,
    GaitCohort,
    annotate,
    cohort_folder,
    patient_labels,
    simulate_clip,
    write_cohort,
)
from vaclip.errors import VaclipError

TINY = GaitCohort(patients=3, clips_per_patient=1, seconds=0.5, fps=8, size=64)


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def written(cohort: GaitCohort, folder: Path, **options) -> dict[str, bytes]:
    write_cohort(cohort, folder, **{"workers": 1, **options})
    return contents(folder)


def rows(folder: Path, table: str) -> list[dict[str, str]]:
    with (folder / table).open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


# --- the files -----------------------------------------------------------------------------------


def test_same_seed_same_bytes_and_another_seed_other_bytes(tmp_path):
    first = written(TINY, tmp_path / "a")
    for again in range(20):  # some settings of x264 give other bytes once in ten runs
        assert first == written(TINY, tmp_path / str(again))
    other = written(replace(TINY, seed=1), tmp_path / "c")
    assert first["videos/P001_c1.mp4"] != other["videos/P001_c1.mp4"]


def test_number_of_workers_does_not_matter(tmp_path):
    assert written(TINY, tmp_path / "a") == written(TINY, tmp_path / "b", workers=2)


@pytest.mark.parametrize("change", [{"informative": False}, {"agreement": 1.0}])
def test_annotators_change_attention_csv_alone(tmp_path, change):
    first = written(TINY, tmp_path / "a")
    second = written(replace(TINY, **change), tmp_path / "b")
    assert {name for name in first if first[name] != second[name]} == {"attention.csv"}
    assert first.keys() == second.keys()


def test_study_folder_is_complete(tmp_path):
    cohort = replace(TINY, patients=4, clips_per_patient=2)
    calls = []
    write_cohort(cohort, tmp_path / "s", lambda *call: calls.append(call), workers=1)
    assert calls == [(i, 8) for i in range(1, 9)]
    study = yaml.safe_load((tmp_path / "s/study.yaml").read_text())
    assert study["classes"] == list(CLASSES)
    joints = [joint for region in study["regions"].values() for joint in region["keypoints"]]
    assert sorted(joints) == sorted(KEYPOINTS)
    clips = rows(tmp_path / "s", "clips.csv")
    assert [clip["clip_id"] for clip in clips[:3]] == ["P001_c1", "P001_c2", "P002_c1"]
    labels = patient_labels(cohort)
    assert [clip["label"] for clip in clips] == [label for label in labels for _ in range(2)]
    annotations = rows(tmp_path / "s", "attention.csv")
    assert [(m["clip_id"], m["annotator"]) for m in annotations] == [
        (clip["clip_id"], rater) for clip in clips for rater in ("rater1", "rater2")
    ]
    assert {m["kind"] for m in annotations} == {"region"}
    assert {m["value"] for m in annotations} <= set(REGIONS)


def test_video_and_keypoints_have_the_promised_shape(tmp_path):
    write_cohort(replace(TINY, seconds=1.5, fps=10), tmp_path / "s", workers=1)
    for clip in rows(tmp_path / "s", "clips.csv"):
        with av.open(str(tmp_path / "s" / clip["video"])) as container:
            stream = container.streams.video[0]
            assert stream.codec_context.name == "h264"
            assert stream.average_rate == 10
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        assert np.shape(frames) == (15, 64, 64, 3)
        arrays = np.load(tmp_path / "s" / clip["keypoints"])
        assert arrays["keypoints"].shape == (15, 17, 2)
        assert arrays["scores"].shape == (15, 17)
        assert {arrays[name].dtype for name in arrays} == {np.dtype(np.float32)}
        assert arrays["scores"].min() >= 0
        assert arrays["scores"].max() <= 1
        far = [i for i, name in enumerate(KEYPOINTS) if name.startswith("left")]
        near = [i for i, name in enumerate(KEYPOINTS) if name.startswith("right")]
        assert arrays["scores"][:, far].mean() < arrays["scores"][:, near].mean() - 0.1


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupted_write_leaves_nothing(tmp_path, workers):
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_cohort(TINY, tmp_path / "s", stop, workers=workers)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_use_is_refused(tmp_path):
    (tmp_path / "mine.txt").touch()
    with pytest.raises(VaclipError, match="is not empty"):
        write_cohort(TINY, tmp_path, workers=1)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_whoever_is_first_with_a_folder_wins(tmp_path):
    def overtake(done: int, total: int) -> None:
        if done == total:
            (tmp_path / "s").mkdir()
            (tmp_path / "s/study.yaml").write_text("theirs")

    write_cohort(TINY, tmp_path / "s", overtake, workers=1)
    assert [path.name for path in tmp_path.iterdir()] == ["s"]
    assert contents(tmp_path / "s") == {"study.yaml": b"theirs"}


def test_the_cache_is_written_once_and_covers_every_parameter(tmp_path, monkeypatch):
    calls = []

    def progress(done: int, total: int) -> None:
        calls.append(done)

    folder = cohort_folder(TINY, tmp_path, progress, workers=1)
    assert (folder / "clips.csv").is_file()
    monkeypatch.setenv("VACLIP_CACHE", str(tmp_path))
    assert cohort_folder(TINY, None, progress) == folder
    assert calls == [1, 2, 3]

    monkeypatch.setattr(synthetic_gait, "_write", lambda *_: None)
    changes = {
        "patients": 4,
        "clips_per_patient": 2,
        "sign_strength": 0.5,
        "agreement": 0.5,
        "informative": False,
        "seed": 1,
        "seconds": 1.0,
        "fps": 9,
        "size": 66,
    }
    assert changes.keys() == vars(TINY).keys()
    folders = {cohort_folder(replace(TINY, **{name: v})) for name, v in changes.items()}
    monkeypatch.setattr(synthetic_gait, "GENERATOR_VERSION", -1)
    folders |= {folder, cohort_folder(TINY)}
    assert len(folders) == len(changes) + 2


# --- parameters, labels, annotators --------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patients": 2}, "patients must be a whole number from 3 .*, not 2"),
        ({"patients": 6.0}, "patients must be a whole number"),
        ({"clips_per_patient": 0}, "clips_per_patient .* from 1"),
        ({"sign_strength": -0.1}, "sign_strength must be a number from 0.0 .*, not -0.1"),
        ({"sign_strength": float("nan")}, "sign_strength .* not nan"),
        ({"agreement": 1.01}, "agreement must be a number from 0.0 to 1.0, not 1.01"),
        ({"informative": "no"}, "informative must be true or false, not 'no'"),
        ({"seed": -1}, "seed"),
        ({"size": 65}, "size must be even, not 65"),
        ({"seconds": 0.01}, "hold no frame"),
    ],
)
def test_impossible_parameters_are_refused(change, message):
    with pytest.raises(VaclipError, match=message):
        replace(TINY, **change)


@pytest.mark.parametrize("patients", [3, 4, 5, 60])
def test_classes_are_balanced_and_assigned_at_random(patients):
    labels = patient_labels(GaitCohort(patients=patients))
    counts = Counter(labels)
    assert set(counts) == set(CLASSES)
    assert max(counts.values()) - min(counts.values()) <= 1
    assert len({tuple(patient_labels(GaitCohort(patients=patients, seed=s))) for s in range(9)}) > 1


@pytest.mark.parametrize("informative", [True, False])
@pytest.mark.parametrize("agreement", [0.0, 0.46, 0.5, 1.0])
def test_agreement_is_exact(informative, agreement):
    labels = [CLASSES[i % 3] for i in range(1890)]
    pairs = annotate(GaitCohort(agreement=agreement, informative=informative), labels)
    assert sum(a == b for a, b in pairs) == round(agreement * 1890)


def test_informative_annotators_name_the_sign():
    labels = [CLASSES[i % 3] for i in range(3000)]
    pairs = annotate(GaitCohort(), labels)
    assert all(SIGN_REGION[label] in pair for label, pair in zip(labels, pairs, strict=True))
    split = [(SIGN_REGION[k], p) for k, p in zip(labels, pairs, strict=True) if p[0] != p[1]]
    assert np.mean([pair[0] == sign for sign, pair in split]) == pytest.approx(0.5, abs=0.05)
    others = Counter(r for sign, pair in split if sign == "head" for r in pair if r != sign)
    expected = sum(others.values()) / 5
    assert len(others) == 5
    assert sum((n - expected) ** 2 / expected for n in others.values()) < 20  # p = 0.0005


def chi_square(labels: list[str], regions: list[str]) -> float:
    table = np.array([[Counter(zip(labels, regions, strict=True))[c, r] for r in REGIONS]
                      for c in CLASSES])  # fmt: skip
    expected = np.outer(table.sum(1), table.sum(0)) / table.sum()
    return float(((table - expected) ** 2 / expected).sum())


@pytest.mark.parametrize("seed", range(3))
def test_null_annotators_know_nothing_of_the_class(seed):
    labels = [CLASSES[i % 3] for i in range(3000)]
    cohort = GaitCohort(informative=False, seed=seed)
    pairs = annotate(cohort, labels)
    limit = 31.4  # 10 degrees of freedom, p = 0.0005
    for rater in (0, 1):
        regions = [pair[rater] for pair in pairs]
        assert chi_square(labels, regions) < limit
        assert max(Counter(regions).values()) < 1.25 * min(Counter(regions).values())
        known = [pair[rater] for pair in annotate(replace(cohort, informative=True), labels)]
        assert chi_square(labels, known) > 10 * limit


# --- the figure ----------------------------------------------------------------------------------


def measure(label: str, strength: float) -> dict[str, np.ndarray]:
    """Means over each of 150 patients' clips, from the keypoints alone; angles in degrees."""
    cohort = GaitCohort(patients=150, sign_strength=strength)
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
    cohort = replace(TINY, sign_strength=0.0)
    first, *others = (simulate_clip(cohort, 1, 0, label).keypoints for label in CLASSES)
    assert all(np.array_equal(first, other) for other in others)


def test_baselines_overlap_so_that_a_sign_is_not_trivial(baseline):
    assert 4 < baseline["lean"].std() < 8
    assert 10 < baseline["head"].std() < 18
    assert 0.12 < baseline["step"].std() / baseline["step"].mean() < 0.3


def test_gait_is_plausible():
    cohort = GaitCohort(size=256)
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
    clip = simulate_clip(GaitCohort(seconds=8, size=256), 3, 0, "head_drop")
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
