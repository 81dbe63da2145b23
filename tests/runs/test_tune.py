"""The search of settings within a fold: who is seen, what is tried, what is chosen."""

from __future__ import annotations

import dataclasses
import json
import math

import pandas as pd
import pytest
import torch

from composed import make_config, make_study
from conftest import write_tiny_study
from vaclip import VaclipError, keys
from vaclip.data.dataset import SegmentDataset
from vaclip.runs import run as runs
from vaclip.runs.predict import load_predictor
from vaclip.runs.prepare import open_study, split_plan
from vaclip.runs.run import finish_run, open_run, retest_fold, run
from vaclip.runs.tune import chosen_settings, search
from vaclip.training.module import NotFiniteError

COLUMNS = ["optim.lr", "optim.weight_decay", "model.backbone_width"]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    write_tiny_study(home / "data", patients_per_class=3)
    return home


def settings_for(home, *more):
    return make_config(
        home / "runs", "data=folder", f"data.root={home / 'data'}", "split.folds=3",
        f"data.cache_dir={home / 'cache'}", "model.backbone_width=4", "trainer.max_epochs=3",
        "tune=small", "tune.trials=3", *more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def finished(home):
    """A run whose search notes the patients that it reads, then tested once more without maps."""
    config = settings_for(home, "experiment=B3", f"run_dir={home / 'searched'}")
    seen: set[str] = set()
    with pytest.MonkeyPatch.context() as patch:
        read, tune = SegmentDataset.__getitem__, runs.tuned

        def noting(self, index):
            number = index[1] if isinstance(index, tuple) else index
            seen.add(self.items[self.segments[number][0]].cached.clip.patient_id)
            return read(self, index)

        def watched(*arguments):
            with pytest.MonkeyPatch.context() as inner:
                inner.setattr(SegmentDataset, "__getitem__", noting)
                return tune(*arguments)

        patch.setattr(runs, "tuned", watched)
        with open_run(config) as opened:
            folder = finish_run(opened).folder
            data = dataclasses.replace(config.data, test_control="uniform")
            tested = dataclasses.replace(config, arm="K_withheld", data=data)
            retest_fold(opened, tested, 0, folder / "withheld")
    return folder, config, seen


def table_of(folder):
    return pd.read_csv(folder / "fold_0" / keys.TRIALS_FILE)


# --- a whole run ---------------------------------------------------------------------------------


def test_the_search_sees_training_and_validation_and_nobody_of_the_test(finished):
    _, config, seen = finished
    fold = split_plan(config, open_study(config.data)).folds[0]
    assert seen == {*fold["train"], *fold["val"]}
    assert not seen & set(fold["test"])


def test_the_model_is_trained_with_what_was_best_on_validation(finished):
    folder, _, _ = finished
    trials = table_of(folder)
    assert len(trials) == 3
    (best,) = trials[trials["chosen"]].index
    assert trials["val_log_loss"].idxmin() == best
    metrics = json.loads((folder / "fold_0" / keys.FOLD_METRICS_FILE).read_text())
    # The same seed, data and settings: the trial was this very training.
    assert metrics["val"]["val/patient/log_loss"] == pytest.approx(trials["val_log_loss"][best])
    saved = torch.load(folder / "fold_0/checkpoints/best.ckpt", weights_only=True)["vaclip"]
    chosen = saved["config"]
    assert chosen["optim"]["lr"] == pytest.approx(trials["optim.lr"][best])
    assert chosen["model"]["backbone_width"] == trials["model.backbone_width"][best]
    assert load_predictor(folder / "fold_0/checkpoints/best.ckpt").classes


def test_another_width_is_tested_again_too(home, finished):
    folder, config, _ = finished
    assert (folder / "withheld" / keys.PREDICTIONS_FILE).exists()
    for trial in range(3):  # whichever is best
        table = table_of(folder).assign(chosen=[number == trial for number in range(3)])
        table.to_csv(home / "trials.csv", index=False)
        width = chosen_settings(config, 0, home / "trials.csv").model.backbone_width
        assert width == table["model.backbone_width"][trial]
    assert len(set(table["model.backbone_width"])) > 1


def test_a_search_that_was_stopped_goes_on(home, finished, monkeypatch):
    folder, config, _ = finished
    asked = []
    rows = table_of(folder)
    rows.iloc[:2].to_csv(home / "part.csv", index=False)

    def score(trial):
        asked.append(trial.optim.lr)
        return rows["val_log_loss"][2]

    found = search(config, 0, score, home / "part.csv")
    assert asked == [pytest.approx(rows["optim.lr"][2])]
    assert found == chosen_settings(config, 0, folder / "fold_0" / keys.TRIALS_FILE)
    again = pd.read_csv(home / "part.csv")
    assert again.drop(columns="seconds").equals(rows.drop(columns="seconds"))


def test_without_a_search_nothing_changes(home):
    config = settings_for(home, "experiment=B0", "tune=none", "tune.trials=0")
    folder = run(config).folder
    assert not list(folder.rglob(keys.TRIALS_FILE))
    assert chosen_settings(config, 0, folder / "nothing") == config


# --- what is tried and chosen --------------------------------------------------------------------


def scored(tmp_path, config, fold=0, of=lambda trial: 1.0):
    search(config, fold, of, tmp_path / "trials.csv")
    table = pd.read_csv(tmp_path / "trials.csv")
    (tmp_path / "trials.csv").unlink()
    return table


def test_all_arms_try_the_same_and_the_first_is_what_was_set(home, tmp_path):
    tables = [
        scored(tmp_path, settings_for(home, f"experiment={arm}", "tune.trials=8"))
        for arm in ("B0", "B3", "K_map_only")
    ]
    for table in tables:
        assert table[COLUMNS].equals(tables[0][COLUMNS])
        assert len(table[COLUMNS].drop_duplicates()) == 8
        assert table.loc[0, COLUMNS].tolist() == [1e-3, 0.05, 4]
        assert table["chosen"].tolist() == [True] + 7 * [False]  # of equal ones the first
    other = scored(tmp_path, settings_for(home, "experiment=B0", "tune.trials=8"), fold=1)
    assert not other[COLUMNS].equals(tables[0][COLUMNS])


def test_every_setting_of_the_grid_is_tried_where_there_are_trials_for_all(home, tmp_path):
    table = scored(tmp_path, settings_for(home, "tune.trials=27"))
    wanted = {
        (round(1e-3 * lr, 9), round(0.05 * decay, 9), width)
        for lr in (0.3, 1, 3) for decay in (0.1, 1, 10) for width in (2, 4, 8)
    }  # fmt: skip
    assert {(round(a, 9), round(b, 9), c) for a, b, c in table[COLUMNS].to_numpy()} == wanted


def test_on_frozen_tokens_the_width_is_theirs(home, tmp_path):
    more = ("backbone=lite0", "features.width=8", "model.backbone_width=16")
    asked = []

    def of(trial):
        asked.append((trial.features.width, trial.model.backbone_width))
        return 1.0

    scored(tmp_path, settings_for(home, "tune.trials=27", *more), of=of)
    assert set(asked) == {(4, 16), (8, 16), (16, 16)}


def test_a_trial_that_diverges_is_a_bad_one(home, tmp_path):
    def of(trial):
        if trial.optim.lr > 1e-3:
            raise NotFiniteError("the loss is not finite")
        return trial.optim.lr

    table = scored(tmp_path, settings_for(home, "tune.trials=20"), of=of)
    lost = table["val_log_loss"] == math.inf
    assert lost.tolist() == (table["optim.lr"] > 1e-3).tolist()
    assert 0 < lost.sum() < 20
    assert table.loc[table["chosen"], "optim.lr"].item() == pytest.approx(3e-4)


def test_another_error_is_no_bad_trial(home, tmp_path):
    def of(trial):
        raise VaclipError("the disk is full")

    with pytest.raises(VaclipError, match="the disk is full"):
        scored(tmp_path, settings_for(home), of=of)


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("tune.trials=1", "tune.trials is 1; it must be 0, or 2 or more"),
        ("tune.trials=28", "tune.trials is 28, but .* make 27 settings"),
        ("tune.lr=[0]", r"tune.lr is \[0.0\]"),
        ("tune.width=[1,1]", "names nothing twice"),
    ],
)
def test_searches_that_cannot_be(home, word, told):
    with pytest.raises(VaclipError, match=told):
        settings_for(home, word)


def test_a_study_takes_it_as_one_word():
    settings = make_study("study=smoke", "tune=small")
    assert settings.tune.trials == 6
    assert make_study("study=smoke").tune.trials == 0
