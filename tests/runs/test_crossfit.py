"""No training patient's map is predicted by a head that has seen the patient."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from composed import make_config
from conftest import read_rows, write_rows, write_tiny_study
from encoder_models import ABOUT, save_program
from vaclip import VaclipError, keys
from vaclip.data.arrays import map_array
from vaclip.data.cache import CachedClip
from vaclip.data.dataset import SegmentDataset
from vaclip.data.items import ClipItem
from vaclip.data.splits import inner_parts
from vaclip.models import VideoAttentionCLIP
from vaclip.runs.crossfit import crossfit, head_config, teacher_config, with_guides, with_teacher
from vaclip.runs.predict import load_predictor
from vaclip.runs.run import run
from vaclip.study.study import Clip

# --- the parts -----------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [2, 3, 5])
def test_parts_hold_every_patient_once_and_all_classes_alike(parts):
    labels = {f"p{n}": ["abc"[n % 3]] for n in range(24)}
    dealt = inner_parts(sorted(labels), labels, parts, seed=1)
    assert sorted(patient for part in dealt for patient in part) == sorted(labels)
    for name in "abc":
        counts = [sum(labels[patient] == [name] for patient in part) for part in dealt]
        assert max(counts) - min(counts) <= 1
    assert dealt == inner_parts(sorted(labels)[::-1], labels, parts, seed=1)
    assert dealt != inner_parts(sorted(labels), labels, parts, seed=2)


def test_there_are_no_more_parts_than_patients():
    with pytest.raises(VaclipError, match=r"map_crossfit is 3, but a fold has 2 training patients"):
        inner_parts(["a", "b"], {"a": ["x"], "b": ["x"]}, 3, 0)


# --- who predicts whom ---------------------------------------------------------------------------

PATIENTS, SIDE, FRAMES = 6, 32, 4


def make_segments(root: Path) -> SegmentDataset:
    items = []
    for row in range(2 * PATIENTS):
        patient = row % PATIENTS
        for name in ("frames", "map"):
            (root / name).mkdir(exist_ok=True)
        frames, attn = (root / name / f"{row}.npy" for name in ("frames", "map"))
        np.save(frames, np.zeros((6, SIDE, SIDE, 3), np.uint8))
        np.save(attn, np.ones((1, 6, SIDE, SIDE), np.uint8))
        clip = Clip(f"c{row}", frames, f"p{patient}", "a")
        items.append(ClipItem(CachedClip(clip, frames, 6, attn), row, 0, patient, row, row))
    return SegmentDataset(items, FRAMES, 2, seed=3)


class Witness(nn.Module):
    """Predicts a map that is there exactly on the cells of the patients that it has seen."""

    def __init__(self, seen: set[int]) -> None:
        super().__init__()
        self.seen = seen
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, video, attn_map, attn_valid, *, embed):
        cells = torch.zeros(len(video), 1, 1, 2, PATIENTS // 2)
        cells.flatten(1)[:, sorted(self.seen)] = 1 / len(self.seen)
        return {keys.PREDICTED_MAP: cells + 0 * self.weight, keys.LOGITS: cells.flatten(1)}


def test_no_patient_is_predicted_by_who_has_seen_them(tmp_path):
    segments = make_segments(tmp_path)
    parts = [("p0", "p3"), ("p1", "p4"), ("p2", "p5")]
    taught = []

    def teach(others, _):
        taught.append({item.patient for item in others.items})
        assert (others.frames, others.stride, others.seed) == (FRAMES, 2, 3)
        return Witness(taught[-1])

    def guided():
        maps = crossfit(
            segments, parts, teach, keys.PREDICTED_MAP, batch_size=5, folder=tmp_path / "kept"
        )
        return with_guides(segments, maps, tmp_path)

    found = guided()
    assert len(taught) == 3
    assert [item.row for item in found.items] == [item.row for item in segments.items]
    for item in found.items:
        shown = map_array(item.guide)
        assert shown.shape == (1, 6, SIDE, SIDE)
        part = next(part for part in parts if f"p{item.patient}" in part)
        for patient in range(PATIENTS):
            row, column = divmod(patient, PATIENTS // 2)
            cell = shown[0, :, 16 * row + 8, (2 * column + 1) * SIDE // PATIENTS]
            assert (cell == (0 if f"p{patient}" in part else 255)).all()
    again = guided()
    assert len(taught) == 3, "what a stopped run has predicted is not trained anew"
    assert [item.guide for item in again.items] == [item.guide for item in found.items]


def test_no_patients_soft_target_is_of_a_teacher_who_has_seen_them(tmp_path):
    segments = make_segments(tmp_path)
    parts = [("p0", "p5"), ("p1", "p4"), ("p2", "p3")]

    def teach(others, _):
        assert all(item.teacher is None for item in others.items)
        return Witness({item.patient for item in others.items})

    told = crossfit(segments, parts, teach, keys.LOGITS, batch_size=5, folder=tmp_path / "kept")
    found = with_teacher(segments, told)
    assert len(found) == len(segments) > len(found.items)
    for index, (position, _, _) in enumerate(found.segments):
        patient = found.items[position].patient
        part = next(part for part in parts if f"p{patient}" in part)
        soft = found[index][keys.TEACHER_LOGITS]
        assert [f"p{other}" for other in range(PATIENTS) if soft[other] == 0] == list(part)
        assert keys.TEACHER_LOGITS not in segments[index]


def test_each_segment_has_its_own_soft_target(tmp_path):
    segments = make_segments(tmp_path)
    told = {
        item.row: np.array([[item.row, number] for number in range(2)], np.float32)
        for item in segments.items
    }
    found = with_teacher(segments, told)
    for index in range(len(found)):
        segment = found[index]
        expected = [segment[keys.CLIP_ROW], segment[keys.SEGMENT]]
        assert segment[keys.TEACHER_LOGITS].tolist() == expected


def test_the_teacher_is_the_full_method_of_the_students_size():
    sizes = ("model.backbone_width=24", "model.clip_feature_dim=64", "optim.lr=0.01")
    student = make_config(Path("runs"), "experiment=P3", *sizes)
    reference = make_config(Path("runs"), "experiment=B3", *sizes)
    teacher = teacher_config(student)
    assert (teacher.model, teacher.loss) == (reference.model, reference.loss)
    assert (teacher.optim, teacher.data) == (student.optim, student.data)


# --- in a run ------------------------------------------------------------------------------------

CROSSFIT = (
    "experiment=P2", "model.map_crossfit=2", "data=folder", "split.folds=3", "trainer.max_epochs=1",
)  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs; in the study of the second, one training patient was annotated otherwise."""
    home = tmp_path_factory.mktemp("crossfit")
    folders = []
    for name in ("one", "other"):
        study = write_tiny_study(home / name)
        if name == "other":
            rows = read_rows(study / "attention.csv")
            for row in rows:
                if row["clip_id"] == changed(folders[0]):
                    row["value"] = "ground"
            write_rows(study / "attention.csv", rows)
        settings = (*CROSSFIT, f"data.root={study}", f"data.cache_dir={home / 'cache'}")
        folders.append(run(make_config(home / f"runs_{name}", *settings)).folder / "fold_0")
    return folders


def parts_of(folder):
    return [dict(np.load(file)) for file in sorted((folder / "crossfit").glob("*.npz"))]


def changed(folder):
    """A training clip of the first part, by name; rows are in the order of clips.csv."""
    row = int(min(parts_of(folder)[0], key=int))
    study = Path(folder).parents[2] / "one"
    return read_rows(study / "clips.csv")[row]["clip_id"]


def test_a_patients_own_annotation_makes_no_difference_to_the_map_that_guides(runs):
    """It does to the maps of the patients in the other part, whose head it taught."""
    one, other = map(parts_of, runs)
    assert [sorted(part) for part in one] == [sorted(part) for part in other]
    assert not set(one[0]) & set(one[1])
    for row in one[0]:
        np.testing.assert_array_equal(one[0][row], other[0][row])
    assert all((one[1][row] != other[1][row]).any() for row in one[1])


def test_training_is_guided_by_the_crossfitted_map_and_the_test_by_the_models_own(
    runs, tmp_path, monkeypatch
):
    calls = []
    forward = VideoAttentionCLIP.forward

    def watched(self, video, attn_map, attn_valid=None, **more):
        calls.append((self.training, attn_map, attn_valid, more.get("map_given")))
        return forward(self, video, attn_map, attn_valid, **more)

    monkeypatch.setattr(VideoAttentionCLIP, "forward", watched)
    study = runs[0].parents[2] / "one"
    cache = runs[0].parents[2] / "cache"
    run(make_config(tmp_path, *CROSSFIT, f"data.root={study}", f"data.cache_dir={cache}"))
    phases = [training for training, *_ in calls]
    turns = [i for i, (a, b) in enumerate(pairwise(phases), start=1) if a and not b]
    assert len(turns) == 3  # two models that teach, and the fold's own
    own = [call for call in calls[turns[1] :] if call[0]]
    assert own
    for _, attn_map, valid, given in own:
        assert valid.all()
        assert given.all()
        levels = [len(row.unique()) for row in attn_map]
        assert max(levels) <= 2 * 4 * 4 * 2 + 1, "one level a token, not a clinician's Gaussian"
    assert all(given is None for training, _, _, given in calls if not training)


# --- distillation in a run -----------------------------------------------------------------------


def test_a_patients_teacher_has_not_seen_them_and_is_shown_the_map(tmp_path, monkeypatch):
    """The teachers of a run are trained on given maps, without the patients that they speak of."""
    study = write_tiny_study(tmp_path / "study")
    calls = []
    forward = VideoAttentionCLIP.forward

    def watched(self, video, attn_map, attn_valid=None, **more):
        corner = video[:, :, 0, :3, :3].flatten(1)  # noise, which tells clips apart
        calls.append((self.map_source, self.training, list(map(tuple, corner.tolist()))))
        return forward(self, video, attn_map, attn_valid, **more)

    monkeypatch.setattr(VideoAttentionCLIP, "forward", watched)
    settings = (
        "experiment=P3", "data=folder", f"data.root={study}", f"data.cache_dir={tmp_path / 'c'}",
        "split.folds=3", "trainer.max_epochs=1", "trainer.limit_train_batches=1.0",
        "model.distill_crossfit=2", "data.augment.enabled=false",
    )  # fmt: skip
    folder = run(make_config(tmp_path / "runs", *settings)).folder / "fold_0"
    teachers = [call for call in calls if call[0] == "given"]
    turns = [i for i, (a, b) in enumerate(pairwise(teachers), start=1) if b[1] and not a[1]]
    assert len(turns) == 1  # two teachers
    seen = []
    for own in (teachers[: turns[0]], teachers[turns[0] :]):
        taught, asked = ({x for _, t, shown in own if t is wanted for x in shown}
                         for wanted in (True, False))  # fmt: skip
        assert taught
        assert asked
        assert not taught & asked
        seen.append((taught, asked))
    assert seen[0] == seen[1][::-1]
    students = {x for source, training, shown in calls if source == "predicted" and training
                for x in shown}  # fmt: skip
    assert students == seen[0][0] | seen[0][1]
    kept = [dict(np.load(file)) for file in sorted((folder / "teachers").glob("*.npz"))]
    assert all(logits.shape[1] == 3 for part in kept for logits in part.values())
    logged = "".join(path.read_text() for path in folder.rglob("metrics.csv"))
    assert "train/distill" in logged


def test_the_models_whose_maps_guide_have_no_teacher():
    """Who would have seen the patient, being of another partition."""
    config = make_config(Path("runs"), "experiment=P3", "model.map_crossfit=2")
    assert head_config(config).model.lambda_distill == 0


# --- the head in closed form ---------------------------------------------------------------------

RIDGE = (
    "experiment=P2", "model.map_head=ridge", "model.lambda_map=0", "model.map_crossfit=3",
    "data=folder", "split.folds=3", "trainer.max_epochs=1", "model.clip_backbone=features",
    "features.width=8",
)  # fmt: skip


def test_a_ridge_head_is_fitted_and_cross_fitted(tmp_path):
    """As a trained one: a patient's own annotation is no matter to the map that guides."""
    save_program(tmp_path / "patches.pt2", ABOUT)
    folders = []
    for name in ("one", "other"):
        study = write_tiny_study(tmp_path / name)
        if name == "other":
            rows = read_rows(study / "attention.csv")
            for row in rows:
                if row["clip_id"] == changed(folders[0]):
                    row["value"] = "ground"
            write_rows(study / "attention.csv", rows)
        config = make_config(
            tmp_path / f"runs_{name}", *RIDGE, f"data.root={study}",
            f"data.cache_dir={tmp_path / 'cache'}",
            f"features.source=export:{tmp_path / 'patches.pt2'}",
        )  # fmt: skip
        folders.append(run(config).folder / "fold_0")
    one, other = map(parts_of, folders)
    for row in one[0]:
        np.testing.assert_array_equal(one[0][row], other[0][row])
    for part in (1, 2):
        assert all((one[part][row] != other[part][row]).any() for row in one[part])
    weights = [
        torch.load(folder / "checkpoints/best.ckpt", weights_only=True)["state_dict"]
        for folder in folders
    ]
    heads = [own["model.map_head.weight"] for own in weights]
    assert not torch.equal(*heads), "the fold's own head has seen everybody"
    assert all(head.abs().sum() > 0 for head in heads)
    found = load_predictor(folders[0] / "checkpoints/best.ckpt").predict(
        [tmp_path / "one/videos"], maps=True
    )
    for maps in found["predicted_map"]:
        np.testing.assert_allclose(maps.sum(axis=(1, 2, 3)), 1, rtol=1e-5)


def test_a_search_tries_models_whose_head_is_fitted(tmp_path, monkeypatch):
    save_program(tmp_path / "patches.pt2", ABOUT)
    heads = []

    def tuned(config, fold, seen, build, file):
        heads.append(build(config).model.map_head.weight.clone())
        return config

    monkeypatch.setattr("vaclip.runs.run.tuned", tuned)
    folder = run(make_config(
        tmp_path / "runs", *RIDGE, f"data.root={write_tiny_study(tmp_path / 'study')}",
        f"data.cache_dir={tmp_path / 'cache'}", "tune=small",
        f"features.source=export:{tmp_path / 'patches.pt2'}",
    )).folder  # fmt: skip
    kept = torch.load(folder / "fold_0/checkpoints/best.ckpt", weights_only=True)["state_dict"]
    assert torch.equal(heads[0], kept["model.map_head.weight"])
    assert heads[0].abs().sum() > 0
