"""A storage for fsspec that fails, stalls, cuts short and loses answers, as it is told."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, ClassVar

from fsspec import AbstractFileSystem, register_implementation

FAULTS = ("throw", "timeout", "short", "midway", "lost")
"""What may happen to an operation: it fails, it is not answered, it does half of its work and says
nothing, or half and fails, or all and fails."""


class FailingFiles(AbstractFileSystem):
    """Files that are written bit by bit, and renamed at once.

    Attributes:
        files: What lies there, of all connections.
        schedule: The faults of the next operations in their order; "" for none, as after its end.
        calls: The operations that were asked for.
        watch: Called whenever what lies there changed.
        wake: While set to an event, a "stall" waits for it.
    """

    protocol = "failing"
    whole: ClassVar[bool] = False
    files: ClassVar[dict[str, bytes]] = {}
    schedule: ClassVar[list[str]] = []
    calls: ClassVar[list[str]] = []
    watch: ClassVar[Callable[[], None]] = staticmethod(lambda: None)
    wake: ClassVar[threading.Event] = threading.Event()

    @classmethod
    def reset(cls, schedule: list[str] | None = None) -> None:
        cls.files.clear()
        cls.calls.clear()
        cls.schedule[:] = schedule or []
        cls.watch = staticmethod(lambda: None)
        cls.wake.clear()

    def _begin(self, call: str) -> str:
        self.calls.append(call)
        fault = self.schedule.pop(0) if self.schedule else ""
        if fault == "stall":
            self.wake.wait()
        if fault == "throw":
            raise OSError(5, "Input/output error")
        if fault == "timeout":
            raise TimeoutError("timed out")
        return fault

    def _put(self, path: str, content: bytes) -> None:
        fault = self._begin("put")
        half = fault in ("short", "midway")
        if self.whole and half:
            raise OSError(104, "Connection reset by peer")
        self.files[path] = content[: len(content) // 2] if half else content
        self.watch()
        self._end(fault)

    def _end(self, fault: str) -> None:
        if fault in ("midway", "lost"):
            raise OSError(104, "Connection reset by peer")

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        self._end(self._begin("info"))
        path = self._strip_protocol(path)
        if path not in self.files:
            raise FileNotFoundError(path)
        return {"name": path, "size": len(self.files[path]), "type": "file"}

    def cat_file(
        self, path: str, *, start: int | None = None, end: int | None = None, **_: Any
    ) -> bytes:
        fault = self._begin("cat")
        if path not in self.files:
            raise FileNotFoundError(path)
        content = self.files[path][start:end]
        self._end(fault)
        return content[: len(content) // 2] if fault == "short" else content

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        self._put(path, value)

    def put_file(self, lpath: str, rpath: str, **_: Any) -> None:
        with open(lpath, "rb") as file:  # noqa: PTH123 - as fsspec gives it
            self._put(rpath, file.read())

    def mv(self, path1: str, path2: str, **_: Any) -> None:
        fault = self._begin("mv")
        if fault in ("short", "midway"):
            raise OSError(104, "Connection reset by peer")
        self.files[path2] = self.files.pop(path1)
        self.watch()
        self._end(fault)

    def rm_file(self, path: str) -> None:
        fault = self._begin("rm")
        if self.files.pop(path, None) is None:
            raise FileNotFoundError(path)
        self._end(fault)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        pass


class FailingObjects(FailingFiles):
    """Objects: one appears whole, or not at all."""

    protocol = "failingobjects"
    whole = True


register_implementation("failing", FailingFiles, clobber=True)
register_implementation("failingobjects", FailingObjects, clobber=True)
