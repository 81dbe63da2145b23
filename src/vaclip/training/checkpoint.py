"""Checkpoints: written whole; read back as a model, and what its run kept beside it."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from vaclip.errors import VaclipError
from vaclip.files import atomic_file
from vaclip.models import VideoAttentionCLIP
from vaclip.training.module import CHECKPOINT_KEY


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint whole or not at all.

    Lightning's own goes through the folder of temporary files, often another disk: what is then
    copied from there can be cut off, and a full disk leaves half of it.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        content = io.BytesIO()  # torch calls a full disk an error of its own
        torch.save(checkpoint, content)
        with atomic_file(Path(path)) as temporary:
            temporary.write_bytes(content.getbuffer())


def load_model(checkpoint: Path, device: str = "cpu") -> tuple[VideoAttentionCLIP, dict[str, Any]]:
    """Loads a checkpoint without running code from it.

    Where its backbone or guidance is not vaclip's own, the module that it names is imported, as
    it is installed here.

    Args:
        checkpoint: A ``best.ckpt`` or ``last.ckpt`` of a run folder.
        device: Where the model is put.

    Returns:
        The model in evaluation mode, and the ``metadata`` of its `VaclipModule`.

    Raises:
        VaclipError: If the file or the device cannot be used, or a part of the model comes from a
            package that is not installed.
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise VaclipError(f"there is no device '{device}' here; use --device cpu") from error
    try:
        content = torch.load(checkpoint, map_location=device, weights_only=True)
        about = content[CHECKPOINT_KEY]
        model = _build(checkpoint, about)
        prefix = "model."
        weights = {
            name.removeprefix(prefix): value
            for name, value in content["state_dict"].items()
            if name.startswith(prefix)
        }
        model.load_state_dict(weights)
    except (OSError, EOFError, KeyError, TypeError, RuntimeError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise VaclipError(
            f"{checkpoint} cannot be used as a checkpoint of vaclip on device '{device}': {reason}"
        ) from error
    return model.to(device).eval(), about


def _build(checkpoint: Path, about: dict[str, Any]) -> VideoAttentionCLIP:
    try:
        return VideoAttentionCLIP(**about["model"])
    except VaclipError as error:
        packages = about.get("packages")
        needs = f" It was trained with {', '.join(packages)}." if packages else ""
        raise VaclipError(f"{checkpoint} cannot be loaded: {error}{needs}") from error
