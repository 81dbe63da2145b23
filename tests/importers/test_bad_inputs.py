"""The table "Bad inputs" of docs/import/README.md, for every kind that each input is one for."""

from __future__ import annotations

import json
import os
import pickle
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from cases import FIXTURES, all_cases

from vaclip.commands.main import main
from vaclip.importers import reading

CASES = all_cases()
TEXTS = {".json", ".xml", ".csv", ".tsv", ".txt", ".asc"}
NUMBER = re.compile(rb"(?<![\w.])-?\d+(\.\d+)?(?![\w.])")


def files(case, folder):
    """Returns what an importer reads, by relative path."""
    found = set()
    for source in case.sources:
        path = folder / source
        found |= {path} if path.is_file() else {p for p in path.rglob("*") if p.is_file()}
    return sorted(path.relative_to(folder).as_posix() for path in found)


READ = [
    (kind, name)
    for kind, case in CASES.items()
    for suffix in sorted(TEXTS)
    for name in [n for n in files(case, FIXTURES / kind) if n.endswith(suffix)][:1]
]


def of(*suffixes):
    return [(kind, name) for kind, name in READ if name.endswith(suffixes)]


@pytest.fixture
def attempt(tmp_path, capsys):
    """Returns ``attempt(words, status=None)``, which runs a command and returns what it said.

    Whatever comes of it, nothing may be written beside the study, and nothing by halves.
    """

    def beside():
        return {p for p in tmp_path.rglob("*") if tmp_path / "study" not in (p, *p.parents)}

    def run(words, status=None):
        before = beside()
        with pytest.raises(SystemExit) as stopped:
            main(words)
        said = "".join(capsys.readouterr())
        code = stopped.value.code or 0
        assert beside() == before
        if status is not None:
            assert code == status, said
        if code:
            assert not (tmp_path / "study").exists()
        return said

    return run


def damaged(kind, name, content, tmp_path):
    """Copies an export, with other content in one file; returns the command."""
    folder = CASES[kind].copy_to(tmp_path / "export")
    if callable(content):
        content = content((folder / name).read_bytes())
    (folder / name).write_bytes(content)
    return CASES[kind].words(folder, tmp_path / "study")


# --- contents ------------------------------------------------------------------------------------

LAUGHS = "<!DOCTYPE a [<!ENTITY a0 'ha'>{}]><annotations>&a9;</annotations>".format(
    "".join(f"<!ENTITY a{n} '{f'&a{n - 1};' * 10}'>" for n in range(1, 10))
)
EXTERNAL = "<!DOCTYPE a [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><annotations>&e;</annotations>"
BAD = {
    "binary": (of(*TEXTS), bytes(range(256)) * 16, ""),
    "another encoding": (of(*TEXTS), lambda text: "Gerät".encode("cp1252") + text, ""),
    "deep JSON": (of(".json"), b"[" * 200_000, "cannot be read as JSON"),
    "large JSON": (of(".json"), b"[" + b"0," * 50_000_000 + b"0]", "has more than 64 MiB"),
    "entity bomb": (of(".xml"), LAUGHS.encode(), "cannot be read as XML"),
    "external entity": (of(".xml"), EXTERNAL.encode(), "cannot be read as XML"),
    "deep XML": (of(".xml"), b"<a>" * 100_000, "nested too deep"),
}


@pytest.mark.parametrize(
    ("what", "kind", "name"), [(what, *one) for what, (where, *_) in BAD.items() for one in where]
)
def test_a_file_that_cannot_be_read_is_refused(what, kind, name, tmp_path, attempt):
    _, content, expected = BAD[what]
    said = attempt(damaged(kind, name, content, tmp_path), status=1)
    assert Path(name).name in said, "the message names the file"
    assert expected in said
    assert "root:" not in said  # the content of /etc/passwd


@pytest.mark.parametrize("kind", CASES)
def test_an_empty_export_is_refused(kind, tmp_path, attempt):
    folder = CASES[kind].copy_to(tmp_path / "export")
    for name in files(CASES[kind], folder):
        (folder / name).write_bytes(b"")
    assert attempt(CASES[kind].words(folder, tmp_path / "study"), status=1).startswith("error: ")


@pytest.mark.parametrize("number", [b"999999999", b"NaN", b"-1e308", b"1e999"])
@pytest.mark.parametrize(("kind", "name"), READ)
def test_numbers_beyond_reason_give_an_error_or_finite_numbers(
    kind, name, number, tmp_path, attempt
):
    words = damaged(kind, name, lambda text: NUMBER.sub(number, text), tmp_path)
    attempt([*words, "--skip-unmatched"])
    for path in (tmp_path / "study").rglob("*"):
        if path.suffix == ".npz":
            with np.load(path) as arrays:
                assert all(np.isfinite(array).all() for array in arrays.values())
                assert all(len(array) <= 1_000_000 for array in arrays.values())
        elif path.suffix == ".json":
            json.loads(path.read_text(), parse_constant=pytest.fail)


def test_a_pickle_that_calls_code_is_refused(tmp_path, attempt):
    class Code:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "code_ran"),)

    content = pickle.dumps({"annotations": [Code()]})
    name = "seg_skeleton_pkl/whole_annotations.pkl"
    said = attempt(damaged("clinicalclip", name, content, tmp_path), status=1)
    assert "could run code" in said


# --- archives ------------------------------------------------------------------------------------

ZIPPED = [
    (kind, name) for kind, name in READ if name.startswith(f"{CASES[kind].sources[0]}/")
]  # kinds whose source is a folder


def zipped(kind, tmp_path, changed):
    """Packs an export, of which some members have another name and content."""
    case = CASES[kind]
    folder = case.copy_to(tmp_path / "export")
    archive = tmp_path / "export.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in files(case, folder):
            member, content = changed.get(name, (name.partition("/")[2], None))
            packed.writestr(member, content or (folder / name).read_bytes())
    words = case.words(folder, tmp_path / "study")
    return [str(archive) if word == str(folder / case.sources[0]) else word for word in words]


@pytest.mark.parametrize(("kind", "name"), ZIPPED)
def test_a_zip_bomb_is_refused(kind, name, tmp_path, attempt, monkeypatch):
    member = name.partition("/")[2]
    words = zipped(kind, tmp_path, {name: (member, b" " * 5_000_000)})
    monkeypatch.setattr(reading, "LARGEST_TEXT", 1_000_000)
    monkeypatch.setattr(reading._bounded, "__defaults__", (1_000_000,))
    assert f"export.zip: '{member}' has more than" in attempt(words, status=1)


@pytest.mark.parametrize(("kind", "name"), ZIPPED)
def test_a_member_cannot_leave_the_archive(kind, name, tmp_path, attempt):
    member = f"../../{name.partition('/')[2]}"
    attempt([*zipped(kind, tmp_path, {name: (member, None)}), "--skip-unmatched"])


@pytest.mark.parametrize("kind", sorted({kind for kind, _ in ZIPPED}))
def test_an_archive_that_is_cut_off_is_refused(kind, tmp_path, attempt):
    words = zipped(kind, tmp_path, {})
    archive = tmp_path / "export.zip"
    archive.write_bytes(archive.read_bytes()[:-30])
    assert "export.zip: cannot be read as a zip archive" in attempt(words, status=1)


# --- names ---------------------------------------------------------------------------------------


def video_name(kind):
    return (CASES[kind].renamed[0] or Path(next(iter(CASES[kind].videos))).stem).encode()


@pytest.mark.parametrize("evil", [b"../../../../etc/passwd", b"/etc/passwd", rb"..\\..\\boot.ini"])
@pytest.mark.parametrize(
    ("kind", "name"),
    [one for one in READ if video_name(one[0]) in FIXTURES.joinpath(*one).read_bytes()],
)
def test_a_video_outside_is_not_reached(kind, name, evil, tmp_path, attempt):
    words = damaged(kind, name, lambda text: text.replace(video_name(kind), evil), tmp_path)
    attempt([*words, "--skip-unmatched"])
    for path in (tmp_path / "study").rglob("*"):
        assert path.resolve().is_relative_to(tmp_path / "study")
        assert not path.is_file() or b"root:" not in path.read_bytes()
