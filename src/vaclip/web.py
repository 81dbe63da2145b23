"""What the servers of vaclip share: where they listen, whom they answer, with which headers."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Final

import uvicorn
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vaclip.console import say
from vaclip.errors import VaclipError

LOOPBACK: Final = "127.0.0.1"
HOSTS: Final = (LOOPBACK, "localhost")
"""The names by which this machine alone reaches itself."""
_LAST_ANSWERS_S: Final = 5  # after a signal to stop
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; media-src 'self'; "
    "style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Guard:
    """Middleware: lets in who brings the token, and gives every answer the headers of safety.

    A person brings the token once in the address, from where it goes into a cookie; a program
    brings it as ``Authorization: Bearer``.

    Args:
        app: What is guarded.
        token: Who does not bring it gets nothing; None lets everybody in.
        cookie: Its name; cookies do not tell the ports of a machine apart.
    """

    def __init__(self, app: ASGIApp, token: str | None, cookie: str) -> None:
        self.app, self.token, self.cookie = app, token, cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        own = self._own_answer(scope) if scope["type"] == "http" else None
        await (own or self.app)(scope, receive, send_safely)

    def _own_answer(self, scope: Scope) -> Response | None:
        if self.token is None:
            return None
        request = Request(scope)
        if is_token(request.query_params.get("token", ""), self.token):
            moved = RedirectResponse(request.url.path, status_code=303)
            moved.set_cookie(self.cookie, self.token, httponly=True, samesite="strict")
            return moved
        kind, _, brought = request.headers.get("Authorization", "").partition(" ")
        if kind == "Bearer" and is_token(brought, self.token):
            return None
        if is_token(request.cookies.get(self.cookie, ""), self.token):
            return None
        return PlainTextResponse("The address needs the token that was printed.", status_code=403)


def is_token(given: str, token: str) -> bool:
    """Whether both are equal, in a time that does not tell how much of them is."""
    return secrets.compare_digest(given.encode(), token.encode())


async def read_body(request: Request, most: int) -> bytes | None:
    """Returns the body of a request; None where it has more than ``most`` bytes."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > most:
            return None
    return bytes(body)


@contextmanager
def listening(host: str, port: int) -> Generator[socket.socket]:
    """Gives a socket that listens, at a free port where ``port`` is 0.

    Raises:
        VaclipError: If that address cannot be had.
    """
    with socket.socket() as found:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind((host, port))
        except (OSError, OverflowError) as error:
            named = f"--port {port}" if host == LOOPBACK else f"--host {host} --port {port}"
            raise VaclipError(f"{named} cannot be used: {error}") from error
        found.listen()
        yield found


def guards(token: str | None, cookie: str, hosts: Sequence[str] = HOSTS) -> list[Middleware]:
    """Returns the middleware of a server.

    Args:
        token: As of `Guard`.
        cookie: As of `Guard`.
        hosts: The names that a request may ask for, so that a page elsewhere on the web cannot
            reach the server by a name of its own; ``*`` for any.
    """
    return [
        Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False),
        Middleware(Guard, token=token, cookie=cookie),
    ]


def serve_page(app: ASGIApp, token: str, port: int) -> None:
    """Serves on this machine until Ctrl-C, and prints the address with its token.

    Raises:
        VaclipError: As `listening`.
    """
    with listening(LOOPBACK, port) as own:
        say(f"http://{LOOPBACK}:{own.getsockname()[1]}/?token={token}")
        quiet_server(app).run([own])


def quiet_server(app: ASGIApp) -> uvicorn.Server:
    """Returns a server that logs no address: these hold ids and tokens."""
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, timeout_graceful_shutdown=_LAST_ANSWERS_S
    )
    return uvicorn.Server(config)
