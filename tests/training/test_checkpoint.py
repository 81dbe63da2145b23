"""Loading a checkpoint: the model that was saved, and nothing else."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import torch

from vaclip import VaclipError
from vaclip.models import VideoAttentionCLIP
from vaclip.training.checkpoint import AtomicCheckpointIO, load_model
from vaclip.training.module import CHECKPOINT_KEY

ARGUMENTS = {"model_class_num": 3, "backbone_width": 8, "map_guided": True}


def save(path, model, **about):
    state = {f"model.{name}": value for name, value in model.state_dict().items()}
    state["loss.clip.log_temperature"] = torch.zeros(())  # no part of the model
    torch.save({"state_dict": state, CHECKPOINT_KEY: {"model": ARGUMENTS, **about}}, path)
    return path


def test_the_model_is_the_one_that_was_saved(tmp_path):
    saved = VideoAttentionCLIP(**ARGUMENTS)
    model, about = load_model(save(tmp_path / "best.ckpt", saved, classes=["a", "b", "c"]))
    assert not model.training
    assert about["classes"] == ["a", "b", "c"]
    torch.testing.assert_close(model.state_dict(), saved.state_dict(), rtol=0, atol=0)


def test_what_is_no_checkpoint_is_refused(tmp_path):
    missing, broken, other = (tmp_path / name for name in ("missing", "broken", "other"))
    broken.write_bytes(b"not a checkpoint")
    torch.save({"state_dict": {}}, other)
    for path in (missing, broken, other):
        with pytest.raises(VaclipError, match="cannot be used as a checkpoint"):
            load_model(path)
    wider = VideoAttentionCLIP(**ARGUMENTS | {"backbone_width": 12})
    with pytest.raises(VaclipError, match="cannot be used as a checkpoint"):
        load_model(save(tmp_path / "wider.ckpt", wider))


def test_a_part_that_is_not_installed_is_named_with_its_package(tmp_path):
    path = save(tmp_path / "best.ckpt", VideoAttentionCLIP(**ARGUMENTS))
    content = torch.load(path, weights_only=True)
    content[CHECKPOINT_KEY] = {
        "model": ARGUMENTS | {"clip_backbone": "resnet"},
        "packages": ["someones-encoders 2.0"],
    }
    torch.save(content, path)
    with pytest.raises(VaclipError, match=r"best\.ckpt .*'resnet'.*with someones-encoders 2\.0"):
        load_model(path)
    content[CHECKPOINT_KEY] = {"model": ARGUMENTS | {"clip_backbone": "nowhere.at_all:Net"}}
    torch.save(content, path)
    with pytest.raises(VaclipError, match=r"'nowhere\.at_all:Net' .*'nowhere'; .* install"):
        load_model(path)


def test_a_device_that_is_not_there_is_refused(tmp_path):
    path = save(tmp_path / "best.ckpt", VideoAttentionCLIP(**ARGUMENTS))
    with pytest.raises(VaclipError, match="there is no device 'nowhere' here"):
        load_model(path, "nowhere")


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path, monkeypatch):
    path = tmp_path / "checkpoints" / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"epoch": 1}, path)

    def full(self, content) -> None:
        with self.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        AtomicCheckpointIO().save_checkpoint({"epoch": 2}, path)
    assert [file.name for file in path.parent.iterdir()] == ["last.ckpt"]
    assert torch.load(path, weights_only=True) == {"epoch": 1}
