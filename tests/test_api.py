"""The Python API: `import vaclip as vc`."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import vaclip as vc
from conftest import write_tiny_study
from vaclip.reports.typeset import MINUS

SMALL = [
    "debug=smoke", "trainer.max_epochs=1", "trainer.accelerator=cpu", "split.folds=3",
    "data.frames=8", "data.size=[32,32]",
]  # fmt: skip


def test_importing_loads_nothing_heavy():
    """And asking for a name loads what it needs alone."""
    code = (
        "import sys, vaclip; light = set(sys.modules); vaclip.load_study; "
        "print(*sorted({'torch', 'pandas', 'numpy', 'hydra', 'sklearn'} & light), '|', "
        "*sorted({'torch', 'lightning', 'sklearn'} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["|"]


def test_every_name_is_there():
    for name in vc.__all__:
        assert getattr(vc, name) is not None
    assert set(dir(vc)) == set(vc.__all__) == {*vc._HOMES, "VaclipError", "__version__"}


def test_another_name_is_not():
    with pytest.raises(AttributeError, match="no attribute 'load_stuff'"):
        vc.load_stuff  # noqa: B018


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def study(home):
    return vc.load_study(str(write_tiny_study(home / "my_study")))


@pytest.fixture(scope="module")
def run(home, study):
    overrides = [*SMALL, f"data.cache_dir={home / 'cache'}"]
    return vc.train(study, arm="B3", folds="all", overrides=overrides, folder=home / "run")


def test_a_study_is_shown_short_and_as_a_table(study):
    assert repr(study) == "Study('tiny': 15 patients, 15 clips, 3 classes, 2 annotators)"
    assert "<table" in study._repr_html_()
    frame = study.frame
    assert frame.loc["steady-0-0", ["patient_id", "label", "frames"]].tolist() == [
        "steady-0", "steady", "20"
    ]  # fmt: skip
    assert frame["annotations"].sum() == sum(map(len, study.annotations.values()))


def test_problems_are_a_frame(tmp_path, home, study):
    assert vc.check(study, workers=1).problems.empty
    broken = write_tiny_study(tmp_path / "broken", 2)
    video = broken / "videos/limping-0-0.mkv"
    video.write_bytes(video.read_bytes()[:100])
    found = vc.check(str(broken), workers=1)
    assert found.problems.columns.tolist() == ["severity", "where", "what", "clip_id"]
    assert found.problems["clip_id"].tolist() == ["limping-0-0"]
    assert repr(found) == "StudyCheck(6 clips: 1 error, 0 warnings)"
    assert len(found.videos) == 6


def test_a_run_is_read_again(home, run):
    again = vc.load_run(home / "run")
    assert repr(again) == f"Run({str(home / 'run')!r}: B3, 3 folds)"
    pd.testing.assert_frame_equal(again.metrics, run.metrics)
    assert run.metrics.index.tolist() == [0, 1, 2]
    for fold in run.folds:
        own = run.predictions.model_clips("B3", fold, 0).metrics()
        assert run.metrics.loc[fold, list(own)].tolist() == pytest.approx(
            list(own.values()), nan_ok=True
        )
    with pytest.raises(vc.VaclipError, match=r"has no fold 7; it has \[0, 1, 2\]"):
        run.checkpoint(7)


def test_an_unfinished_run_is_none(tmp_path):
    with pytest.raises(vc.VaclipError, match="holds no finished run"):
        vc.load_run(tmp_path)


@pytest.fixture(scope="module")
def model(run):
    return vc.load_predictor(str(run.checkpoint(fold=0)))


def test_a_model_predicts_what_its_run_says(study, run, model):
    frame = run.predictions.frame
    tested = frame[(frame["fold"] == 0) & (frame["split"] == "test")]
    clips = [clip for clip in study.clips if clip.clip_id in set(tested["clip_id"])]
    found = model.predict([clip.video for clip in clips], attention=study)
    expected = tested.groupby("clip_id")[run.predictions.probs].mean()
    pd.testing.assert_frame_equal(
        found.loc[expected.index, expected.columns], expected, check_dtype=False, atol=1e-5
    )


def test_embeddings_are_those_that_retrieval_ranks(study, run, model):
    embedded = model.embed(study)
    assert embedded.index.tolist() == [clip.clip_id for clip in study.clips]
    clips = run.predictions.model_clips("B3", 0, 0)
    frame = run.predictions.frame
    tested = frame[(frame["fold"] == 0) & (frame["split"] == "test")]
    names = sorted(tested["clip_id"].unique())
    np.testing.assert_allclose(embedded.loc[names, "video"], clips.video, atol=1e-5)
    np.testing.assert_allclose(embedded.loc[names, "attn"], clips.attn, atol=1e-5)


def test_a_clip_without_a_map_has_no_map_embedding(home, study, model, tmp_path):
    root = write_tiny_study(tmp_path / "bare")
    rows = (root / "attention.csv").read_text().splitlines()
    (root / "attention.csv").write_text("\n".join(r for r in rows if "steady-0-0" not in r) + "\n")
    embedded = model.embed(root)
    assert embedded.loc["steady-0-0", "attn"].isna().all()
    assert np.linalg.norm(embedded.loc["steady-0-0", "video"]) == pytest.approx(1)


def test_a_model_that_needs_a_map_says_so(study, model):
    assert "needs an attention map" in repr(model)
    with pytest.raises(vc.VaclipError, match="needs an attention map"):
        model.predict([study.clips[0].video])


def test_what_cannot_be_predicted_is_warned_of(study, model, tmp_path):
    clip = study.clips[0]
    root = write_tiny_study(tmp_path / "broken")
    broken = root / clip.video.relative_to(study.root)
    broken.write_bytes(broken.read_bytes()[:100])
    with pytest.warns(UserWarning, match=broken.name):
        found = model.predict([root / "videos"], attention=root)
    assert len(found) == len(study.clips) - 1


def test_nothing_is_printed_and_nothing_made_unasked(study, home, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("vaclip.console.console.quiet", True)  # other tests may have run commands
    vc.check(study, workers=1)
    vc.train(study, arm="B0", overrides=[*SMALL, f"data.cache_dir={home / 'cache'}"],
             folder=home / "quiet")  # fmt: skip
    card = vc.describe(study, [*SMALL, f"data.cache_dir={home / 'cache'}"], workers=1)
    assert card.patients == 15
    predictions = vc.load_run(home / "quiet").predictions
    vc.evaluate(predictions, n_resamples=2, n_permutations=2)
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_embeddings_that_were_not_trained_are_refused(study, home):
    overrides = [*SMALL, f"data.cache_dir={home / 'cache'}"]
    run = vc.train(study, arm="B0", overrides=overrides, folder=home / "B0")
    with pytest.raises(vc.VaclipError, match=r"the alignment of .* was not trained"):
        vc.load_predictor(run.checkpoint()).embed(study)
    assert math.isnan(run.metrics.loc[0, "retrieval_r1_v2a"])


def test_predictions_of_other_models_become_a_report(tmp_path):
    random = np.random.default_rng(0)
    rows = [
        {
            "pid": f"p{n}",
            "dx": ("ill", "well")[n % 2],
            "model": arm,
            "fold": n // 2 % 4,
            "p1": random.uniform(),
        }
        for n in range(20)
        for arm in ("resnet", "resnet_gaze")
    ]
    frame = pd.DataFrame(rows).assign(p0=lambda table: 1 - table["p1"])
    mine = vc.Predictions.from_frame(
        frame, patient="pid", label="dx", arm="model", probs={"ill": "p1", "well": "p0"}
    )
    contrast = mine.compare("resnet_gaze", "resnet", n_resamples=20, n_permutations=99)
    page = vc.write_report(
        mine, str(tmp_path / "report"), baseline="resnet", method="resnet_gaze",
        n_resamples=20, n_permutations=99,
    )  # fmt: skip
    text = page.read_text()
    assert f"resnet_gaze {contrast.value_first:.3f}, resnet {contrast.value_second:.3f}" in text
    tables = (tmp_path / "report/tables.md").read_text()
    assert f"resnet\\_gaze {MINUS} resnet" in tables
    assert "B3" not in tables
    with pytest.raises(vc.VaclipError, match="name the folder"):
        vc.write_report(mine)
    with pytest.raises(vc.VaclipError, match="no arm 'unet'"):
        vc.evaluate(mine, baseline="resnet", method="unet")
    with pytest.raises(vc.VaclipError, match="belong together"):
        vc.evaluate(mine, baseline="resnet")
