"""Mistakes answer at once: what takes seconds to load is not loaded before."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SLOW = "torch lightning torchmetrics sklearn scipy pandas pyarrow matplotlib".split()
MAIN = f"""
import sys
from vaclip.commands.main import main
try:
    main(sys.argv[1:])
finally:
    print("loaded:", *[name for name in {SLOW} if name in sys.modules], file=sys.stderr)
"""


def run(folder: Path, code: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *words], cwd=folder, capture_output=True, text=True
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("data check nowhere", "no such file in nowhere; is this a study folder?"),
        ("data describe nowhere", "no such file in nowhere; is this a study folder?"),
        ("data preview nowhere", "no such file in nowhere; is this a study folder?"),
        ("data reencode nowhere --into x", "no such file in nowhere; is this a study folder?"),
        ("data import cvat nowhere --into x", "there is no file or folder 'nowhere'"),
        ("predict --checkpoint nowhere.ckpt a.mp4", "the checkpoint nowhere.ckpt is not there"),
        (
            "predict --checkpoint . a.mp4",
            "the checkpoint . is no run folder; name a file, such as RUN/",
        ),
        ("predict --checkpoint there.ckpt nowhere.mp4", "there is no file or folder nowhere.mp4"),
        (
            "predict --checkpoint there.ckpt there.mp4 --attention nowhere",
            "no such file in nowhere; is this a study folder?",
        ),
        (
            "explain --checkpoint nowhere.ckpt a.mp4 --out x",
            "the checkpoint nowhere.ckpt is not there",
        ),
        ("explain --checkpoint there.ckpt a.mp4 --out x", "there is no file or folder a.mp4"),
        ("report nowhere", "nowhere has no predictions.parquet"),
        (
            "export nowhere --to x",
            "nowhere has no config.yaml; give the folder that `vaclip train`",
        ),
        ("export nowhere --to there.mp4", "there.mp4 is there already; name a new folder"),
        ("export . --to x --data nowhere", "no such file in nowhere; is this a study folder?"),
        ("export --encoder lite0 --to nowhere", "nowhere has no model.json"),
        ("export --encoder lite0 --to nowhere --arm P2", "--encoder names none"),
        ("train data=folder data.root=nowhere", "is this a study folder?"),
        ("train backbone=lite0 data.shards=nowhere", "there are no shards in nowhere"),
        ("train data.shards=nowhere", "add the one that they were written with"),
        ("train data.shard_window=2", "data.shard_window=2 does nothing without data.shards"),
        ("train backbone=lite0 data.shards=x features.finetune=1", "and data.shards holds tokens"),
        ("study backbone=lite0 data.shards=x", "a study reads videos and annotations"),
        ("features --shards backbone=lite0", "--shards needs the folder or address"),
        ("train --shards x", "no flag --shards. Settings are KEY=VALUE: data.shards=x"),
        ("train experiment=B33", "Did you mean 'B3'?"),
        ("train --epochs 5", "no flag --epochs. Settings are KEY=VALUE: trainer.max_epochs=5"),
        ("train --lr=1e-3 seed=1", "no flag --lr. Settings are KEY=VALUE: optim.lr=1e-3"),
        ("study --nonsense", "no flag --nonsense. Settings are KEY=VALUE; `vaclip config` lists"),
        ("train epochs=5", "unknown setting 'epochs'. Did you mean 'trainer.max_epochs'?"),
        ("study limit=1", "unknown setting 'limit'. `vaclip config` lists all."),
        (
            "train experiment=quick",
            "there is no experiment=quick; you may mean debug=quick of vaclip "
            "train, study=quick of vaclip study",
        ),
        ("train debug=B3", "there is no debug=B3; you may mean experiment=B3"),
        ("study study=B3", "there is no study=B3; you may mean experiment=B3"),
        ("train --config-dir nowhere", "nowhere"),
        ("study data=folder data.root=nowhere", "is this a study folder?"),
        ("study study.arms=[B0,B33]", "Did you mean 'B3'?"),
        ("study study.roles.method=B33", "Did you mean 'B3'?"),
        ("study model.map_guided=false", "what arms differ in"),
        ("features", "name the encoder: backbone=lite0"),
        ("features backbone=lite0 data=folder data.root=nowhere", "is this a study folder?"),
        ("train backbone=lite1", "Did you mean 'lite0'?"),
        ("serve nowhere", "name a folder that `vaclip export` wrote"),
        ("train trainer.num_nodes=2", "use srun --nodes=2 --ntasks-per-node=1, or torchrun"),
        (
            "study hydra/launcher=submitit_slurm hydra.launcher.tasks_per_node=2",
            "hydra.launcher.tasks_per_node is 2; a job of a study is one process",
        ),
        (
            "train backbone=lite0 data.shards=nosuch://bucket",
            "nosuch://bucket: nothing here reads nosuch:// (Protocol not known: nosuch)",
        ),
        ("features backbone=lite0 --shards nosuch://x", "nothing here reads nosuch://"),
        ("train data.cache_dir=s3://bucket/cache", "it must be a folder, or file://FOLDER"),
        ("cache --cache-dir s3://bucket/cache", "the cache cannot lie at s3://bucket/cache"),
        ("cache --remove", "--remove needs --kind, --study or --source, or --all"),
        ("arms --config-dir nowhere", "nowhere"),
    ],
)
def test_a_mistake_waits_for_nothing(tmp_path, words, said):
    for name in ("there.ckpt", "there.mp4"):
        (tmp_path / name).touch()
    before = sorted(tmp_path.iterdir())
    done = run(tmp_path, MAIN, *words.split())
    assert done.returncode == 1, done.stderr
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1] == "loaded:"
    assert sorted(tmp_path.iterdir()) == before


def test_a_launcher_whose_package_is_missing_waits_for_nothing(tmp_path):
    without = "from vaclip.commands import extras; extras.find_spec = lambda name: None\n"
    done = run(tmp_path, without + MAIN, "study", "hydra/launcher=ray")
    assert done.returncode == 1, done.stderr
    said = " ".join(done.stderr.split())
    assert "hydra/launcher=ray needs more packages (ray): pip install 'vaclip[ray]'" in said
    assert done.stderr.splitlines()[-1] == "loaded:"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["train", "study"])
def test_one_warning_is_told_and_not_counted(tmp_path, tiny_study, command):
    root = tiny_study(1)
    (root / "attention.csv").unlink()
    done = run(tmp_path, MAIN, command, "data=folder", f"data.root={root}")
    assert done.returncode == 1  # so few patients
    told = "warning: attention.csv: there is none: only models without maps can be trained"
    assert told in done.stderr.splitlines()


@pytest.mark.parametrize("module", ["vaclip.study.load", "vaclip.maps", "vaclip.compose"])
def test_reading_a_study_does_not_load_torch(tmp_path, module):
    code = f"import {module}, sys; print([name for name in {SLOW} if name in sys.modules])"
    assert run(tmp_path, code).stdout == "[]\n"
