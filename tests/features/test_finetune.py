"""An encoder whose last block is trained along: the same tokens, and only the block learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from composed import make_config
from conftest import write_tiny_study
from encoder_models import ABOUT, save_program
from vaclip import VaclipError, keys
from vaclip.data.transforms import prepare_batch
from vaclip.evaluation.predictions import Predictions
from vaclip.features import SOURCES, EncoderInfo, FrozenEncoder, open_encoder
from vaclip.features.cache import TokenSettings, encode
from vaclip.features.finetune import FinetunedFeatures
from vaclip.models import VideoAttentionCLIP
from vaclip.runs.predict import load_predictor, predict_videos
from vaclip.runs.run import run

SIDE = 32


def _block(inputs, outputs, window):
    """Normalises with statistics that a batch of other pictures would change."""
    if window == 1:
        layers = nn.Conv2d(inputs, outputs, 3, 2, 1), nn.BatchNorm2d(outputs)
    else:
        layers = nn.Conv3d(inputs, outputs, 3, (1, 2, 2), 1), nn.BatchNorm3d(outputs)
    return nn.Sequential(*layers, nn.ReLU())


class Tiny(FrozenEncoder):
    """Pictures, or windows of four samples."""

    window = 1

    def __init__(self, argument, untrained, root):
        self.info = EncoderInfo(
            "tiny", f"tiny {self.window}", (SIDE, SIDE), 6, (8, 8), window=self.window,
            licence="MIT", mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4),
        )  # fmt: skip

    def network(self):
        torch.manual_seed(4)  # which nothing outside may notice
        network = nn.Sequential(_block(3, 4, self.window), _block(4, 6, self.window))
        for layer in network.modules():
            if isinstance(layer, (nn.BatchNorm2d, nn.BatchNorm3d)):
                layer.running_mean.normal_()
                layer.running_var.uniform_(0.5, 2)
        return network.eval()

    def last_block(self, network):
        return [network[1]]


class TinyWindows(Tiny):
    window = 4


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    for name in ("Tiny", "TinyWindows"):
        monkeypatch.setitem(SOURCES.builtin, name.lower(), f"{__name__}:{name}")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    write_tiny_study(home / "data", patients_per_class=3)
    return home


def settings_for(home, *more):
    return make_config(
        home / "runs", "data=folder", f"data.root={home / 'data'}", "split.folds=3",
        f"data.cache_dir={home / 'cache'}", "model.clip_backbone=features", "features.source=tiny",
        "features.width=8", "features.finetune=1", f"data.size=[{SIDE},{SIDE}]", *more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def finished(home):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SOURCES.builtin, "tiny", f"{__name__}:Tiny")
        return run(settings_for(home, "experiment=B3", "features.every=2", "optim.lr=0.01")).folder


def _saved(folder, which="best"):
    return torch.load(folder / f"fold_0/checkpoints/{which}.ckpt", weights_only=True)


# --- the tokens ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "every", "grid", "frames"),
    [
        ("tiny", 1, None, 4), ("tiny", 2, [2, 4], 6), ("tinywindows", 1, None, 8),
        ("tinywindows", 1, [4, 4], 6), ("random:lite0", 2, [7, 7], 4),
    ],
)  # fmt: skip
def test_its_tokens_are_those_of_the_cache(source, every, grid, frames, tmp_path):
    encoder = open_encoder(source, tmp_path)
    height, width = encoder.info.size
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (frames, height, width, 3), np.uint8)
    settings = TokenSettings(8.0, every, tuple(grid) if grid else None)
    parts = list(encode(encoder.network(), encoder.info, settings, pixels))
    steps = frames // settings.step(encoder.info)
    wanted = torch.from_numpy(np.concatenate(parts)).float().permute(3, 0, 1, 2)[:, :steps]
    video = torch.from_numpy(pixels).permute(3, 0, 1, 2)[None]
    shown = prepare_batch({keys.VIDEO: video, keys.ATTN_MAP: video})[keys.VIDEO]
    own = FinetunedFeatures(4, source=source, every=every, grid=grid).train()
    with torch.inference_mode():
        found = own.tokens(shown)[0]
    torch.testing.assert_close(found, wanted, rtol=2e-3, atol=2e-3)


def test_a_crop_is_enlarged():
    own = FinetunedFeatures(4, source="tiny")
    assert own(torch.rand(2, 3, 4, 28, 28)).tokens.shape == (2, 4, 4, 8, 8)


def test_all_else_begins_as_on_cached_tokens():
    sizes = {"model_class_num": 2, "clip_feature_dim": 8, "clip_embed_dim": 4}
    options = {"features": {"channels": 6}, "vaclip.features.finetune:FinetunedFeatures": {
        "source": "tiny"}}  # fmt: skip
    models = []
    for backbone, own in options.items():
        torch.manual_seed(0)
        models.append(VideoAttentionCLIP(
            **sizes, clip_backbone=backbone, backbone_options=own, map_guided=True))  # fmt: skip
    cached, tuned = (model.state_dict() for model in models)
    assert {name for name in tuned if name not in cached} == {
        f"video_encoder.encoder.{name}" for name in models[1].video_encoder.encoder.state_dict()
    }
    assert all(torch.equal(value, tuned[name]) for name, value in cached.items())


# --- what is trained -----------------------------------------------------------------------------


def test_lite0_trains_the_last_block_of_the_stage_that_gives_its_tokens():
    own = FinetunedFeatures(4, source="random:lite0")
    trained = {name for name, value in own.encoder.named_parameters() if value.requires_grad}
    # 112 to 672, a 5 x 5 for each, and back; a bias each, of the normalisation.
    assert sum(value.numel() for value in own.pretrained()) == (
        112 * 672 + 672 + 25 * 672 + 672 + 672 * 112 + 112
    )
    assert {name.partition(".")[0] for name in trained} == {"13"}  # the last of a stem and 11


def test_the_last_block_alone_changes_and_no_statistics(finished):
    before = Tiny("", False, finished).network().state_dict()
    prefix = "model.video_encoder.encoder."
    after = {
        name.removeprefix(prefix): value
        for name, value in _saved(finished)["state_dict"].items()
        if name.startswith(prefix)
    }
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {f"1.{name}" for name in ("0.weight", "0.bias", "1.weight", "1.bias")}


def test_the_block_learns_at_a_rate_of_its_own(finished):
    groups = _saved(finished, "last")["optimizer_states"][0]["param_groups"]
    rates = {len(group["params"]): group["initial_lr"] for group in groups}
    assert rates[4] == pytest.approx(0.001)
    assert {rate for count, rate in rates.items() if count != 4} == {0.01}


def test_a_checkpoint_predicts_what_its_run_did(finished, home):
    found = Predictions.load(finished).clips.set_index(keys.PRED_CLIP)
    predictor = load_predictor(finished / "fold_0/checkpoints/best.ckpt")
    videos = [home / f"data/videos/{clip}.mkv" for clip in found.index]
    predicted = predict_videos(predictor, videos, attention=home / "data")
    assert predicted.failures == []
    probs = ["prob_steady", "prob_limping", "prob_shuffling"]
    told = predicted.table.set_index(keys.PRED_CLIP).loc[found.index, probs]
    np.testing.assert_allclose(told, found[probs], atol=1e-5)
    assert not list((home / "cache").rglob("tokens.npy"))


# --- mistakes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["data.size=[48,32]"], r"use data\.size=\[32,32\], not \[48, 32\]"),
        (["features.finetune=2"], "features.finetune is 2; it must be 0 or 1"),
        (["features.jitter=2"], r"features\.jitter=2 does nothing with features\.finetune=1"),
        (["features.finetune=0", "features.finetune_rate=1"], r"finetune_rate=1\.0 does nothing"),
    ],
)
def test_settings_that_contradict_each_other(home, words, told):
    with pytest.raises(VaclipError, match=told):
        run(settings_for(home, *words))


def test_an_encoder_whose_blocks_nobody_knows(home):
    source = save_program(home / "patches.pt2", ABOUT)
    with pytest.raises(VaclipError, match=r"which that is of export:.*; use features\.finetune=0"):
        run(settings_for(home, f"features.source={source}"))
