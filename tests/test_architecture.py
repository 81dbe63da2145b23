"""Who may import whom."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "vaclip"

# fmt: off
# A room may import those of the tiers before its own, and itself.
TIERS = (
    {
        "errors",
        "files",
        "locks",
        "patience",
        "store",
        "fonts",
        "media",
        "keys",
        "seeds",
        "processes",
        "signals",
        "console",
        "web",
        "plugins",
        "settings",
        "contradictions",
        "config",
        "features_config",
        "tune_config",
        "compose",
    },
    {"maps", "models", "losses", "metrics"},
    {"study", "cohort", "data", "features", "evaluation"},
    {"training"},
    {"runs", "explain", "importers"},
    {"audit", "ablation", "export", "reports"},
    {"view", "annotate", "serve"},
    {"commands", "__main__"},
)
# fmt: on
# Within these tiers rooms may import each other too.
OPEN_TIERS = (0, 7)
SIBLINGS = {
    "data": {"study"},
    "features": {"data", "study"},
    "ablation": {"audit"},
    "annotate": {"view"},
    "export": {"reports"},
}
# Rooms that may see the whole configuration.
READS_CONFIG = {"contradictions", "runs", "audit", "ablation", "commands", "compose"}
# Works on a prediction table, without torch and without a folder.
EVALUATION_MAY_IMPORT = {"keys", "errors", "files", "metrics"}
# What evaluation needs, reports need to render it.
REPORTS_MAY_IMPORT = {"keys", "errors", "files", "fonts", "evaluation"}

TIER_OF = {part: number for number, tier in enumerate(TIERS) for part in tier}


def imported_modules(code: str, package: str, modules: set[str]) -> Iterator[tuple[int, str]]:
    """Yields (line, full module name) of every vaclip import, also inside functions.

    Args:
        code: Python source.
        package: The package that relative imports start from.
        modules: All modules there are, to tell ``from package import module`` from a name.
    """
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - (node.level - 1)]
            base = ".".join([*(above if node.level else []), *filter(None, [node.module])])
            inner = [f"{base}.{alias.name}" for alias in node.names]
            names = [name if name in modules else base for name in inner]
        else:
            continue
        yield from ((node.lineno, n) for n in names if n.split(".")[0] == "vaclip")


def breach(path: str, module: str) -> str | None:
    """Says why ``path`` (below src/vaclip) may not import ``module``; None where it may."""
    part, _, _ = path.removesuffix(".py").partition("/")
    other = module.split(".")[1] if "." in module else ""
    if part == "__init__":
        return None  # offers everything, and loads it when it is used: tests/test_api.py
    if other in ("", part):
        return None
    if other == "config" and part not in READS_CONFIG:
        return f"{part} takes plain arguments, never the configuration"
    for room, allowed in (
        ("evaluation", EVALUATION_MAY_IMPORT), ("reports", REPORTS_MAY_IMPORT)
    ):  # fmt: skip
        if part == room:
            return None if other in allowed else f"{room} must not import {other}"
    mine, theirs = TIER_OF[part], TIER_OF[other]
    if theirs < mine or (theirs == mine and mine in OPEN_TIERS):
        return None
    if other in SIBLINGS.get(part, set()):
        return None
    return f"{part} must not import {other}"


FILES = sorted(SOURCE.rglob("*.py"))


def module_name(path: Path) -> str:
    parts = ["vaclip", *path.relative_to(SOURCE).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_every_part_has_a_tier():
    parts = {path.relative_to(SOURCE).with_suffix("").parts[0] for path in FILES}
    assert parts - {"__init__", "conf"} <= set(TIER_OF)


def test_no_import_breaches_the_design():
    modules = {module_name(path) for path in FILES}
    breaches, seen = [], 0
    for path in FILES:
        name = path.relative_to(SOURCE).as_posix()
        package = module_name(path.with_name("__init__.py"))
        for line, module in imported_modules(path.read_text("utf-8"), package, modules):
            seen += 1
            if reason := breach(name, module):
                breaches.append(f"{name}:{line} imports {module}: {reason}")
    assert seen > 50
    assert breaches == []


@pytest.mark.parametrize(
    ("path", "module"),
    [
        ("models/clip.py", "vaclip.losses"),
        ("models/clip.py", "vaclip.training.module"),
        ("models/clip.py", "vaclip.config"),
        ("training/module.py", "vaclip.config"),
        ("training/module.py", "vaclip.runs.run"),
        ("maps/source.py", "vaclip.study.study"),
        ("study/load.py", "vaclip.data.video"),
        ("data/cache.py", "vaclip.cohort.gait_figure"),
        ("runs/prepare.py", "vaclip.ablation.plan"),
        ("runs/run.py", "vaclip.commands.main"),
        ("importers/merge.py", "vaclip.runs.run"),
        ("files.py", "vaclip.study.study"),
        ("evaluation/compare.py", "vaclip.study.study"),
        ("reports/page.py", "vaclip.metrics.functional"),
        ("audit/check.py", "vaclip.ablation.plan"),
        ("explain/measures.py", "vaclip.runs.run"),
        ("evaluation/bedside.py", "vaclip.explain.measures"),
    ],
)
def test_a_breach_is_seen(path, module):
    assert breach(path, module)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import vaclip.losses, os", ["vaclip.losses"]),
        ("from vaclip import keys, VaclipError", ["vaclip.keys", "vaclip"]),
        ("from vaclip.models.clip import X", ["vaclip.models.clip"]),
        ("from . import base", ["vaclip.models.base"]),
        ("from ..losses import token", ["vaclip.losses.token"]),
        ("def f():\n    from vaclip.commands.main import main", ["vaclip.commands.main"]),
        ("import vaclipper", []),
    ],
)
def test_imports_are_found(code, expected):
    modules = {"vaclip.keys", "vaclip.models.base", "vaclip.losses.token"}
    found = [module for _, module in imported_modules(code, "vaclip.models", modules)]
    assert found == expected
