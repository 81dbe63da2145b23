"""``vaclip serve``: an exported model behind a page and an API."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vaclip.commands.extras import require_extra
from vaclip.errors import VaclipError
from vaclip.serve.exported import read_exported

if TYPE_CHECKING:
    from vaclip.serve.exported import Exported
    from vaclip.serve.worker import Limits

_LOG = logging.getLogger(__name__)
_TOKEN: Final = "VACLIP_TOKEN"
_LOOPBACK: Final = "127.0.0.1"  # as in vaclip.web, which needs Starlette
_ANYWHERE: Final = "0.0.0.0"


def add_serve_command(commands: Any) -> None:
    """Adds ``serve`` to the parsers of the command line."""
    serve = commands.add_parser(
        "serve",
        help="ask an exported model about videos, on a page or by an API",
        description="Serve what `vaclip export` wrote: a page to drop a video on, and an API that "
        "/openapi.json describes. A video is read in a process of its own, within limits, and "
        "nothing of it is kept or logged. Needs Linux. Ends with Ctrl-C.",
    )
    serve.add_argument(
        "folder", type=Path, help="what `vaclip export` wrote; its predict.py is run"
    )
    serve.add_argument("--port", type=int, default=0, help="default: one that is free")
    serve.add_argument(
        "--host",
        default=_LOOPBACK,
        help="where to listen: other machines reach it there (default: this machine alone)",
    )
    serve.add_argument(
        "--token",
        action="store_true",
        help=f"answer only who brings a token: what the variable {_TOKEN} holds, else a new one",
    )
    limits = serve.add_argument_group("limits")
    for name, kind, default, what in (
        ("--max-mb", float, 200, "MiB of a video"),
        ("--timeout", float, 60, "seconds that sending a video may take, and that reading it may"),
        ("--memory-mb", float, 2048, "MiB that reading a video may take"),
        ("--queue", int, 4, "uploads that may wait; further ones are refused (503)"),
    ):
        limits.add_argument(
            name, type=kind, default=default, metavar="N", help=f"{what} (default: {default})"
        )
    serve.set_defaults(run=_serve)


def _serve(options: argparse.Namespace) -> int:
    if not hasattr(os, "memfd_create"):
        raise VaclipError(
            "vaclip serve needs Linux, where uploads stay in memory and reading them is bounded"
        )
    exported = read_exported(options.folder)
    limits = _limits(options)
    require_extra("serve", "serve", "starlette", "uvicorn", "onnxruntime")
    from vaclip.console import setup_logging

    setup_logging()
    token = (os.environ.get(_TOKEN) or secrets.token_urlsafe(24)) if options.token else None
    asyncio.run(_serving(exported, limits, options.host, options.port, token))
    return 0


def _limits(options: argparse.Namespace) -> Limits:
    from vaclip.serve.worker import Limits

    for name in ("max_mb", "timeout", "memory_mb"):
        if not 0 < getattr(options, name) < 1e6:
            given = f"--{name.replace('_', '-')} {getattr(options, name):g}"
            raise VaclipError(f"{given}: give a number above 0, below 1000000")
    if not 0 <= options.queue <= 1000:
        raise VaclipError(f"--queue {options.queue}: give a number from 0 to 1000")
    upload, memory = (round(size * (1 << 20)) for size in (options.max_mb, options.memory_mb))
    return Limits(upload, options.timeout, memory, options.queue)


async def _serving(
    exported: Exported, limits: Limits, host: str, port: int, token: str | None
) -> None:
    from vaclip.console import say
    from vaclip.serve.server import serve_app
    from vaclip.serve.worker import Worker
    from vaclip.web import HOSTS, listening, quiet_server

    with listening(host, port) as socket:
        async with Worker(exported.folder, limits) as worker:
            if host not in HOSTS:
                open_to = "" if token else "everybody may ask the model (--token asks who), and "
                _LOG.warning("other machines reach this server: %snothing is encrypted", open_to)
            hosts = ("*",) if host == _ANYWHERE else (*HOSTS, host)
            app = serve_app(exported, worker, limits, token, hosts)
            address = f"http://{host}:{socket.getsockname()[1]}/"
            say(f"{address}?token={token}" if token else address)
            await quiet_server(app).serve([socket])
