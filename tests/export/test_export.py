"""Exported folders give the test table again, and what must not leave does not."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from encoder_models import ABOUT, Patches, save_model, save_program
from vaclip import VaclipError, keys
from vaclip.evaluation.predictions import Predictions
from vaclip.export import check
from vaclip.export.check import Difference
from vaclip.export.encoder import add_encoder
from vaclip.export.export import export_run
from vaclip.export.folder import load_runner
from vaclip.export.programs import cell_shares, write_programs
from vaclip.export.tokens import Rounding
from vaclip.export.trained import open_fold
from vaclip.serve.exported import read_exported

MIXED = (
    "model.map_source=mixed",
    "model.map_dropout=0",
    "model.lambda_map=1",
    "loss.clip_weight=0",
)
UNTRAINED = ("backbone=lite0", "features.source=random:lite0")


@pytest.fixture(scope="module")
def study(trained):
    return trained.study


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    """Returns ``exported(arm, *overrides)``: the folder of its export, made once."""
    made, home = {}, tmp_path_factory.mktemp("exported")

    def export(arm, *overrides):
        name = " ".join([arm, *overrides])
        if name not in made:
            made[name] = export_run(trained(arm, *overrides).folder, home / f"{len(made)}")
        return made[name]

    return export


def settings_of(found):
    return json.loads((found.folder / "model.json").read_text())


def test_the_folder_is_whole_and_gives_the_table_again(exported, trained, study):
    found = exported("P2")
    names = {path.name for path in found.folder.iterdir()}
    assert names == {
        "model.onnx", "model.pt2", "model.safetensors", "model.json", "predict.py",
        "MODEL_CARD.md", "metadata.json",
    }  # fmt: skip
    assert found.difference.exported < 1e-4
    assert settings_of(found)["map"] is None
    table = Predictions.load(trained("P2").folder / "fold_0")
    (clip_id, rows), *_ = table.test.groupby(keys.PRED_CLIP)
    (clip,) = (clip for clip in study.clips if clip.clip_id == clip_id)
    runner = load_runner(found.folder)
    model = runner.load(found.folder)
    segments = model.read(clip.video)
    probs, maps = model.predict(segments)
    np.testing.assert_allclose(probs, rows[table.probs].mean(), atol=1e-5)
    assert maps.shape == (len(rows), 2, 4, 4)
    np.testing.assert_allclose(maps.sum(axis=(1, 2, 3)), 1, rtol=1e-5)


def test_the_three_programs_say_the_same(exported, trained):
    found = exported("P2")
    segments = torch.randn(5, 3, 8, 32, 32, generator=torch.Generator().manual_seed(0))
    model = load_runner(found.folder).load(found.folder)
    onnx = model.run(segments.numpy())
    program = torch.export.load(found.folder / "model.pt2").module()
    network = open_fold(trained("P2").folder).network
    for weight in network.parameters():
        weight.data.zero_()
    network.load_state_dict(load_file(found.folder / "model.safetensors"))
    for one, two, three in zip(onnx, program(segments), network(segments), strict=True):
        np.testing.assert_allclose(one, two.detach().numpy(), atol=1e-5)
        np.testing.assert_allclose(one, three.detach().numpy(), atol=1e-5)


def test_the_program_prints_a_line_of_json_a_video(exported, study, tmp_path):
    found = exported("P2")
    damaged = tmp_path / "damaged.mkv"
    damaged.write_bytes(b"nothing")
    videos = [str(study.clips[0].video), str(damaged), str(study.clips[1].video)]
    command = [sys.executable, found.folder / "predict.py", *videos]
    done = subprocess.run(command, capture_output=True, text=True)
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1
    assert [line["video"] for line in said] == [videos[0], videos[2]]
    assert done.stderr.startswith(f"{damaged}: ")
    for line in said:
        assert list(line["probabilities"]) == list(study.classes)
        assert sum(line["probabilities"].values()) == pytest.approx(1)


def test_a_changed_table_is_not_given_again(trained, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(trained("P2").folder, run)
    path = run / "fold_0" / keys.PREDICTIONS_FILE
    table = pd.read_parquet(path)
    probs = [name for name in table if name.startswith(keys.PRED_PROB_PREFIX)]
    shifted = table[probs] * [1.001, 1, 1]
    table[probs] = shifted.div(shifted.sum(axis=1), axis=0)
    table.to_parquet(path, index=False)
    with pytest.raises(VaclipError, match=r"logits differ by 0\.0\d+ .*own network.*by up to"):
        export_run(run, tmp_path / "out")
    assert not list(tmp_path.glob("out*"))
    assert not list(tmp_path.glob(".tmp-*"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arm", "overrides", "needed"),
    [
        ("B0", ("model.clip_backbone=2dcnn",), None),
        ("B1", ("model.clip_backbone=cnn_lstm",), None),
        ("B3", (), True),
        ("B3", ("model.map_guided_type=channel",), True),
        ("B3", ("data.combine=stack", "model.attn_in_channels=2"), True),
        ("B3", ("model.clip_classifier_source=fusion",), True),
        ("P2", MIXED, False),
        ("P_prior", (), None),
        ("B3", UNTRAINED, True),
        ("P2", (*UNTRAINED, "data.frames=6", "data.stride=5"), None),
        (
            "P2",
            (*UNTRAINED, "model.map_head=ridge", "model.map_crossfit=3", "model.lambda_map=0"),
            None,
        ),
        ("B0", (*UNTRAINED, "features.finetune=1", "data.size=[224,224]"), None),
    ],
)
def test_every_kind_of_arm_gives_its_table_again(exported, arm, overrides, needed):
    found = exported(arm, *overrides)
    assert found.difference.torch < 1e-4
    assert found.difference.exported < 1e-3
    stated = settings_of(found)
    assert (stated["needs_map"] if stated["map"] else None) == needed
    assert (stated["encoder"] is not None) == (UNTRAINED[0] in overrides)


def test_what_reads_no_video_or_a_control_is_refused(trained, tmp_path):
    with pytest.raises(VaclipError, match="from the clinician's map alone"):
        export_run(trained("K_map_only").folder, tmp_path / "out")
    with pytest.raises(VaclipError, match="trained with control maps"):
        export_run(trained("K_shuffled").folder, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def first_clip_said(folder, run, study):
    """Returns what an exported model, and the run's table, say of the first test clip."""
    table = Predictions.load(run / "fold_0")
    (clip_id, rows), *_ = table.test.groupby(keys.PRED_CLIP)
    (clip,) = (clip for clip in study.clips if clip.clip_id == clip_id)
    model = load_runner(folder).load(folder)
    return model.predict(model.read(clip.video))[0], rows[table.probs].mean()


@pytest.fixture
def withheld(tmp_path):
    """The source of an encoder whose weights may not be passed on."""
    return save_program(tmp_path / "theirs.pt2", ABOUT | {"licence": "CC-BY-NC-4.0"})


def on_tokens(source):
    return ("model.clip_backbone=features", f"features.source={source}", "features.grid=[2,2]")


def test_weights_that_may_not_be_passed_on_stay_until_they_are_added(
    trained, study, withheld, tmp_path
):
    run, folder = trained("P2", *on_tokens(withheld)).folder, tmp_path / "out"
    found = export_run(run, folder)
    assert found.difference.exported < 1e-4
    assert found.lacks == "export:theirs.pt2 (CC-BY-NC-4.0)"
    assert "CC-BY-NC-4.0" in (folder / "MODEL_CARD.md").read_text()
    assert "not in this folder" in (folder / "MODEL_CARD.md").read_text()
    theirs = {value.shape for value in Patches().state_dict().values()}
    left = load_file(folder / "model.safetensors")
    assert not theirs & {value.shape for value in left.values()}
    done = subprocess.run(
        [sys.executable, folder / "predict.py", study.clips[0].video],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "has no encoder.onnx: it holds the weights of export:theirs.pt2" in done.stderr
    with pytest.raises(VaclipError, match=r"has no encoder\.onnx.*vaclip export --encoder"):
        read_exported(folder)

    torch.manual_seed(5)
    other = save_program(tmp_path / "other.pt2", ABOUT, torch.nn.Conv2d(3, 6, 8, 8))
    with pytest.raises(VaclipError, match="these are other weights"):
        add_encoder(other, folder)
    assert add_encoder(withheld, folder).name == "encoder.onnx"
    own, stated = first_clip_said(folder, run, study)
    np.testing.assert_allclose(own, stated, atol=1e-5)
    assert read_exported(folder).settings["encoder"]["included"] is False


def test_an_encoder_is_added_to_what_lacks_one_alone(exported):
    with pytest.raises(VaclipError, match="needs no encoder beside it"):
        add_encoder("lite0", exported("P2").folder)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["videomae", "vjepa2"])
@pytest.mark.parametrize("arm", ["P2", "B3"])
def test_an_encoder_of_windows_is_a_file_of_its_own(trained, study, tmp_path, kind, arm):
    source = save_model(tmp_path / "model", kind, card="---\nlicense: mit\n---\n")
    sampling = ("data.frames=8", "data.stride=6")  # segments begin within windows
    run, folder = trained(arm, *on_tokens(source), *sampling).folder, tmp_path / "out"
    found = export_run(run, folder)
    assert found.difference.exported < 1e-4
    assert found.lacks is None
    assert settings_of(found)["encoder"]["included"] is True
    if arm == "P2":
        own, stated = first_clip_said(folder, run, study)
        np.testing.assert_allclose(own, stated, atol=1e-5)


@pytest.mark.slow
def test_a_program_as_encoder_is_part_of_the_network(trained, tmp_path):
    source = save_program(tmp_path / "own.pt2", ABOUT | {"licence": "MIT"})
    found = export_run(trained("P2", *on_tokens(source)).folder, tmp_path / "out")
    assert found.difference.torch < 1e-4
    assert found.difference.exported < 1e-3
    assert settings_of(found)["encoder"]["file"] is None


def test_weights_that_were_trained_along_stay(trained, tmp_path, monkeypatch):
    monkeypatch.setattr("vaclip.export.trained.PASSED_ON", ("MIT",))
    run = trained("B0", *UNTRAINED, "features.finetune=1", "data.size=[224,224]").folder
    with pytest.raises(VaclipError, match=r"random:lite0 \(hash .*'none, untrained'"):
        export_run(run, tmp_path / "out")


def test_a_folder_that_is_there_is_left_alone(trained, tmp_path):
    with pytest.raises(VaclipError, match="is there already"):
        export_run(trained("P2").folder, tmp_path)
    with pytest.raises(VaclipError, match="holds no finished fold"):
        open_fold(_bare(tmp_path, trained("P2").folder))
    with pytest.raises(VaclipError, match="no finished fold 3"):
        open_fold(trained("P2").folder, 3)


def _bare(folder, run):
    shutil.copy(run / keys.CONFIG_FILE, folder)
    return folder


@pytest.mark.parametrize(
    ("exported_", "of_torch", "rounding", "accepted"),
    [
        (9e-5, 1.0, None, True),
        (2e-4, 0.0, None, False),
        (2e-4, 1e-6, Rounding(1e-6, neighbours=True), True),
        (2e-4, 1e-6, Rounding(1e-6, neighbours=False), False),
        (2e-4, 1e-6, Rounding(2e-4, neighbours=True), False),
        (2e-4, 2e-4, Rounding(1e-6, neighbours=True), False),
        (float("inf"), 0.0, None, False),
    ],
)
def test_rounding_alone_excuses_a_difference(exported_, of_torch, rounding, accepted):
    difference = Difference(exported_, of_torch, rounding)
    assert difference.accepted is accepted
    if accepted:
        assert ("rounded to float16" in str(difference)) is (exported_ > 1e-4)


def test_a_logit_that_is_no_number_is_far_from_any():
    nothing = np.array([[np.nan, 0.0]], np.float32)
    assert check._apart(nothing, np.log([[0.5, 0.5]])) == np.inf


def test_a_network_of_a_fixed_number_of_segments_is_told(tmp_path):
    class Fixed(torch.nn.Module):
        def forward(self, video):
            return (video.new_zeros(len(video), 2) + video.mean(),)

    with pytest.raises(VaclipError, match=r"any number of segments: .*tensor\.shape\[0\]"):
        write_programs(Fixed(), {"video": torch.zeros(2, 3, 1, 4, 4)}, ["logits"], tmp_path)


@pytest.mark.parametrize(("size", "cells"), [(16, 4), (90, 7), (3, 5), (1, 4), (7, 7)])
def test_cells_are_those_of_torch(size, cells):
    values = torch.randn(2, size, generator=torch.Generator().manual_seed(0))
    found = values.numpy() @ cell_shares(size, cells)
    np.testing.assert_allclose(found, F.adaptive_avg_pool1d(values, cells), atol=1e-6)


@pytest.mark.slow
def test_the_benchmark_of_serving_prints_a_row_a_runtime(exported, study):
    script = Path(__file__).parents[2] / "benchmarks" / "serving.py"
    words = [exported("P2").folder, study.clips[0].video, "--rounds", "1", "--threads", "1"]
    done = subprocess.run([sys.executable, script, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "| torch | " in done.stdout
    assert "| ONNX Runtime | " in done.stdout
