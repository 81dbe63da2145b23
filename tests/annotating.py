"""A session served in this process, and what asks it."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from contextlib import contextmanager

import pytest

from vaclip.annotate.session import keep_session, open_session
from vaclip.commands.annotate import page_texts
from vaclip.study.load import load_study

uvicorn = pytest.importorskip("uvicorn", reason="uvicorn is not installed")
from vaclip.annotate.server import annotate_app  # noqa: E402

TOKEN = "a-token-of-the-test"
COOKIE = f"vaclip_annotate={TOKEN}"


@contextmanager
def served(root, annotator="anna", **wanted):
    """Yields (port, session)."""
    study = load_study(root, quiet=True)
    session = open_session(study, annotator, wanted)
    keep_session(root, session)
    app = annotate_app(study, session, TOKEN, root.parent / "cache", page_texts())
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            yield listening.getsockname()[1], session
        finally:
            server.should_exit = True
            thread.join()


def ask(port, path, sent=None, *, cookie=COOKIE, token=TOKEN, raw=None):
    """Returns status, headers and body."""
    asked = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    body = json.dumps({"token": token, **sent}) if sent is not None else raw
    headers = {"Host": f"127.0.0.1:{port}", "Cookie": cookie}
    asked.request("GET" if body is None else "POST", path, body, headers)
    answer = asked.getresponse()
    return answer.status, answer.headers, answer.read()
