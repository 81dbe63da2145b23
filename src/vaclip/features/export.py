"""``export:FILE.pt2``: a program that `torch.export.save` wrote, of any network.

The program says what it is in a file of its own, ``vaclip.json``, which `torch.export.save` takes
as one of its ``extra_files``: ``size``, ``channels`` and ``grid``, and where they differ from the
defaults of `EncoderInfo`, ``window``, ``step``, ``mean``, ``std`` and ``licence``.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vaclip.data.cache import file_digest
from vaclip.errors import VaclipError
from vaclip.features.base import EncoderInfo, FrozenEncoder
from vaclip.files import user_path

ABOUT_FILE = "vaclip.json"
_NEEDED = {"size", "channels", "grid"}
_OPTIONAL = {"window", "step", "mean", "std", "licence"}


class Exported(FrozenEncoder):
    """See the module."""

    def __init__(self, argument: str, untrained: bool, root: Path) -> None:
        self.file = user_path(argument)
        if untrained:
            raise VaclipError(
                f"features.source=random:export:{argument}: an exported program cannot be drawn "
                "anew; export the untrained network as well"
            )
        if not self.file.is_file():
            raise VaclipError(f"features.source=export:{argument}: there is no such file")
        about = _about(self.file)
        self.info = EncoderInfo(
            source=f"export:{argument}",
            weights=file_digest(self.file, root),
            **about,
        )

    def network(self) -> nn.Module:
        try:
            return torch.export.load(self.file).module()
        except (OSError, RuntimeError, ValueError, zipfile.BadZipFile) as error:
            raise VaclipError(f"{self.file} cannot be loaded by torch.export: {error}") from error


def _about(file: Path) -> dict[str, Any]:
    """Reads what a program says of itself, without loading the program."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = [n for n in archive.namelist() if n.endswith(f"/extra/{ABOUT_FILE}")]
            content = json.loads(archive.read(names[0])) if names else None
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise VaclipError(f"{file} is no program of torch.export: {error}") from error
    if not isinstance(content, dict):
        raise VaclipError(
            f"{file} does not say what it is: give torch.export.save "
            f'extra_files={{\'{ABOUT_FILE}\': \'{{"size": [224, 224], "channels": 384, '
            '"grid": [16, 16]}\'}'
        )
    if wrong := (_NEEDED - set(content)) | (set(content) - _NEEDED - _OPTIONAL):
        raise VaclipError(
            f"{ABOUT_FILE} in {file} must have {', '.join(sorted(_NEEDED))}, and may have "
            f"{', '.join(sorted(_OPTIONAL))}; see {', '.join(sorted(wrong))}"
        )
    return {k: tuple(v) if isinstance(v, list) else v for k, v in content.items()}
