"""What an arm is, read from its YAML file: the header for people, the switches for the table."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import Any

import yaml

from vaclip.config import Config
from vaclip.runs.folder import flat_settings


@cache
def _source(arm: str) -> str:
    return (resources.files("vaclip.conf") / "experiment" / f"{arm}.yaml").read_text("utf-8")


def arm_switches(arm: str) -> dict[str, Any]:
    """Returns what an arm's file sets, by dotted key, but for its name."""
    switches = flat_settings(yaml.safe_load(_source(arm)))
    del switches["arm"]
    return switches


def all_arms() -> list[str]:
    """Returns the names of all arms."""
    files = (resources.files("vaclip.conf") / "experiment").iterdir()
    return sorted(file.name.removesuffix(".yaml") for file in files)


def arm_header(arm: str) -> dict[str, str]:
    """Returns ``method``, ``question``, ``command`` and ``cost`` from an arm's header."""
    lines = [line[1:] for line in _source(arm).splitlines() if line.startswith("#")][1:]
    text = re.sub(r"\n {2,}", " ", "\n".join(lines))
    fields = dict(re.findall(r"^ ([\w.]+): (.+)$", text, re.M))
    fields["method"] = fields.pop(arm)
    return {name.lower(): value for name, value in fields.items()}


def describe_arm(config: Config) -> dict[str, Any]:
    """Returns an arm's entry in ``arms.json``.

    Args:
        config: Its settings.
    """
    header = arm_header(config.arm)
    terms = ["CE"]
    if config.loss.clip_weight:
        terms.append(f"{config.loss.clip_weight:g} CLIP")
    if config.model.lambda_token:
        terms.append(f"{config.model.lambda_token:g} token")
    return {
        "arm": config.arm,
        "method": header["method"].rstrip("."),
        "question": header["question"],
        "switches": arm_switches(config.arm),
        "loss": " + ".join(terms),
        "notes": f"Cost: {header['cost']}",
    }
