"""Tiny frozen encoders on disk: a random model of transformers, and an exported program."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import nn

SIDE = 32


def save_model(folder: Path, kind: str, *, card: str | None = None, **more: object) -> str:
    """Saves a tiny random model of transformers, and returns its source."""
    from transformers import AutoConfig, AutoModel

    size = {"crop_size": SIDE} if kind == "vjepa2" else {"image_size": SIDE}
    frames = {"videomae": {"num_frames": 4}, "vjepa2": {"frames_per_clip": 8}}.get(kind, {})
    predictor = {f"pred_{name}": 2 for name in ("num_attention_heads", "num_hidden_layers")}
    config = AutoConfig.for_model(
        kind,
        **{"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "patch_size": 8},
        **{"intermediate_size": 32, "initializer_range": 0.2, **size, **frames, **more},
        **({"pred_hidden_size": 24, **predictor} if kind == "vjepa2" else {}),
    )
    torch.manual_seed(3)
    AutoModel.from_config(config).save_pretrained(folder)
    if card is not None:
        (folder / "README.md").write_text(card)
    return f"hf:{folder}"


class Patches(nn.Module):
    """A picture encoder in one layer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.conv = nn.Conv2d(3, 6, 8, 8)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.conv(pictures)


def save_program(file: Path, about: object = None, network: nn.Module | None = None) -> str:
    """Exports a network of pictures, and returns its source."""
    batch = torch.export.Dim("batch", min=1, max=4096)
    program = torch.export.export(
        (network or Patches()).eval(), (torch.rand(2, 3, SIDE, SIDE),), dynamic_shapes=({0: batch},)
    )
    extra = {} if about is None else {"vaclip.json": json.dumps(about)}
    torch.export.save(program, file, extra_files=extra)
    return f"export:{file}"


ABOUT = {"size": [SIDE, SIDE], "channels": 6, "grid": [4, 4]}
