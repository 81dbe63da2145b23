"""The commands as a person types them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from vaclip import VaclipError
from vaclip.commands.main import main
from vaclip.locks import folder_lock
from vaclip.media import find_videos
from vaclip.runs.predict import load_predictor, predict_videos

ROOT = Path(__file__).parents[2]
SMOKE = ["debug=smoke", "trainer.accelerator=cpu", "trainer.devices=1"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the commands run in; the cache lies there, too."""
    return tmp_path_factory.mktemp("home")


def environment(home: Path) -> dict[str, str]:
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "VACLIP_CACHE": str(home / "cache"), "PYTHONPATH": paths}


def command(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *words],
        cwd=home, env=environment(home), capture_output=True, text=True, timeout=240,
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained(home: Path) -> Path:
    """A run of the full method, by the command of the model's description."""
    done = command(
        home, "project.main", *SMOKE, "model.map_guided=true",
        "model.map_guided_type=spatiotemporal", "loss.clip_weight=1.0", "model.lambda_token=0",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "majority guess" in done.stdout
    for title in ("retrieval among all clips", "retrieval among distinct maps"):
        assert title in done.stdout
    assert done.stdout.count("median rank") == 4  # two tables of two directions
    assert "Everything lies in runs" in done.stdout
    (run,) = (home / "runs").iterdir()
    return run


@pytest.fixture(scope="module")
def without_map(home: Path, trained: Path) -> Path:
    """A run that needs no map for its diagnosis (B1)."""
    done = command(home, "vaclip", "train", *SMOKE, "experiment=B1", "run_dir=b1")
    assert done.returncode == 0, done.stderr
    return home / "b1"


def cohort(home: Path) -> Path:
    (folder,) = (home / "cache" / "synthetic_gait").iterdir()
    return folder


def checkpoint(run: Path) -> Path:
    return run / "fold_0" / "checkpoints" / "best.ckpt"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.map_guide=true", "unknown setting 'model.map_guide'. Did you mean 'model.map_gui"),
        ("+model.extra=1", "unknown setting 'model.extra'"),
        ("optim.lr=fast", "'fast' of type 'str' could not be converted to Float"),
        ("experiment=B9", "C3_sigmoid"),
        ("data.frames=0", "data.frames is 0; it must be above 0"),
        ("data=folder", "data=folder needs data.root=PATH"),
    ],
)
def test_a_mistyped_setting_is_explained_without_a_traceback(home, override, message):
    done = command(home, "project.main", override)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_the_settings_can_be_printed(home):
    done = command(home, "vaclip", "train", "--cfg", "job", "experiment=B4")
    assert done.returncode == 0
    assert "lambda_token: 0.1" in done.stdout


def test_a_hard_kill_then_resume(home, trained):
    """SIGKILL in the middle of an epoch; the resumed run ends like one that was not killed."""
    words = [*SMOKE, "trainer.max_epochs=6", "experiment=B3"]
    whole = command(home, "vaclip", "train", *words, "run_dir=whole")
    assert whole.returncode == 0, whole.stderr
    with subprocess.Popen(
        [sys.executable, "-m", "vaclip", "train", *words, "run_dir=killed"],
        cwd=home, env=environment(home), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        last = home / "killed" / "fold_0" / "checkpoints" / "last.ckpt"
        deadline = time.monotonic() + 120
        while not last.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert not (home / "killed" / "metrics.json").exists()
    resumed = command(home, "vaclip", "train", *words, "run_dir=killed", "resume=true")
    assert resumed.returncode == 0, resumed.stderr
    results = [
        json.loads((home / name / "fold_0" / "test_metrics.json").read_text())["test"]
        for name in ("whole", "killed")
    ]
    assert results[0] == pytest.approx(results[1], abs=1e-4, nan_ok=True)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stopped_training_says_how_to_go_on(home, trained, number, status):
    folder = home / f"stopped_{status}"
    words = [*SMOKE, "trainer.max_epochs=500", "experiment=B3", f"run_dir={folder}"]
    with subprocess.Popen(
        [sys.executable, "-m", "vaclip", "train", *words], text=True,
        cwd=home, env=environment(home), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        # A shell that runs the tests in the background has Ctrl-C ignored, also by children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:  # fmt: skip
        last = folder / "fold_0" / "checkpoints" / "last.ckpt"
        deadline = time.monotonic() + 120
        while not last.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(number)
        said = process.communicate(timeout=60)[1]
    assert process.returncode == status
    assert "; resume=true goes on" in said
    assert "Traceback" not in said
    assert not list(folder.rglob(".tmp-*"))
    with folder_lock(folder):
        assert torch.load(last, weights_only=True)["epoch"] >= 0


@pytest.mark.slow
def test_two_processes_train_and_test_together(home, trained):
    """DDP by trainer overrides alone; every clip is tested once, none twice."""
    done = command(
        home, "vaclip", "train", *SMOKE, "experiment=B3", "run_dir=ddp",
        "trainer.devices=2", "trainer.strategy=ddp", "trainer.enable_progress_bar=false",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout.count("majority guess") == 2  # one table, of two sections
    tables = [pd.read_parquet(run / "predictions.parquet") for run in (home / "ddp", trained)]
    columns = ["split", "clip_id", "segment"]
    two, one = (table[columns].sort_values(columns).to_numpy().tolist() for table in tables)
    assert two == one


def test_predict_on_files_and_folders(home, trained, without_map):
    videos = sorted((cohort(home) / "videos").iterdir())
    done = command(
        home, "vaclip", "predict", "--checkpoint", str(checkpoint(without_map)),
        str(videos[0]), str(videos[1]), "--csv", "out.csv", "--json", "out.json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(home / "out.csv")
    assert table["video"].tolist() == [str(video) for video in videos[:2]]
    probs = [name for name in table if name.startswith("prob_")]
    assert len(probs) == 3
    assert table[probs].sum(axis=1).tolist() == pytest.approx([1, 1], abs=1e-5)
    for _, row in table.iterrows():
        assert row[f"prob_{row['predicted']}"] == row[probs].max()
    assert json.loads((home / "out.json").read_text())[0]["predicted"] == table["predicted"][0]
    found = predict_videos(load_predictor(checkpoint(without_map)), [cohort(home) / "videos"])
    assert len(found.table) == len(videos)
    assert not found.failures


def test_a_broken_video_does_not_lose_the_others(home, without_map, tmp_path):
    good = next((cohort(home) / "videos").iterdir())
    (tmp_path / "good.mp4").write_bytes(good.read_bytes())
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    done = command(
        home, "vaclip", "predict", "--checkpoint", str(checkpoint(without_map)),
        str(tmp_path), "--csv", "kept.csv",
    )  # fmt: skip
    assert done.returncode == 1
    assert "broken.mp4: cannot be decoded" in done.stderr
    assert "Traceback" not in done.stderr
    assert pd.read_csv(home / "kept.csv")["video"].tolist() == [str(tmp_path / "good.mp4")]


def test_predicted_maps_are_written_as_arrays_and_over_the_videos(home, trained, tmp_path):
    """A model that predicts its map, on a folder without labels, maps, or only videos."""
    done = command(home, "vaclip", "train", *SMOKE, "experiment=P2", "run_dir=p2")
    assert done.returncode == 0, done.stderr
    videos = sorted((cohort(home) / "videos").iterdir())[:2]
    for video in videos:
        (tmp_path / video.name).write_bytes(video.read_bytes())
    (tmp_path / "stray.mp4").write_bytes(b"no video")
    words = ["vaclip", "predict", "--checkpoint", str(checkpoint(home / "p2")), str(tmp_path)]
    done = command(home, *words, "--out", "looked")
    assert done.returncode == 1  # of the stray alone
    assert "stray.mp4" in done.stderr
    assert "predicted" in done.stdout
    table = pd.read_csv(home / "looked/predictions.csv")
    assert table["map"].tolist() == ["predicted", "predicted"]
    for row in table.itertuples():
        file = home / "looked" / row.map_file
        with np.load(file) as arrays:
            assert arrays["map"].shape[0] == row.segments
            sums = arrays["map"].sum(axis=(1, 2, 3))
            assert (arrays["frames"], arrays["stride"]) == (8, 8)
        np.testing.assert_allclose(sums, 1, rtol=1e-5)
        assert file.with_suffix(".mp4").stat().st_size > 0
    done = command(home, *words, "--map", "prior")
    assert done.returncode == 1
    assert "cannot be guided by --map prior; it can by predicted" in done.stderr


def test_predict_equals_the_prediction_table_of_the_run(home, trained):
    """The same clip through `predict` and through the test of its run."""
    table = pd.read_parquet(trained / "predictions.parquet")
    probs = [name for name in table if name.startswith("prob_")]
    stated = table[table["split"] == "test"].groupby("clip_id")[probs].mean()
    study = cohort(home)
    videos = [study / "videos" / f"{clip}.mp4" for clip in stated.index]
    predicted = predict_videos(load_predictor(checkpoint(trained)), videos, attention=study).table
    predicted = predicted.set_index("clip_id")[probs]
    pd.testing.assert_frame_equal(predicted, stated, atol=1e-4, rtol=0, check_dtype=False)


def test_a_model_that_needs_a_map_says_so(home, trained, capsys):
    video = next((cohort(home) / "videos").iterdir())
    with pytest.raises(SystemExit) as stopped:
        main(["predict", "--checkpoint", str(checkpoint(trained)), str(video)])
    assert stopped.value.code == 1
    assert "needs an attention map; give --attention STUDY" in capsys.readouterr().err


def test_a_clip_without_a_map_is_refused_by_name(home, trained, tiny_study):
    study = tiny_study(patients_per_class=1)
    annotations = (study / "attention.csv").read_text().splitlines()
    gone = annotations[-1].split(",")[0]
    kept = [line for line in annotations if not line.startswith(f"{gone},")]
    (study / "attention.csv").write_text("\n".join(kept) + "\n")
    clips = pd.read_csv(study / "clips.csv").set_index("clip_id")
    video = study / clips.loc[gone, "video"]
    with pytest.raises(VaclipError, match=f"'{gone}' has no attention map"):
        predict_videos(load_predictor(checkpoint(trained)), [video], attention=study)


def test_a_video_that_the_study_does_not_know_is_refused(home, trained, tiny_study):
    video = next((cohort(home) / "videos").iterdir())
    study = tiny_study(patients_per_class=1)
    with pytest.raises(VaclipError, match=r"clips\.csv of the study .* has no such video"):
        predict_videos(load_predictor(checkpoint(trained)), [video], attention=study)


def test_a_copy_is_found_by_content_and_a_namesake_is_not(home, trained, tmp_path):
    first, second = sorted((cohort(home) / "videos").iterdir())[:2]
    copy, namesake = tmp_path / "renamed.mp4", tmp_path / first.name
    copy.write_bytes(first.read_bytes())
    table = predict_videos(
        load_predictor(checkpoint(trained)), [copy], attention=cohort(home)
    ).table
    assert table["clip_id"].tolist() == [first.stem]
    namesake.write_bytes(second.read_bytes() + b"changed")
    with pytest.raises(VaclipError, match="has no such video"):
        predict_videos(load_predictor(checkpoint(trained)), [namesake], attention=cohort(home))


def test_what_is_no_checkpoint_or_no_video_is_refused(tmp_path):
    broken = tmp_path / "broken.ckpt"
    broken.write_bytes(b"not a checkpoint")
    for path in (broken, tmp_path / "missing.ckpt"):
        with pytest.raises(VaclipError, match="cannot be used as a checkpoint"):
            load_predictor(path)
    with pytest.raises(VaclipError, match="there is no file or folder"):
        find_videos([tmp_path / "missing.mp4"])
    with pytest.raises(VaclipError, match="holds no video file"):
        find_videos([tmp_path])


def test_data_check_ends_with_status_1_on_an_error(tiny_study, capsys):
    study = tiny_study(patients_per_class=1)
    with pytest.raises(SystemExit) as stopped:
        main(["data", "check", str(study)])
    assert stopped.value.code == 0
    assert "0 error(s)" in capsys.readouterr().out
    clips = (study / "clips.csv").read_text().splitlines()
    video = study / pd.read_csv(study / "clips.csv")["video"][0]
    video.write_bytes(b"no video")
    (study / "clips.csv").write_text("\n".join([*clips, clips[1]]) + "\n")
    with pytest.raises(SystemExit) as stopped:
        main(["data", "check", str(study)])
    assert stopped.value.code == 1
    shown = capsys.readouterr().out
    assert "2 error(s)" in shown
    assert "is there already" in shown
    assert "cannot be decoded" in shown


def test_data_preview_writes_a_picture(tiny_study, tmp_path, capsys):
    out = tmp_path / "sheet.png"
    with pytest.raises(SystemExit) as stopped:
        main(["data", "preview", str(tiny_study(patients_per_class=1)), "--out", str(out)])
    assert stopped.value.code == 0
    assert out.read_bytes().startswith(b"\x89PNG")


def test_a_study_that_is_none_is_explained(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["data", "preview", str(tmp_path)])
    assert stopped.value.code == 1
    assert "is this a study folder?" in capsys.readouterr().err
