"""The jobs of a study as a Hydra sweep, so that any launcher of Hydra can run them.

    python -m vaclip.commands.launch --multirun folder=FOLDER job=A,B hydra/launcher=NAME

`vaclip study hydra/launcher=...` calls this.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hydra

from vaclip.signals import end_with_parent


@hydra.main(version_base="1.3", config_path="pkg://vaclip.conf", config_name="launch")
def _launch(composed: Any) -> None:
    """Runs one job; a failure is noted in its folder and does not stop the others."""
    from vaclip.ablation.worker import Worker, available_cores

    worker = Worker(Path(composed.folder), composed.threads or available_cores())
    try:
        worker.run(composed.job)
    finally:
        worker.end()


def main() -> None:
    """Launches the jobs; all that it started here ends when the study's own process is gone."""
    end_with_parent()
    _launch()


if __name__ == "__main__":
    main()
