"""Settings of runs and studies as the command line composes them."""

from __future__ import annotations

from pathlib import Path

import hydra
from hydra import initialize_config_module

from vaclip.config import Config, StudyRunConfig, typed_config

SMALL = (
    "debug=smoke",
    "trainer.enable_progress_bar=false",
    "trainer.accelerator=cpu",
    "trainer.devices=1",
)


def make_config(runs: Path, *overrides: str) -> Config:
    """What `vaclip train` makes of its command line, on the smallest cohort."""
    with initialize_config_module("vaclip.conf", version_base="1.3"):
        composed = hydra.compose("config", [*SMALL, f"runs_dir={runs}", *overrides])
    return typed_config(composed)


def make_study(*overrides: str) -> StudyRunConfig:
    """What `vaclip study` makes of its command line."""
    with initialize_config_module("vaclip.conf", version_base="1.3"):
        settings = typed_config(hydra.compose("study", list(overrides)))
    assert isinstance(settings, StudyRunConfig)
    return settings
