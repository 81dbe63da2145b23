"""The cases that a report shows: what is chosen by, read and drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vaclip.errors import VaclipError
from vaclip.reports.gather import Source
from vaclip.reports.pictures import (
    Bytes,
    Movie,
    Picture,
    map_still,
    map_strips,
    movie,
    video_strip,
)
from vaclip.reports.pseudonyms import Pseudonyms
from vaclip.reports.typeset import number


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
    """Video and maps; what is absent is left out."""
    movie: Movie
    """The same in colour, to be played."""
    missing: tuple[str, ...]
    """What is left out and why."""
    nearest: tuple[Nearest, ...]
    facets: dict[str, str]
    """What cases are chosen by: ``outcome``, ``class``, ``alignment``, ``agreement``."""


_FACETS: Final = {
    "outcome": "Diagnosis",
    "class": "Class",
    "alignment": "Similarity of video and map",
    "agreement": "Model and clinician look",
}


def gallery_cases(source: Source, names: Pseudonyms) -> list[Case]:
    """Reads and draws all cases; none where there is no gallery."""
    entries = (source.gallery or {"cases": []})["cases"]
    found = [(entry, source.images(entry["file"])) for entry in entries]
    aligned = [
        math.nan if entry["similarity"] is None else entry["similarity"] for entry, _ in found
    ]
    alike = [_agreement(arrays) for _, arrays in found]
    facets = zip(
        halves(aligned, "lower half", "higher half"), halves(alike, "apart", "alike"), strict=True
    )
    return [
        _case(entry, arrays, names, {"alignment": high, "agreement": near})
        for (entry, arrays), (high, near) in zip(found, facets, strict=True)
    ]


def case_choices(cases: Sequence[Case]) -> dict[str, tuple[str, list[str]]]:
    """By facet its title and values, of the facets in which cases differ."""
    found = {key: sorted({case.facets[key] for case in cases}) for key in _FACETS}
    return {key: (_FACETS[key], values) for key, values in found.items() if len(values) > 1}


def halves(values: Sequence[float], low: str, high: str) -> list[str]:
    """Returns of each value in which half it lies; ``undefined`` for one that is not finite."""
    known = [value for value in values if math.isfinite(value)]
    middle = float(np.median(known)) if known else math.nan
    return [
        "undefined" if not math.isfinite(value) else high if value > middle else low
        for value in values
    ]


def _agreement(arrays: Mapping[str, NDArray[Any]]) -> float:
    """Correlation of the clinician's map and the model's; NaN where one of them is even."""
    model = next((arrays[name] for name in ("predicted", "gate") if name in arrays), None)
    if model is None or "map" not in arrays or not model.std() or not arrays["map"].std():
        return math.nan
    return float(np.corrcoef(arrays["map"].ravel(), model.ravel())[0, 1])


def _case(
    case: dict[str, Any],
    arrays: Mapping[str, NDArray[Any]],
    names: Pseudonyms,
    facets: dict[str, str],
) -> Case:
    frames, attn = arrays.get("frames"), arrays.get("map")
    if frames is None or attn is None or attn.shape != frames.shape[:3]:
        raise VaclipError(f"{case['file']}: needs frames (T, H, W, 3) and map (T, H, W)")
    clip = names.clip(case["clip_id"])
    missing = [] if attn.any() else ["No clinician annotated this clip."]
    layers = {name: arrays[name] for name in ("map", "predicted", "gate") if name in arrays}
    if not attn.any():
        del layers["map"]
    if layers.keys() <= {"map"}:
        missing.append("The model has no gate in space.")
    probs = tuple(sorted(case["probs"].items(), key=lambda item: -item[1]))
    similarity = case["similarity"]
    outcome = "right" if probs[0][0] == case["label"] else "wrong"
    return Case(
        why=case["why"],
        clip=clip,
        label=case["label"],
        diagnosis=probs[0][0],
        probs=probs,
        similarity="undefined" if similarity is None else number(similarity, 2),
        strips=(video_strip(frames, clip), *map_strips(frames, layers, clip)),
        movie=movie(frames, layers, clip),
        missing=tuple(missing),
        nearest=_nearest(case["nearest"], arrays.get("nearest"), names),
        facets={"outcome": outcome, "class": case["label"], **facets},
    )


@dataclass(frozen=True)
class LookCase:
    """Where a model and the clinicians look, ready to be shown."""

    clip: str
    label: str
    cc: str
    strips: tuple[Picture, ...]
    movie: Movie


def look_cases(source: Source, names: Pseudonyms) -> list[LookCase]:
    """Reads and draws the cases of the look audit; none where there are none."""
    found = []
    for case in (source.look_cases or {"cases": []})["cases"]:
        arrays, clip = source.images(case["file"]), names.clip(case["clip_id"])
        frames = arrays["frames"]
        layers = {name: arrays[name] for name in ("map", "look")}
        found.append(
            LookCase(
                clip,
                case["label"],
                number(case["cc"], 2),
                tuple(map_strips(frames, layers, clip)),
                movie(frames, layers, clip),
            )
        )
    return found


def _nearest(
    entries: list[dict[str, Any]], maps: Bytes | None, names: Pseudonyms
) -> tuple[Nearest, ...]:
    if maps is None:
        return ()
    found = []
    for entry, still in zip(entries, maps, strict=True):
        clip = names.clip(entry["clip_id"])
        picture = map_still(still, clip)
        found.append(
            Nearest(
                clip, entry["label"], number(entry["similarity"], 2), entry["same_map"], picture
            )
        )
    return tuple(found)
