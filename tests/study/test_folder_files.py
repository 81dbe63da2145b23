"""The files that a study names: each folder is asked for once, whatever it holds."""

from __future__ import annotations

import os
import sys

import pytest

from conftest import read_rows, write_rows
from vaclip.errors import VaclipError
from vaclip.files import FolderFiles, inside_folder
from vaclip.study.load import read_study


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "study"
    (root / "videos/a").mkdir(parents=True)
    for name in ("videos/x.mp4", "videos/a/y.mp4", "top.mp4"):
        (root / name).touch()
    (tmp_path / "secret.mp4").touch()
    (root / "videos/leaves.mp4").symlink_to(tmp_path / "secret.mp4")
    (root / "videos/stays.mp4").symlink_to(root / "top.mp4")
    (root / "outside").symlink_to(tmp_path)
    return root


NAMES = """videos/x.mp4 videos/a/y.mp4 top.mp4 videos/stays.mp4 videos/gone.mp4 gone/x.mp4 videos
videos/a/../x.mp4 ./top.mp4 videos//x.mp4 videos/leaves.mp4 outside/secret.mp4 /top.mp4
../secret.mp4 videos/../../secret.mp4""".split()


@pytest.mark.parametrize("name", [*NAMES, "", "a\0b", "x" * 300])
def test_a_file_is_what_it_is_when_it_is_asked_for_itself(name, root):
    files = FolderFiles(root)
    for _ in range(2):
        assert answer(files.find, name) == answer(by_itself, root, name)


def by_itself(root, name):
    path = inside_folder(root, name)
    return path, path.is_file()


def answer(find, *words):
    try:
        return find(*words)
    except VaclipError as error:
        return str(error)


def asked(root, monkeypatch):
    """Returns how often the file system is asked while a study is read, but for its tables."""
    count = 0

    def counted(real):
        def ask(*words, **how):
            nonlocal count
            count += 1
            return real(*words, **how)

        return ask

    with monkeypatch.context() as patched:
        for name in ("stat", "lstat", "scandir"):
            patched.setattr(os, name, counted(getattr(os, name)))
        study, problems = read_study(root)
    assert study is not None
    assert not [problem for problem in problems if problem.severity == "error"]
    return count


@pytest.mark.skipif(sys.platform == "win32", reason="other calls there")
def test_more_files_are_asked_for_as_often(tiny_study, monkeypatch):
    few, many = tiny_study(2), tiny_study(8)
    for root in (few, many):
        (root / "maps").mkdir()
        rows = read_rows(root / "attention.csv")
        for number, row in enumerate(rows):
            (root / f"maps/{number}.npy").touch()
            row |= {"kind": "map", "value": f"maps/{number}.npy"}
        write_rows(root / "attention.csv", rows)
    read_study(few)  # looks for packages that add kinds
    assert asked(many, monkeypatch) == asked(few, monkeypatch)
