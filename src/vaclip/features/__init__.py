"""Frozen encoders by their ``features.source``, and the cache of what they make of clips."""

from __future__ import annotations

from pathlib import Path

from vaclip.features.base import EncoderInfo, FrozenEncoder, non_commercial
from vaclip.plugins import Registry

SOURCES = Registry(
    "vaclip.features",
    "features.source",
    FrozenEncoder,
    {
        "lite0": "vaclip.features.lite0:Lite0",
        "hf": "vaclip.features.huggingface:HuggingFace",
        "export": "vaclip.features.export:Exported",
    },
)
"""Each is built from what stands behind the colon, whether to leave it untrained, and the root of
the caches."""


def open_encoder(source: str, root: Path) -> FrozenEncoder:
    """Finds an encoder, without loading its weights.

    Args:
        source: ``lite0``, ``hf:FOLDER``, ``export:FILE.pt2``, ``random:`` before one of them for
            the same network untrained, or that of an installed package.
        root: Of the caches, where digests of files are noted.

    Raises:
        VaclipError: If there is no such source, or it cannot be used.
    """
    untrained = source.startswith("random:")
    kind, _, argument = source.removeprefix("random:").partition(":")
    return SOURCES.build(kind, argument=argument, untrained=untrained, root=root)


__all__ = ["SOURCES", "EncoderInfo", "FrozenEncoder", "non_commercial", "open_encoder"]
