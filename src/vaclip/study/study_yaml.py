"""study.yaml: the head of a study, and the regions that it defines."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, Final

import yaml

from vaclip.errors import VaclipError, did_you_mean
from vaclip.keys import Blinding
from vaclip.maps.source import Region

# PyYAML's own, and what its constructors let through on values such as a 99th of May.
_YAML_ERRORS = (
    yaml.YAMLError, OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError
)  # fmt: skip


KEYS = ("name", "classes", "regions", "keypoint_names", "annotation")


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice, of which YAML would keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in seen:
                    line = key.start_mark.line + 1
                    raise VaclipError(f"line {line}: the key '{key.value}' stands there twice")
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def misspelt_keys(head: dict[str, Any]) -> dict[str, str]:
    """Returns what unknown keys of study.yaml most likely mean; notes of one's own mean nothing."""
    near = {
        str(key): difflib.get_close_matches(str(key).casefold(), KEYS, n=1, cutoff=0.75)
        for key in head
        if key not in KEYS
    }
    return {key: meant[0] for key, meant in near.items() if meant}


def read_head(root: Path) -> dict[str, Any]:
    """Returns the content of study.yaml.

    Raises:
        VaclipError: If there is none, or it is no YAML of keys and values.
    """
    path = root / "study.yaml"
    if not path.is_file():
        raise VaclipError(f"there is no such file in {root}; is this a study folder?")
    try:
        head = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except _YAML_ERRORS as error:
        raise VaclipError(f"cannot be read as YAML: {error}") from error
    if not isinstance(head, dict):
        raise VaclipError("expected keys such as 'name', 'classes' and 'regions'")
    return head


UNRECORDED: Final = {"blinded": "unknown", "saw": [], "when": "unknown"}
"""``annotation`` of a study of which nobody said what its annotators knew."""


def read_blinding(content: Any) -> Blinding:
    """Reads what study.yaml says of its annotators; what it leaves out is unknown.

    Args:
        content: Under ``annotation``; None where it is absent.

    Raises:
        VaclipError: If a key or value is none of those that there are, or two contradict.
    """
    if not isinstance(content := content or {}, dict):
        raise VaclipError("expected {blinded: ..., saw: [...], when: ...}")
    for key in content:
        if key not in UNRECORDED:
            hint = did_you_mean(str(key), UNRECORDED)
            raise VaclipError(f"there is no '{key}'; use {', '.join(UNRECORDED)}.{hint}")
    blinded, saw, when = (content.get(key, UNRECORDED[key]) for key in UNRECORDED)
    if not (isinstance(blinded, bool) or blinded == "unknown"):
        raise VaclipError(f"'blinded' is {blinded}; it must be true, false or unknown")
    if not isinstance(saw, list) or not all(isinstance(word, str) for word in saw):
        raise VaclipError(f"'saw' is {saw}; it must be a list of words, such as [history, report]")
    if when not in ("before", "after", "unknown"):
        raise VaclipError(f"'when' is {when}; it must be before, after or unknown")
    if blinded is True and "diagnosis" in saw:
        raise VaclipError("'blinded' is true, but 'saw' lists the diagnosis")
    return Blinding(None if blinded == "unknown" else blinded, tuple(saw), when)


def read_region(content: Any, names: tuple[str, ...]) -> Region:
    """Reads what study.yaml says of a region.

    Args:
        content: Under its name.
        names: The study's joints.

    Raises:
        VaclipError: If it is neither a list of known joints nor a box inside the frame.
    """
    if not isinstance(content, dict) or len(set(content) & {"keypoints", "box"}) != 1:
        raise VaclipError("expected either {keypoints: [joint, ...]} or {box: [x0, y0, x1, y1]}")
    if "keypoints" in content:
        joints = content["keypoints"]
        if not isinstance(joints, list) or not joints:
            raise VaclipError("'keypoints' must list at least one joint")
        for joint in joints:
            if joint not in names:
                raise VaclipError(f"unknown joint '{joint}'.{did_you_mean(str(joint), names)}")
        return Region(keypoints=tuple(joints))
    box = content["box"]
    numbers = isinstance(box, list) and all(
        isinstance(edge, int | float) and not isinstance(edge, bool) for edge in box
    )
    if not numbers or len(box) != 4:
        raise VaclipError(f"'box' must be four numbers [x0, y0, x1, y1], not {box}")
    if max(abs(edge) for edge in box) > 1:  # also what is too large for a float
        raise VaclipError("'box' is not inside the frame: give fractions from 0 to 1")
    x0, y0, x1, y1 = (float(edge) for edge in box)
    if not (0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1):
        raise VaclipError(f"box {box} is not inside the frame: give fractions, 0 <= x0 < x1 <= 1")
    return Region(box=(x0, y0, x1, y1))
