"""The README as a package index shows it, which has none of the files that it links to.

Links into the repository become links to it as ``[project.urls]`` of pyproject.toml names it
(``Repository``). Where it names none, pictures are left out and links become their words.
Everything else of the package stands in pyproject.toml.
"""

import re
import tomllib
from pathlib import Path

from setuptools import setup

HERE = Path(__file__).parent
_RELATIVE = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|#)([^)\s]+)\)")


def readme_for_index(text: str, repository: str | None) -> str:
    """Makes relative links and pictures absolute, or removes them without a repository."""

    def absolute(match: re.Match[str]) -> str:
        picture, words, path = match.groups()
        if repository is None:
            return "" if picture else words
        kind = "raw" if picture else "blob"
        return f"{picture}[{words}]({repository.rstrip('/')}/{kind}/HEAD/{path})"

    return _RELATIVE.sub(absolute, text)


if __name__ == "__main__":
    project = tomllib.loads((HERE / "pyproject.toml").read_text("utf-8"))["project"]
    setup(
        long_description=readme_for_index(
            (HERE / "README.md").read_text("utf-8"), project.get("urls", {}).get("Repository")
        ),
        long_description_content_type="text/markdown",
    )
