"""``vaclip export``: a trained model as a folder that runs without vaclip."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from vaclip import keys
from vaclip.commands.extras import require_extra
from vaclip.errors import VaclipError
from vaclip.export.folder import SETTINGS

_NEEDED = ("onnx", "onnx_ir", "onnxruntime", "onnxscript", "safetensors")


def add_export_command(commands: Any) -> None:
    """Adds ``export`` to the parsers of the command line."""
    export = commands.add_parser(
        "export",
        help="a trained model as a folder that runs without vaclip",
        description="Write the model of a fold, from a video's pictures to the probabilities, as "
        "ONNX, torch.export program and weights, with a predict.py that needs onnxruntime, av and "
        "numpy alone, and a model card. It is refused unless that gives the run's test table "
        "again, from the video files on.",
    )
    what = export.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "folder",
        nargs="?",
        type=Path,
        metavar="RUN",
        help="what `vaclip train` wrote, or `vaclip study`: then with --arm",
    )
    what.add_argument(
        "--encoder",
        metavar="SOURCE",
        help="add to an exported FOLDER the encoder whose weights could not be passed on with it; "
        "SOURCE as features.source names it, such as hf:FOLDER",
    )
    export.add_argument(
        "--to",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="a new folder to write; with --encoder, the folder that lacks one",
    )
    export.add_argument("--fold", type=int, help="whose model (default: the only one)")
    export.add_argument("--arm", help="of a study: which arm, such as P2")
    export.add_argument("--seed", type=int, default=0, help="of a study: which seed (default: 0)")
    export.add_argument(
        "--data",
        type=Path,
        metavar="STUDY",
        help="the study folder, where it has moved since the run",
    )
    export.set_defaults(run=_export)


def _export(options: argparse.Namespace) -> int:
    if options.encoder is not None:
        return _add_encoder(options)
    run, study = _look_for(options)
    require_extra("export", "export", *_NEEDED)
    from vaclip.console import progress_bar, say, speak
    from vaclip.export.export import export_run

    speak()
    fold = options.fold if study is None else None  # a job has one
    with progress_bar("Comparing with the test table") as progress:
        found = export_run(
            run, options.to, fold=fold, root=options.data, study=study, progress=progress
        )
    say(str(found.difference))
    say(f"Exported: {found.folder}")
    if found.lacks is not None:
        say(
            f"Without the weights of {found.lacks}, which may not be passed on. Who has them runs: "
            f"vaclip export --encoder SOURCE --to {found.folder}"
        )
    return 0


def _add_encoder(options: argparse.Namespace) -> int:
    folder: Path = options.to
    if any(value is not None for value in (options.fold, options.arm, options.data)):
        raise VaclipError("--fold, --arm and --data choose a run, and --encoder names none")
    if not (folder / SETTINGS).is_file():
        raise VaclipError(f"{folder} has no {SETTINGS}; name a folder that `vaclip export` wrote")
    require_extra("export", "export", *_NEEDED)
    from vaclip.console import say, speak
    from vaclip.export.encoder import add_encoder

    speak()
    say(f"Added: {add_encoder(options.encoder, folder)}")
    return 0


def _look_for(options: argparse.Namespace) -> tuple[Path, Path | None]:
    """Returns the run, and the study that it is a job of, before anything slow is imported."""
    run: Path = options.folder
    if options.to.exists():
        raise VaclipError(f"{options.to} is there already; name a new folder with --to")
    if options.data is not None:
        from vaclip.study.load import load_study

        load_study(options.data, quiet=True)
    if not (run / keys.CONFIG_FILE).is_file():
        raise VaclipError(
            f"{run} has no {keys.CONFIG_FILE}; give the folder that `vaclip train` or `vaclip "
            "study` wrote"
        )
    if not (run / keys.JOBS_FILE).is_file():
        if options.arm is not None:
            raise VaclipError(f"{run} is a run of one arm; --arm is for the folder of a study")
        return run, None
    if options.arm is None:
        raise VaclipError(f"{run} is a study of many arms; name one with --arm, such as --arm P2")
    return _job(run, options), run


def _job(study: Path, options: argparse.Namespace) -> Path:
    from vaclip.ablation.plan import folder_name

    fold = options.fold or 0
    name = f"{folder_name(options.arm)}-fold{fold}-seed{options.seed}"
    job = study / "jobs" / name
    if not job.is_dir():
        raise VaclipError(
            f"{study} has no job jobs/{name}: no model was trained for arm {options.arm}, fold "
            f"{fold} and seed {options.seed}; {keys.JOBS_FILE} lists what was"
        )
    return job
