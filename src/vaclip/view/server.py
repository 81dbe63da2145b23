"""The server of `vaclip view`: on this machine alone, for who has the address with its token.

Nothing but clips of the study is served: a clip is named by its id, never by a path.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlencode

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import (
    FileResponse,
    HTMLResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
)
from starlette.routing import Route

from vaclip.data.cache import clip_cache
from vaclip.errors import VaclipError
from vaclip.reports.gather import read_folder
from vaclip.reports.templating import page_templates, source_text
from vaclip.study.exclusions import exclude
from vaclip.study.load import load_study, read_study
from vaclip.study.study import Clip, Exclusion, Problem
from vaclip.view.kept import FILM, THUMBNAIL, kept
from vaclip.view.layers import clip_movie
from vaclip.view.outcomes import chosen_arm, outcomes
from vaclip.view.shelf import Shelf
from vaclip.web import guards, is_token, read_body

if TYPE_CHECKING:
    from vaclip.view.models import ArmModels

_NO_CLIP: Final = "the study has no such clip"
_COOKIE: Final = "vaclip_view"
_LONGEST_REASON: Final = 200
_MOST_BYTES: Final = 10_000  # of a form


def view_app(
    root: Path,
    token: str,
    results: Path | None = None,
    arm: str | None = None,
    *,
    findings: Mapping[str, Sequence[Problem]] | None = None,
    cache_dir: str | None = None,
) -> Starlette:
    """Returns the page of a study.

    Args:
        root: The study folder.
        token: Who does not bring it gets nothing.
        results: What ``vaclip study`` or ``vaclip train`` made of the study.
        arm: Whose predictions are shown, as `chosen_arm` chooses.
        findings: By clip id what `vaclip.audit.check.check` found.
        cache_dir: As of `vaclip.files.cache_root`.

    Raises:
        VaclipError: If the study has errors, or the results are none of it.
    """
    view = _View(root, token, results, arm, findings, clip_cache(cache_dir))
    routes = [
        Route("/", view.grid),
        Route("/clip", view.clip),
        Route("/thumbnail", view.thumbnail),
        Route("/film", view.film),
        Route("/exclude", view.exclude, methods=["POST"]),
        Route("/view.css", view.style),
        Route("/player.js", view.script),
    ]
    return Starlette(
        routes=routes, middleware=guards(token, _COOKIE), exception_handlers={VaclipError: _told}
    )


def _told(request: Request, error: Exception) -> Response:
    return PlainTextResponse(str(error), status_code=400)


class _View:
    def __init__(
        self,
        root: Path,
        token: str,
        results: Path | None,
        arm: str | None,
        findings: Mapping[str, Sequence[Problem]] | None,
        cache: Path,
    ) -> None:
        self.root, self.token, self.findings, self.cache = root, token, findings, cache
        self.models: ArmModels | None = None
        self.shelf = self._read(quiet=False)
        if results:
            from vaclip.view.models import ArmModels  # here: it brings torch

            source = read_folder(results)
            self.models = ArmModels(source, chosen_arm(source, arm), results)
            said = outcomes(source, self.models.arm, self.shelf.study)
            self.shelf = replace(self.shelf, said=said)
        self.lock = Lock()
        self.templates = page_templates("vaclip.view", "vaclip.reports")
        self.templates.filters["query"] = lambda wanted, **more: urlencode({**wanted, **more})

    def _read(self, *, quiet: bool = True) -> Shelf:
        study = load_study(self.root, quiet=quiet)
        left_out = {one.clip_id: one.reason for one in study.excluded}
        whole = read_study(self.root, whole=True)[0] if left_out else study
        assert whole is not None  # it was loaded
        return Shelf(whole, left_out, {}, self.findings)

    def grid(self, request: Request) -> Response:
        wanted = {key: value for key, value in request.query_params.items() if value}
        return self._page("grid.html.j2", shown=self.shelf.choose(wanted), wanted=wanted)

    def clip(self, request: Request) -> Response:
        clip, study = self._clip(request), self.shelf.study
        models, movie, looks, failures = self.models, None, None, []
        model = models.tested(clip.clip_id) if models else None
        try:
            looks = models.looks(study, clip) if models and model else None
        except VaclipError as error:  # such as a control arm, which nobody may predict with
            failures.append(str(error))
        if models and looks and looks.why_none:
            failures.append(f"Where {models.arm} looks cannot be shown: {looks.why_none}.")
        try:
            movie = clip_movie(study, clip, looks)
        except VaclipError as error:
            failures.append(str(error))
        others = [
            other.clip_id
            for other in study.clips
            if other.patient_id == clip.patient_id and other != clip
        ]
        return self._page(
            "clip.html.j2",
            clip=clip,
            movie=movie,
            failures=dict.fromkeys(failures),
            annotations=study.annotations.get(clip.clip_id, ()),
            others=others,
            model=model if looks and looks.maps else None,
            nearby=models.nearby(clip.clip_id) if models else None,
            token=self.token,
            longest=_LONGEST_REASON,
        )

    def thumbnail(self, request: Request) -> Response:
        return self._file(request, THUMBNAIL, "image/jpeg")

    def film(self, request: Request) -> Response:
        return self._file(request, FILM, "video/mp4")

    def _file(self, request: Request, what: str, kind: str) -> Response:
        path = kept(self.cache, self.shelf.study.name, self._clip(request), what)
        return FileResponse(path, media_type=kind)  # which answers a browser that asks for a part

    async def exclude(self, request: Request) -> Response:
        if (body := await read_body(request, _MOST_BYTES)) is None:
            return PlainTextResponse("too long", status_code=413)
        form = {key: values[0] for key, values in parse_qs(body.decode("utf-8", "replace")).items()}
        if not is_token(form.get("token", ""), self.token):
            return PlainTextResponse("The form lacks the token.", status_code=403)
        reason = " ".join(form.get("reason", "").split())[:_LONGEST_REASON]
        if not reason:
            raise VaclipError("say why the clip is left out: go back, and fill in the reason")
        await run_in_threadpool(self._exclude, form.get("id", ""), reason)
        return RedirectResponse("/", status_code=303)

    def _exclude(self, clip_id: str, reason: str) -> None:
        with self.lock:
            if clip_id not in self.shelf.by_id:
                raise VaclipError(_NO_CLIP)
            if clip_id not in self.shelf.left_out:
                exclude(self.shelf.study, [Exclusion(clip_id, reason)])
                self.shelf = replace(self._read(), said=self.shelf.said)

    def style(self, request: Request) -> Response:
        sheets = (source_text(self.templates, name) for name in ("report.css", "view.css"))
        return Response("\n".join(sheets), media_type="text/css")

    def script(self, request: Request) -> Response:
        return Response(source_text(self.templates, "player.js"), media_type="text/javascript")

    def _clip(self, request: Request) -> Clip:
        clip = self.shelf.by_id.get(request.query_params.get("id", ""))
        if clip is None:
            raise VaclipError(_NO_CLIP)
        return clip

    def _page(self, template: str, **values: Any) -> Response:
        page = self.templates.get_template(template)
        arm = self.models.arm if self.models else ""
        return HTMLResponse(page.render(shelf=self.shelf, arm=arm, **values))
