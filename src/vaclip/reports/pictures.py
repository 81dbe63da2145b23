"""The case gallery: frames with the clinician's map and the model's gate, nearest maps."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vaclip.errors import VaclipError
from vaclip.reports.gather import Source
from vaclip.reports.pseudonyms import Pseudonyms
from vaclip.reports.typeset import number

_HEIGHT: Final = 112  # pixels of a frame on the page
_GAP: Final = 4
_LEVELS: Final = (0.25, 0.75)
"""Where contour lines run; they and brightness tell the map in greyscale."""
_WARM: Final = np.array([255.0, 205.0, 90.0])
_COLOURS: Final = 96
FloatArray = NDArray[np.floating]
Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Picture:
    """A picture on the page."""

    title: str
    alt: str
    uri: str
    """PNG as a data URI."""


@dataclass(frozen=True)
class Nearest:
    """A map that was retrieved for a case."""

    clip: str
    label: str
    similarity: str
    same_map: bool
    picture: Picture


@dataclass(frozen=True)
class Case:
    """A case of the gallery, ready to be shown."""

    why: str
    clip: str
    label: str
    diagnosis: str
    probs: tuple[tuple[str, float], ...]
    similarity: str
    strips: tuple[Picture, ...]
    """Video, clinician's map, model's gate; what is absent is left out."""
    missing: tuple[str, ...]
    """What is left out and why."""
    nearest: tuple[Nearest, ...]


def gallery_cases(source: Source, names: Pseudonyms) -> list[Case]:
    """Reads and draws all cases; none where there is no gallery."""
    return [_case(source, case, names) for case in (source.gallery or {"cases": []})["cases"]]


def _case(source: Source, case: dict[str, Any], names: Pseudonyms) -> Case:
    arrays = source.images(case["file"])
    frames, attn, gate = arrays.get("frames"), arrays.get("map"), arrays.get("gate")
    if frames is None or attn is None or attn.shape != frames.shape[:3]:
        raise VaclipError(f"{case['file']}: needs frames (T, H, W, 3) and map (T, H, W)")
    clip = names.clip(case["clip_id"])
    grey = [_resized(frame) for frame in frames.mean(axis=-1)]
    strips = [_strip("Video", f"Frames of {clip}", grey)]
    missing = []
    if attn.any():
        shown = [_overlay(*pair) for pair in zip(grey, _scaled(attn, 255), strict=True)]
        strips.append(_strip("Clinician's map", f"Clinician's map on the frames of {clip}", shown))
    else:
        missing.append("No clinician annotated this clip.")
    if gate is not None:
        shown = [_overlay(*pair) for pair in zip(grey, _scaled(gate, gate.max()), strict=True)]
        strips.append(_strip("Model's gate", f"Model's gate on the frames of {clip}", shown))
    else:
        missing.append("The model has no gate in space.")
    probs = tuple(sorted(case["probs"].items(), key=lambda item: -item[1]))
    similarity = case["similarity"]
    return Case(
        why=case["why"],
        clip=clip,
        label=case["label"],
        diagnosis=probs[0][0],
        probs=probs,
        similarity="undefined" if similarity is None else number(similarity, 2),
        strips=tuple(strips),
        missing=tuple(missing),
        nearest=_nearest(case["nearest"], arrays.get("nearest"), names),
    )


@dataclass(frozen=True)
class LookCase:
    """Where a model and the clinicians look, ready to be shown."""

    clip: str
    label: str
    cc: str
    strips: tuple[Picture, ...]


def look_cases(source: Source, names: Pseudonyms) -> list[LookCase]:
    """Reads and draws the cases of the look audit; none where there are none."""
    found = []
    for case in (source.look_cases or {"cases": []})["cases"]:
        arrays, clip = source.images(case["file"]), names.clip(case["clip_id"])
        grey = [_resized(frame) for frame in arrays["frames"].mean(axis=-1)]
        strips = []
        for title, name in (("Clinician's map", "map"), ("Where the model looks", "look")):
            scaled = _scaled(arrays[name], arrays[name].max())
            shown = [_overlay(*pair) for pair in zip(grey, scaled, strict=True)]
            strips.append(_strip(title, f"{title} on the frames of {clip}", shown))
        found.append(LookCase(clip, case["label"], number(case["cc"], 2), tuple(strips)))
    return found


def _nearest(
    entries: list[dict[str, Any]], maps: Bytes | None, names: Pseudonyms
) -> tuple[Nearest, ...]:
    if maps is None:
        return ()
    found = []
    for entry, still in zip(entries, maps, strict=True):
        clip = names.clip(entry["clip_id"])
        picture = _strip("Map", f"Map of {clip}", [_overlay(*_on_black(still))])
        found.append(
            Nearest(
                clip, entry["label"], number(entry["similarity"], 2), entry["same_map"], picture
            )
        )
    return tuple(found)


def _on_black(still: Bytes) -> tuple[FloatArray, FloatArray]:
    attn = _scaled(still[None], 255)[0]
    return np.full(attn.shape, 40.0), attn


def _resized(image: NDArray[Any]) -> FloatArray:
    """Brings one picture (H, W) in [0, 255] to the height on the page."""
    picture = Image.fromarray(image.astype(np.float32))
    width = max(1, round(picture.width * _HEIGHT / picture.height))
    return np.asarray(picture.resize((width, _HEIGHT), Image.Resampling.BILINEAR), float)


def _scaled(maps: Bytes, largest: float) -> list[FloatArray]:
    return [_resized(one) / max(float(largest), 1.0) for one in maps]


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


def _strip(title: str, alt: str, pictures: list[FloatArray]) -> Picture:
    """Lays pictures side by side as one small PNG."""
    gap = np.full((_HEIGHT, _GAP, *pictures[0].shape[2:]), 255.0)
    row = [part for picture in pictures for part in (gap, picture)][1:]
    image = Image.fromarray(np.rint(np.concatenate(row, axis=1).clip(0, 255)).astype(np.uint8))
    if image.mode == "RGB":
        image = image.quantize(_COLOURS, dither=Image.Dither.NONE)
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    encoded = base64.b64encode(out.getvalue()).decode()
    return Picture(title, alt, f"data:image/png;base64,{encoded}")
