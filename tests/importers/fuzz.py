"""Feeds damaged exports to every importer: only a `VaclipError` may come out, and soon.

PYTHONPATH=tests python tests/importers/fuzz.py --seconds 60 [--kind KIND ...] [--seed 0]

Each kind runs in a process of its own with bounded memory, on its fixture and on its files of
``forms/`` in turn. An input that fails is kept in ``fuzz_failures/``.
"""

from __future__ import annotations

import argparse
import dataclasses
import gzip
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import deque
from collections.abc import Callable
from datetime import date
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from cases import all_cases
from forms import READ, Form
from openpyxl import Workbook

from annotation_files import write_gaze, write_shapes
from conftest import read_rows, write_rows, write_tiny_study
from vaclip.audit.check import check
from vaclip.commands.imports import import_parser, import_rules
from vaclip.errors import VaclipError
from vaclip.files import inside_folder
from vaclip.importers import IMPORTERS
from vaclip.importers.merge import plan_import
from vaclip.importers.tables.table import read_clips
from vaclip.maps.gaze import Gaze
from vaclip.maps.shapes import Key, Shapes, Track

_SECONDS_AN_INPUT = 10
_MEMORY = 4 << 30
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")
_WORD = re.compile(rb"[A-Za-z_]\w*")
_ODD_NUMBERS = (
    b"0", b"-1", b"1", b"NaN", b"Infinity", b"1e309", b"99999999999999999999", b"4294967296",
    b"999999999", b"-0.0", b"1e-320", b"0x10", b"",
)  # fmt: skip
_ODD_TEXTS = (
    b"", b"\x00", b"\xff\xfe", b"../../etc/passwd", b"/etc/passwd", b'"', b"'", b"<", b"{", b"[",
    b"]", b"}", b",", b"\n", b"\t", b"null", b"true", b"{}", b"[]", b"\xc3\xa9", b"\xe2\x80\xae",
    b"&a;", b"<!DOCTYPE a [<!ENTITY b 'c'>]>", b"A" * 5000, b"[" * 2000, b"<a>" * 500,
    b"\xd0\xa0", b"e\xcc\x81", b"\xe2\x80\x8b", b"\xc2\xa0", b"\xd9\xa4", b"\xe2\x80\x91",
    b"1,5", b";",
)  # fmt: skip
_HEADS = (  # of files that are no video
    b"\0" * 128 + b"DICM", b"\x02\0\x10\0UI", b"PK\3\4" + b"\0" * 22 + b"\5\0\0\0a.npy", b"II*\0",
    gzip.compress(b"\0" * 344 + b"n+1\0"), b"\x1f\x8b", b"\x93NUMPY\1\0", b"\x89HDF\r\n\x1a\n",
    b"\xff\xd8\xff", b"\0\0\1\xb3", b"\0\0\0\x18ftypisom", b"GIF89a", b"RIFF", b"#EXTM3U\n",
)  # fmt: skip


class TooSlow(BaseException):
    """No importer may swallow it."""


ENOUGH = 100
"""Inputs after which some have to be read, and some refused."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="for each kind")
    parser.add_argument("--kind", action="append", choices=[*sorted(IMPORTERS.builtin), "study"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    kinds = options.kind or [*sorted(all_cases()), "study"]
    work = [(kind, options.seconds, options.seed) for kind in kinds]
    failed = False
    # "spawn", and one task a process: a crash of a C library must not take the others along.
    context = get_context("spawn")
    running = []
    while work or running:
        while work and len(running) < options.jobs:
            kind, *rest = work.pop(0)
            process = context.Process(target=fuzz_kind, args=(kind, *rest), name=kind)
            process.start()
            running.append(process)
        time.sleep(0.2)
        for process in [one for one in running if not one.is_alive()]:
            running.remove(process)
            if process.exitcode:
                print(f"{process.name}: FAILED (exit code {process.exitcode})", flush=True)
                failed = True
    sys.exit(failed)


def fuzz_kind(kind: str, seconds: float, seed: int) -> None:
    """Runs one kind for a while; exits with status 1 at the first input that breaks it."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    signal.signal(signal.SIGALRM, _too_slow)
    rng = random.Random(f"{kind}-{seed}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "export"
        found = [_study(folder)] if kind == "study" else _exports(kind, folder)
        reads = {file: read for read, files in found for file in files}
        originals = {file: file.read_bytes() for file in reads}
        everything = list(originals.values())
        for read, _ in found:
            read()  # the undamaged export is read
        taken = refused = 0
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            file = rng.choice(list(originals))
            file.write_bytes(mutated(originals[file], everything, rng))
            signal.alarm(_SECONDS_AN_INPUT)
            try:
                reads[file]()
                taken += 1
            except VaclipError:
                refused += 1
            except (Exception, TooSlow):  # noqa: BLE001 - whatever it is, it is what we look for
                signal.alarm(0)
                kept = _keep(kind, folder, file)
                print(f"{kind}: input {taken + refused} kept in {kept}:\n{traceback.format_exc()}")
                sys.exit(1)
            finally:
                signal.alarm(0)
            file.write_bytes(originals[file])
    print(f"{kind}: {taken + refused} inputs, {taken} read, {refused} refused", flush=True)
    if taken + refused >= ENOUGH and not (taken and refused):
        print(f"{kind}: the mutations are too weak or too strong to say anything")
        sys.exit(1)


def _too_slow(number: int, frame: object) -> None:
    raise TooSlow(f"not done within {_SECONDS_AN_INPUT} s")


Input = tuple[Callable[[], None], list[Path]]
"""A function that reads an export, and the files that it reads."""


def _exports(kind: str, folder: Path) -> list[Input]:
    """Returns all exports of a kind."""
    forms = [form for form in READ if form.kind == kind]
    found = [_case(kind, folder / "case")]
    found += [_form(form, folder / str(number)) for number, form in enumerate(forms)]
    return found + [_workbook(folder / "excel")] * (kind == "table")


def _form(form: Form, folder: Path) -> Input:
    copy = form.copy_to(folder)
    files = sorted(path for path in copy.rglob("*") if path.is_file()) or [copy]
    return _reader(form.words(copy, folder.parent / "study"), folder), files


def _workbook(folder: Path) -> Input:
    case = all_cases()["table"]
    case.copy_to(folder)
    book = Workbook()
    book.active.append(["clip_id", "video", "patient_id", "label", "taken"])
    for number, name in enumerate(case.videos):
        book.active.append([f"c{number}", name, 1 + number, "ab"[number % 2], date(2024, 5, 1)])
    book.save(folder / "clips.xlsx")
    words = ["table", str(folder / "clips.xlsx"), "--into", str(folder.parent / "study")]
    return _reader(words, folder), [folder / "clips.xlsx"]


def _case(kind: str, folder: Path) -> Input:
    case = all_cases()[kind]
    case.copy_to(folder)
    words = case.words(folder, folder.parent / "study")[2:]
    sources = import_parser().parse_args(words).sources
    files = []
    for source in sources:
        files += [source] if source.is_file() else [p for p in source.rglob("*") if p.is_file()]
    if kind != "table":
        videos = {folder / name for name in case.videos}
        files = [file for file in files if file not in videos and file.name != "golden.png"]
    return _reader(words, folder), files


def _reader(words: list[str], folder: Path) -> Callable[[], None]:
    """Returns a function that reads an export and plans its import."""
    options = import_parser().parse_args(words)

    def read() -> None:
        exports = [read_clips(options.clips, options)] if options.clips else []
        export = options.importer.read(options.sources, options)
        for clip in export.clips:
            assert clip.video.resolve().is_relative_to(folder.resolve()), clip.video
        rules = dataclasses.replace(import_rules(options), skip_unmatched=True)
        plan = plan_import(options.into, [*exports, export], rules)
        for name in (*plan.files, *plan.videos, *plan.recordings):
            inside_folder(options.into, name)
        for recording in plan.recordings.values():
            deque(recording.pictures(), maxlen=0)

    return read


def _study(folder: Path) -> Input:
    """The same for a study folder itself, with all its tables, kinds of maps, and videos."""
    write_tiny_study(folder, patients_per_class=1, clips_per_patient=2)
    clips = read_rows(folder / "clips.csv")
    for number, row in enumerate(clips):
        row |= {"site": "ab"[number % 2], "session": str(number % 2), "start_s": "", "end_s": "1.5"}
    clips[2]["patient_id"], clips[4]["patient_id"] = "P1", "p1"
    write_rows(folder / "clips.csv", clips)
    distinct = [{"patient_id": name, "distinct": "yes"} for name in ("P1", "p1")]
    write_rows(folder / "patients.csv", distinct)
    write_rows(folder / "excluded.csv", [{"clip_id": clips[-1]["clip_id"], "reason": "dark"}])
    corners = ((1.0, 1.0), (20.0, 1.0), (9.0, 30.0))
    track = Track("a", "polygon", (Key(0, corners), Key(9, outside=True)))
    write_shapes(folder / "shapes.json", Shapes((32, 32), (track,), frames=20))
    write_gaze(folder / "gaze.json", Gaze((32, 32), np.array([(0.0, 1.0, 9.0, 9.0)])))
    np.save(folder / "map.npy", np.zeros((20, 8, 8), np.uint8))
    with (folder / "attention.csv").open("a") as file:
        for kind, value in (("shapes", "shapes.json"), ("gaze", "gaze.json"), ("map", "map.npy")):
            file.write(f"steady-0-0,eve,{kind},{value}\n")

    def read() -> None:
        problems = check(folder, workers=1).found
        if any(problem.severity == "error" for problem in problems):
            raise VaclipError("an error was found")

    return read, [path for path in folder.rglob("*") if path.is_file()]


def mutated(content: bytes, everything: list[bytes], rng: random.Random) -> bytes:
    """Returns a content with one to four things changed."""
    changes = (_odd_number, _odd_text, _flip, _cut, _repeat, _swap_words, _splice, _other_head)
    for _ in range(rng.randint(1, 4)):
        content = rng.choice(changes)(content, everything, rng)
    return content


def _somewhere(content: bytes, rng: random.Random) -> tuple[int, int]:
    start = rng.randint(0, len(content))
    return start, min(len(content), start + int(rng.expovariate(1 / 40)))


def _odd_number(content: bytes, everything: list[bytes], rng: random.Random) -> bytes:
    found = list(_NUMBER.finditer(content[:200_000]))
    if not found:
        return content
    match = rng.choice(found)
    return content[: match.start()] + rng.choice(_ODD_NUMBERS) + content[match.end() :]


def _odd_text(content: bytes, everything: list[bytes], rng: random.Random) -> bytes:
    start, end = _somewhere(content, rng)
    return content[:start] + rng.choice(_ODD_TEXTS) + content[rng.choice((start, end)) :]


def _flip(content: bytes, everything: list[bytes], rng: random.Random) -> bytes:
    if not content:
        return content
    changed = bytearray(content)
    changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def _cut(content: bytes, everything: list[bytes], rng: random.Random) -> bytes:
    start, end = _somewhere(content, rng)
    return content[:start] + (content[end:] if rng.random() < 0.8 else b"")


def _repeat(content: bytes, everything: list[bytes], rng: random.Random) -> bytes:
    start, end = _somewhere(content, rng)
    return content[:end] + content[start:end] * rng.choice((1, 2, 50)) + content[end:]


def _swap_words(content: bytes, everything: list[bytes], rng: random.Random) -> bytes:
    found = list(_WORD.finditer(content[:200_000]))
    if len(found) < 2:
        return content
    match, other = rng.sample(found, 2)
    return content[: match.start()] + other.group() + content[match.end() :]


def _splice(content: bytes, everything: list[bytes], rng: random.Random) -> bytes:
    start, end = _somewhere(content, rng)
    other = rng.choice(everything)
    begin, finish = _somewhere(other, rng)
    return content[:start] + other[begin:finish] + content[end:]


def _other_head(content: bytes, everything: list[bytes], rng: random.Random) -> bytes:
    head = rng.choice(_HEADS)
    return head + content[rng.choice((0, len(head))) :]


def _keep(kind: str, folder: Path, file: Path) -> Path:
    kept = Path("fuzz_failures") / f"{kind}_{time.time_ns()}"
    shutil.copytree(folder, kept)
    (kept / "damaged_file.txt").write_text(file.relative_to(folder).as_posix())
    return kept


if __name__ == "__main__":
    main()
