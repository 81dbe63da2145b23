"""Class weights, label smoothing and early stopping, which are off unless asked for."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from composed import make_config
from conftest import write_tiny_study
from vaclip import keys
from vaclip.data.cache import CachedClip
from vaclip.data.dataset import SegmentDataset
from vaclip.data.items import ClipItem
from vaclip.losses import CompositeLoss
from vaclip.runs.loss import build_loss, class_weights
from vaclip.runs.run import run
from vaclip.study.study import Clip
from vaclip.training.module import MONITOR

LOGITS = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
LABEL = torch.tensor([0, 0, 0, 1, 1, 2])


def test_balanced_weights_are_those_of_scikit_learn(tmp_path):
    nowhere = Path("nowhere")
    clips = [
        ClipItem(CachedClip(Clip(f"c{row}", nowhere, f"p{row}", "a"), nowhere, samples, None),
                 row, label, row, -1, row)
        for row, (label, samples) in enumerate([(0, 8), (1, 16), (1, 8), (2, 24)])
    ]  # fmt: skip
    train = SegmentDataset(clips, frames=8, stride=8)
    config = make_config(tmp_path, "loss.class_weight=balanced")
    of_segments = [0, 1, 1, 1, 2, 2, 2]
    wanted = compute_class_weight("balanced", classes=np.arange(3), y=of_segments)
    found = class_weights(config, train, 3)
    np.testing.assert_allclose(found, wanted)
    assert found[of_segments].mean() == pytest.approx(1)
    assert class_weights(make_config(tmp_path), train, 3) is None


def test_the_weighted_cross_entropy_is_the_mean_over_rows():
    weight = torch.tensor([0.5, 1.0, 3.0])
    loss = CompositeLoss(0.0, class_weight=weight)
    log_probs = LOGITS.double().log_softmax(dim=1)
    wanted = sum(-weight[y].item() * log_probs[i, y].item() for i, y in enumerate(LABEL)) / 6
    assert loss({keys.LOGITS: LOGITS}, LABEL)[keys.LOSS_CE].item() == pytest.approx(wanted, 1e-5)
    assert "class_weight" not in loss.state_dict()


def test_a_smoothed_label_is_spread_evenly(tmp_path):
    loss = build_loss(make_config(tmp_path, "loss.clip_weight=0", "loss.label_smoothing=0.3"))
    target = torch.full((6, 3), 0.1) + 0.7 * torch.eye(3)[LABEL]
    wanted = -(target * LOGITS.log_softmax(dim=1)).sum(dim=1).mean()
    torch.testing.assert_close(loss({keys.LOGITS: LOGITS}, LABEL)[keys.LOSS_CE], wanted)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return write_tiny_study(tmp_path_factory.mktemp("study") / "data", patients_per_class=3)


def test_training_stops_when_validation_gets_no_better(study, tmp_path):
    words = (
        "experiment=B0", "data=folder", f"data.root={study}", "split.folds=3", "optim.lr=0.5",
        f"data.cache_dir={tmp_path / 'cache'}", "trainer.max_epochs=12",
    )  # fmt: skip
    folder = run(make_config(tmp_path, *words, "optim.patience=2")).folder
    log = pd.read_csv(folder / "fold_0/logs/attempt_0/metrics.csv")
    losses = log[MONITOR].dropna().tolist()[:-1]  # the last is of the chosen epoch, again
    best = json.loads((folder / "metrics.json").read_text())["folds"]["0"]["best_epoch"]
    assert best == int(np.argmin(losses))
    assert len(losses) == best + 3 < 12


def test_a_run_with_class_weights_is_tested_again_without(study, tmp_path):
    config = make_config(
        tmp_path, "experiment=B2", "data=folder", f"data.root={study}", "split.folds=3",
        f"data.cache_dir={tmp_path / 'cache'}", "loss.class_weight=balanced",
        "trainer.max_epochs=1", f"run_dir={tmp_path / 'run'}",
    )  # fmt: skip
    first = run(config).metrics[0]["test"]
    (tmp_path / "run/fold_0/test_metrics.json").unlink()
    again = run(dataclasses.replace(config, resume=True)).metrics[0]["test"]
    assert again["test/patient/log_loss"] == first["test/patient/log_loss"]
