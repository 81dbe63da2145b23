"""``vaclip data import KIND SOURCE... --into STUDY``."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

from vaclip.console import progress_bar, say, speak
from vaclip.errors import VaclipError
from vaclip.importers import IMPORTERS
from vaclip.importers.merge import plan_import
from vaclip.importers.plan import Plan, Rules, region_of_word
from vaclip.importers.tables.table import add_column_options, new_name, read_clips
from vaclip.importers.write import carry_out
from vaclip.study.study import CLIP_COLUMNS


def run_import(words: Sequence[str]) -> int:
    """Reads an export, says what it adds, and adds it.

    Raises:
        VaclipError: If the export is damaged, or does not fit the study.
    """
    speak()
    named = bool(words) and not words[0].startswith("-")
    options = import_parser(words[:1] if named else None).parse_args(words)
    exports = [read_clips(options.clips, options)] if options.clips else []
    exports.append(options.importer.read(options.sources, options))
    plan = plan_import(options.into, exports, import_rules(options))
    _show(plan, dry=options.dry_run)
    if not options.dry_run:
        with progress_bar("Copying videos") as progress:
            carry_out(plan, link=options.link, progress=progress)
        folder = shlex.quote(str(options.into))
        say(f"Next: vaclip data check {folder}")
    return 0


def import_parser(chosen: Sequence[str] | None = None) -> argparse.ArgumentParser:
    """Returns the parser of everything behind ``vaclip data import``.

    Args:
        chosen: The kinds that it knows, which alone are loaded; None for all.

    Raises:
        VaclipError: If there is no such kind, or its package cannot be used.
    """
    parser = argparse.ArgumentParser(
        prog="vaclip data import",
        description="Add the export of an annotation tool to a study folder, which is made if need "
        "be. Several imports add up.",
    )
    kinds = parser.add_subparsers(required=True, metavar="KIND", dest="kind")
    for kind in sorted(IMPORTERS.names()) if chosen is None else chosen:
        importer = IMPORTERS.build(kind)
        one = kinds.add_parser(kind, help=importer.summary, description=importer.summary)
        _add_common_options(one)
        importer.add_options(one)
        one.set_defaults(importer=importer)
    return parser


def _add_common_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("sources", type=Path, nargs="+", metavar="SOURCE", help="files, folders or zip archives")
    add("--into", type=Path, required=True, metavar="STUDY", help="the study folder")
    add("--dry-run", action="store_true", help="only show what would be added")
    add("--clips", type=Path, metavar="TABLE", help="first add the clips of this table")
    add(
        "--videos", type=Path, metavar="FOLDER", help="where the videos lie (default: by the table)"
    )
    add("--link", action="store_true", help="link videos on the same disk, do not copy them")
    add("--annotator", metavar="NAME", help="who made the annotations, where the export is silent")
    add("--classes", metavar="A,B,...", help="the study's classes in label order")
    add("--region", action="append", default=[], metavar="NAME=JOINT,...",
        help="define a region: joints, or x0,y0,x1,y1 as fractions; repeatable")  # fmt: skip
    add("--rename-region", action="append", default=[], metavar="OLD=NEW",
        help="another name for a region in annotations; repeatable")  # fmt: skip
    conflicts = parser.add_argument_group("where the export and the study do not fit")
    conflicts.add_argument("--skip-unmatched", action="store_true",
                           help="leave out what has no clip, or no video")  # fmt: skip
    conflicts.add_argument("--replace", action="store_true",
                           help="new rows take the place of different ones")  # fmt: skip
    conflicts.add_argument("--add", action="store_true",
                           help="new rows count beside earlier ones of that annotator")  # fmt: skip
    add_column_options(parser)


def import_rules(options: argparse.Namespace) -> Rules:
    """Returns what the flags say of what does not fit."""
    if options.replace and options.add:
        raise VaclipError("--replace and --add exclude each other")
    classes = (
        tuple(name.strip() for name in options.classes.split(",")) if options.classes else None
    )
    regions = dict(region_of_word(word) for word in options.region)
    return Rules(
        classes,
        regions,
        dict(new_name(word, "--rename-region") for word in options.rename_region),
        options.replace,
        options.add,
        options.skip_unmatched,
    )


def _show(plan: Plan, *, dry: bool) -> None:
    lines = [f"{'Would add' if dry else 'Adding'} to {plan.root.name}:"]
    lines += [f"  {count} {what}" for what, count in sorted(plan.counts.items()) if count]
    lines += ["  nothing new"] * (len(lines) == 1)
    columns = dict.fromkeys(
        name for row in plan.clips if row["clip_id"] in plan.imported for name in row
    )
    if further := [name for name in columns if name not in CLIP_COLUMNS]:
        lines.append(
            f"Further columns of clips: {', '.join(further)} (--drop-column leaves one out)"
        )
    for title, items in (
        ("Left out", plan.dropped),
        ("Belonging to no clip", plan.unmatched),
        ("Look at", plan.notes),
    ):
        lines += [f"{title}:", *(f"  {item}" for item in items)] if items else []
    for line in lines:
        say(line)
