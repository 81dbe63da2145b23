"""What lies in an exported folder, and its ``predict.py`` as a module; needs nothing of torch."""

from __future__ import annotations

import importlib.util
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any, Final

ONNX: Final = "model.onnx"
ENCODER: Final = "encoder.onnx"
PROGRAM: Final = "model.pt2"
WEIGHTS: Final = "model.safetensors"
SETTINGS: Final = "model.json"
RUNNER: Final = "predict.py"
CARD: Final = "MODEL_CARD.md"
METADATA: Final = "metadata.json"


class _Uncached(SourceFileLoader):
    """Leaves no ``__pycache__`` in the folder that is handed on."""

    def set_data(self, path: str, data: Any, *, _mode: int = 0o666) -> None:
        pass


def load_runner(folder: Path) -> Any:
    """Loads an exported folder's ``predict.py`` as a module."""
    name = "vaclip_exported_predict"
    spec = importlib.util.spec_from_loader(name, _Uncached(name, str(folder / RUNNER)))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
