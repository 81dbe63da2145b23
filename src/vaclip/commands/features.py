"""``vaclip features``: encodes the clips of a study ahead of what is trained on their tokens."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import hydra

from vaclip.commands.main import user_errors
from vaclip.commands.words import words_for_hydra
from vaclip.compose import explained
from vaclip.config import typed_config
from vaclip.errors import VaclipError, counted
from vaclip.files import user_path
from vaclip.signals import stoppable


@hydra.main(version_base="1.3", config_path="pkg://vaclip.conf", config_name="config")
def _features(composed: Any) -> None:
    config = typed_config(composed)
    if config.features.source is None:
        raise VaclipError(
            "name the encoder: backbone=lite0, or model.clip_backbone=features "
            "features.source=SOURCE"
        )
    if config.features.finetune:
        raise VaclipError("features.finetune=1 reads pixels: there is nothing to encode ahead")
    if config.data.shards:
        from vaclip.store import open_store

        open_store(config.data.shards)  # an address that nothing reads is told before the encoding
    # Imported here, so that a mistyped key answers at once, and a missing folder before torch.
    if config.data.root:
        from vaclip.study.load import load_study

        load_study(user_path(config.data.root), quiet=True)
    from vaclip.console import say, setup_logging
    from vaclip.data.arrays import map_array
    from vaclip.runs.prepare import prepare_study
    from vaclip.runs.run import check_settings
    from vaclip.runs.shards import write_run_shards
    from vaclip.runs.tokens import with_tokens

    setup_logging()
    study = check_settings(replace(config, data=replace(config.data, shards=None)))
    prepared = with_tokens(config, prepare_study(config.data, study))
    tokens = {item.cached.tokens for item in prepared.items if item.cached.tokens}
    size = sum(map_array(own.path).nbytes for own in tokens) / 2**30
    clips = counted(len(prepared.items), "clip")
    say(f"{study.name}: {clips}, tokens of {config.features.source}, {size:.2f} GiB")
    if config.data.shards:
        written = write_run_shards(config, prepared)
        say(f"{counted(len(written.shards), 'shard')} in {config.data.shards}")


def main() -> None:
    """Encodes as the command line says; exits with status 1 after a user's mistake."""
    sys.argv[1:] = words_for_hydra(sys.argv[1:], "debug", "study")
    with stoppable("the same command goes on"), user_errors(), explained():
        _features()


if __name__ == "__main__":
    main()
