"""What every frozen encoder says of itself and does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from vaclip.errors import VaclipError

UNTRAINED = "none, untrained"
"""The licence of weights that nobody trained."""
UNKNOWN = "unknown"
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and standard deviation of each colour, which most encoders were trained with."""
_SEED = 0
Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class EncoderInfo:
    """What is known of an encoder before it is loaded.

    Attributes:
        source: As ``features.source`` names it.
        weights: Hash of the weights, and of the settings that the network is built by.
        size: (H, W) of its pictures, in pixels.
        channels: D of its tokens.
        grid: (H', W') of its tokens.
        window: Samples that it sees at a time; 1: pictures.
        step: Samples that a token covers; ``window`` is a multiple.
        mean: Of each colour, which is taken off pixels in [0, 1].
        std: Of each colour, by which they are then divided.
        licence: Of the weights, as its SPDX name where there is one.
    """

    source: str
    weights: str
    size: tuple[int, int]
    channels: int
    grid: tuple[int, int]
    window: int = 1
    step: int = 1
    mean: tuple[float, ...] = IMAGENET[0]
    std: tuple[float, ...] = IMAGENET[1]
    licence: str = UNKNOWN

    @property
    def name(self) -> str:
        """The source without the folders of a path, which may name a person or a hospital."""
        kind, colon, place = self.source.rpartition(":")
        return f"{kind}{colon}{Path(place).name}"

    @property
    def told(self) -> str:
        """Name and licence, for people."""
        return f"{self.name} ({self.licence})"


class FrozenEncoder(ABC):
    """A network whose weights stay as they are. Its constructor loads none.

    Two that say the same of themselves are equal.

    Args:
        argument: What ``features.source`` has behind the colon.
        untrained: Whether to draw the weights at random (``random:SOURCE``).
        root: Of the caches, for `vaclip.data.cache.file_digest`.

    Attributes:
        info: What is known of it.
    """

    info: EncoderInfo

    @abstractmethod
    def __init__(self, argument: str, untrained: bool, root: Path) -> None: ...

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FrozenEncoder) and self.info == other.info

    def __hash__(self) -> int:
        return hash(self.info)

    @abstractmethod
    def network(self) -> nn.Module:
        """Loads the network, in evaluation mode.

        Returns:
            Takes normalised pictures (N, 3, H, W) and gives (N, D, H', W'); where ``window`` is
            more than 1, takes (N, 3, window, H, W) and gives (N, D, window / step, H', W').
        """

    def last_block(self, network: nn.Module) -> Sequence[nn.Module]:
        """Returns what ``features.finetune=1`` trains of the network.

        Raises:
            VaclipError: If nobody said which it is.
        """
        raise VaclipError(
            f"features.finetune=1 trains the last block of an encoder, and vaclip does not know "
            f"which that is of {self.info.source}; use features.finetune=0, or features.source="
            "lite0"
        )


def drawn_untrained(build: Callable[[], Network]) -> Network:
    """Builds a network whose weights are always drawn alike, and leaves the random state as is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        return build()


def non_commercial(licence: str) -> bool:
    """Whether a licence forbids commercial use.

    Examples:
        >>> non_commercial("CC-BY-NC-4.0"), non_commercial("Apache-2.0")
        (True, False)
    """
    words = licence.lower().replace("_", "-").replace(" ", "-").split("-")
    return "nc" in words or "noncommercial" in words or "non-commercial" in licence.lower()
