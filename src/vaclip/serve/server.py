"""The page and the API of an exported model. Of an upload nothing is kept, and nothing is logged.

A video comes as the body of a request: its name is never sent. It lies in memory alone, where the
process that reads it finds it, and is gone with the answer, or with the server.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Sequence
from typing import IO, Any, Final

import yaml
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from vaclip import __version__
from vaclip.errors import VaclipError
from vaclip.reports.templating import page_templates, source_text
from vaclip.serve.exported import Exported
from vaclip.serve.worker import Limits, RefusedError, Worker
from vaclip.web import HOSTS, guards

_LOG = logging.getLogger(__name__)
_COOKIE: Final = "vaclip_serve"
_ASKED: Final = ("map", "pictures")
_CLOSE: Final = {"Connection": "close"}  # the rest of a body is not read
_FLAGS: Final = {"true": True, "false": False}


def serve_app(
    exported: Exported,
    worker: Worker,
    limits: Limits,
    token: str | None = None,
    hosts: Sequence[str] = HOSTS,
) -> Starlette:
    """Returns the page and the API of a model.

    Args:
        exported: What is served.
        worker: Who reads videos and asks it; started.
        limits: The same as the worker's.
        token: As of `vaclip.web.Guard`.
        hosts: As of `vaclip.web.guards`.
    """
    serve = _Serve(exported, worker, limits)
    routes = [
        Route("/", serve.page),
        Route("/serve.css", serve.style),
        Route("/serve.js", serve.script),
        Route("/health", serve.health),
        Route("/model", serve.model),
        Route("/openapi.json", serve.openapi),
        Route("/predict", serve.predict, methods=["POST"]),
    ]
    return Starlette(
        routes=routes,
        middleware=guards(token, _COOKIE, hosts),
        exception_handlers={HTTPException: _told},
    )


def _told(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


class _Serve:
    def __init__(self, exported: Exported, worker: Worker, limits: Limits) -> None:
        self.exported, self.worker, self.limits = exported, worker, limits
        self.uploads = 0  # that are sent, wait, or are read
        self.templates = page_templates("vaclip.serve", "vaclip.reports")
        spec = yaml.safe_load(source_text(self.templates, "openapi.yaml"))
        spec["info"]["version"] = __version__
        self.spec = spec

    async def page(self, request: Request) -> Response:
        page = self.templates.get_template("serve.html.j2")
        return HTMLResponse(page.render(exported=self.exported, limits=self.limits))

    async def style(self, request: Request) -> Response:
        sheets = (source_text(self.templates, name) for name in ("report.css", "serve.css"))
        return Response("\n".join(sheets), media_type="text/css")

    async def script(self, request: Request) -> Response:
        scripts = (source_text(self.templates, name) for name in ("player.js", "serve.js"))
        return Response("\n".join(scripts), media_type="text/javascript")

    async def health(self, request: Request) -> Response:
        return JSONResponse({"status": "ok", "uploads": self.uploads, "places": self.places})

    async def model(self, request: Request) -> Response:
        return JSONResponse(
            {
                "classes": self.exported.classes,
                "settings": self.exported.settings,
                "card": self.exported.card,
                "most_bytes": self.limits.upload,
            }
        )

    async def openapi(self, request: Request) -> Response:
        return JSONResponse(self.spec)

    @property
    def places(self) -> int:
        return 1 + self.limits.queue

    async def predict(self, request: Request) -> Response:
        begun, status = time.monotonic(), 200
        try:
            return JSONResponse(await self._predicted(request))
        except HTTPException as error:
            status = error.status_code
            raise
        except ClientDisconnect:  # nobody is there to read an answer
            status = 400
            return Response(status_code=status)
        except asyncio.CancelledError:  # a signal came, and time for last answers is over
            status = 503
            return JSONResponse({"error": "the server stops"}, status)
        finally:
            _LOG.info("/predict: %d after %.1f s", status, time.monotonic() - begun)

    async def _predicted(self, request: Request) -> dict[str, Any]:
        wanted = {name: _flag(request, name) for name in _ASKED}
        kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        # No form of a page elsewhere on the web can send these.
        if not (kind == "application/octet-stream" or kind.startswith("video/")):
            raise HTTPException(415, "send the video itself, as application/octet-stream")
        if self.uploads >= self.places:
            await self._receive(request, None)
            after = {"Retry-After": str(max(1, round(self.limits.seconds / 4)))}
            raise HTTPException(503, "too many uploads wait; try again later", after)
        self.uploads += 1
        try:
            with os.fdopen(os.memfd_create("upload"), "wb", buffering=0) as video:
                await self._receive(request, video)
                return await self.worker.predict(video.fileno(), wanted)
        except RefusedError as error:
            raise HTTPException(422, str(error)) from error
        except VaclipError as error:
            raise HTTPException(500, str(error)) from error
        finally:
            self.uploads -= 1

    async def _receive(self, request: Request, video: IO[bytes] | None) -> None:
        """Writes the body to a file, or nowhere.

        What is too much is read on a little and thrown away: who still sends could not read the
        answer if the connection closed.
        """
        size, most = 0, self.limits.upload
        try:
            async with asyncio.timeout(self.limits.seconds):
                async for part in request.stream():
                    size += len(part)
                    if video and size <= most:
                        video.write(part)
                    elif size > 2 * most:
                        break
        except TimeoutError as error:
            said = f"the upload took longer than {self.limits.seconds:g} s"
            raise HTTPException(408, said, _CLOSE) from error
        if size > most:
            raise HTTPException(413, f"a video may have at most {most / (1 << 20):g} MiB", _CLOSE)
        if size == 0:
            raise HTTPException(422, "the upload is empty")


def _flag(request: Request, name: str) -> bool:
    given = request.query_params.get(name, "false")
    if given not in _FLAGS:
        raise HTTPException(400, f"{name} is true or false")
    return _FLAGS[given]
