"""The process that reads videos, from outside: bounded in time, and another one when it is gone."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from vaclip.errors import VaclipError

LENGTH: Final = 8
"""Bytes of the number before an answer, which is JSON."""
_LOAD_S: Final = 120.0
_LARGEST_ANSWER: Final = 64 << 20
# Else ONNX Runtime tells its maker of each session, and leaves a file in the temporary folder.
_SILENT: Final = {"ORT_DISABLE_TELEMETRY": "1"}
_PART: Final = 1 << 18


class RefusedError(VaclipError):
    """Something is wrong with a video."""


@dataclass(frozen=True)
class Limits:
    """What a server bears.

    Attributes:
        upload: Bytes of one video.
        seconds: That sending one may take, and that reading one may take.
        memory: Bytes that reading one may take, beyond the model's own.
        queue: Uploads that may wait behind the one that is read.
    """

    upload: int = 200 << 20
    seconds: float = 60.0
    memory: int = 2 << 30
    queue: int = 4


class Worker:
    """Asks an exported model about one video at a time, in a process of its own.

    Used in ``async with``, which loads the model, and ends the process.

    Args:
        folder: What `vaclip export` wrote.
        limits: For each video.

    Raises:
        VaclipError: On entry, if the model cannot be loaded.
    """

    def __init__(self, folder: Path, limits: Limits) -> None:
        self._folder, self._limits = folder, limits
        self._turn = asyncio.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    async def __aenter__(self) -> Self:
        await self._start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._end()

    async def predict(self, video: int, wanted: dict[str, bool]) -> dict[str, Any]:
        """Returns what the model says of a video, waiting for those that came before.

        Args:
            video: A file descriptor.
            wanted: Whether the answer has its ``map`` as numbers, and ``pictures`` to be played.

        Raises:
            RefusedError: If it is no video, or takes too much time or memory.
            VaclipError: If the process died of it, or cannot be started again.
        """
        async with self._turn:
            if self._process is None or self._process.poll() is not None:
                await self._start()
            answer: dict[str, Any] = {}
            try:
                async with asyncio.timeout(self._limits.seconds):
                    answer = await self._asked(video, wanted)
            except TimeoutError as error:
                raise RefusedError(
                    f"the upload: reading it was stopped after {self._limits.seconds:g} s; "
                    "send a shorter video"
                ) from error
            except ConnectionError as error:
                raise VaclipError(
                    f"reading the upload ended its process ({self._how()})"
                ) from error
            finally:
                if not answer:  # else it would be taken for the next video's
                    self._end()
        if "refused" in answer:
            raise RefusedError(answer["refused"])
        return answer["answer"]

    async def _asked(self, video: int, wanted: dict[str, bool]) -> dict[str, Any]:
        assert self._socket is not None
        socket.send_fds(self._socket, [json.dumps(wanted).encode()], [video])
        return await self._answer()

    async def _start(self) -> None:
        self._end()
        self._socket, theirs = socket.socketpair()
        self._socket.setblocking(False)
        module = [sys.executable, "-P", "-m", "vaclip.serve.child"]
        words = [str(self._folder), str(self._limits.memory), str(theirs.fileno())]
        with theirs:
            self._process = subprocess.Popen(
                [*module, *words],
                stdin=subprocess.PIPE,  # closes with this process, and ends the other
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                env=os.environ | _SILENT,
            )
        ready = False
        try:
            async with asyncio.timeout(_LOAD_S):
                await self._answer()
            ready = True
        except (TimeoutError, ConnectionError) as error:
            raise VaclipError(
                f"the model in {self._folder} could not be loaded ({self._how()}); what its "
                "process said stands above"
            ) from error
        finally:
            if not ready:
                self._end()

    def _how(self) -> str:
        """Returns how the process ended."""
        assert self._process is not None
        try:
            status = self._process.wait(1)
        except subprocess.TimeoutExpired:
            return "no answer"
        return signal.Signals(-status).name if status < 0 else f"status {status}"

    async def _answer(self) -> dict[str, Any]:
        """Reads one answer; raises a `ConnectionError` where there is none."""
        length = int.from_bytes(await self._received(LENGTH), "big")
        if length > _LARGEST_ANSWER:
            raise ConnectionError("too long")
        return json.loads(await self._received(length))

    async def _received(self, length: int) -> bytes:
        assert self._socket is not None
        loop, found = asyncio.get_running_loop(), bytearray()
        while len(found) < length:
            part = await loop.sock_recv(self._socket, min(_PART, length - len(found)))
            if not part:
                raise ConnectionError("closed")
            found += part
        return bytes(found)

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            if self._process.stdin:
                self._process.stdin.close()
        if self._socket is not None:
            self._socket.close()
        self._process = self._socket = None
