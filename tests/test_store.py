from __future__ import annotations

import errno
import hashlib
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vaclip.store as store_module
from failing_storage import FAULTS, FailingFiles, FailingObjects
from vaclip.errors import VaclipError
from vaclip.patience import Patience
from vaclip.store import FolderStore, ObjectStore, open_store

NAME = "shards/000.tar"
OLD, NEW = b"old content" * 7, b"another content" * 11
needs_fork = pytest.mark.skipif(os.name != "posix", reason="needs fork")


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture(autouse=True)
def doubles(monkeypatch):
    known = store_module._OBJECT_STORES | {"failingobjects"}
    monkeypatch.setattr(store_module, "_OBJECT_STORES", known)
    for double in (FailingFiles, FailingObjects):
        double.reset()


@pytest.fixture(params=["folder", "file", "memory", "failing", "failingobjects"])
def address(request, tmp_path):
    if request.param == "memory":
        return f"memory://{tmp_path.name}"
    place = tmp_path / "place"
    return {"folder": place, "file": f"file://{place}"}.get(
        request.param, f"{request.param}://place"
    )


@pytest.fixture
def store(address, tmp_path):
    return open_store(address, tmp_path / "cache")


def names(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


# --- what every address does ---------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", NEW])
def test_what_is_written_is_read(store, tmp_path, content):
    assert not store.exists(NAME)
    store.write(NAME, content)
    assert store.exists(NAME)
    assert store.read(NAME) == content
    assert store.fetch(NAME, sha256(content)).read_bytes() == content
    (tmp_path / "own").write_bytes(content)
    store.write("index", tmp_path / "own")
    assert store.read("index") == content


def test_other_content_gives_way(store):
    store.write(NAME, OLD)
    store.write(NAME, NEW)
    assert store.read(NAME) == NEW


def test_a_folder_is_no_file(store):
    store.write(NAME, NEW)
    assert not store.exists("shards")


def test_a_store_goes_to_other_processes(store):
    store.write(NAME, NEW)
    assert pickle.loads(pickle.dumps(store)).read(NAME) == NEW


@pytest.mark.parametrize("method", ["read", "fetch"])
def test_a_missing_file_is_named(store, method):
    arguments = [sha256(NEW)] if method == "fetch" else []
    with pytest.raises(VaclipError, match="has no index; is it the right place") as raised:
        getattr(store, method)("index", *arguments)
    assert store.address.removeprefix("file://") in str(raised.value)


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/passwd", ""])
def test_a_name_that_leaves_the_place(store, name):
    for use in (store.exists, store.read, lambda n: store.write(n, b"")):
        with pytest.raises(VaclipError, match="leaves"):
            use(name)


@pytest.mark.parametrize("digest", [sha256(OLD), "../../x", ""])
def test_other_content_than_wanted_is_refused(store, tmp_path, digest):
    store.write(NAME, NEW)
    with pytest.raises(VaclipError, match=f"{NAME} is damaged, or was changed: its SHA-256"):
        store.fetch(NAME, digest)
    assert not list(tmp_path.rglob("*.tmp*"))
    assert store.fetch(NAME, sha256(NEW)).read_bytes() == NEW


def test_an_address_that_nothing_reads():
    with pytest.raises(VaclipError, match=r"nothing here reads nosuch:// .*or name a folder"):
        open_store("nosuch://me:secret@place")


def test_a_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(VaclipError, match=r"nothing here reads s3:// \(.*s3fs.*; install the"):
        open_store("s3://bucket")


def test_names_and_passwords_are_not_told():
    for address in ("nosuch://me:secret@place", "nosuch::x://me:secret@place"):
        with pytest.raises(VaclipError) as raised:
            open_store(address)
        assert "secret" not in str(raised.value)


def test_a_plain_folder_loads_no_fsspec(tmp_path):
    code = "import sys, vaclip.store as s; s.open_store(sys.argv[1]).exists('x')"
    code += "; print('fsspec' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True)
    assert done.stdout == "False\n"


# --- folders -------------------------------------------------------------------------------------


def test_a_file_of_a_folder_is_not_copied_and_hashed_once(tmp_path, monkeypatch):
    store = open_store(tmp_path / "place", tmp_path / "cache")
    store.write(NAME, NEW)
    hashed = []
    real = store_module.content_digest
    monkeypatch.setattr(store_module, "content_digest", lambda p: hashed.append(p) or real(p))
    for _ in range(2):
        assert store.fetch(NAME, sha256(NEW)) == tmp_path / "place" / NAME
    assert len(hashed) == 1
    store.write(NAME, OLD)
    with pytest.raises(VaclipError, match="damaged"):
        store.fetch(NAME, sha256(NEW))
    assert len(hashed) == 3  # it is read once more before it is refused


def test_the_same_content_leaves_the_file_that_is_there(tmp_path):
    store = open_store(tmp_path)
    store.write(NAME, NEW)
    before = (tmp_path / NAME).stat()
    store.write(NAME, NEW)
    assert (tmp_path / NAME).stat().st_ino == before.st_ino
    assert before.st_mode & 0o777 == 0o644
    assert names(tmp_path) == [NAME]


def test_a_disk_without_links(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    store = open_store(tmp_path)
    for content in (OLD, NEW):
        store.write(NAME, content)
        assert store.read(NAME) == content
    assert names(tmp_path) == [NAME]


def test_a_full_disk_is_told_at_once_and_leaves_what_was_there(tmp_path, monkeypatch):
    pauses = []
    store = open_store(tmp_path / "place", patience=Patience(sleep=pauses.append))
    store.write(NAME, OLD)

    def refuse(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(VaclipError, match=f"{NAME} cannot be written: the disk is full"):
        store.write(NAME, NEW)
    assert (store.read(NAME), pauses) == (OLD, [])
    assert names(tmp_path / "place") == [NAME]


def test_a_stale_handle_is_opened_anew(tmp_path, monkeypatch):
    pauses, failures = [], [OSError(errno.ESTALE, "Stale file handle")] * 2
    store = open_store(tmp_path, patience=Patience(attempts=3, sleep=pauses.append))
    store.write(NAME, NEW)
    real = FolderStore._read

    def read(self, name):
        if failures:
            raise failures.pop()
        return real(self, name)

    monkeypatch.setattr(FolderStore, "_read", read)
    assert store.read(NAME) == NEW
    assert len(pauses) == 2
    failures += [OSError(errno.ESTALE, "Stale file handle")] * 3
    with pytest.raises(
        VaclipError, match=r"Stale file handle \(3 attempts\); see that the storage"
    ):
        store.read(NAME)


def test_a_file_that_stalls_does_not_hang(tmp_path, monkeypatch):
    awake = threading.Event()
    patience = Patience(attempts=2, stall_s=0.05, sleep=lambda _: None)
    store = open_store(tmp_path, patience=patience)
    monkeypatch.setattr(FolderStore, "_size", lambda *_: awake.wait())
    try:
        with pytest.raises(VaclipError, match=r"index cannot be looked for: no answer within"):
            store.read("index")
    finally:
        awake.set()


# --- whatever fails ------------------------------------------------------------------------------

FAULT = st.sampled_from(["", "", *FAULTS])


def begun(double, schedule, old):
    """Returns a store of the double, the pauses it makes, and all that readers could ever see."""
    double.reset()
    path = f"place/{NAME}"
    if old:
        double.files[path] = OLD
    double.schedule[:] = schedule
    pauses, seen = [], set()
    double.watch = staticmethod(lambda: seen.add(double.files.get(path)))
    patience = Patience(attempts=3, wait_s=1, sleep=pauses.append)
    store = ObjectStore(f"{double.protocol}://place", Path("nowhere"), None, patience)
    return store, pauses, seen


@pytest.mark.parametrize("double", [FailingFiles, FailingObjects])
@settings(deadline=None)
@given(schedule=st.lists(FAULT, max_size=25), old=st.booleans())
def test_a_reader_sees_the_whole_file_or_an_error(double, schedule, old):
    store, pauses, seen = begun(double, schedule, old)
    wrote = False
    with suppress(VaclipError):
        store.write(NAME, NEW)
        wrote = True
    assert seen <= {OLD if old else None, NEW}
    assert len(pauses) <= 2
    assert len(double.calls) <= 3 * 4  # put, info, mv, rm
    double.calls.clear()
    pauses.clear()
    with suppress(VaclipError):
        assert store.read(NAME) == NEW if wrote else store.read(NAME) in (OLD, NEW)
    assert len(pauses) <= 4
    assert len(double.calls) <= 3 + 3 * 2  # info; info, cat


@pytest.mark.parametrize("double", [FailingFiles, FailingObjects])
@settings(deadline=None, max_examples=60)
@given(schedule=st.lists(FAULT, max_size=25))
def test_what_is_fetched_is_what_was_wanted(tmp_path_factory, double, schedule):
    store, _, _ = begun(double, [], False)
    store.write(NAME, NEW)
    double.schedule[:] = schedule
    double.calls.clear()
    store.cache = tmp_path_factory.mktemp("cache")
    store_module_block = store_module._BLOCK
    try:
        store_module._BLOCK = 64  # three blocks
        with suppress(VaclipError):
            assert store.fetch(NAME, sha256(NEW)).read_bytes() == NEW
            assert all(path.read_bytes() == NEW for path in store.cache.glob("files/*/*"))
    finally:
        store_module._BLOCK = store_module_block
    assert len(double.calls) <= 2 * 3 * (1 + 3)
    assert not list(store.cache.glob("files/*/.tmp-*"))


@pytest.mark.parametrize("double", [FailingFiles, FailingObjects])
def test_a_storage_that_is_gone_is_told_after_some_attempts(double):
    store, pauses, _ = begun(double, ["throw"] * 99, True)
    for use in (store.read, store.exists, lambda name: store.write(name, NEW)):
        pauses.clear()
        with pytest.raises(
            VaclipError,
            match=rf"{double.protocol}://place: {NAME} cannot be .*: Input/output error "
            r"\(3 attempts\); see that the storage can be reached, and go on",
        ):
            use(NAME)
        assert len(pauses) == 2


def test_a_write_that_stalled_and_ends_late_changes_nothing():
    store, _, _ = begun(FailingFiles, ["", "", "stall"], True)  # its third call is the renaming
    store.patience = Patience(attempts=2, stall_s=0.5, sleep=lambda _: None)
    threads = set(threading.enumerate())
    store.write(NAME, NEW)
    assert store.read(NAME) == NEW
    late = set(threading.enumerate()) - threads
    FailingFiles.wake.set()
    for thread in late:
        thread.join()
    assert store.read(NAME) == NEW
    assert list(FailingFiles.files) == [f"place/{NAME}"]


def test_content_that_was_damaged_on_its_way_is_fetched_once_more(tmp_path, monkeypatch):
    store = open_store("failing://place", tmp_path)
    store.write(NAME, NEW)
    real, damages = FailingFiles.cat_file, [1]

    def damaged(self, *arguments, **options):
        content = real(self, *arguments, **options)
        return content[::-1] if damages and damages.pop() else content

    monkeypatch.setattr(FailingFiles, "cat_file", damaged)
    assert store.fetch(NAME, sha256(NEW)).read_bytes() == NEW


# --- the copies ----------------------------------------------------------------------------------


def test_a_copy_is_made_once(tmp_path):
    store = open_store("failing://place", tmp_path)
    store.write(NAME, NEW)
    FailingFiles.calls.clear()
    path = store.fetch(NAME, sha256(NEW))
    assert path.suffix == ".tar"
    assert store.fetch(NAME, sha256(NEW)) == path
    assert FailingFiles.calls.count("cat") == 1


def test_the_copies_that_were_not_used_for_longest_go(tmp_path):
    store = open_store("memory://lru", tmp_path, limit_gb=3.5 * 100 / 2**30)
    contents = {name: name.encode() * 100 for name in "abcd"}
    copies = {}
    for number, (name, content) in enumerate(contents.items()):
        store.write(name, content)
        if name == "d":
            store.fetch("a", sha256(contents["a"]))  # now the last that was used
        copies[name] = store.fetch(name, sha256(content))
        if name != "d":
            os.utime(copies[name], (number, number))
    assert {name for name, path in copies.items() if path.exists()} == {"a", "c", "d"}
    assert store.fetch("b", sha256(contents["b"])).read_bytes() == contents["b"]


def test_more_than_the_copies_may_hold_is_refused(tmp_path):
    store = open_store("memory://large", tmp_path, limit_gb=1e-9)
    store.write(NAME, NEW)
    with pytest.raises(VaclipError, match=r"has 0\.00 GiB, and .* may hold 0\.00 GiB of copies"):
        store.fetch(NAME, sha256(NEW))


def forked(*actions):
    """Runs actions in processes of their own; returns them, and does not wait."""
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=action) for action in actions]
    for process in processes:
        process.start()
    return processes


def ended(processes):
    for process in processes:
        process.join(60)
    return [process.exitcode for process in processes]


@needs_fork
def test_two_processes_that_want_one_file_copy_it_once(tmp_path, monkeypatch):
    store = open_store("failing://place", tmp_path / "cache")
    store.write(NAME, NEW)
    real = FailingFiles.cat_file
    barrier = multiprocessing.get_context("fork").Barrier(2)

    def logged(self, *arguments, **options):
        with (tmp_path / "log").open("a") as file:
            file.write("copied\n")
        return real(self, *arguments, **options)

    monkeypatch.setattr(FailingFiles, "cat_file", logged)

    def fetch():
        barrier.wait()
        assert store.fetch(NAME, sha256(NEW)).read_bytes() == NEW

    assert ended(forked(fetch, fetch)) == [0, 0]
    assert (tmp_path / "log").read_text() == "copied\n"


@needs_fork
def test_a_killed_fetch_leaves_no_lock(tmp_path, monkeypatch):
    store = open_store("failing://place", tmp_path / "cache")
    store.write(NAME, NEW)
    begun, forever = (multiprocessing.get_context("fork").Event() for _ in range(2))
    real = ObjectStore._read_block

    def stall(*_):
        begun.set()
        forever.wait()

    monkeypatch.setattr(ObjectStore, "_read_block", stall)
    (process,) = forked(lambda: store.fetch(NAME, sha256(NEW)))
    assert begun.wait(60)
    os.kill(process.pid, signal.SIGKILL)
    assert ended([process]) == [-signal.SIGKILL]
    monkeypatch.setattr(ObjectStore, "_read_block", real)
    store.patience = Patience(lock_s=0)
    assert store.fetch(NAME, sha256(NEW)).read_bytes() == NEW


@needs_fork
def test_a_killed_write_leaves_what_was_there(tmp_path, monkeypatch):
    store = open_store(tmp_path / "place")
    store.write(NAME, OLD)
    begun, forever = (multiprocessing.get_context("fork").Event() for _ in range(2))

    def stall(_):
        begun.set()
        forever.wait()

    real = os.fsync
    monkeypatch.setattr(os, "fsync", stall)
    (process,) = forked(lambda: store.write(NAME, NEW))
    assert begun.wait(60)
    os.kill(process.pid, signal.SIGKILL)
    ended([process])
    monkeypatch.setattr(os, "fsync", real)
    assert store.read(NAME) == OLD
    store.write(NAME, NEW)
    assert store.read(NAME) == NEW


@needs_fork
def test_processes_that_write_at_once_leave_one_whole_file(tmp_path):
    store = open_store(tmp_path / "place")
    contents = [bytes([number]) * 100_000 for number in (1, 2)]
    barrier = multiprocessing.get_context("fork").Barrier(3)

    def write(content):
        barrier.wait()
        for _ in range(20):
            store.write(NAME, content)

    def read():
        barrier.wait()
        for _ in range(200):
            with suppress(FileNotFoundError):
                assert (tmp_path / "place" / NAME).read_bytes() in contents

    actions = [lambda c=content: write(c) for content in contents]
    assert ended(forked(*actions, read)) == [0, 0, 0]
    assert store.read(NAME) in contents
    assert names(tmp_path / "place") == [NAME]
