"""Shards on storage that fails, stalls and loses answers, and written by several at once."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
from contextlib import suppress
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

import vaclip.data.write_shards as write_module
import vaclip.store as store_module
from failing_storage import FAULTS, FailingFiles, FailingObjects
from shard_files import FACTS, Drawn, draw_study
from vaclip.data.arrays import map_array
from vaclip.data.dataset import SegmentDataset, collate
from vaclip.data.shards import open_shards
from vaclip.data.write_shards import write_shards
from vaclip.errors import VaclipError
from vaclip.patience import Patience

DOUBLES = [FailingFiles, FailingObjects]
FAULT = st.sampled_from(["", "", "", *FAULTS])
needs_fork = pytest.mark.skipif(os.name != "posix", reason="needs fork")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Drawn:
    return draw_study(tmp_path_factory.mktemp("drawn"), patients=4)


@pytest.fixture(autouse=True)
def doubles(monkeypatch):
    known = store_module._OBJECT_STORES | {"failingobjects"}
    monkeypatch.setattr(store_module, "_OBJECT_STORES", known)
    patience = partial(Patience, attempts=3, sleep=lambda _: None)
    monkeypatch.setattr(store_module, "Patience", patience)
    for double in DOUBLES:
        double.reset()


def write(drawn, address):
    return write_shards(address, drawn.items, FACTS, shard_bytes=1)  # a patient each


def same_segments(found, wanted):
    one, other = (SegmentDataset(items, 4, 4) for items in (found, wanted))
    assert len(one) == len(other) > 0
    for index in range(len(other)):
        mine, theirs = one[index], other[index]
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("kind", ["memory", "failing", "failingobjects", "file"])
def test_shards_at_any_address_hold_what_was_written(drawn, tmp_path, kind):
    address = f"{kind}://{tmp_path}/shards" if kind == "file" else f"{kind}://{tmp_path.name}"
    facts = write(drawn, address)
    assert len(facts.shards) > 1
    same_segments(open_shards(address, tmp_path / "cache").items, drawn.items)
    assert write(drawn, address) == facts


@pytest.mark.parametrize("double", DOUBLES)
@settings(deadline=None, max_examples=30)
@given(schedule=st.lists(FAULT, max_size=40))
def test_writing_that_fails_is_told_and_goes_on_to_the_same_shards(drawn, double, schedule):
    double.reset()
    wanted = write(drawn, f"{double.protocol}://place")
    files = dict(double.files)
    double.reset(schedule)
    told = ""
    try:
        write(drawn, f"{double.protocol}://place")
    except VaclipError as error:
        told = str(error)
    assert f"{double.protocol}://place" in told or double.files.items() >= files.items()
    double.schedule.clear()
    assert write(drawn, f"{double.protocol}://place") == wanted
    assert double.files.items() >= files.items()
    assert all("/.tmp-" in name for name in double.files.keys() - files)


@pytest.mark.parametrize("double", DOUBLES)
@settings(deadline=None, max_examples=30)
@given(schedule=st.lists(FAULT, max_size=40))
def test_what_is_read_is_right_or_an_error(drawn, tmp_path_factory, double, schedule):
    double.reset()
    write(drawn, f"{double.protocol}://place")
    double.schedule[:] = schedule
    double.calls.clear()
    cache = tmp_path_factory.mktemp("cache")
    with suppress(VaclipError):
        shards = open_shards(f"{double.protocol}://place", cache)
        same_segments(shards.items, drawn.items)
    # Three attempts: index.json is looked for twice and read, and each file then copied once.
    files = 1 + len(double.files) // 2
    assert len(double.calls) <= 3 * (2 + 2 + 2 * files)


def test_storage_that_is_gone_while_one_reads_is_told(drawn, tmp_path):
    write(drawn, "failing://place")
    shards = open_shards("failing://place", tmp_path)
    FailingFiles.schedule[:] = ["timeout"] * 99
    with pytest.raises(
        VaclipError, match=r"failing://place: 0.*\.tar cannot be looked for: timed out \(3 attempts"
    ):
        map_array(shards.items[0].cached.tokens.path)


def test_a_shard_that_vanished_is_told(drawn, tmp_path):
    write(drawn, str(tmp_path / "shards"))
    shards = open_shards(str(tmp_path / "shards"), tmp_path / "cache")
    for path in (tmp_path / "shards").glob("*.tar"):
        path.unlink()
    with pytest.raises(VaclipError, match=r"has no 0.*\.tar; is it the right place"):
        map_array(shards.items[0].cached.tokens.path)


@pytest.mark.parametrize("workers", [0, 1])
def test_what_fails_in_a_loader_process_is_told_without_its_traceback(drawn, tmp_path, workers):
    write(drawn, str(tmp_path / "shards"))
    items = open_shards(str(tmp_path / "shards"), tmp_path / "cache").items
    for path in (tmp_path / "shards").glob("*.tar"):
        path.write_bytes(b"damaged")
    loader = DataLoader(SegmentDataset(items, 4, 4), num_workers=workers, collate_fn=collate)
    with pytest.raises(VaclipError) as raised:
        next(iter(loader))
    assert re.fullmatch(r"\S+: 0.*\.tar is damaged, or was changed: .*", str(raised.value))


# --- several at once -----------------------------------------------------------------------------


def forked(*actions):
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=action) for action in actions]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    return [process.exitcode for process in processes]


@needs_fork
def test_two_that_write_the_same_shards_at_once_leave_them_whole(drawn, tmp_path):
    address = str(tmp_path / "shards")
    barrier = multiprocessing.get_context("fork").Barrier(2)

    def begin():
        barrier.wait()
        write(drawn, address)

    assert forked(begin, begin) == [0, 0]
    assert not list((tmp_path / "shards").glob(".tmp-*"))
    same_segments(open_shards(address, tmp_path / "cache").items, drawn.items)


@needs_fork
def test_a_writer_that_is_killed_leaves_what_the_next_one_goes_on_with(
    drawn, tmp_path, monkeypatch
):
    address = str(tmp_path / "shards")
    wanted = write(drawn, str(tmp_path / "other"))
    real, written = write_module._written, []

    def die(store, shard):
        if written:
            monkeypatch.setattr(os, "link", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        written.append(shard.name)
        return real(store, shard)

    monkeypatch.setattr(write_module, "_written", die)
    assert forked(lambda: write(drawn, address)) == [-signal.SIGKILL]
    names = {path.name for path in (tmp_path / "shards").iterdir() if path.name[0] != "."}
    assert names == {"00000.tar", "00000.json"}
    with pytest.raises(VaclipError, match="there are no shards"):
        open_shards(address)
    monkeypatch.setattr(write_module, "_written", real)
    assert write(drawn, address) == wanted


@needs_fork
def test_processes_of_one_machine_copy_each_shard_once(drawn, tmp_path, monkeypatch):
    write(drawn, "failing://place")
    barrier = multiprocessing.get_context("fork").Barrier(2)
    real = FailingFiles.cat_file

    def logged(self, path, *arguments, **options):
        with (tmp_path / "log").open("a") as file:
            file.write(f"{path}\n")
        return real(self, path, *arguments, **options)

    monkeypatch.setattr(FailingFiles, "cat_file", logged)

    def read():
        barrier.wait()
        same_segments(open_shards("failing://place", tmp_path / "cache").items, drawn.items)

    assert forked(read, read) == [0, 0]
    copied = [line for line in (tmp_path / "log").read_text().split() if line.endswith("tar")]
    assert len(copied) == len(set(copied)) > 1
