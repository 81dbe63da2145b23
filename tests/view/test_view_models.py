"""Where models looked and what they find near, against the predictor and naive loops."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest

from study_folder import write_study
from vaclip import keys
from vaclip.errors import VaclipError
from vaclip.evaluation.embeddings import embeddings_path
from vaclip.reports.gather import read_folder
from vaclip.runs.predict import load_predictor
from vaclip.view.models import NEAREST, ArmModels


def models_of(trained, arm):
    """Returns the models of an arm, its run, and a clip that one of them was tested on."""
    run = trained(arm, "data.stride=8")
    models = ArmModels(read_folder(run.folder), arm, run.folder)
    clip = next(one for one in trained.study.clips if models.tested(one.clip_id))
    return models, run, clip


def test_predicted_maps_are_those_of_the_predictor(trained):
    models, run, clip = models_of(trained, "P2")
    assert models.tested(clip.clip_id) == ("P2", 0, 0)
    looks = models.looks(trained.study, clip)
    assert set(looks.maps) == {"predicted", "gradcam"}
    table = load_predictor(run.checkpoint(0)).predict(
        [clip.video], attention=trained.study, maps=True
    )
    (segments,) = table.predicted_map  # 16 samples of the clip are two segments of 8
    assert len(segments) == 2
    own = looks.maps["predicted"]
    assert own.max() == 1
    tokens = np.repeat(segments, 8 // segments.shape[1], axis=1).reshape(-1, *segments.shape[2:])
    assert own == pytest.approx(tokens / tokens.max(), abs=1e-5)
    assert looks.fps == 8


def test_a_model_that_predicts_no_map_has_its_gate_and_grad_cam(trained):
    models, _, clip = models_of(trained, "B3")
    looks = models.looks(trained.study, clip)
    assert set(looks.maps) == {"gate", "gradcam"}
    assert all(maps.min() >= 0 and maps.max() <= 1 for maps in looks.maps.values())


def test_a_model_of_the_map_alone_looks_nowhere_and_says_why(trained):
    models, _, clip = models_of(trained, "K_map_only")
    looks = models.looks(trained.study, clip)
    assert not looks.maps
    assert looks.why_none == "its diagnosis reads the attention map and not the video"


def test_controls_are_told_and_a_lost_checkpoint_too(trained, tmp_path):
    models, run, clip = models_of(trained, "K_shuffled")
    with pytest.raises(VaclipError, match="control maps"):
        models.looks(trained.study, clip)
    copy = shutil.copytree(run.folder, tmp_path / "run")
    (copy / run.checkpoint(0).relative_to(run.folder)).unlink()
    with pytest.raises(VaclipError, match="cannot be used as a checkpoint"):
        ArmModels(read_folder(copy), "K_shuffled", copy).looks(trained.study, clip)


def test_what_is_near_is_what_a_naive_loop_finds(tmp_path):
    folder = write_study(tmp_path)
    models = ArmModels(read_folder(folder), "B3", folder)
    table = pd.read_parquet(folder / keys.PREDICTIONS_FILE)
    own = table[
        (table.arm == "B3") & (table.fold == 0) & (table.seed == 0) & (table.split == "test")
    ]
    with np.load(embeddings_path(folder, ("B3", 0, 0))) as file:
        video, attn = file["video"], file["attn"]
    has_map = own.align_sim.notna().to_numpy()
    means = {}
    for clip_id in own.clip_id.unique():
        rows = (own.clip_id == clip_id).to_numpy() & has_map
        if rows.any():
            sums = video[rows].sum(axis=0), attn[rows].sum(axis=0)
            means[clip_id] = [one / np.linalg.norm(one) for one in sums]
    for clip_id, (seen, _) in means.items():
        found = models.nearby(clip_id)
        others = {name: float(seen @ v) for name, (v, _) in means.items() if name != clip_id}
        maps = {name: float(seen @ a) for name, (_, a) in means.items()}
        for near, cosines in ((found.videos, others), (found.maps, maps)):
            best = sorted(cosines.values(), reverse=True)[:NEAREST]
            assert [one.cosine for one in near] == pytest.approx(best, abs=1e-6)
            assert all(cosines[one.clip_id] == pytest.approx(one.cosine, abs=1e-6) for one in near)
    assert models.nearby("nobody") is None


def test_without_embeddings_nothing_is_near(tmp_path):
    folder = write_study(tmp_path)
    models = ArmModels(read_folder(folder), "B0", folder)
    clip = read_folder(folder).predictions.test.clip_id.iloc[0]
    assert models.tested(clip)
    assert models.nearby(clip) is None
