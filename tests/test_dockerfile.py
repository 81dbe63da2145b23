"""The Dockerfile, without an engine: its instructions, who runs it, and what it copies.

That the base image is there, that its packages install, and that the image answers is **not**
checked: it needs an engine and a network. Where an engine answers, `docker build --check` reads it.
"""

from __future__ import annotations

import fnmatch
import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
KNOWN = set(
    "ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK LABEL ONBUILD RUN SHELL STOPSIGNAL "
    "USER VOLUME WORKDIR".split()
)


def instructions(text: str) -> list[tuple[str, str]]:
    """Returns (instruction, arguments); a line that ends in a backslash goes on in the next."""
    lines = [line for line in text.splitlines() if line.strip() and line.lstrip()[0] != "#"]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    parts = [line.partition(" ") for line in joined.splitlines()]
    return [(word, rest.strip()) for word, _, rest in parts]


@pytest.fixture
def found():
    return instructions((ROOT / "Dockerfile").read_text("utf-8"))


def test_a_line_that_is_no_instruction_shows():
    words = [word for word, _ in instructions("FROM a\nRUN one \\\n && two\n# no\nRUNN three\n")]
    assert words == ["FROM", "RUN", "RUNN"]


def test_every_line_is_an_instruction(found):
    words = [word for word, _ in found]
    assert words[0] == "FROM"
    assert set(words) <= KNOWN
    assert not any(rest.endswith("\\") or not rest for _, rest in found)
    shells = [rest for word, rest in found if word == "RUN"]
    for script in shells:
        assert subprocess.run(["sh", "-n", "-c", script]).returncode == 0
    for word in ("ENTRYPOINT", "CMD"):
        assert isinstance(json.loads(dict(found)[word]), list)


def test_it_does_not_run_as_root(found):
    words = [word for word, _ in found]
    (user,) = (rest for word, rest in found if word == "USER")
    assert user not in ("root", "0")
    assert f"useradd --create-home --uid 10001 {user}" in dict(found)["RUN"]
    assert words.index("RUN") < words.index("USER") < words.index("ENTRYPOINT")


def test_what_it_copies_and_installs_is_there(found):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    copied = [name for word, rest in found if word == "COPY" for name in rest.split()[:-1]]
    for name in copied:
        assert (ROOT / name).exists()
        assert f"!{name}" in ignored
    assert ignored[1] == "*"
    assert not any(fnmatch.fnmatch("tests", line.removeprefix("!")) for line in ignored[2:])
    (extras,) = re.findall(r"'\.\[(.*)\]'", dict(found)["RUN"])
    assert set(extras.split(",")) <= project["optional-dependencies"].keys()
    assert json.loads(dict(found)["ENTRYPOINT"])[0] in project["scripts"]


def test_an_engine_finds_nothing_wrong():
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "info"], capture_output=True).returncode:
        pytest.skip("no Docker engine answers: base image, packages and the run are not checked")
    done = subprocess.run([docker, "build", "--check", ROOT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
