"""Whole runs on shards: the same tables as on the study folder, by one process or two."""

from __future__ import annotations

import dataclasses
import functools
import json
import subprocess
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import torch

from composed import make_config
from conftest import write_tiny_study
from encoder_models import ABOUT, save_program
from failing_storage import FAULTS, FailingFiles
from resumed_runs import weights_of, whole_and_resumed
from vaclip import VaclipError, keys
from vaclip.config import Config
from vaclip.patience import Patience
from vaclip.runs.prepare import open_study, prepare_study
from vaclip.runs.run import run
from vaclip.runs.shards import write_run_shards
from vaclip.runs.tokens import with_tokens

ROWS = ["split", keys.PRED_CLIP, keys.PRED_SEGMENT]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A study, a program that encodes its pictures, one shard of it, and many."""
    home = tmp_path_factory.mktemp("home")
    write_tiny_study(home / "data", patients_per_class=4, clips_per_patient=2)
    save_program(home / "patches.pt2", ABOUT)
    save_program(home / "other.pt2", ABOUT)
    write_shards_of(home, "one")
    with mock.patch("vaclip.runs.shards._MIB", 1):  # a shard a patient
        write_shards_of(home, "many", "features.shard_mb=1")
    return home


def settings_for(home: Path, *more: str) -> Config:
    return make_config(home / "runs", *words_for(home, *more))


def words_for(home: Path, *more: str) -> list[str]:
    return [
        "split.folds=3", f"data.cache_dir={home / 'cache'}", "model.clip_backbone=features",
        f"features.source=export:{home / 'patches.pt2'}", "features.width=8", "data.frames=4",
        "data.stride=4", "trainer.limit_train_batches=1.0", *more,
    ]  # fmt: skip


def on_folder(home: Path, *more: str) -> Config:
    return settings_for(home, "data=folder", f"data.root={home / 'data'}", *more)


def on_shards(home: Path, name: str, *more: str) -> Config:
    return settings_for(home, f"data.shards={home / name}", *more)


def write_shards_of(home: Path, name: str, *more: str) -> None:
    config = on_folder(home, f"data.shards={home / name}", *more)
    study = open_study(on_folder(home).data)
    prepared = with_tokens(config, prepare_study(config.data, study, workers=1), workers=1)
    write_run_shards(config, prepared)


def table_of(folder: Path) -> pd.DataFrame:
    table = pd.read_parquet(folder / keys.PREDICTIONS_FILE)
    assert np.isfinite(table["prob_steady"]).all()
    return table.sort_values(ROWS, ignore_index=True)


@pytest.mark.parametrize(
    "arm",
    ["B3", *(pytest.param(arm, marks=pytest.mark.slow) for arm in ("B0", "B2", "P1", "P2"))],
)
def test_one_shard_gives_the_table_that_the_folder_gives(home, arm):
    whole = run(on_folder(home, f"experiment={arm}")).folder
    shard = run(on_shards(home, "one", f"experiment={arm}")).folder
    pd.testing.assert_frame_equal(table_of(shard), table_of(whole))
    one, other = weights_of(whole), weights_of(shard)
    assert all(torch.equal(one[name], other[name]) for name in one)
    metrics = [json.loads((own / keys.METRICS_FILE).read_text()) for own in (shard, whole)]
    del metrics[0]["folds"]["0"]["seconds"], metrics[1]["folds"]["0"]["seconds"]
    assert json.dumps(metrics[0]) == json.dumps(metrics[1])


def test_many_shards_test_every_segment_once(home):
    more = ("experiment=B0", "trainer.max_epochs=1")
    found, wanted = (
        table_of(run(config).folder)
        for config in (
            on_shards(home, "many", "data.shard_window=3", *more),
            on_folder(home, *more),
        )
    )
    facts = [name for name in found if not name.startswith("prob_")]
    pd.testing.assert_frame_equal(found[facts], wanted[facts])


@pytest.mark.slow
def test_a_storage_that_fails_every_second_time_makes_no_difference(home, monkeypatch):
    more = ("experiment=B0", "trainer.max_epochs=1", "data.shard_window=3")
    wanted = run(on_shards(home, "many", *more)).folder
    FailingFiles.reset()
    for path in (home / "many").iterdir():
        FailingFiles.files[f"many/{path.name}"] = path.read_bytes()
    faults = [word for fault in FAULTS for word in (fault, "")]
    FailingFiles.schedule[:] = faults * 30
    patience = functools.partial(Patience, sleep=lambda _: None)
    monkeypatch.setattr("vaclip.store.Patience", patience)
    words = ["data.shards=failing://many", f"data.cache_dir={home / 'other'}"]
    found = run(settings_for(home, *words, *more)).folder
    assert len(FailingFiles.calls) > 2 * 12  # every second one failed
    assert len(list((home / "other/fetched/files").glob("*/*.tar"))) == 12
    pd.testing.assert_frame_equal(table_of(found), table_of(wanted))


def test_a_resumed_run_ends_as_one_that_was_not_stopped(home, tmp_path, monkeypatch):
    words = ("experiment=B1", "data.shard_window=2", "trainer.max_epochs=3")
    one, other = whole_and_resumed(
        lambda place: on_shards(home, "many", *words, place), tmp_path, monkeypatch
    )
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["experiment=K_shuffled"],
        ["experiment=K_permuted"],
        ["experiment=P_prior"],
        ["experiment=P2", "model.map_crossfit=2"],
        ["experiment=P3", "model.distill_crossfit=2"],
        ["experiment=B3", "data.test_noise=displacement", "data.test_noise_strength=0.1"],
        ["experiment=B0", "split.train_fraction=0.5", "loss.class_weight=balanced"],
        ["experiment=B0", "tune.trials=2"],
    ],
    ids=lambda words: "-".join(words),
)
def test_what_looks_at_all_clips_works_on_shards(home, words):
    more = (*words, "trainer.max_epochs=1")
    found, wanted = (
        table_of(run(config).folder)
        for config in (on_shards(home, "one", *more), on_folder(home, *more))
    )
    pd.testing.assert_frame_equal(found, wanted)


@pytest.mark.slow
def test_two_processes_share_out_the_shards(home):
    """Every segment is tested once, and training ends with the same steps in both."""
    words = words_for(
        home, "debug=smoke", "trainer.enable_progress_bar=false", "trainer.accelerator=cpu",
        "experiment=B3", f"data.shards={home / 'many'}", "data.shard_window=2",
        f"run_dir={home / 'two'}", "trainer.devices=2", "trainer.strategy=ddp",
        "data.num_workers=1",
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "vaclip", "train", *words],
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    alone = run(on_shards(home, "many", "experiment=B3", "trainer.max_epochs=1")).folder
    found, wanted = table_of(home / "two"), table_of(alone)
    facts = [*ROWS, "patient_id", "label", "map_id"]
    pd.testing.assert_frame_equal(found[facts], wanted[facts])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["data.fps=4"], r"with other settings: use data\.fps=8\.0, or write others"),
        (["features.grid=[2,2]", "data.size=[48,48]"], r"data.size=\[32, 32\] features.grid=null"),
        (["data.root=data", "data=folder"], "data.root=data is not read beside data.shards"),
        (["features.source={other}"], r"hold tokens of export:patches\.pt2, and features\.source"),
    ],
)
def test_what_shards_were_not_written_for_is_refused(home, words, said):
    words = [word.format(other=f"export:{home / 'other.pt2'}") for word in words]
    with pytest.raises(VaclipError, match=said):
        run(on_shards(home, "one", *words))


def test_shards_hold_one_map_a_clip(home):
    with pytest.raises(VaclipError, match=r"data\.test_annotators gives test patients others"):
        write_shards_of(home, "other", "data.train_annotators=[ann]", "data.test_annotators=[bob]")


def test_a_run_does_not_go_on_on_other_shards(home, tmp_path):
    config = on_shards(home, "one", "experiment=B0", "trainer.max_epochs=1",
                       f"run_dir={tmp_path / 'run'}")  # fmt: skip
    run(config)
    moved = dataclasses.replace(config.data, shards=str(home / "many"))
    with pytest.raises(VaclipError, match="the study changed since"):
        run(dataclasses.replace(config, data=moved, resume=True))
