"""The command line: ``vaclip train | study | report | predict | explain | data | arms | ...``.

Heavy imports happen inside the commands, after what is missing was told, so that help and mistakes
answer at once.
"""

from __future__ import annotations

import argparse
import os
import runpy
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from vaclip import __version__
from vaclip.commands.abstention import abstention_lines, abstention_of, add_abstention
from vaclip.commands.annotate import add_annotate_command
from vaclip.commands.cache import add_cache_command
from vaclip.commands.data import add_data_commands
from vaclip.commands.export import add_export_command
from vaclip.commands.serve import add_serve_command
from vaclip.commands.settings import add_settings_commands, complete_key
from vaclip.commands.view import add_view_command
from vaclip.commands.words import home_path, refuse_flags, require_study, with_shards
from vaclip.errors import VaclipError, system_message
from vaclip.keys import PREDICTIONS_FILE
from vaclip.signals import stoppable

_HYDRA_FLAGS = """
more:
  vaclip arms                   what experiment= and study.arms= may name
  vaclip config [KEY]           every setting with its default and its meaning
  vaclip {0} --cfg job        all values, as they would be used with what else is given
  vaclip {0} --hydra-help     further flags, of Hydra, which reads this command line
"""
_TRAIN_EXAMPLES = """
examples:
  vaclip train experiment=B3    the full method on the default cohort, one fold of five
  vaclip train experiment=B3 debug=smoke
                                does everything run? (debug=quick: small pictures, few epochs)
  vaclip train experiment=B3 data=folder data.root=my_study split.fold=all
                                your data, all folds
  vaclip train backbone=lite0 experiment=B3
                                on the tokens of a frozen pretrained encoder
  vaclip train experiment=B3 optim.lr=3e-4 trainer.max_epochs=60
  vaclip train --config-dir mine experiment=MINE
                                an arm of your own, mine/experiment/MINE.yaml
  vaclip train --multirun experiment=B0,B3 seed=0,1
""" + _HYDRA_FLAGS.format("train")
_STUDY_EXAMPLES = """
examples:
  vaclip study study=quick      six arms on small pictures: a first answer in minutes
  vaclip study study=smoke      does everything run? (study=default: all arms and axes, hours)
  vaclip study data=folder data.root=my_study --dry-run
                                the jobs and an estimate of their time; nothing is run
  vaclip study study=quick backbone=lite0
                                on the tokens of a frozen pretrained encoder
  vaclip study 'study.arms=[B0,B3,K_shuffled]' 'study.seeds=[0,1,2]'
  vaclip study --config-dir mine 'study.arms=[B0,MINE]' study.roles.method=MINE
                                an arm of your own, mine/experiment/MINE.yaml
""" + _HYDRA_FLAGS.format("study")
_FEATURES_EXAMPLES = """
examples:
  vaclip features backbone=lite0 data=folder data.root=my_study
                                every clip that has no tokens yet; stopped, it goes on
  vaclip features model.clip_backbone=features features.source=hf:models/dinov2-small
  vaclip features --shards shards backbone=lite0 data=folder data.root=my_study
                                tokens and maps in tar files too, for 10^5 clips and more
""" + _HYDRA_FLAGS.format("features")


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command; exits with status 1 after a user's mistake, 2 after a wrong usage."""
    words = [home_path(word) for word in (sys.argv[1:] if arguments is None else arguments)]
    completes = "_ARGCOMPLETE" in os.environ  # a shell asks what may stand at the cursor
    helps = not {"-h", "--help"}.isdisjoint(words)
    if words[:1] in (["train"], ["study"], ["features"]) and not (helps or completes):
        with user_errors():
            words = with_shards(words)
            require_study(words)
            refuse_flags(words)
        # Everything after it is Hydra's.
        sys.argv = [f"vaclip {words[0]}", *words[1:]]
        runpy.run_module(f"vaclip.commands.{words[0]}", run_name="__main__", alter_sys=True)
        return
    if words[:2] == ["data", "import"]:  # its kinds bring flags of their own
        with stoppable("nothing half-written is left"), user_errors():
            _require_source(*words[2:4])
            from vaclip.commands.imports import run_import

            sys.exit(run_import(words[2:]))
    parser = _parser()
    if completes:
        import_module("argcomplete").autocomplete(parser)
    options = parser.parse_args(words)
    with stoppable("nothing half-written is left"), user_errors():
        sys.exit(options.run(options))


def _require_source(kind: str = "-", source: str = "-") -> None:
    """Looks for what is imported, if it stands first, before its importer is loaded."""
    if kind.startswith("-") or source.startswith("-") or Path(source).exists():
        return
    from vaclip.importers import IMPORTERS

    if kind in IMPORTERS.names():  # else that is the first thing to say
        raise VaclipError(f"there is no file or folder '{source}'")


@contextmanager
def user_errors() -> Generator[None]:
    """Prints a `VaclipError`, or what the system refuses, and exits with status 1."""
    try:
        yield
    except VaclipError as error:
        said = str(error)
    except OSError as error:
        said = system_message(error)
    except UnicodeEncodeError as error:
        said = (
            f"{error.object!r} cannot be written in this system's letters ({error.encoding}); "
            "set PYTHONUTF8=1"
        )
    else:
        return
    print(f"error: {said}", file=sys.stderr)
    sys.exit(1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="vaclip",
        description="Train and judge models that align patient videos with maps of where "
        "clinicians look.",
    )
    parser.add_argument("--version", action="version", version=f"vaclip {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_hydra_command(
        commands,
        "train",
        "train and test one arm",
        _TRAIN_EXAMPLES,
        ("experiment=", "backbone=", "debug="),
    )
    study = _add_hydra_command(
        commands,
        "study",
        "run many arms, judge them, write a report",
        _STUDY_EXAMPLES,
        ("study=", "backbone="),
    )
    study.add_argument("--dry-run", action="store_true", help="print the jobs, run nothing")
    _add_report_command(commands)
    _add_predict_command(commands)
    _add_explain_command(commands)
    _add_hydra_command(
        commands, "features", "encode a study's clips ahead", _FEATURES_EXAMPLES, ("backbone=",)
    )
    add_data_commands(commands)
    add_cache_command(commands)
    add_view_command(commands)
    add_annotate_command(commands)
    add_serve_command(commands)
    add_export_command(commands)
    add_settings_commands(commands)
    return parser


def _add_report_command(commands: Any) -> None:
    report = commands.add_parser("report", help="make the report of a study or run anew")
    report.add_argument("folder", type=Path, metavar="RUN", help="the folder of a study or a run")
    report.add_argument(
        "--out", type=Path, metavar="PATH", help="where to write it (default: RUN/report)"
    )
    report.add_argument(
        "--real-ids", action="store_true", help="show patient and clip ids, not pseudonyms"
    )
    report.add_argument(
        "--prevalences",
        type=float,
        nargs="+",
        default=[0.05, 0.2],
        metavar="P",
        help="of each class, for predictive values (default: 0.05 0.2)",
    )
    report.set_defaults(run=_report)


def _add_predict_command(commands: Any) -> None:
    predict = commands.add_parser("predict", help="class probabilities of videos")
    _add_model_arguments(predict, several=True)
    predict.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="also write predictions.csv, and of each clip the map that the model predicts, as "
        "array (.npz) and over its video (.mp4)",
    )
    add_abstention(predict)
    predict.add_argument("--csv", type=Path, metavar="FILE", help="also write the table as CSV")
    predict.add_argument("--json", type=Path, metavar="FILE", help="also write it as JSON")
    predict.set_defaults(run=_predict)


def _add_explain_command(commands: Any) -> None:
    explain = commands.add_parser("explain", help="where a model looks in videos")
    _add_model_arguments(explain)
    explain.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="gets predictions.csv, agreement.csv where --attention has maps, and of each clip "
        "all maps as arrays (.npz), as a sheet (.png) and over its video (.mp4)",
    )
    explain.set_defaults(run=_explain)


def _add_model_arguments(parser: argparse.ArgumentParser, *, several: bool = False) -> None:
    """Adds what says which model, or several together, runs on which videos."""
    of_several = "a best.ckpt, or a run folder: all of its folds; several predict together"
    parser.add_argument(
        "--checkpoint",
        type=Path,
        required=True,
        action="append",
        metavar="CKPT",
        help=of_several if several else "a best.ckpt",
    )
    parser.add_argument(
        "videos", type=Path, nargs="+", metavar="VIDEO", help="video files, or folders of them"
    )
    parser.add_argument(
        "--attention",
        type=Path,
        metavar="STUDY",
        help="a study folder that names these videos and has their attention.csv",
    )
    parser.add_argument(
        "--map",
        choices=["given", "predicted", "prior", "none"],
        help="whose map guides the model: of --attention, the model's own, the mean map of its "
        "training patients, nobody's (default: what it was trained for)",
    )
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda, cuda:1, ...")


def _add_hydra_command(
    commands: Any, name: str, what: str, examples: str, groups: Sequence[str]
) -> argparse.ArgumentParser:
    """Adds the help of a command whose words Hydra reads, and what the shell may complete."""
    parser = commands.add_parser(
        name,
        help=f"{what}: vaclip {name} [KEY=VALUE ...]",
        description=f"{what.capitalize()}. Everything is set by KEY=VALUE.",
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    settings = parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="see below")
    settings.completer = lambda **_: [*groups, *(f"{key}=" for key in complete_key())]
    parser.add_argument("--config-dir", metavar="FOLDER", help="with YAML files of your own")
    parser.add_argument("--multirun", "-m", action="store_true", help="one run for each A,B,...")
    parser.add_argument("--cfg", choices=["job", "hydra", "all"], help="print the settings alone")
    return parser


def _report(options: argparse.Namespace) -> int:
    if not (options.folder / PREDICTIONS_FILE).is_file():
        raise VaclipError(
            f"{options.folder} has no {PREDICTIONS_FILE}; give the folder that `vaclip study` or "
            "`vaclip train` wrote"
        )
    from vaclip.console import progress_bar, say, speak
    from vaclip.reports.page import write_report

    speak()
    with progress_bar("Writing the report") as progress:
        page = write_report(
            options.folder,
            options.out,
            prevalences=options.prevalences,
            real_ids=options.real_ids,
            progress=progress,
        )
    say(f"Report: {page}")
    return 0


def _checkpoints(given: Path) -> list[Path]:
    """Returns a checkpoint, or those of all folds of a run folder."""
    if given.is_file():
        return [given]
    if folds := sorted(given.glob("fold_*/checkpoints/best.ckpt")):
        return folds
    inside = sorted(given.glob("**/best.ckpt"))
    what = "is no run folder; name a file" if given.is_dir() else "is not there; name a file"
    example = inside[0] if inside else "RUN/fold_0/checkpoints/best.ckpt"
    raise VaclipError(f"the checkpoint {given} {what}, such as {example}, or a run folder")


def _look_for_files(options: argparse.Namespace) -> None:
    """Looks for checkpoints, videos and study before anything slow is imported."""
    from vaclip.media import find_videos
    from vaclip.study.load import load_study

    options.checkpoints = [path for given in options.checkpoint for path in _checkpoints(given)]
    find_videos(options.videos)
    if options.attention:
        load_study(options.attention, quiet=True)


def _explain(options: argparse.Namespace) -> int:
    _look_for_files(options)
    from vaclip.commands.explain import (
        agreement_table,
        agreement_view,
        explain_videos,
        write_explained,
    )
    from vaclip.commands.predict import prediction_view
    from vaclip.console import progress_bar, say, speak
    from vaclip.runs.predict import load_predictor

    console = speak()
    if len(options.checkpoints) > 1:
        raise VaclipError(
            f"vaclip explain looks through one model, and --checkpoint names "
            f"{len(options.checkpoints)}; name one of them, such as {options.checkpoints[0]}"
        )
    predictor = load_predictor(options.checkpoints[0], options.device)
    with progress_bar("Looking") as progress:
        found = explain_videos(
            predictor,
            options.videos,
            attention=options.attention,
            map_from=options.map,
            progress=progress,
        )
    agreed = agreement_table(found)
    write_explained(found, agreed, predictor.data, options.out)
    console.print(prediction_view(found.predictions.table))
    if len(agreed):
        console.print(agreement_view(agreed))
    say(f"Maps: {options.out / 'maps'}")
    return _tell_failures(found.predictions.failures)


def _predict(options: argparse.Namespace) -> int:
    _look_for_files(options)
    from vaclip.commands.predict import prediction_view, write_folder, write_predictions
    from vaclip.console import progress_bar, say, speak
    from vaclip.files import write_json
    from vaclip.runs.abstain import told
    from vaclip.runs.ensemble import load_ensemble
    from vaclip.runs.predict import predict_videos

    console = speak()
    abstain = abstention_of(options)
    members = load_ensemble(options.checkpoints, options.device)
    with progress_bar("Predicting") as progress:
        found = predict_videos(
            members,
            options.videos,
            attention=options.attention,
            map_from=options.map,
            abstain=abstain,
            progress=progress,
        )
    write_predictions(found.table, csv=options.csv, json=options.json)
    if options.out:
        write_folder(found, members[0].data, options.out)
    console.print(prediction_view(found.table))
    if abstain:
        chosen = told(abstain, options.checkpoints)
        if options.out:
            write_json(options.out / "abstention.json", chosen)
        for line in abstention_lines(chosen):
            say(line)
    return _tell_failures(found.failures)


def _tell_failures(failures: Sequence[str]) -> int:
    """Says what is wrong with the clips that were left out, and returns the exit status."""
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    main()
