"""The server of `vaclip annotate`.

What a page or film says of a clip is its number in the annotator's order: no label, patient, id,
file or folder is in any answer.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, Final

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import (
    FileResponse,
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
)
from starlette.routing import Route

from vaclip.annotate.marks import Said, Scene, annotation_of, read_said
from vaclip.annotate.record import Record, note_blinding
from vaclip.annotate.scene import read_scene
from vaclip.annotate.session import Session, keep_session
from vaclip.errors import VaclipError
from vaclip.keys import CONFIDENCE
from vaclip.reports.templating import page_templates, source_text
from vaclip.study.study import Study
from vaclip.view.kept import SHARP_FILM, kept
from vaclip.web import guards, is_token, read_body

_COOKIE: Final = "vaclip_annotate"
_MOST_BYTES: Final = 4 << 20  # of the marks of a clip
_SCENES: Final = 8  # kept in memory
_LOG = logging.getLogger(__name__)


def annotate_app(
    study: Study, session: Session, token: str, cache: Path, texts: dict[str, str]
) -> Starlette:
    """Returns the page of a session.

    Args:
        study: The study.
        session: What is shown.
        token: Who does not bring it gets nothing.
        cache: The cache of clips, which gets the films.
        texts: By name what the page says.
    """
    page = _Annotate(study, session, token, cache, texts)
    routes = [
        Route("/", page.overview),
        Route("/begin", page.begin, methods=["POST"]),
        Route("/show/{number:int}", page.show),
        Route("/film/{number:int}", page.film),
        Route("/keep/{number:int}", page.keep, methods=["POST"]),
        Route("/save/{number:int}", page.save, methods=["POST"]),
        Route("/annotate.css", page.style),
        Route("/annotate.js", page.script),
    ]
    return Starlette(
        routes=routes,
        middleware=guards(token, _COOKIE),
        exception_handlers={VaclipError: _told, OSError: _not_written},
    )


class _HiddenError(VaclipError):
    """A message that names what an annotator must not see."""


def _told(request: Request, error: Exception) -> Response:
    if isinstance(error, _HiddenError):
        _LOG.warning("%s", error)
        return PlainTextResponse("the clip cannot be read", status_code=500)
    return PlainTextResponse(str(error), status_code=400)


def _not_written(request: Request, error: Exception) -> Response:
    """Of a disk that is full, or tables that somebody holds: the page tries again."""
    _LOG.warning("%s", error)
    return PlainTextResponse("the study cannot be written to", status_code=503)


class _Annotate:
    def __init__(
        self, study: Study, session: Session, token: str, cache: Path, texts: dict[str, str]
    ) -> None:
        self.study, self.session, self.token = study, session, token
        self.cache, self.texts = cache, texts
        self.record = Record(study.root, session)
        self.lock = Lock()
        self.making: defaultdict[str, Lock] = defaultdict(Lock)  # by clip the making of its film
        self.pages: dict[int, str] = {}  # by number the page that was opened last
        self.clips = {clip.clip_id: clip for clip in study.clips}
        # A clip that left the study since the session began is not shown, and keeps its number.
        self.numbers = [
            number
            for number, one in enumerate(session.showings, start=1)
            if one.clip_id in self.clips
        ]
        self.scene: Callable[[int], Scene] = lru_cache(_SCENES)(self._scene)
        self.templates = page_templates("vaclip.annotate", "vaclip.reports")

    def overview(self, request: Request) -> Response:
        states = {number: self._state(number) for number in self.numbers}
        following = next((n for n, state in states.items() if state != "saved"), None)
        return self._page("overview.html.j2", states=states, following=following)

    async def begin(self, request: Request) -> Response:
        sent = await self._sent(request)
        self.session = replace(self.session, knows=sent.get("knows") is True)
        keep_session(self.study.root, self.session)
        return JSONResponse({"next": self._next(0)})

    def show(self, request: Request) -> Response:
        number = self._number(request)
        if self.session.knows is None:
            return RedirectResponse("/", status_code=303)
        protocol = self.session.protocol
        scene = self._seen(number)
        self.pages[number] = secrets.token_urlsafe(8)
        data = {
            "number": number,
            "page": self.pages[number],
            "token": self.token,
            "protocol": asdict(protocol),
            "state": self.record.draft(number).said,
            "seconds": scene.seconds if scene else 0,
            "size": scene.size if scene else (1, 1),
            "regions": scene.outlines if scene else [],
            "texts": self.texts,
        }
        return self._page(
            "showing.html.j2",
            data=data,
            place=self.numbers.index(number) + 1,
            classes=self.study.classes if protocol.diagnosis and scene else (),
            confidences=CONFIDENCE,
            protocol=protocol,
            shown=scene is not None,
        )

    def film(self, request: Request) -> Response:
        number = self._number(request)
        path = self._film(number)
        later = self.numbers[self.numbers.index(number) + 1 :]
        ahead = BackgroundTask(self._ahead, later[0]) if later else None
        return FileResponse(path, media_type="video/mp4", background=ahead)

    async def keep(self, request: Request) -> Response:
        number, content, _ = await self._said(request)
        await run_in_threadpool(self._keep, number, content)
        return JSONResponse({"kept": True})

    async def save(self, request: Request) -> Response:
        number, content, said = await self._said(request)
        await run_in_threadpool(self._save, number, content, said)
        return JSONResponse({"next": self._next(number)})

    def style(self, request: Request) -> Response:
        sheets = (source_text(self.templates, name) for name in ("report.css", "annotate.css"))
        return Response("\n".join(sheets), media_type="text/css")

    def script(self, request: Request) -> Response:
        return Response(source_text(self.templates, "annotate.js"), media_type="text/javascript")

    def _check(self, number: int, said: Said) -> None:
        if bool(said.marks) == said.nothing:
            raise VaclipError(self.texts["needs_mark"])
        if not self.session.protocol.diagnosis or (said.diagnosis and said.confidence):
            return
        if self._seen(number):  # of a clip that cannot be seen nobody is made to guess
            raise VaclipError(self.texts["needs_diagnosis"])

    def _keep(self, number: int, content: Any) -> None:
        with self.lock:
            self.record.keep(number, content)

    def _save(self, number: int, content: Any, said: Said) -> None:
        self._check(number, said)
        # Of a clip that cannot be read there is nothing to mark.
        made = annotation_of(said, self.session.protocol, self.scene(number)) if said.marks else []
        with self.lock:
            self.record.save(number, content, said, made)
        try:
            told = note_blinding(self.study.root)
        except VaclipError as error:  # what was saved stays saved while study.yaml is being mended
            told = f"study.yaml does not get what annotators knew: {error}"
        if told:
            _LOG.warning("%s", told)

    async def _said(self, request: Request) -> tuple[int, Any, Said]:
        """Returns the number of a clip, and what its page says of it, as sent and as read."""
        sent = await self._sent(request)
        number = self._number(request)
        # Of two pages of one clip the older would overwrite what was done on the newer.
        opened = self.pages.get(number)
        if sent.get("page", opened) != opened:
            raise VaclipError(self.texts["elsewhere"])
        return number, sent.get("state"), read_said(sent.get("state"), self.study.classes)

    async def _sent(self, request: Request) -> dict[str, Any]:
        body = await read_body(request, _MOST_BYTES)
        try:
            sent = json.loads(body or b"")
        except (ValueError, RecursionError):
            sent = None
        if not isinstance(sent, dict):
            raise HTTPException(413, "not as the page sends it")
        if not is_token(str(sent.get("token", "")), self.token):
            raise HTTPException(403, self.texts["gone"])
        return sent

    def _number(self, request: Request) -> int:
        number = request.path_params["number"]
        if number not in self.numbers:
            raise VaclipError("there is no such clip")
        return number

    def _seen(self, number: int) -> Scene | None:
        """Returns what is known of a clip; None where it cannot be shown, which is told here."""
        try:
            return self.scene(number)
        except _HiddenError as error:
            _LOG.warning("clip %d of %s: %s", number, self.session.annotator, error)
            return None

    def _scene(self, number: int) -> Scene:
        clip = self.clips[self.session.showings[number - 1].clip_id]
        try:
            regions = self.session.protocol.mode == "regions"
            return read_scene(self.study, clip, regions=regions)
        except VaclipError as error:
            raise _HiddenError(str(error)) from error

    def _film(self, number: int) -> Path:
        clip = self.clips[self.session.showings[number - 1].clip_id]
        try:  # a browser asks for parts at once, and for what is being made ahead
            with self.making[clip.clip_id]:
                return kept(self.cache, self.study.name, clip, SHARP_FILM)
        except VaclipError as error:
            raise _HiddenError(str(error)) from error

    def _ahead(self, number: int) -> None:
        """Makes the next film while this clip is looked at."""
        try:
            self._film(number)
        except _HiddenError as error:
            _LOG.warning("%s", error)

    def _state(self, number: int) -> str:
        draft = self.record.draft(number)
        if draft.saved:
            return "changed" if draft.stale else "saved"
        return "begun" if draft.said else "open"

    def _next(self, number: int) -> str:
        """Returns where to go after a clip: the next that is not saved, or the overview."""
        later = [n for n in self.numbers if n > number] + [n for n in self.numbers if n < number]
        open_ones = (n for n in later if self._state(n) != "saved")
        return f"/show/{following}" if (following := next(open_ones, None)) else "/"

    def _page(self, template: str, **values: Any) -> Response:
        page = self.templates.get_template(template)
        told = {"t": self.texts, "session": self.session, "token": self.token}
        return HTMLResponse(page.render(count=len(self.numbers), **told, **values))
