"""Frames under maps as small pictures for a page: a few side by side, or all to be played."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_HEIGHT: Final = 112  # pixels of a frame on the page
_GAP: Final = 4
_LEVELS: Final = (0.25, 0.75)
"""Where contour lines run; they and brightness tell the map in greyscale."""
_WARM: Final = np.array([255.0, 205.0, 90.0])
_COLOURS: Final = 96
_STILLS: Final = 4
"""Frames of a strip; all are played."""
_MAP_HEIGHT: Final = 40
_QUALITY: Final = 70  # JPEG's, of what is played
_TITLES: Final = {
    "map": "Clinician's map",
    "gate": "Model's gate",
    "predicted": "Model's predicted map",
    "look": "Where the model looks",
}
_FULL_SCALE: Final = ("map",)
"""What is shown on the full scale of 0 to 255, and not up to its largest value."""
FloatArray = NDArray[np.floating]
Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Picture:
    """A picture on the page."""

    title: str
    alt: str
    uri: str
    """PNG or JPEG as a data URI."""


@dataclass(frozen=True)
class Movie:
    """Frames, and maps over them, which the page plays: each side by side in one picture.

    Attributes:
        count: Of frames.
        layers: The frames first.
    """

    count: int
    layers: tuple[Picture, ...]


def _stills(pictures: Bytes) -> Bytes:
    picked = np.linspace(0, len(pictures) - 1, min(_STILLS, len(pictures))).round().astype(int)
    return pictures[picked]


def video_strip(frames: Bytes, clip: str) -> Picture:
    """A few frames (T, H, W, 3) in grey."""
    return _strip("Video", f"Frames of {clip}", [_resized(one) for one in _grey(frames)])


def map_strips(frames: Bytes, layers: Mapping[str, Bytes], clip: str) -> list[Picture]:
    """The same frames under each of the maps (T, H, W)."""
    grey, found = [_resized(one) for one in _grey(frames)], []
    for name, maps in layers.items():
        scaled = [_resized(one) / _largest(name, maps) for one in _stills(maps)]
        shown = [_overlay(*pair) for pair in zip(grey, scaled, strict=True)]
        found.append(_strip(_TITLES[name], f"{_TITLES[name]} on the frames of {clip}", shown))
    return found


def _grey(frames: Bytes) -> FloatArray:
    return _stills(frames).mean(axis=-1)


def _largest(name: str, maps: Bytes) -> float:
    return 255.0 if name in _FULL_SCALE else max(float(maps.max()), 1.0)


def movie(
    frames: Bytes,
    layers: Mapping[str, Bytes],
    clip: str,
    height: int = _HEIGHT,
    map_height: int = _MAP_HEIGHT,
) -> Movie:
    """All frames (T, H, W, 3) in colour, and the maps (T, H, W) over them in grey, as JPEGs."""
    found = [Picture("Video", f"All frames of {clip}", _jpeg(frames, height))]
    for name, maps in layers.items():
        scaled = (maps * (255 / _largest(name, maps))).round().astype(np.uint8)
        title = _TITLES.get(name, name)
        alt = f"{title} of all frames of {clip}"
        found.append(Picture(title, alt, _jpeg(scaled, map_height)))
    return Movie(len(frames), tuple(found))


def _jpeg(pictures: Bytes, height: int) -> str:
    sized = [Image.fromarray(picture) for picture in pictures]
    width = max(1, round(sized[0].width * height / sized[0].height))
    sized = [picture.resize((width, height), Image.Resampling.BILINEAR) for picture in sized]
    row = Image.fromarray(np.concatenate([np.asarray(picture) for picture in sized], axis=1))
    return _uri(row, "jpeg", quality=_QUALITY)


def _resized(image: NDArray[Any]) -> FloatArray:
    """Brings one picture (H, W) in [0, 255] to the height on the page."""
    picture = Image.fromarray(image.astype(np.float32))
    width = max(1, round(picture.width * _HEIGHT / picture.height))
    return np.asarray(picture.resize((width, _HEIGHT), Image.Resampling.BILINEAR), float)


def _overlay(grey: FloatArray, attn: FloatArray) -> FloatArray:
    """Brightens a frame where the map is, and draws its contours: (H, W) twice to (H, W, 3)."""
    alpha = 0.65 * attn[..., None]
    colour = grey[..., None] * (1 - alpha) + _WARM * alpha
    for level in _LEVELS:
        inside = attn >= level
        padded = np.pad(inside, 1, mode="edge")
        around = [padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]]
        colour[inside & ~np.logical_and.reduce(around)] = 255
        colour[~inside & np.logical_or.reduce(around)] = 0
    return colour


def map_still(still: Bytes, clip: str) -> Picture:
    """A map (H, W) alone, on a dark ground."""
    attn = _resized(still) / 255
    return _strip("Map", f"Map of {clip}", [_overlay(np.full(attn.shape, 40.0), attn)])


def _strip(title: str, alt: str, pictures: list[FloatArray]) -> Picture:
    """Lays pictures side by side as one small PNG."""
    gap = np.full((_HEIGHT, _GAP, *pictures[0].shape[2:]), 255.0)
    row = [part for picture in pictures for part in (gap, picture)][1:]
    image = Image.fromarray(np.rint(np.concatenate(row, axis=1).clip(0, 255)).astype(np.uint8))
    if image.mode == "RGB":
        image = image.quantize(_COLOURS, dither=Image.Dither.NONE)
    return Picture(title, alt, _uri(image, "png"))


def _uri(image: Image.Image, kind: str, **options: Any) -> str:
    out = io.BytesIO()
    image.save(out, kind, optimize=True, **options)
    return f"data:image/{kind};base64,{base64.b64encode(out.getvalue()).decode()}"
