"""The server of `vaclip view`: on this machine alone, for who has the address with its token.

Nothing but clips of the study is served: a clip is named by its id, never by a path.
"""

from __future__ import annotations

import io
import secrets
from collections.abc import Awaitable, Callable
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, Final
from urllib.parse import parse_qs, urlencode

import numpy as np
from PIL import Image
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from vaclip.audit.preview import mapped_clip, panel_size
from vaclip.data.video import decode_clip
from vaclip.errors import VaclipError
from vaclip.reports.pictures import movie
from vaclip.reports.templating import page_templates, source_text
from vaclip.study.exclusions import exclude
from vaclip.study.load import load_study
from vaclip.study.study import Clip, Exclusion
from vaclip.view.outcomes import outcomes
from vaclip.view.shelf import ORDERS, choose, facets

HOSTS: Final = ("127.0.0.1", "localhost")
_FPS: Final = 8.0  # the player's
_COOKIE: Final = "vaclip_view"
_LONGEST_REASON: Final = 200
_MOST_BYTES: Final = 10_000  # of a form
_THUMBNAILS: Final = 2000  # kept
_THUMBNAIL_SIDE: Final = 160
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; style-src 'self'; "
    "script-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def view_app(
    root: Path, token: str, results: Path | None = None, arm: str | None = None
) -> Starlette:
    """Returns the page of a study.

    Args:
        root: The study folder.
        token: Who does not bring it gets nothing.
        results: What ``vaclip study`` or ``vaclip train`` made of the study.
        arm: Whose predictions are shown, as `outcomes` chooses.

    Raises:
        VaclipError: If the study has errors, or the results are none of it.
    """
    view = _View(root, token, results, arm)
    routes = [
        Route("/", view.grid),
        Route("/clip", view.clip),
        Route("/thumbnail", view.thumbnail),
        Route("/exclude", view.exclude, methods=["POST"]),
        Route("/view.css", view.style),
        Route("/player.js", view.script),
    ]
    guards = [
        Middleware(TrustedHostMiddleware, allowed_hosts=list(HOSTS), www_redirect=False),
        Middleware(BaseHTTPMiddleware, dispatch=view.guard),
    ]
    return Starlette(routes=routes, middleware=guards, exception_handlers={VaclipError: _told})


def _told(request: Request, error: Exception) -> Response:
    return PlainTextResponse(str(error), status_code=400)


class _View:
    def __init__(self, root: Path, token: str, results: Path | None, arm: str | None) -> None:
        self.study = load_study(root)
        self.arm, self.said = outcomes(results, self.study, arm) if results else ("", {})
        self.token = token
        self.lock = Lock()
        self.templates = page_templates("vaclip.view", "vaclip.reports")
        self.templates.filters["query"] = lambda wanted, **more: urlencode({**wanted, **more})
        self.thumbnail_of = lru_cache(_THUMBNAILS)(_thumbnail)

    async def guard(
        self, request: Request, answer: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        """Lets in who brings the token: once in the address, then as a cookie."""
        brought = request.query_params.get("token", "")
        if brought and self._is_token(brought):
            response: Response = RedirectResponse(request.url.path, status_code=303)
            response.set_cookie(_COOKIE, self.token, httponly=True, samesite="strict")
        elif self._is_token(request.cookies.get(_COOKIE, "")):
            response = await answer(request)
        else:
            said = "The address needs the token that `vaclip view` printed."
            response = PlainTextResponse(said, status_code=403)
        response.headers.update(_HEADERS)
        return response

    def grid(self, request: Request) -> Response:
        wanted = {key: value for key, value in request.query_params.items() if value}
        return self._page(
            "grid.html.j2",
            shown=choose(self.study, wanted, self.said),
            facets=facets(self.study, self.said),
            orders=ORDERS if self.said else {},
            wanted=wanted,
        )

    def clip(self, request: Request) -> Response:
        clip, study = self._clip(request.query_params.get("id", "")), self.study
        annotators = study.annotators or ("nobody",)
        frames, maps, annotated = mapped_clip(study, clip, annotators, fps=_FPS)
        layers = {
            name: np.rint(255 * attn).astype(np.uint8)
            for name, attn, own in zip(annotators, maps, annotated, strict=True)
            if own
        }
        own = study.annotations.get(clip.clip_id, ())
        others = [
            other.clip_id
            for other in study.clips
            if other.patient_id == clip.patient_id and other != clip
        ]
        return self._page(
            "clip.html.j2",
            clip=clip,
            movie=movie(frames, layers, clip.clip_id, height=frames.shape[1]),
            annotations=own,
            others=others,
            token=self.token,
            longest=_LONGEST_REASON,
        )

    def thumbnail(self, request: Request) -> Response:
        clip = self._clip(request.query_params.get("id", ""))
        return Response(self.thumbnail_of(clip.video, clip.start_s), media_type="image/jpeg")

    async def exclude(self, request: Request) -> Response:
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > _MOST_BYTES:
                return PlainTextResponse("too long", status_code=413)
        form = {key: values[0] for key, values in parse_qs(body.decode("utf-8", "replace")).items()}
        if not self._is_token(form.get("token", "")):
            return PlainTextResponse("The form lacks the token.", status_code=403)
        reason = " ".join(form.get("reason", "").split())[:_LONGEST_REASON]
        if not reason:
            raise VaclipError("say why the clip is left out: go back, and fill in the reason")
        await run_in_threadpool(self._exclude, form.get("id", ""), reason)
        return RedirectResponse("/", status_code=303)

    def _exclude(self, clip_id: str, reason: str) -> None:
        with self.lock:
            if not any(one.clip_id == clip_id for one in self.study.excluded):
                exclude(self.study, [Exclusion(self._clip(clip_id).clip_id, reason)])
                self.study = load_study(self.study.root, quiet=True)

    def style(self, request: Request) -> Response:
        sheets = (source_text(self.templates, name) for name in ("report.css", "view.css"))
        return Response("\n".join(sheets), media_type="text/css")

    def script(self, request: Request) -> Response:
        return Response(source_text(self.templates, "player.js"), media_type="text/javascript")

    def _is_token(self, given: str) -> bool:
        return secrets.compare_digest(given.encode(), self.token.encode())

    def _clip(self, clip_id: str) -> Clip:
        found = next((clip for clip in self.study.clips if clip.clip_id == clip_id), None)
        if found is None:
            raise VaclipError("the study has no such clip, or it is excluded")
        return found

    def _page(self, template: str, **values: Any) -> Response:
        page = self.templates.get_template(template)
        return HTMLResponse(page.render(study=self.study, arm=self.arm, said=self.said, **values))


def _thumbnail(video: Path, start_s: float) -> bytes:
    size = panel_size(Clip("", video, "", "", start_s), _THUMBNAIL_SIDE)
    frames = decode_clip(video, fps=1e-3, size=size, start_s=start_s, end_s=start_s + 1).frames
    out = io.BytesIO()
    Image.fromarray(frames[0]).save(out, "JPEG", quality=80)
    return out.getvalue()
