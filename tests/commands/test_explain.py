"""Where a model looks in videos: the maps, their agreement, and the files."""

from __future__ import annotations

import shutil

import av
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from vaclip import VaclipError, keys
from vaclip.commands.explain import agreement_table, explain_videos
from vaclip.commands.main import main
from vaclip.explain.measures import correlation
from vaclip.files import read_arrays
from vaclip.runs.predict import load_predictor, predict_videos

MAPS = {"predicted", "gradcam", "integrated_gradients", "occlusion"}


@pytest.fixture
def run(trained):
    return trained("P2")


def test_maps_without_a_study_are_those_with_one(run, trained, tmp_path):
    """And the predictions are those of predict."""
    predictor = load_predictor(run.checkpoint())
    clip = trained.study.clips[0]
    copied = shutil.copy(clip.video, tmp_path)
    bare = explain_videos(predictor, [copied])
    named = explain_videos(predictor, [clip.video], attention=trained.root)
    (alone,), (beside,) = bare.looks, named.looks
    assert set(alone) == MAPS
    assert set(beside) == MAPS | {keys.LOOK_CLINICIANS}
    for name in MAPS:
        assert alone[name].shape == (2, 2, 4, 4)
        np.testing.assert_allclose(alone[name], beside[name], atol=1e-6)
    found = predict_videos(predictor, [copied])
    pd.testing.assert_frame_equal(bare.predictions.table, found.table)
    np.testing.assert_allclose(alone["predicted"], found.maps[0], atol=1e-6)
    assert not len(agreement_table(bare))
    table = agreement_table(named).set_index("map")
    expected = correlation(beside["gradcam"], beside[keys.LOOK_CLINICIANS])
    assert table.loc["gradcam", "cc"] == pytest.approx(pd.Series(expected).mean(), nan_ok=True)


def test_the_command_writes_arrays_a_sheet_and_videos(run, trained, tmp_path, capsys):
    video, out = trained.study.clips[0].video, tmp_path / "out"
    words = ["explain", "--checkpoint", str(run.checkpoint()), str(video), "--out", str(out)]
    with pytest.raises(SystemExit) as done:
        main([*words, "--attention", str(trained.root)])
    assert done.value.code == 0
    said = capsys.readouterr().out
    assert "Agreement with the clinicians' map" in said
    assert "Grad-CAM" in said
    table = pd.read_csv(out / "predictions.csv")
    array = out / table["map_file"][0]
    arrays = read_arrays(array)
    assert set(arrays) == MAPS | {keys.LOOK_CLINICIANS, "frames", "stride", "fps"}
    with Image.open(array.with_suffix(".png")) as sheet:
        assert np.asarray(sheet.convert("L")).std() > 0
    for name in (*MAPS, keys.LOOK_CLINICIANS):
        with av.open(str(array.with_name(f"{array.stem}-{name}.mp4"))) as container:
            assert sum(1 for _ in container.decode(video=0)) == 16  # 2 s at 8 a second
    agreed = pd.read_csv(out / "agreement.csv")
    assert set(agreed["map"]) == MAPS


def test_a_model_that_keeps_no_place_is_refused(trained):
    run = trained("B0", "model.clip_backbone=2dcnn")
    with pytest.raises(VaclipError, match=r"looks cannot be told: its video encoder keeps no"):
        explain_videos(load_predictor(run.checkpoint()), [trained.study.clips[0].video])
