"""Where models looked and what they find near, against the predictor and naive loops."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import vaclip as vc
from conftest import SMALL_RUN, write_tiny_study
from study_folder import write_study
from vaclip import keys
from vaclip.errors import VaclipError
from vaclip.evaluation.embeddings import embeddings_path
from vaclip.reports.gather import read_folder
from vaclip.runs.predict import load_predictor
from vaclip.view.models import NEAREST, ArmModels


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def study(home):
    return vc.load_study(write_tiny_study(home / "study"))


def trained(home, study, arm):
    """Returns a run and its models."""
    settings = [*SMALL_RUN, "data.stride=8", f"data.cache_dir={home / 'cache'}"]
    run = vc.train(study, arm=arm, overrides=settings, folder=home / arm)
    return run, ArmModels(read_folder(run.folder), arm, run.folder)


def test_predicted_maps_are_those_of_the_predictor(home, study):
    run, models = trained(home, study, "P2")
    clip = next(one for one in study.clips if models.tested(one.clip_id))
    assert models.tested(clip.clip_id) == ("P2", 0, 0)
    looks = models.looks(study, clip)
    assert set(looks.maps) == {"predicted", "gradcam"}
    table = load_predictor(run.checkpoint(0)).predict([clip.video], attention=study, maps=True)
    (segments,) = table.predicted_map  # 16 samples of the clip are two segments of 8
    assert len(segments) == 2
    own = looks.maps["predicted"]
    assert own.max() == 1
    tokens = np.repeat(segments, 8 // segments.shape[1], axis=1).reshape(-1, *segments.shape[2:])
    assert own == pytest.approx(tokens / tokens.max(), abs=1e-5)
    assert looks.fps == 8


def test_a_model_that_predicts_no_map_has_its_gate_and_grad_cam(home, study):
    _, models = trained(home, study, "B3")
    clip = next(one for one in study.clips if models.tested(one.clip_id))
    looks = models.looks(study, clip)
    assert set(looks.maps) == {"gate", "gradcam"}
    assert all(maps.min() >= 0 and maps.max() <= 1 for maps in looks.maps.values())


def test_a_model_of_the_map_alone_looks_nowhere_and_says_why(home, study):
    _, models = trained(home, study, "K_map_only")
    clip = next(one for one in study.clips if models.tested(one.clip_id))
    looks = models.looks(study, clip)
    assert not looks.maps
    assert looks.why_none == "its diagnosis reads the attention map and not the video"


def test_controls_are_told_and_a_lost_checkpoint_too(home, study):
    run, models = trained(home, study, "K_shuffled")
    clip = next(one for one in study.clips if models.tested(one.clip_id))
    with pytest.raises(VaclipError, match="control maps"):
        models.looks(study, clip)
    run.checkpoint(0).unlink()
    with pytest.raises(VaclipError, match="cannot be used as a checkpoint"):
        ArmModels(read_folder(run.folder), "K_shuffled", run.folder).looks(study, clip)


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
