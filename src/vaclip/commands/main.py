"""The command line: ``vaclip train | study | report | predict | data``.

Heavy imports happen inside the commands, so that help and mistakes answer at once.
"""

from __future__ import annotations

import argparse
import runpy
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from vaclip.commands.data import add_data_commands
from vaclip.errors import VaclipError


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command; exits with status 1 after a user's mistake, 2 after a wrong usage."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] in (["train"], ["study"]):  # everything after it is Hydra's
        sys.argv = [f"vaclip {words[0]}", *map(_in_quotes, words[1:])]
        runpy.run_module(f"vaclip.commands.{words[0]}", run_name="__main__", alter_sys=True)
        return
    if words[:2] == ["data", "import"]:  # its kinds bring flags of their own
        with user_errors():
            from vaclip.commands.imports import run_import

            sys.exit(run_import(words[2:]))
    options = _parser().parse_args(words)
    with user_errors():
        sys.exit(options.run(options))


def _in_quotes(word: str) -> str:
    """Quotes the value of KEY=VALUE where Hydra would stumble over letters beyond ASCII."""
    key, equals, value = word.partition("=")
    if not equals or value.isascii() or value[0] in "'\"[{":
        return word
    escaped = value.replace("'", "\\'")
    return f"{key}='{escaped}'"


@contextmanager
def user_errors() -> Generator[None]:
    """Prints a `VaclipError`, or what the system refuses, and exits with status 1."""
    try:
        yield
    except (VaclipError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="vaclip",
        description="Train and judge models that align patient videos with maps of where "
        "clinicians look.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    commands.add_parser(
        "train", help="train and test one arm: vaclip train [experiment=B3] [KEY=VALUE ...]"
    )

    commands.add_parser(
        "study",
        help="run all arms, judge them, write a report: vaclip study [study=quick] [KEY=VALUE ...]",
    )

    report = commands.add_parser("report", help="make the report of a study or run anew")
    report.add_argument("folder", type=Path, metavar="RUN", help="the folder of a study or a run")
    report.add_argument(
        "--out", type=Path, metavar="PATH", help="where to write it (default: RUN/report)"
    )
    report.add_argument(
        "--real-ids", action="store_true", help="show patient and clip ids, not pseudonyms"
    )
    report.set_defaults(run=_report)

    predict = commands.add_parser("predict", help="class probabilities of videos")
    predict.add_argument("--checkpoint", type=Path, required=True, metavar="CKPT")
    predict.add_argument(
        "videos", type=Path, nargs="+", metavar="VIDEO", help="video files, or folders of them"
    )
    predict.add_argument(
        "--attention",
        type=Path,
        metavar="STUDY",
        help="a study folder that names these videos and has their attention.csv",
    )
    predict.add_argument("--csv", type=Path, metavar="FILE", help="also write the table as CSV")
    predict.add_argument("--json", type=Path, metavar="FILE", help="also write it as JSON")
    predict.add_argument("--device", default="cpu", help="cpu (default), cuda, cuda:1, ...")
    predict.set_defaults(run=_predict)

    add_data_commands(commands)
    return parser


def _report(options: argparse.Namespace) -> int:
    from vaclip.console import console, progress_bar
    from vaclip.reports.page import write_report

    with progress_bar("Writing the report") as progress:
        page = write_report(
            options.folder, options.out, real_ids=options.real_ids, progress=progress
        )
    console.print(f"Report: {page}", highlight=False, soft_wrap=True)
    return 0


def _predict(options: argparse.Namespace) -> int:
    from vaclip.console import console, progress_bar
    from vaclip.runs.predict import predict_videos, prediction_view, write_predictions

    with progress_bar("Predicting") as progress:
        table, failures = predict_videos(
            options.checkpoint,
            options.videos,
            attention=options.attention,
            device=options.device,
            progress=progress,
        )
    write_predictions(table, csv=options.csv, json=options.json)
    console.print(prediction_view(table))
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    main()
