"""What the pages that vaclip serves have in common: this machine alone, and who has the token.

Needs Starlette and Uvicorn, which no other part does.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Awaitable, Callable
from typing import Final

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from vaclip.console import say
from vaclip.errors import VaclipError

HOSTS: Final = ("127.0.0.1", "localhost")
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; media-src 'self'; "
    "style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def is_token(given: str, token: str) -> bool:
    """Whether a token is the right one, in a time that does not tell how much of it is."""
    return secrets.compare_digest(given.encode(), token.encode())


def guards(token: str, command: str) -> list[Middleware]:
    """Returns what lets in who brings the token: once in the address, then as a cookie.

    Args:
        token: The token.
        command: The name of the command, for messages; its cookie is another than those of others.
    """
    cookie = f"vaclip_{command}"

    async def guard(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        brought = request.query_params.get("token", "")
        if brought and is_token(brought, token):
            response: Response = RedirectResponse(request.url.path, status_code=303)
            response.set_cookie(cookie, token, httponly=True, samesite="strict")
        elif is_token(request.cookies.get(cookie, ""), token):
            response = await answer(request)
        else:
            said = f"The address needs the token that `vaclip {command}` printed."
            response = PlainTextResponse(said, status_code=403)
        response.headers.update(HEADERS)
        return response

    return [
        Middleware(TrustedHostMiddleware, allowed_hosts=list(HOSTS), www_redirect=False),
        Middleware(BaseHTTPMiddleware, dispatch=guard),
    ]


async def read_body(request: Request, most: int) -> bytes | None:
    """Returns the body of a request; None where it has more than ``most`` bytes."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > most:
            return None
    return bytes(body)


def serve(app: Starlette, token: str, port: int) -> None:
    """Serves pages on this machine until Ctrl-C, and prints their address.

    Raises:
        VaclipError: If the port cannot be used.
    """
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((HOSTS[0], port))
        except (OSError, OverflowError) as error:
            raise VaclipError(f"--port {port} cannot be used: {error}") from error
        listening.listen()
        say(f"http://{HOSTS[0]}:{listening.getsockname()[1]}/?token={token}")
        config = uvicorn.Config(app, log_level="warning", access_log=False)
        uvicorn.Server(config).run([listening])
