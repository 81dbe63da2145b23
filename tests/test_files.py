from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from vaclip.errors import VaclipError
from vaclip.files import (
    atomic_file,
    atomic_folder,
    cache_root,
    content_digest,
    inside_folder,
    is_address,
    json_digest,
    link_file,
    local_path,
    remove_folder,
    user_path,
    write_json,
)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# --- atomic_file ---------------------------------------------------------------------------------


def test_a_file_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "new" / "table.csv"
    with atomic_file(path) as temporary:
        assert temporary.suffix == ".csv"
        temporary.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert names(path.parent) == ["table.csv"]
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failed_file_leaves_the_old_one(tmp_path, error):
    path = tmp_path / "table.csv"
    path.write_text("old")

    def fail():
        with atomic_file(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["table.csv"]


def test_a_name_that_is_taken_by_a_folder_leaves_nothing_behind(tmp_path):
    (tmp_path / "name").mkdir()
    with pytest.raises(OSError, match="directory"), atomic_file(tmp_path / "name") as temporary:
        temporary.write_text("x")
    assert names(tmp_path) == ["name"]


def in_threads(n, work):
    """Runs ``work(number)`` in n threads that start together; returns their errors."""
    barrier, errors = threading.Barrier(n), []

    def run(number):
        barrier.wait()
        try:
            work(number)
        except (OSError, AssertionError) as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def test_racing_files_are_never_mixed(tmp_path):
    path = tmp_path / "file.txt"

    def write(number):
        for _ in range(10):
            with atomic_file(path) as temporary:
                temporary.write_text(str(number) * 50_000)
            assert len(set(path.read_text())) == 1

    assert in_threads(4, write) == []
    assert len(path.read_text()) == 50_000
    assert names(tmp_path) == ["file.txt"]


# --- atomic_folder -------------------------------------------------------------------------------


def test_a_folder_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "new" / "cohort"
    with atomic_folder(path) as temporary:
        (temporary / "a").write_text("whole")
        assert not path.exists()
    assert names(path) == ["a"]
    assert names(path.parent) == ["cohort"]
    assert path.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failed_folder_leaves_nothing(tmp_path, error):
    def fail():
        with atomic_folder(tmp_path / "cohort") as temporary:
            (temporary / "a").write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert names(tmp_path) == []


def test_the_folder_that_was_there_first_stays(tmp_path):
    path = tmp_path / "cohort"
    with atomic_folder(path) as temporary:
        (temporary / "ours").touch()
        path.mkdir()
        (path / "theirs").touch()
    assert names(path) == ["theirs"]
    assert names(tmp_path) == ["cohort"]


def test_a_file_in_the_place_of_a_folder_is_an_error(tmp_path):
    (tmp_path / "cohort").write_text("a file")
    with pytest.raises(OSError), atomic_folder(tmp_path / "cohort") as temporary:  # noqa: PT011
        (temporary / "a").touch()
    assert (tmp_path / "cohort").read_text() == "a file"
    assert names(tmp_path) == ["cohort"]


def test_racing_folders_leave_one_whole(tmp_path):
    path = tmp_path / "cohort"

    def write(number):
        with atomic_folder(path) as temporary:
            for name in "abc":
                (temporary / name).write_text(str(number))
        assert names(path) == ["a", "b", "c"]

    assert in_threads(6, write) == []
    assert len({(path / name).read_text() for name in "abc"}) == 1
    assert names(tmp_path) == ["cohort"]


def test_a_folder_of_another_machine_that_is_not_seen_yet_stays(tmp_path, monkeypatch):
    path = tmp_path / "cohort"
    with atomic_folder(path) as temporary:
        path.mkdir()
        (path / "theirs").touch()
        monkeypatch.setattr(type(path), "is_dir", lambda _: False)
        (temporary / "ours").touch()
    assert names(path) == ["theirs"]
    assert names(tmp_path) == ["cohort"]


# --- remove_folder -------------------------------------------------------------------------------


def test_a_removed_folder_is_gone_at_once(tmp_path, monkeypatch):
    path = tmp_path / "entry"
    path.mkdir()
    (path / "a").write_text("content")
    real = shutil.rmtree

    def remove(folder, **options):
        assert not path.exists()
        real(folder, **options)

    monkeypatch.setattr(shutil, "rmtree", remove)
    with (path / "a").open() as opened:
        remove_folder(path)
        assert opened.read() == "content"
    assert names(tmp_path) == []
    remove_folder(path)  # by another process


def test_what_came_in_the_place_of_what_was_judged_stays(tmp_path):
    path = tmp_path / "entry"
    path.mkdir()
    os.utime(path, (1, 1))
    judged = path.stat()
    remove_folder(path)
    with atomic_folder(path) as temporary:
        (temporary / "whole").touch()
    remove_folder(path, judged)
    assert names(path) == ["whole"]
    remove_folder(path, path.stat())
    assert names(tmp_path) == []


# --- write_json ----------------------------------------------------------------------------------


def test_nan_is_written_as_null(tmp_path):
    path = tmp_path / "a.json"
    content = {"a": math.nan, "b": [1.5, math.nan, {"c": (np.float64("nan"), "é")}], "d": None}
    write_json(path, content)
    text = path.read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=pytest.fail) == {
        "a": None, "b": [1.5, None, {"c": [None, "é"]}], "d": None
    }  # fmt: skip
    assert "é" in text
    assert text.endswith("}\n")


@pytest.mark.parametrize("value", [math.inf, object()])
def test_what_json_cannot_hold_leaves_the_old_file(tmp_path, value):
    path = tmp_path / "a.json"
    write_json(path, {"old": 1})
    with pytest.raises((ValueError, TypeError)):
        write_json(path, {"new": value})
    assert json.loads(path.read_text()) == {"old": 1}
    assert names(tmp_path) == ["a.json"]


# --- digests -------------------------------------------------------------------------------------


def test_a_value_has_the_digest_of_its_json():
    # printf '{"a": [1, "\xc3\xa4"], "b": null}' | sha256sum
    expected = "373830334037abf5b7ff903aba5c802e9bab79be013f977968c83d40d334eb53"
    assert json_digest({"b": None, "a": (1, "ä")}) == expected
    assert json_digest({"a": [1, "ä"], "b": None}) == expected
    assert json_digest({"a": ["ä", 1], "b": None}) != expected


def test_a_file_has_the_digest_of_its_bytes(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")  # FIPS 180-2, B.1
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert content_digest(tmp_path / "file") == expected


# --- inside_folder, cache_root -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.mp4", "b/../a.mp4", "./b/c.mp4", "inner_link.mp4", "..a.mp4"])
def test_a_path_inside_the_study(tmp_path, name):
    root = tmp_path / "study"
    root.mkdir()
    (root / "inner_link.mp4").symlink_to(root / "a.mp4")
    (tmp_path / "link").symlink_to(root)
    expected = (root / name).resolve()
    assert inside_folder(root, name) == expected
    assert inside_folder(tmp_path / "link", name) == expected, "the folder itself may be a link"


@pytest.mark.parametrize(
    "name", ["../a.mp4", "b/../../a.mp4", "..", "link/a.mp4", "../study2/a.mp4", "ABSOLUTE"]
)
def test_a_path_that_leaves_the_study(tmp_path, name):
    root = tmp_path / "study"
    root.mkdir()
    (root / "link").symlink_to(tmp_path)
    name = str(root / "a.mp4") if name == "ABSOLUTE" else name
    with pytest.raises(VaclipError, match="leaves the study folder") as caught:
        inside_folder(root, name)
    assert f"'{name}'" in str(caught.value)


def test_a_path_with_a_null_byte(tmp_path):
    with pytest.raises(VaclipError):
        inside_folder(tmp_path, "a\0b.mp4")


def test_a_path_through_a_link_to_itself(tmp_path):
    """From Python 3.13 on it resolves to itself, and opening it fails as of a missing file."""
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with suppress(VaclipError):
        assert inside_folder(tmp_path, "loop/a.mp4").is_relative_to(tmp_path)


def test_the_cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("VACLIP_CACHE", str(tmp_path / "environment"))
    assert cache_root(str(tmp_path / "setting")) == tmp_path / "setting"
    assert cache_root() == tmp_path / "environment"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_root("~/cache") == tmp_path / "cache"
    monkeypatch.delenv("VACLIP_CACHE")
    assert cache_root().name == "vaclip"
    assert os.path.isabs(cache_root())  # noqa: PTH117


@pytest.mark.parametrize("address", ["s3://bucket/cache", "simplecache::s3://bucket"])
def test_a_cache_lies_in_a_folder(tmp_path, monkeypatch, address):
    assert cache_root(f"file://{tmp_path}/c") == tmp_path / "c"
    with pytest.raises(VaclipError, match=f"the cache cannot lie at {address}; name a folder"):
        cache_root(address)
    monkeypatch.setenv("VACLIP_CACHE", address)
    with pytest.raises(VaclipError, match=f"the cache cannot lie at {address}; name a folder"):
        cache_root()


@pytest.mark.parametrize("text", ["a://", "C:/x", "c d://e", "/a/b://c", "s3:/bucket"])
def test_what_is_a_folder_and_what_an_address(text):
    assert (local_path(text) is None) == is_address(text) == (text == "a://")
    assert local_path(Path(text)) == Path(text)


def test_a_linked_file_has_two_names_and_one_content(tmp_path):
    source, target = tmp_path / "a" / "one", tmp_path / "b" / "two"
    source.parent.mkdir()
    source.write_text("x")
    link_file(source, target)
    link_file(source, target)  # it is there already
    assert target.samefile(source)
    other = tmp_path / "other"
    other.write_text("y")
    link_file(other, target)
    assert (target.read_text(), source.read_text()) == ("y", "x")
    link_file(tmp_path / "gone", target)
    assert not target.exists()


def test_where_nothing_can_be_linked_it_is_copied(tmp_path, monkeypatch):
    def refuse(*args):
        raise OSError("no links here")

    monkeypatch.setattr("os.link", refuse)
    (tmp_path / "one").write_text("x")
    link_file(tmp_path / "one", tmp_path / "two")
    assert (tmp_path / "two").read_text() == "x"


def test_the_home_folder_of_a_user(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    names = ("~/a", "~", "~nobody-of-this-name/a", "a/~")
    assert [str(user_path(name)) for name in names] == [
        "/home/me/a", "/home/me", "~nobody-of-this-name/a", "a/~",
    ]  # fmt: skip


def test_letters_that_the_locale_does_not_have(tmp_path):
    code = (
        "import sys; from pathlib import Path; from vaclip.files import inside_folder\n"
        "try: inside_folder(Path(sys.argv[1]), 'G\\xe4ng.mkv')\n"
        "except Exception as error: print(type(error).__name__, ascii(str(error)))"
    )
    ascii_alone = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], env=ascii_alone, capture_output=True, text=True
    )
    assert done.stdout.startswith("VaclipError"), done.stderr
    assert "set PYTHONUTF8=1" in done.stdout
