"""``vaclip features``: encodes the clips of a study ahead of what is trained on their tokens."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import hydra

from vaclip.commands.main import user_errors, words_for_hydra
from vaclip.compose import explained
from vaclip.config import typed_config
from vaclip.errors import VaclipError, counted


@hydra.main(version_base="1.3", config_path="pkg://vaclip.conf", config_name="config")
def _features(composed: Any) -> None:
    config = typed_config(composed)
    if config.features.source is None:
        raise VaclipError(
            "name the encoder: backbone=lite0, or model.clip_backbone=features "
            "features.source=SOURCE"
        )
    # Imported here, so that a mistyped key answers at once, and a missing folder before torch.
    if config.data.root:
        from vaclip.study.load import load_study

        load_study(Path(config.data.root).expanduser(), quiet=True)
    from vaclip.console import console, setup_logging
    from vaclip.runs.prepare import prepare_study
    from vaclip.runs.run import check_settings
    from vaclip.runs.tokens import with_tokens

    setup_logging()
    study = check_settings(config)
    prepared = with_tokens(config, prepare_study(config.data, study))
    tokens = {item.cached.tokens for item in prepared.items if item.cached.tokens}
    size = sum(own.path.stat().st_size for own in tokens) / 2**30
    console.print(
        f"{study.name}: {counted(len(prepared.items), 'clip')}, tokens of "
        f"{config.features.source}, {size:.2f} GiB",
        highlight=False,
        soft_wrap=True,
    )


def main() -> None:
    """Encodes as the command line says; exits with status 1 after a user's mistake."""
    sys.argv[1:] = words_for_hydra(sys.argv[1:], "debug", "study")
    try:
        with user_errors(), explained():
            _features()
    except KeyboardInterrupt:
        print("stopped; the same command goes on", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
