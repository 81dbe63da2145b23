"""``vaclip annotate``: clinicians mark where they look, blinded, in a browser."""

from __future__ import annotations

import argparse
import secrets
from importlib.resources import files
from pathlib import Path
from typing import Any

from vaclip.commands.extras import require_extra
from vaclip.errors import VaclipError

_OPTIONS = ("mode", "seed", "again", "uncover", "every_s", "blur", "radius", "budget", "speed")


def add_annotate_command(commands: Any) -> None:
    """Adds ``annotate`` to the parsers of the command line."""
    annotate = commands.add_parser(
        "annotate",
        help="let a clinician mark where they look, blinded, in a browser",
        description="Serve a page on this machine alone, on which one annotator marks clips in "
        "a random order: neither class nor patient, id or file is on it. What they do is kept at "
        "once, and saved to attention.csv and annotation_log.csv; the same command goes on where "
        "they stopped. Ends with Ctrl-C.",
    )
    annotate.add_argument("study", type=Path, help="a study folder")
    annotate.add_argument(
        "--annotator", required=True, metavar="NAME", help="who: the name in attention.csv"
    )
    annotate.add_argument(
        "--mode",
        help="bubbles: the clip is blurred, and a press uncovers a circle (default); regions: the "
        "study's named regions; draw: box, ellipse, polygon and brush on key frames",
    )
    annotate.add_argument("--clips", nargs="+", default=[], metavar="ID", help="these alone")
    annotate.add_argument("--seed", type=int, help="of the order (default: 0)")
    annotate.add_argument(
        "--again", type=float, metavar="SHARE", help="share of clips shown twice (default: 0.1)"
    )
    annotate.add_argument(
        "--no-diagnosis",
        action="store_true",
        help="do not ask for the diagnosis after the looking",
    )
    annotate.add_argument(
        "--uncover",
        help="bubbles: while the clip is paused (default), while it is playing, or on pictures "
        "that follow each other in steps",
    )
    annotate.add_argument(
        "--every",
        type=float,
        dest="every_s",
        metavar="SECONDS",
        help="from one picture to the next one stepped to (default: 0.5)",
    )
    annotate.add_argument(
        "--blur", type=float, metavar="SHARE", help="of the picture's shorter side (default: 0.05)"
    )
    annotate.add_argument(
        "--radius", type=float, metavar="SHARE", help="of a bubble, likewise (default: 0.07)"
    )
    annotate.add_argument("--budget", type=int, help="most bubbles of a clip (default: any number)")
    annotate.add_argument("--speed", type=float, help="of playing (default: 1)")
    annotate.add_argument(
        "--texts", type=Path, metavar="FILE", help="what the page says, translated: see the docs"
    )
    annotate.add_argument("--port", type=int, default=0, help="default: one that is free")
    annotate.set_defaults(run=_annotate)


def _annotate(options: argparse.Namespace) -> int:
    require_extra("annotate", "view", "starlette", "uvicorn")
    from vaclip.annotate.server import annotate_app
    from vaclip.annotate.session import (
        Session,
        keep_session,
        open_session,
        session_folder,
    )
    from vaclip.console import speak
    from vaclip.data.cache import clip_cache
    from vaclip.locks import folder_lock
    from vaclip.study.load import load_study
    from vaclip.web import serve_page

    speak()
    texts = page_texts(options.texts)
    study = load_study(options.study, quiet=True)  # of maps there may be none yet
    wanted = {name: value for name in _OPTIONS if (value := getattr(options, name)) is not None}
    if options.no_diagnosis:
        wanted["diagnosis"] = False

    def session() -> Session:
        return open_session(study, options.annotator, wanted, tuple(options.clips))

    session()  # a mistake is told before anything is written
    with folder_lock(session_folder(study.root, options.annotator)):
        keep_session(study.root, began := session())
        token = secrets.token_urlsafe(24)
        app = annotate_app(study, began, token, clip_cache(None), texts)
        serve_page(app, token, options.port)
    return 0


def page_texts(own: Path | None = None) -> dict[str, str]:
    """Returns what the page says, in English or as a file has it.

    Raises:
        VaclipError: If the file lacks a text, or has one that there is not.
    """
    import yaml

    english = yaml.safe_load((files("vaclip.annotate") / "texts.yaml").read_text("utf-8"))
    if own is None:
        return english
    try:
        texts = yaml.safe_load(own.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise VaclipError(f"--texts {own} cannot be read: {error}") from error
    if not isinstance(texts, dict) or not all(isinstance(value, str) for value in texts.values()):
        raise VaclipError(f"--texts {own}: expected NAME: TEXT in each line, in quotes if need be")
    for what, names in (("lacks", english.keys() - texts), ("has unknown", texts.keys() - english)):
        if names:
            raise VaclipError(f"--texts {own} {what} {', '.join(sorted(map(str, names)))}")
    return texts
