"""What the documents say of the repository is there."""

from __future__ import annotations

import ast
import re
import runpy
from pathlib import Path

import pytest
import yaml

import vaclip

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md"))]
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)[^)]*\)")
NAMED = re.compile(r"`(?:python |pytest )?([a-z_/]+/[a-z0-9_]+\.py)\b[^`]*`")
readme_for_index = runpy.run_path(str(ROOT / "setup.py"))["readme_for_index"]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_and_named_files_exist(document):
    text = document.read_text("utf-8")
    folders = (ROOT, ROOT / "src/vaclip", ROOT / "tests")
    lost = [link for link in LINK.findall(text) if not (document.parent / link).exists()]
    lost += [name for name in NAMED.findall(text) if not any((f / name).exists() for f in folders)]
    assert lost == []


def test_paths_are_found():
    assert NAMED.findall("`python benchmarks/seeds.py --seeds 5` and `maps/shapes.py`") == [
        "benchmarks/seeds.py",
        "maps/shapes.py",
    ]
    assert LINK.findall("![a](docs/b.png) [c](d.md#e) [f](https://g.h) [i](#j)") == [
        "docs/b.png",
        "d.md",
    ]


def test_examples_stand_where_the_api_pages_look_for_them():
    lost = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sorted(ROOT.glob("src/**/*.py"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and ">>>" in (text := ast.get_docstring(node) or "")
        and "Examples:\n" not in text
    ]
    assert lost == [], "the heading is Examples:"


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 140


def test_one_version_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    released = re.search(
        r"^## \[(\d.+?)\] - (\S+)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE
    )
    assert released is not None
    assert (citation["version"], citation["date-released"]) == released.groups()
    assert citation["version"] == vaclip.__version__


@pytest.mark.parametrize(
    ("repository", "expected"),
    [
        (None, "see words, [w](https://a.b)\n\n"),
        (
            "https://c.d/e/",
            "see [words](https://c.d/e/blob/HEAD/docs/f.md#g), [w](https://a.b)\n"
            "![first screen](https://c.d/e/raw/HEAD/docs/h.png)\n",
        ),
    ],
)
def test_the_page_of_a_package_index_has_no_relative_link(repository, expected):
    text = "see [words](docs/f.md#g), [w](https://a.b)\n![first screen](docs/h.png)\n"
    assert readme_for_index(text, repository) == expected
    assert not LINK.search(readme_for_index((ROOT / "README.md").read_text("utf-8"), repository))
