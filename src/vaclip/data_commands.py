"""``vaclip data ACTION``: what one does with a study folder before anything is trained.

Heavy imports happen inside the actions, so that help and mistakes answer at once.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_data_commands(commands: Any) -> None:
    """Adds ``data`` and its actions to the parsers of the command line."""
    data = commands.add_parser("data", help="make, check and look at a study folder")
    actions = data.add_subparsers(required=True, metavar="ACTION")
    actions.add_parser(
        "import", help="add an annotation tool's export to a study folder: vaclip data import KIND"
    )
    check = actions.add_parser("check", help="decode every clip and report every problem")
    check.add_argument("study", type=Path, metavar="PATH")
    check.set_defaults(run=_check)
    preview = actions.add_parser("preview", help="draw clips with their attention maps (PNG or MP4)")
    preview.add_argument("study", type=Path, metavar="PATH")
    preview.add_argument("--out", type=Path, default=Path("preview.png"), metavar="FILE")
    preview.add_argument("--clips", type=int, default=6, help="how many (default 6)")
    preview.add_argument("--clip", action="append", metavar="ID", help="this clip; repeatable")
    preview.set_defaults(run=_preview)


def _check(options: argparse.Namespace) -> int:
    from vaclip.console import console, progress_bar
    from vaclip.data.check import check_study

    with progress_bar("Decoding clips") as progress:
        problems, clips = check_study(options.study, progress=progress)
    for problem in problems:
        console.print(str(problem), markup=False, highlight=False, soft_wrap=True)
    errors = sum(problem.severity == "error" for problem in problems)
    console.print(f"{clips} clips: {errors} error(s), {len(problems) - errors} warning(s)")
    return 1 if errors else 0


def _preview(options: argparse.Namespace) -> int:
    from vaclip.console import console
    from vaclip.data.preview import draw_preview

    draw_preview(options.study, options.out, clips=options.clips, clip_ids=options.clip)
    console.print(f"Drawn: {options.out}", highlight=False, soft_wrap=True)
    return 0
