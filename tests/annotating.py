"""A session served in this process, and what asks it."""

from __future__ import annotations

import http.client
import json
from contextlib import contextmanager

from threaded import in_thread
from vaclip.annotate.server import annotate_app
from vaclip.annotate.session import keep_session, open_session
from vaclip.commands.annotate import page_texts
from vaclip.study.load import load_study

TOKEN = "a-token-of-the-test"
COOKIE = f"vaclip_annotate={TOKEN}"


@contextmanager
def served(root, annotator="anna", **wanted):
    """Yields (port, session)."""
    study = load_study(root, quiet=True)
    session = open_session(study, annotator, wanted)
    keep_session(root, session)
    app = annotate_app(study, session, TOKEN, root.parent / "cache", page_texts())
    with in_thread(app) as port:
        yield port, session


def ask(port, path, sent=None, *, cookie=COOKIE, token=TOKEN, raw=None):
    """Returns status, headers and body."""
    asked = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    body = json.dumps({"token": token, **sent}) if sent is not None else raw
    headers = {"Host": f"127.0.0.1:{port}", "Cookie": cookie}
    asked.request("GET" if body is None else "POST", path, body, headers)
    answer = asked.getresponse()
    return answer.status, answer.headers, answer.read()
