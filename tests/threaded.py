"""A server of vaclip in a thread of the test."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

pytest.importorskip("uvicorn", reason="uvicorn is not installed")
from vaclip.web import LOOPBACK, listening, quiet_server


@contextmanager
def in_thread(app) -> Iterator[int]:
    """Yields the port."""
    with listening(LOOPBACK, 0) as own:
        server = quiet_server(app)
        thread = threading.Thread(target=server.run, args=([own],))
        thread.start()
        try:
            yield own.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()
