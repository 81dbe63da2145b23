from __future__ import annotations

import pytest

pytest.importorskip("uvicorn", reason="uvicorn is not installed")
pytest.importorskip("httpx", reason="httpx is not installed")
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from vaclip.errors import VaclipError
from vaclip.web import LOOPBACK, guards, is_token, listening, quiet_server


def _client(token, **how):
    route = Route("/", lambda request: PlainTextResponse("inside"))
    app = Starlette(routes=[route], middleware=guards(token, "vaclip_test", **how))
    return TestClient(app, base_url="http://localhost", follow_redirects=False)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({"Authorization": "Bearer right"}, 200),
        ({"Authorization": "Bearer wrong"}, 403),
        ({"Authorization": "right"}, 403),
        ({"Authorization": "Basic right"}, 403),
        ({"Cookie": "vaclip_test=right"}, 200),
        ({"Cookie": "vaclip_test=righ"}, 403),
        ({"Cookie": "vaclip_other=right"}, 403),
    ],
)
def test_who_brings_the_token_is_let_in(headers, status):
    answer = _client("right").get("/", headers=headers)
    assert (answer.status_code, "inside" in answer.text) == (status, status == 200)


def test_the_token_of_the_address_goes_into_a_cookie():
    client = _client("right")
    answer = client.get("/?token=right")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    assert client.get("/").text == "inside"
    assert _client("right").get("/?token=wrong").status_code == 403


def test_without_a_token_everybody_is_let_in():
    assert _client(None).get("/").text == "inside"


@pytest.mark.parametrize("path", ["/", "/nowhere", "/?token=right"])
@pytest.mark.parametrize("token", [None, "right"])
def test_every_answer_has_the_headers(token, path):
    headers = _client(token).get(path).headers
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("hosts", "host", "status"),
    [
        (("localhost",), "localhost:80", 200),
        (("localhost",), "example.org", 400),
        (("*",), "example.org", 200),
    ],
)
def test_a_name_that_is_not_the_servers_is_refused(hosts, host, status):
    assert _client(None, hosts=hosts).get("/", headers={"Host": host}).status_code == status


def test_a_token_is_compared_as_a_whole():
    assert is_token("abé", "abé")
    assert not is_token("", "a")
    assert not is_token("a", "ab")


def test_a_port_that_is_taken_is_told():
    with listening(LOOPBACK, 0) as first:
        port = first.getsockname()[1]
        assert port > 0
        told = pytest.raises(VaclipError, match=f"--port {port} cannot be used")
        with told, listening(LOOPBACK, port):
            pass


def test_no_address_is_logged():
    config = quiet_server(Starlette()).config
    assert not config.access_log
    assert config.log_level == "warning"
