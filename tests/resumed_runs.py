"""A run that is stopped in its second epoch and gone on with, beside one that is not."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from vaclip.config import Config
from vaclip.runs.run import run
from vaclip.training.module import VaclipModule


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    """Returns the last weights of a run."""
    saved = torch.load(folder / "fold_0/checkpoints/last.ckpt", weights_only=True)
    return saved["state_dict"]


def whole_and_resumed(
    settings: Callable[[str], Config], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Trains twice, once with a stop between, and returns the last weights of both.

    Args:
        settings: Of a run, given the word that names its folder.
        folder: Where both go.
        monkeypatch: Stops the second.
    """
    whole = run(settings(f"run_dir={folder / 'whole'}")).folder
    stopped = settings(f"run_dir={folder / 'stopped'}")

    def stop(module: VaclipModule) -> None:
        if module.current_epoch == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(VaclipModule, "on_validation_epoch_start", stop, raising=False)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        run(stopped)
    monkeypatch.undo()
    again = run(dataclasses.replace(stopped, resume=True)).folder
    return weights_of(whole), weights_of(again)
