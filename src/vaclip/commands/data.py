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
    check.add_argument("--table", type=Path, metavar="FILE", help="write one row a clip, as CSV")
    check.add_argument(
        "--quarantine", action="store_true", help="leave clips with errors out, by excluded.csv"
    )
    check.add_argument(
        "--decode-limit", type=float, metavar="S", help="seconds that one video may take (3600)"
    )
    check.set_defaults(run=_check)
    reencode = actions.add_parser("reencode", help="copy a study, with seekable videos")
    reencode.add_argument("study", type=Path, metavar="PATH")
    reencode.add_argument("--into", type=Path, required=True, metavar="NEW_STUDY")
    reencode.add_argument("--fps", type=float, help="frames a second (default: the video's own)")
    reencode.set_defaults(run=_reencode)
    preview = actions.add_parser(
        "preview", help="draw clips with their attention maps (PNG or MP4)"
    )
    preview.add_argument("study", type=Path, metavar="PATH")
    preview.add_argument("--out", type=Path, default=Path("preview.png"), metavar="FILE")
    preview.add_argument("--clips", type=int, default=6, help="how many (default 6)")
    preview.add_argument("--clip", action="append", metavar="ID", help="this clip; repeatable")
    preview.set_defaults(run=_preview)
    describe = actions.add_parser("describe", help="what is in it, and what will mislead a study")
    describe.add_argument("study", type=Path, metavar="PATH")
    describe.add_argument("--json", type=Path, metavar="FILE", help="also write it as JSON")
    describe.add_argument(
        "overrides", nargs="*", metavar="KEY=VALUE", help="settings, as of vaclip train"
    )
    describe.set_defaults(run=_describe)


def _check(options: argparse.Namespace) -> int:
    from vaclip.audit.check import check, write_facts
    from vaclip.console import progress_bar, say, speak
    from vaclip.data.video import DECODE_LIMIT_S
    from vaclip.study.exclusions import quarantine

    speak()
    limit_s = options.decode_limit or DECODE_LIMIT_S
    with progress_bar("Decoding clips") as progress:
        found = check(options.study, limit_s=limit_s, progress=progress)
    for problem in found.found:
        say(str(problem))
    for note in found.notes:
        say(f"note: {note}")
    errors = found.errors
    clips = len(found.study.clips) if found.study else 0
    say(f"{clips} clips: {len(errors)} error(s), {len(found.found) - len(errors)} warning(s)")
    if options.table:
        write_facts(options.table, found.clips)
        say(f"Written: {options.table}")
    if options.quarantine and found.study:
        excluded = quarantine(found.study, found.found)
        say(f"{len(excluded)} clip(s) are excluded from now on, by excluded.csv")
        errors = [error for error in errors if error.clip_id is None]
        if errors:
            say(f"{len(errors)} error(s) are not about one clip, and stay")
    return 1 if errors else 0


def _reencode(options: argparse.Namespace) -> int:
    from vaclip.audit.reencode import reencode_study
    from vaclip.console import progress_bar, say, speak

    speak()
    with progress_bar("Re-encoding videos") as progress:
        videos = reencode_study(options.study, options.into, fps=options.fps, progress=progress)
    say(f"{options.into}: {videos} video(s)")
    return 0


def _preview(options: argparse.Namespace) -> int:
    from vaclip.commands.words import look_at_study

    look_at_study(options.study)
    from vaclip.audit.preview import draw_preview
    from vaclip.console import say, speak

    speak()
    draw_preview(options.study, options.out, clips=options.clips, clip_ids=options.clip)
    say(f"Drawn: {options.out}")
    return 0


def _describe(options: argparse.Namespace) -> int:
    from vaclip.commands.words import look_at_study

    look_at_study(options.study)
    from vaclip.audit.describe import describe
    from vaclip.commands.describe import description_tables
    from vaclip.console import console, setup_logging
    from vaclip.files import write_json

    setup_logging()
    card = describe(options.study, options.overrides)
    if options.json:
        write_json(options.json, card.to_json())
    for table in description_tables(card):
        console.print(table)
    return 0
