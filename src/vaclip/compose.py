"""Hydra's and OmegaConf's errors, in one message each."""

from __future__ import annotations

import os
import re
from collections.abc import Generator
from contextlib import contextmanager

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from vaclip.config import Config, StudyRunConfig, unknown_key
from vaclip.errors import VaclipError


@contextmanager
def explained() -> Generator[None]:
    """Turns errors of composing settings into `VaclipError`s."""
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # Hydra raises, and we explain
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise explain(error) from error
    except ValueError as error:
        if not str(error).startswith("Config group override"):
            raise
        raise VaclipError(f"{error}: leave it out, or name one of its files") from error


def explain(error: Exception) -> VaclipError:
    """Turns Hydra's or OmegaConf's error into one message, with the nearest right key."""
    message = str(error).split("\n    full_key:")[0].split("\nTo append")[0].strip()
    unknown = re.search(r"Could not override '([\w.]+)'|Key '([\w.]+)' is not in struct", message)
    cause = error.__cause__
    if unknown and (cause is None or "not in" in str(cause)):
        key = unknown[1] or getattr(error, "full_key", None) or unknown[2]
        return unknown_key(key, StudyRunConfig if key.startswith("study.") else Config)
    detail = str(cause).split("\n    full_key:")[0] if cause else ""
    return VaclipError(f"{message} {detail}".strip())
