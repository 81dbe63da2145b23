"""What `vaclip export` wrote, as far as a server has to know it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from vaclip.errors import VaclipError
from vaclip.export.folder import CARD, ONNX, RUNNER, SETTINGS
from vaclip.files import read_json

_FILES: Final = (ONNX, SETTINGS, RUNNER, CARD)


@dataclass(frozen=True)
class Exported:
    """A folder that runs without vaclip.

    Attributes:
        folder: Where it lies.
        classes: In the order of the probabilities.
        settings: Its model.json.
        card: Its model card, Markdown.
    """

    folder: Path
    classes: tuple[str, ...]
    settings: dict[str, Any]
    card: str


def read_exported(folder: Path) -> Exported:
    """Reads what is known of an exported model, without loading it.

    Raises:
        VaclipError: If the folder is none, or its model needs a map beside each video.
    """
    lacking = [name for name in _FILES if not (folder / name).is_file()]
    if lacking:
        raise VaclipError(
            f"{folder} has no {', '.join(lacking)}; name a folder that `vaclip export` wrote"
        )
    settings = read_json(folder / SETTINGS, f"{folder / SETTINGS}")
    if not isinstance(settings, dict) or not _complete(settings):
        raise VaclipError(f"{folder / SETTINGS} lacks classes, mean or std; export the model again")
    encoder = settings.get("encoder")
    if encoder and encoder["file"] and not (folder / encoder["file"]).is_file():
        raise VaclipError(
            f"{folder} has no {encoder['file']}: it holds the weights of {encoder['source']} "
            f"({encoder['licence']}), which may not be passed on; if you have them, add them by "
            f"vaclip export --encoder SOURCE --to {folder}"
        )
    if settings.get("needs_map"):
        raise VaclipError(
            f"the model in {folder} needs a clinician's map with each video (needs_map), and an "
            f"upload has none; serve an arm without, such as P2 or B0, or call {folder / RUNNER}"
        )
    card = (folder / CARD).read_text("utf-8")
    return Exported(folder, tuple(settings["classes"]), settings, card)


def _complete(settings: dict[str, Any]) -> bool:
    classes, scale = settings.get("classes"), [settings.get("mean"), settings.get("std")]
    named = isinstance(classes, list) and all(isinstance(name, str) for name in classes)
    return bool(named and classes) and all(
        isinstance(one, list) and len(one) == 3 and all(isinstance(v, int | float) for v in one)
        for one in scale
    )
