"""``vaclip features`` as a person types it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from conftest import write_tiny_study
from encoder_models import ABOUT, save_program


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    write_tiny_study(home / "data", patients_per_class=1)
    save_program(home / "patches.pt2", ABOUT)
    return home


def command(home, *words):
    environment = {**os.environ, "VACLIP_CACHE": str(home / "cache")}
    return subprocess.run(
        [sys.executable, "-m", "vaclip", *words],
        cwd=home, env=environment, capture_output=True, text=True, timeout=240,
    )  # fmt: skip


WORDS = (
    "features", "data=folder", "data.root=data", "model.clip_backbone=features",
    "features.source=export:patches.pt2", "data.size=[32,32]", "split.folds=3",
)  # fmt: skip


def test_clips_are_encoded_once(home):
    first = command(home, *WORDS)
    assert first.returncode == 0, first.stderr
    assert "tokens of 3 clips by export:patches.pt2 take" in " ".join(first.stdout.split())
    assert "tiny: 3 clips, tokens of export:patches.pt2, 0.00 GiB" in first.stdout
    files = {path: path.stat().st_mtime_ns for path in home.glob("cache/**/tokens.npy")}
    assert len(files) == 3
    again = command(home, *WORDS)
    assert again.returncode == 0, again.stderr
    assert "take" not in again.stdout
    assert files == {path: path.stat().st_mtime_ns for path in home.glob("cache/**/tokens.npy")}
    listed = command(home, "cache", "--source", "export:patches.pt2")
    assert "tokens" in listed.stdout
    assert "tiny" in listed.stdout


def test_without_an_encoder_there_is_nothing_to_do(home):
    done = command(home, *WORDS[:3])
    assert done.returncode == 1
    assert "error: name the encoder: backbone=lite0" in done.stderr


def test_shards_are_written_and_trained_on(home):
    written = command(home, *WORDS, "data.cache_dir=cache", "--shards", "out")
    assert written.returncode == 0, written.stderr
    assert "1 shard in out" in written.stdout
    assert sorted(path.name for path in (home / "out").iterdir()) == [
        "00000.json", "00000.tar", "index.json", "index.parquet"
    ]  # fmt: skip
    again = command(home, *WORDS, "--shards=other", "data.size=[48,48]")
    assert again.returncode == 0, again.stderr
    refused = command(home, *WORDS, "--shards=out", "data.fps=4")
    assert refused.returncode == 1
    assert "out holds the shards of other clips or settings" in refused.stderr
    trained = command(home, "train", "data.shards=out", *WORDS[3:], "experiment=B0")
    assert trained.returncode == 1  # one patient a class
    assert "too few for split.folds=3" in trained.stderr
