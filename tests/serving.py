"""A server of `vaclip serve` in a thread, and how tests ask it."""

from __future__ import annotations

import asyncio
import http.client
import json
import queue
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaclip.serve.exported import read_exported
from vaclip.serve.server import serve_app
from vaclip.serve.worker import Limits, Worker
from vaclip.web import LOOPBACK, listening, quiet_server

VIDEO = {"Content-Type": "application/octet-stream"}


@dataclass(frozen=True)
class Served:
    port: int
    worker: Worker

    def ask(
        self, path: str = "/predict", body: bytes | None = None, **headers: str
    ) -> tuple[int, Any, Any]:
        return ask(self.port, path, body, **headers)


def ask(
    port: int, path: str = "/predict", body: bytes | None = None, **headers: str
) -> tuple[int, Any, Any]:
    """Returns status, headers and body: what it says where it is JSON."""
    kind = {} if body is None else VIDEO
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with closing(http.client.HTTPConnection(LOOPBACK, port, timeout=60)) as asked:
        asked.request("GET" if body is None else "POST", path, body, kind | named)
        answer = asked.getresponse()
        said = answer.read()
    json_said = answer.headers.get_content_type() == "application/json"
    return answer.status, answer.headers, json.loads(said) if json_said else said


@contextmanager
def served(
    folder: Path, limits: Limits | None = None, token: str | None = None
) -> Iterator[Served]:
    limits = limits or Limits()
    started: queue.Queue = queue.Queue()

    async def run() -> None:
        with listening(LOOPBACK, 0) as socket:
            async with Worker(folder, limits) as worker:
                server = quiet_server(serve_app(read_exported(folder), worker, limits, token))
                started.put((Served(socket.getsockname()[1], worker), server))
                await server.serve([socket])

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    own, server = started.get(timeout=60)
    try:
        yield own
    finally:
        server.should_exit = True
        thread.join()
