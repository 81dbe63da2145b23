"""``hf:FOLDER``: a model that ``transformers`` (the extra ``vaclip[hf]``) loads from a folder.

The folder has ``config.json`` and the weights, and may have ``preprocessor_config.json``, for the
mean and standard deviation of its pixels, and ``README.md``, whose head names the licence. Pixels
are prepared here: the processors of ``transformers`` want torchvision.
"""

from __future__ import annotations

import importlib.util
import inspect
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vaclip.data.cache import file_digest
from vaclip.errors import VaclipError, did_you_mean
from vaclip.features.base import (
    IMAGENET,
    UNKNOWN,
    UNTRAINED,
    EncoderInfo,
    FrozenEncoder,
    drawn_untrained,
)
from vaclip.files import json_digest, read_json, user_path

# Models whose tokens come by time, row and column, behind those of no place: what a test checks.
PICTURES = ("dinov2", "dinov2_with_registers", "vit")
VIDEOS = ("videomae", "vjepa2")
_ROTARY_WINDOW = 16
"""Samples that V-JEPA 2 is shown at a time: its positions are relative, and take any number."""
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")


class HuggingFace(FrozenEncoder):
    """See the module."""

    def __init__(self, argument: str, untrained: bool, root: Path) -> None:
        self.folder = user_path(argument)
        self.untrained = untrained
        if not (argument and (self.folder / "config.json").is_file()):
            raise VaclipError(
                f"features.source=hf:{argument}: there is no config.json in this folder; download "
                "the model's files into it"
            )
        if importlib.util.find_spec("transformers") is None:
            raise VaclipError("features.source=hf:FOLDER needs pip install 'vaclip[hf]'")
        config = read_json(self.folder / "config.json", f"{self.folder}/config.json")
        files = sorted(file for pattern in _WEIGHTS for file in self.folder.glob(pattern))
        if not (files or untrained):
            raise VaclipError(f"{self.folder} has no weights ({' or '.join(_WEIGHTS)})")
        digests = [] if untrained else [file_digest(file, root) for file in files]
        prefix = "random:" if untrained else ""
        self.info = EncoderInfo(
            source=f"{prefix}hf:{argument}",
            weights=json_digest([config, digests]),
            licence=UNTRAINED if untrained else _licence(self.folder),
            **_geometry(config, self.folder),
            **_normalisation(self.folder),
        )

    def network(self) -> nn.Module:
        from transformers import AutoConfig, AutoModel

        config = AutoConfig.from_pretrained(self.folder, local_files_only=True)
        if self.untrained:
            model = drawn_untrained(lambda: AutoModel.from_config(config))
        else:
            try:
                model = AutoModel.from_pretrained(
                    self.folder, local_files_only=True, dtype=torch.float32
                )
            except (OSError, ValueError, RuntimeError) as error:
                raise VaclipError(f"{self.folder} cannot be loaded: {error}") from error
        return _Tokens(model, self.info).eval()


class _Tokens(nn.Module):
    """Gives a model's last hidden state as a grid."""

    def __init__(self, model: nn.Module, info: EncoderInfo) -> None:
        super().__init__()
        self.model, self.info = model, info

    def forward(self, pictures: Tensor) -> Tensor:
        info = self.info
        if info.window == 1:
            tokens = self.model(pictures).last_hidden_state
            return _grid(tokens, info.grid)
        frames = pictures.transpose(1, 2)
        # V-JEPA 2 would run its predictor as well, whose output nobody reads.
        taken = inspect.signature(self.model.forward).parameters
        more = {"skip_predictor": True} if "skip_predictor" in taken else {}
        tokens = self.model(frames, **more).last_hidden_state
        return _grid(tokens, (info.window // info.step, *info.grid))


def _grid(tokens: Tensor, grid: tuple[int, ...]) -> Tensor:
    """Turns (N, ... + P, D) to (N, D, *grid); what comes before the P has no place."""
    count = torch.Size(grid).numel()
    return tokens[:, -count:].transpose(1, 2).unflatten(2, grid)


def _geometry(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    kind = config.get("model_type", "")
    if kind not in (*PICTURES, *VIDEOS):
        raise VaclipError(
            f"{folder}/config.json has the model_type '{kind}', whose tokens vaclip does not know "
            f"how to lay out; it knows {', '.join((*PICTURES, *VIDEOS))}."
            f"{did_you_mean(kind, (*PICTURES, *VIDEOS))} Any other goes with export:FILE.pt2"
        )
    try:
        side = config["crop_size" if kind == "vjepa2" else "image_size"]
        size = (side, side) if isinstance(side, int) else tuple(side)
        patch = config["patch_size"]
        facts = {
            "size": size,
            "channels": config["hidden_size"],
            "grid": (size[0] // patch, size[1] // patch),
        }
        if kind in VIDEOS:
            window = config["num_frames"] if kind == "videomae" else _ROTARY_WINDOW
            facts |= {"window": window, "step": config["tubelet_size"]}
    except (KeyError, TypeError, IndexError) as error:
        raise VaclipError(f"{folder}/config.json cannot be used: {error!r}") from error
    return facts


def _normalisation(folder: Path) -> dict[str, Any]:
    """Returns the mean and standard deviation of pixels that a folder states, or ImageNet's."""
    for name in ("preprocessor_config.json", "video_preprocessor_config.json"):
        if (folder / name).is_file():
            stated = read_json(folder / name, f"{folder}/{name}")
            mean, std = stated.get("image_mean"), stated.get("image_std")
            if mean and std:
                return {"mean": tuple(mean), "std": tuple(std)}
    return {"mean": IMAGENET[0], "std": IMAGENET[1]}


def _licence(folder: Path) -> str:
    """Returns what the head of a folder's README.md says, as Hugging Face's model cards have it."""
    card = folder / "README.md"
    lines = card.read_text(encoding="utf-8").splitlines() if card.is_file() else []
    if lines[:1] != ["---"]:
        return UNKNOWN
    for line in lines[1:]:
        key, _, value = line.partition(":")
        if line == "---":
            break
        if key in ("license", "licence") and value.strip():
            return value.strip()
    return UNKNOWN
