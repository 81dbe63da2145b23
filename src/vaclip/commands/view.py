"""``vaclip view``: the clips of a study in the browser of this machine."""

from __future__ import annotations

import argparse
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaclip.commands.extras import require_extra
from vaclip.errors import VaclipError

if TYPE_CHECKING:
    from vaclip.study.study import Problem


def add_view_command(commands: Any) -> None:
    """Adds ``view`` to the parsers of the command line."""
    view = commands.add_parser(
        "view",
        help="browse the clips of a study in a browser, and leave some out",
        description="Serve a page on this machine alone: the clips by class, patient, annotator "
        "and site, played under each annotator's map and, with the results of a study or run, "
        "under what its models looked at. A clip may be left out with a reason, which goes to "
        "excluded.csv; of the study nothing else is written. Ends with Ctrl-C.",
    )
    view.add_argument(
        "study",
        type=Path,
        nargs="?",
        help="a study folder (default: the generated cohort), or what `vaclip study` or `vaclip "
        "train` made of one: then both are shown",
    )
    view.add_argument(
        "--results",
        type=Path,
        metavar="FOLDER",
        help="what `vaclip study` or `vaclip train` made of it: right, wrong, how sure",
    )
    view.add_argument("--arm", help="whose predictions (default: the method's)")
    view.add_argument(
        "--check", action="store_true", help="decode every video first, as `vaclip data check`"
    )
    view.add_argument("--port", type=int, default=0, help="default: one that is free")
    view.set_defaults(run=_view)


def _view(options: argparse.Namespace) -> int:
    require_extra("view", "view", "starlette", "uvicorn")
    from vaclip.console import speak
    from vaclip.view.server import view_app
    from vaclip.web import serve_page

    speak()
    token = secrets.token_urlsafe(24)
    root, results, cache_dir = _opened(options.study, options.results)
    found = _findings(root) if options.check else None
    app = view_app(root, token, results, options.arm, findings=found, cache_dir=cache_dir)
    serve_page(app, token, options.port)
    return 0


def _opened(folder: Path | None, results: Path | None) -> tuple[Path, Path | None, str | None]:
    """Returns the study, the results that are shown of it, and where its cache lies."""
    from vaclip import keys
    from vaclip.runs.folder import read_config
    from vaclip.runs.prepare import data_settings, open_study

    if folder is not None and not (folder / keys.PREDICTIONS_FILE).is_file():
        return folder, results, None
    results = folder or results
    data = data_settings(read_config(results)["data"] if results else {})
    try:
        return open_study(data).root, results, data.cache_dir
    except VaclipError as error:
        if results is None:
            raise
        message = f"{error}\nIf the study has moved: vaclip view STUDY --results {results}"
        raise VaclipError(message) from error


def _findings(root: Path) -> dict[str, list[Problem]]:
    """Returns by clip id what `vaclip data check` finds."""
    from vaclip.audit.check import check
    from vaclip.console import progress_bar

    with progress_bar("Checking") as advance:
        problems = check(root, progress=advance).found
    found: dict[str, list[Problem]] = {}
    for problem in problems:
        if problem.clip_id is not None:
            found.setdefault(problem.clip_id, []).append(problem)
    return found
