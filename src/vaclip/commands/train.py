"""``vaclip train`` and ``python -m vaclip.commands.train``: Hydra composes the settings of one run.

A module of its own, because a distributed launcher starts its further processes by it.
"""

from __future__ import annotations

import sys
from typing import Any

import hydra

from vaclip.commands.main import user_errors
from vaclip.commands.words import look_at_shards, look_at_study, words_for_hydra
from vaclip.compose import explained
from vaclip.config import typed_config
from vaclip.files import user_path
from vaclip.processes import launcher_of
from vaclip.signals import stoppable


@hydra.main(version_base="1.3", config_path="pkg://vaclip.conf", config_name="config")
def _train(composed: Any) -> None:
    config = typed_config(composed)
    # Imported here, so that a mistyped key answers at once, and a missing folder before torch.
    launcher_of(config.trainer.num_nodes, config.trainer.devices)
    if config.data.root:
        look_at_study(user_path(config.data.root))
    if config.data.shards:
        look_at_shards(config.data.shards)
    from vaclip.console import console, say, setup_logging
    from vaclip.runs.run import run
    from vaclip.runs.summary import result_table

    setup_logging()
    result = run(config)
    console.print(result_table(result, config))
    say(f"Everything lies in {result.folder}")


def main() -> None:
    """Trains and tests as the command line says; exits with status 1 after a user's mistake."""
    sys.argv[1:] = words_for_hydra(sys.argv[1:], "debug", "study")
    with stoppable("resume=true goes on"), user_errors(), explained():
        _train()


if __name__ == "__main__":
    main()
