"""Trained models for people without vaclip: programs, how to call them, what they are good for."""

from vaclip.export.export import Exported, export_run

__all__ = ["Exported", "export_run"]
