"""Trained models for people without vaclip: programs, how to call them, what they are good for."""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # else ONNX Runtime reports its use

from vaclip.export.export import Exported, export_run

__all__ = ["Exported", "export_run"]
