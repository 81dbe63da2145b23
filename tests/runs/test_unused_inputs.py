"""An arm loads what its model reads, and nothing else; what it learns is the same."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from composed import make_config
from conftest import write_tiny_study
from encoder_models import ABOUT, save_program
from vaclip import keys
from vaclip.config import uses_maps
from vaclip.data.dataset import SegmentDataset
from vaclip.models import VideoAttentionCLIP
from vaclip.models.heads import AttentionEncoder
from vaclip.runs.prepare import uses_video
from vaclip.runs.run import run

WITHOUT_MAP = ("B0", "P1")
ON_TOKENS = ("model.clip_backbone=features", "features.width=8")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    write_tiny_study(home / "data", patients_per_class=3)
    save_program(home / "patches.pt2", ABOUT)
    return home


@pytest.fixture(params=["pixels", "tokens"])
def settings(request, home):
    """Returns ``make(arm)`` of the settings of a run."""
    own = (
        ()
        if request.param == "pixels"
        else (*ON_TOKENS, f"features.source=export:{home}/patches.pt2")
    )

    def make(arm, *more):
        return make_config(
            home / "runs", "data=folder", f"data.root={home / 'data'}", "split.folds=3",
            f"data.cache_dir={home / 'cache'}", f"experiment={arm}", *own, *more,
        )  # fmt: skip

    return make


def refuse(*_, **__):
    pytest.fail("loads or computes what nothing reads")


@pytest.mark.parametrize("arm", WITHOUT_MAP)
def test_an_arm_without_a_map_reads_none(settings, arm, monkeypatch):
    monkeypatch.setattr(SegmentDataset, "_map", refuse)
    monkeypatch.setattr(AttentionEncoder, "forward", refuse)
    run(settings(arm))


def test_the_arm_of_the_map_alone_reads_no_video(settings, monkeypatch):
    config = settings("K_map_only")
    for name in ("_video", "_tokens"):
        monkeypatch.setattr(SegmentDataset, name, refuse)
    monkeypatch.setattr(VideoAttentionCLIP, "_video_feature", refuse)
    run(config)


@pytest.mark.parametrize("arm", [*WITHOUT_MAP, "K_map_only"])
def test_it_learns_what_it_would_have_learnt_with_all_loaded(settings, arm, monkeypatch):
    columns = [f"prob_{name}" for name in ("steady", "limping", "shuffling")]
    tables = [pd.read_parquet(run(settings(arm)).folder / keys.PREDICTIONS_FILE)]
    monkeypatch.setattr(SegmentDataset, "showing", lambda self, **_: self)
    tables.append(pd.read_parquet(run(settings(arm)).folder / keys.PREDICTIONS_FILE))
    np.testing.assert_allclose(tables[0][columns], tables[1][columns], rtol=1e-6)
    assert tables[0][columns].to_numpy().std() > 0


@pytest.mark.parametrize(
    ("arm", "more", "video", "maps"),
    [
        ("B0", (), True, False), ("B1", (), True, True), ("B2", (), True, True),
        ("P0", (), True, True), ("P1", (), True, False), ("P2", (), True, True),
        ("P_prior", (), True, True), ("K_withheld", (), True, True),
        ("K_map_only", (), False, True), ("K_map_only", ("loss.clip_weight=1",), True, True),
        ("K_map_only", ("model.lambda_token=1",), True, True),
        ("P1", ("model.map_dropout=0.5",), True, True),
    ],
)  # fmt: skip
def test_what_an_arm_reads(home, arm, more, video, maps):
    config = make_config(home / "runs", f"experiment={arm}", *more)
    assert (uses_video(config), uses_maps(config)) == (video, maps)
