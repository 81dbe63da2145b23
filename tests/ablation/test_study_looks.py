"""The look audit of a study: which models, which segments, made once, and its cases."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from composed import make_study
from conftest import CLASSES, write_tiny_study
from vaclip import keys
from vaclip.ablation.ablation import open_study_folder, plain_config, plan_study
from vaclip.ablation.job import run_job, save_job
from vaclip.ablation.look import chosen_segments, write_looks
from vaclip.ablation.worker import job_folder
from vaclip.compose import compose_settings
from vaclip.data.datamodule import clip_items
from vaclip.data.dataset import SegmentDataset
from vaclip.explain.audit import grid_maps, look_arrays, segment_inputs
from vaclip.explain.measures import correlation
from vaclip.files import read_arrays
from vaclip.runs.prepare import prepare_fold, split_plan
from vaclip.training.checkpoint import load_model

ARMS = ["B0", "B3", "K_withheld", "K_permuted", "P2", "P_shuffled"]


@pytest.fixture(scope="module")
def ablation(tmp_path_factory):
    """A study with its jobs done."""
    home = tmp_path_factory.mktemp("home")
    write_tiny_study(home / "data", patients_per_class=3)
    words = [
        "study=smoke", "data=folder", f"data.root={home / 'data'}",
        f"data.cache_dir={home / 'cache'}", f"runs_dir={home / 'runs'}",
        "split.folds=3", f"study.arms=[{','.join(ARMS)}]", "study.folds=[0]",
        "study.noise_arms=[]", "study.annotator_arms=[]", "trainer.accelerator=cpu",
        "trainer.max_epochs=1", "data.frames=8", "data.stride=8", "data.size=[32,32]",
    ]  # fmt: skip

    def compose(arm, seed):
        composed = [*words, f"experiment={arm}", f"seed={seed}"]
        return plain_config(compose_settings(composed, "study"))

    made = plan_study(make_study(*words), compose)
    open_study_folder(made)
    for job in made.jobs:
        save_job(job, job_folder(made.folder, job.name))
        run_job(job_folder(made.folder, job.name))
    made.collect(made.complete())
    return made


@pytest.fixture(scope="module")
def table(ablation):
    seen = []
    write_looks(ablation, ablation.complete(), progress=lambda *at: seen.append(at))
    assert seen == [(n, 4) for n in range(1, 5)]
    return read(ablation)


def read(ablation):
    return pd.read_csv(ablation.folder / keys.LOOK_FILE)


def test_the_arms_with_a_role_are_audited_on_a_stated_number_of_clips(ablation, table):
    assert ablation.study.look_clips == 2
    assert tuple(table.columns) == keys.LOOK_COLUMNS
    assert list(table["arm"].unique()) == ["B0", "B3", "P2", "P_shuffled"]  # no control
    assert (table.groupby("arm")["clip_id"].nunique() == 2).all()
    assert (table.groupby("arm")["patient_id"].nunique() == 2).all()
    of_test = split_plan(ablation.config, ablation.prepared.study).folds[0]["test"]
    assert set(table["patient_id"]) <= set(of_test)
    maps = table.groupby("arm")["map"].unique().map(set)
    assert "predicted" in maps["P2"] & maps["P_shuffled"]
    assert not {"predicted", "gate"} & (maps["B0"] | maps["B3"])
    assert set(keys.LOOK_FLOORS) <= maps["B0"]
    against = table[table["measure"] == keys.LOOK_PERMUTED]
    assert set(against["arm"]) == {"B3"}  # the method, against itself trained on other labels
    assert set(against["map"]) == {"gradcam", "integrated_gradients", "occlusion"}


def test_a_value_is_that_of_the_checkpoint_and_the_clinicians_map(ablation, table):
    """Of P_shuffled too, which is shown other maps."""
    for arm in ("P2", "P_shuffled"):
        job = next(job for job in ablation.jobs if job.config.arm == arm)
        where = job_folder(ablation.folder, job.name)
        model, _ = load_model(where / "fold_0/checkpoints/best.ckpt")
        plan = split_plan(ablation.config, ablation.prepared.study).folds[0]
        segments = prepare_fold(ablation.config, ablation.prepared, plan)["test"]
        rows = table[(table["arm"] == arm) & (table["map"] == "predicted")]
        rows = rows[rows["measure"] == "cc"].set_index("clip_id")["value"]
        assert len(rows)
        for number, (position, segment, _) in enumerate(segments.segments):
            clip = segments.items[position].cached.clip.clip_id
            if segment == 0 and clip in rows:
                own = look_arrays(model, segment_inputs(segments[number], "cpu"))["predicted"]
                truth = grid_maps(segments[number][keys.ATTN_MAP][None], own.shape[1:])
                assert rows[clip] == pytest.approx(correlation(own, truth)[0], abs=1e-4)


def test_the_method_is_compared_with_itself_trained_on_permuted_labels(ablation, table):
    models = {}
    for arm in ("B3", "K_permuted"):
        job = next(job for job in ablation.jobs if job.config.arm == arm)
        where = job_folder(ablation.folder, job.name)
        models[arm], _ = load_model(where / "fold_0/checkpoints/best.ckpt")
    plan = split_plan(ablation.config, ablation.prepared.study).folds[0]
    segments = prepare_fold(ablation.config, ablation.prepared, plan)["test"]
    rows = table[(table["measure"] == keys.LOOK_PERMUTED) & (table["map"] == "gradcam")]
    rows = rows.set_index(["clip_id", "segment"])["value"]
    assert len(rows) == 2
    for number, (position, segment, _) in enumerate(segments.segments):
        clip = segments.items[position].cached.clip.clip_id
        if (clip, segment) in rows:
            inputs = segment_inputs(segments[number], "cpu")
            own, other = (look_arrays(models[arm], inputs)["gradcam"] for arm in models)
            assert not np.array_equal(own, other)
            assert rows[clip, segment] == pytest.approx(correlation(own, other)[0], abs=1e-4)


def test_it_goes_on_where_it_was_stopped_and_makes_nothing_twice(ablation, table):
    before = (ablation.folder / keys.LOOK_FILE).read_bytes()
    tables = sorted((ablation.folder / "jobs").rglob(keys.LOOK_FILE))
    assert len(tables) == 4

    def made_anew():
        then = {path: path.exists() and path.stat().st_mtime_ns for path in tables}
        write_looks(ablation, ablation.complete())
        assert (ablation.folder / keys.LOOK_FILE).read_bytes() == before
        return [path for path in tables if path.stat().st_mtime_ns != then[path]]

    assert made_anew() == []
    job = next(job for job in ablation.jobs if job.config.arm == "B0")
    kept = job_folder(ablation.folder, job.name) / "fold_0" / keys.LOOK_FILE
    kept.unlink()
    assert made_anew() == [kept]
    stale = pd.read_csv(kept).assign(model="of before")  # another training left it
    stale.to_csv(kept, index=False)
    assert made_anew() == [kept]
    assert ablation.complete() == list(ablation.jobs)  # jobs are as they were


def test_cases_are_where_model_and_clinicians_are_most_apart(ablation, table):
    about = json.loads((ablation.folder / keys.LOOK_CASES_FILE).read_text())
    assert (about["arm"], about["fold"], about["seed"], about["map"]) == ("P2", 0, 0, "predicted")
    own = table[(table["arm"] == "P2") & (table["map"] == "predicted")]
    own = own[own["measure"] == "cc"].sort_values("value")
    assert [case["clip_id"] for case in about["cases"]] == own["clip_id"].tolist()[:3]
    for case in about["cases"]:
        assert case["label"] in CLASSES
        assert case["clip_id"].startswith(case["patient_id"])
        pictures = read_arrays(ablation.folder / case["file"])
        assert {name: one.shape for name, one in pictures.items()} == {
            "frames": (8, 32, 32, 3), "map": (8, 32, 32), "look": (8, 32, 32),
        }  # fmt: skip
        assert pictures["look"].max() > 200
        assert np.isclose(own.set_index("clip_id")["value"][case["clip_id"]], case["cc"], atol=1e-5)


def test_a_study_that_wants_none_has_none(ablation, table):
    before = (ablation.folder / keys.LOOK_FILE).read_bytes()
    ablation.study.look_clips = 0
    try:
        write_looks(ablation, ablation.complete())
        assert not (ablation.folder / keys.LOOK_FILE).exists()
        assert not (ablation.folder / keys.LOOK_CASES_FILE).exists()
    finally:
        ablation.study.look_clips = 2
    write_looks(ablation, ablation.complete())
    assert (ablation.folder / keys.LOOK_FILE).read_bytes() == before


def test_clips_of_a_patient_come_after_one_of_each(ablation):
    """And of each clip the first segment with a map."""
    prepared = ablation.prepared
    items = clip_items(prepared.study, [item.cached for item in prepared.items], {})
    twice = [*items, *items[:2]]  # two patients have two clips
    segments = SegmentDataset(twice, 8, 8)
    chosen = chosen_segments(segments, len(items) + 1)
    clips = [segments.segments[n][0] for n in chosen]
    assert clips == list(range(len(items) + 1))
    assert all(segments.segments[n][1] == 0 for n in chosen)
    patients = Counter(twice[n].patient for n in clips)
    assert sorted(patients.values()) == [1] * (len(items) - 1) + [2]
    assert chosen_segments(segments, 3) == [0, *chosen[1:3]]
