"""Settings of runs and studies as the command line composes them."""

from __future__ import annotations

from pathlib import Path

from vaclip.compose import compose_settings
from vaclip.config import Config, StudyRunConfig

SMALL = (
    "debug=smoke",
    "trainer.enable_progress_bar=false",
    "trainer.accelerator=cpu",
    "trainer.devices=1",
)


def make_config(runs: Path, *overrides: str) -> Config:
    """What `vaclip train` makes of its command line, on the smallest cohort."""
    return compose_settings([*SMALL, f"runs_dir={runs}", *overrides])


def make_study(*overrides: str) -> StudyRunConfig:
    """What `vaclip study` makes of its command line."""
    settings = compose_settings(overrides, "study")
    assert isinstance(settings, StudyRunConfig)
    return settings
