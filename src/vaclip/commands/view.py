"""``vaclip view``: the clips of a study in the browser of this machine."""

from __future__ import annotations

import argparse
import secrets
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vaclip.commands.words import home_path
from vaclip.errors import VaclipError

_HOST = "127.0.0.1"


def add_view_command(commands: Any) -> None:
    """Adds ``view`` to the parsers of the command line."""
    view = commands.add_parser(
        "view",
        help="browse the clips of a study in a browser, and leave some out",
        description="Serve a page on this machine alone: the clips by class, patient, annotator "
        "and site, played under each annotator's map. A clip may be left out with a reason, which "
        "goes to excluded.csv; nothing else is written. Ends with Ctrl-C.",
    )
    view.add_argument(
        "study", type=home_path, nargs="?", help="a study folder (default: the generated cohort)"
    )
    view.add_argument(
        "--results",
        type=home_path,
        metavar="FOLDER",
        help="what `vaclip study` or `vaclip train` made of it: right, wrong, how sure",
    )
    view.add_argument("--arm", help="whose predictions (default: the method's)")
    view.add_argument("--port", type=int, default=0, help="default: one that is free")
    view.set_defaults(run=_view)


def _view(options: argparse.Namespace) -> int:
    if find_spec("starlette") is None or find_spec("uvicorn") is None:
        raise VaclipError("vaclip view needs more packages: pip install 'vaclip[view]'")
    import socket

    import uvicorn

    from vaclip.console import say, speak
    from vaclip.view.server import view_app

    speak()
    token = secrets.token_urlsafe(24)
    root = options.study or _default_cohort()
    app = view_app(root, token, options.results, options.arm)
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((_HOST, options.port))
        except (OSError, OverflowError) as error:
            raise VaclipError(f"--port {options.port} cannot be used: {error}") from error
        listening.listen()
        port = listening.getsockname()[1]
        say(f"http://{_HOST}:{port}/?token={token}")
        config = uvicorn.Config(app, log_level="warning", access_log=False)
        uvicorn.Server(config).run([listening])
    return 0


def _default_cohort() -> Path:
    from vaclip.config import DataConfig
    from vaclip.runs.prepare import open_study

    return open_study(DataConfig()).root
