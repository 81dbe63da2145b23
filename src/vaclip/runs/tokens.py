"""The tokens of a frozen encoder, where the settings ask for them."""

from __future__ import annotations

import dataclasses
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from vaclip.config import Config, FeaturesConfig
from vaclip.console import progress_bar
from vaclip.data.cache import CachedClip, clip_cache
from vaclip.data.items import ClipItem
from vaclip.errors import VaclipError
from vaclip.features import EncoderInfo, FrozenEncoder, non_commercial, open_encoder
from vaclip.features.cache import TokenSettings, cache_tokens
from vaclip.runs.prepare import PreparedStudy

_FINETUNED = "vaclip.features.finetune:FinetunedFeatures"
_LOG = logging.getLogger(__name__)


def frozen_encoder(config: Config) -> FrozenEncoder | None:
    """Finds the encoder that the settings name, without loading it; None where they name none.

    Raises:
        VaclipError: If it cannot be used, or the settings do not fit it.
    """
    if config.features.source is None:
        return None
    encoder = open_encoder(config.features.source, clip_cache(config.data.cache_dir))
    settings = token_settings(config.features, config.data.fps)
    settings.check(encoder.info)
    if config.data.frames % settings.step(encoder.info):
        raise VaclipError(
            f"data.frames is {config.data.frames}, but a token of {encoder.info.source} covers "
            f"{settings.step(encoder.info)} samples; use a multiple"
        )
    size = list(encoder.info.size)
    if config.features.finetune and list(config.data.size) != size:
        raise VaclipError(
            f"features.finetune=1 reads pixels as {encoder.info.source} wants them: use "
            f"data.size=[{size[0]},{size[1]}], not {list(config.data.size)}"
        )
    return encoder


def token_settings(features: FeaturesConfig, fps: float) -> TokenSettings:
    """Returns how clips are shown to the encoder, and what of its tokens is kept."""
    grid = (features.grid[0], features.grid[1]) if features.grid else None
    return TokenSettings(fps, features.every, grid)


def encoder_arguments(config: Config, info: EncoderInfo | None) -> dict[str, Any]:
    """Returns the arguments of `VideoAttentionCLIP` that build what is trained on an encoder."""
    if info is None:
        return {}
    features, augmented = config.features, config.data.augment.enabled
    options: dict[str, Any] = {
        "dropout": features.dropout if augmented else 0.0,
        "noise": features.noise if augmented else 0.0,
    }
    if not features.finetune:
        options["channels"] = info.channels
        return {"backbone_width": features.width, "backbone_options": options}
    options |= {"source": features.source, "every": features.every, "grid": features.grid}
    return {
        "clip_backbone": _FINETUNED,
        "backbone_width": features.width,
        "backbone_options": options,
    }


def with_tokens(config: Config, prepared: PreparedStudy, *, workers: int = -1) -> PreparedStudy:
    """Gives the clips their tokens, which are made where they are missing.

    A model that trains along the encoder's last block sees their pixels.

    Args:
        config: The settings.
        prepared: The study.
        workers: Processes; -1 for one a core.
    """
    encoder = frozen_encoder(config)
    if encoder is None:
        return prepared
    if non_commercial(encoder.info.licence):
        _LOG.warning(
            "the weights of %s are licensed %s: not for commercial use, and nor is what rests on "
            "them",
            encoder.info.source,
            encoder.info.licence,
        )
    if config.features.finetune:
        return dataclasses.replace(prepared, encoder=encoder.info)
    gpu = config.trainer.accelerator != "cpu" and torch.cuda.is_available()
    with progress_bar("Encoding clips (once)") as progress:
        clips = cache_tokens(
            [item.cached for item in prepared.items],
            encoder,
            token_settings(config.features, config.data.fps),
            clip_cache(config.data.cache_dir),
            study=prepared.study.name,
            limit_gb=config.features.limit_gb,
            workers=workers,
            device="cuda" if gpu else "cpu",
            progress=progress,
        )

    def attached(items: Sequence[ClipItem]) -> list[ClipItem]:
        return [_attached(item, clip) for item, clip in zip(items, clips, strict=True)]

    items = attached(prepared.items)
    same = prepared.test_items is prepared.items
    return dataclasses.replace(
        prepared,
        items=items,
        test_items=items if same else attached(prepared.test_items),
        encoder=encoder.info,
    )


def encoder_of_checkpoint(
    checkpoint: Path, about: dict[str, Any]
) -> tuple[FrozenEncoder | None, TokenSettings | None]:
    """Finds the encoder whose tokens a checkpoint was trained on, and how clips are shown to it.

    Args:
        checkpoint: For messages.
        about: What the checkpoint says of its run.

    Raises:
        VaclipError: If it is not at hand, or has other weights now.
    """
    features = FeaturesConfig(**about["config"].get("features", {}))
    if not (trained := about.get("encoder")) or features.finetune:  # then it is in the checkpoint
        return None, None
    try:
        with tempfile.TemporaryDirectory(prefix="vaclip-") as scratch:
            encoder = open_encoder(trained["source"], Path(scratch))
    except VaclipError as error:
        raise VaclipError(f"{checkpoint} reads the tokens of a frozen encoder: {error}") from error
    if encoder.info.weights != trained["weights"]:
        raise VaclipError(
            f"{checkpoint} reads the tokens of {trained['source']}, which has other weights now; "
            "put those back that it was trained with"
        )
    return encoder, token_settings(features, about["config"]["data"]["fps"])


def _attached(item: ClipItem, clip: CachedClip) -> ClipItem:
    cached = dataclasses.replace(item.cached, tokens=clip.tokens)
    return dataclasses.replace(item, cached=cached)
