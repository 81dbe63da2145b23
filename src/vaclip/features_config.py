"""The settings of a frozen encoder, and what goes with them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from vaclip.errors import VaclipError
from vaclip.settings import NOT_NEGATIVE, POSITIVE, SHARE, Allowed, number, setting

_OF_PICTURES = ("crop", "brightness", "contrast", "flip")
_OF_CACHED_TOKENS = ("jitter", "limit_gb")


@dataclass
class FeaturesConfig:
    """See `vaclip.features` and `vaclip.models.encoders.features`."""

    source: str | None = None
    grid: list[int] | None = setting(
        None, Allowed(lambda grid: len(grid) == 2 and min(grid) >= 1, "[H', W'], 1 or more each")
    )
    every: int = setting(1, POSITIVE)
    width: int = setting(64, POSITIVE)
    dropout: float = setting(0.1, number(lambda x: 0 <= x < 1, "in [0, 1)"))
    noise: float = setting(0.1, NOT_NEGATIVE)
    jitter: int = setting(1, NOT_NEGATIVE)
    limit_gb: float | None = setting(None, POSITIVE)
    shard_mb: int = setting(256, POSITIVE)
    finetune: int = setting(0, number(lambda x: x in (0, 1), "0 or 1"))
    finetune_rate: float = setting(0.1, SHARE)


def check_features(features: FeaturesConfig, backbone: str, frames: int, augment: Any) -> None:
    """Checks what goes with frozen tokens alone, and what does not go with them.

    Args:
        features: The settings.
        backbone: ``model.clip_backbone``.
        frames: ``data.frames``.
        augment: ``data.augment``.

    Raises:
        VaclipError: If settings contradict each other, or one would do nothing.
    """
    if backbone != "features":
        for name, value in dataclasses.asdict(features).items():
            if value != getattr(FeaturesConfig(), name):
                raise VaclipError(
                    f"features.{name}={value} is not used by model.clip_backbone={backbone}; it is "
                    "by features, see backbone=lite0"
                )
        return
    if features.source is None:
        raise VaclipError("model.clip_backbone=features needs features.source; see backbone=lite0")
    if frames % features.every:
        raise VaclipError(f"features.every={features.every} must divide data.frames={frames}")
    idle = _OF_CACHED_TOKENS if features.finetune else ("finetune_rate",)
    for name in idle:
        if getattr(features, name) != getattr(FeaturesConfig(), name):
            raise VaclipError(
                f"features.{name}={getattr(features, name)} does nothing with features.finetune="
                f"{features.finetune}, which reads "
                + ("pixels, not the token cache" if features.finetune else "frozen tokens")
            )
    for name in () if features.finetune else _OF_PICTURES:
        if getattr(augment, name) != getattr(type(augment)(), name):
            raise VaclipError(
                f"data.augment.{name} changes pictures, which a frozen encoder sees once, as they "
                "are; use features.dropout, features.noise and features.jitter"
            )
