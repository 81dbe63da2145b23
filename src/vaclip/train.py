"""``vaclip train`` and ``python -m vaclip.train``: Hydra composes the settings of one run.

A module of its own, because a distributed launcher starts its further processes by it.
"""

from __future__ import annotations

import os
import re
from typing import Any

import hydra
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from vaclip.cli import user_errors
from vaclip.config import typed_config, unknown_key
from vaclip.errors import VaclipError


@hydra.main(version_base="1.3", config_path="pkg://vaclip.conf", config_name="config")
def _train(composed: Any) -> None:
    config = typed_config(composed)
    # Imported here, so that a mistyped key answers without waiting for torch.
    from vaclip.console import console, setup_logging
    from vaclip.studies.run import run
    from vaclip.studies.summary import result_table

    setup_logging()
    result = run(config)
    console.print(result_table(result, config))
    console.print(f"Everything lies in {result.folder}", highlight=False, soft_wrap=True)


def main() -> None:
    """Trains and tests as the command line says; exits with status 1 after a user's mistake."""
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # Hydra raises, and we explain
    with user_errors():
        try:
            _train()
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
        return unknown_key(key)
    detail = str(cause).split("\n    full_key:")[0] if cause else ""
    return VaclipError(f"{message} {detail}".strip())


if __name__ == "__main__":
    main()
