"""A run in, a folder out that runs without vaclip."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import vaclip
from vaclip import keys
from vaclip.console import progress_bar
from vaclip.data.transforms import MEAN, STD
from vaclip.errors import VaclipError
from vaclip.export.card import card_text, judged
from vaclip.export.check import Difference, table_difference
from vaclip.export.folder import CARD, METADATA, ONNX, RUNNER, SETTINGS
from vaclip.export.metadata import bundle_metadata
from vaclip.export.programs import write_programs
from vaclip.export.trained import TrainedFold, open_fold
from vaclip.files import atomic_folder, content_digest, read_json, write_json


@dataclass(frozen=True)
class Exported:
    """What was exported.

    Attributes:
        folder: Where it lies.
        difference: How far its logits are from those of the run's test table.
    """

    folder: Path
    difference: Difference


def export_run(
    run: Path,
    to: Path,
    *,
    fold: int | None = None,
    root: Path | None = None,
    study: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Exported:
    """Exports the model of a fold, once it says of the test clips what the run's table says.

    Args:
        run: What ``vaclip train`` wrote, or a job of a study.
        to: The folder to write; there must be none.
        fold: Which fold; None where the run has one.
        root: Where the study lies now; None for where the run found it.
        study: What ``vaclip study`` wrote, where the run is a job of it: the model card then has
            its verdict.
        progress: Called with (done, total) of the test clips.

    Raises:
        VaclipError: If the folder is there, the run has no such fold, its model cannot leave (see
            `open_fold`), or the exported one says something else of the test clips.
    """
    if to.exists():
        raise VaclipError(f"{to} is there already; name a new folder with --to")
    trained = open_fold(run, fold)
    with atomic_folder(to) as folder:
        write_programs(trained.network, _example(trained), folder)
        settings = model_settings(trained, content_digest(folder / ONNX))
        write_json(folder / SETTINGS, settings)
        shutil.copyfile(Path(__file__).with_name(RUNNER), folder / RUNNER)
        difference = table_difference(trained, folder, root, progress)
        write_papers(trained, settings, difference, folder, study)
    return Exported(to, difference)


def write_papers(
    trained: TrainedFold,
    settings: dict[str, Any],
    difference: Difference,
    folder: Path,
    study: Path | None = None,
) -> None:
    """Writes the model card and metadata.json of an exported folder.

    Args:
        trained: What was exported.
        settings: Of its model.json.
        difference: How far it is from the test table.
        folder: Where to.
        study: What ``vaclip study`` wrote, if the run is a job of it.
    """
    with progress_bar("Writing the model card") as progress:
        source, results = judged(trained, study, progress)
    text = card_text(trained, settings, difference, source, results)
    (folder / CARD).write_text(text, encoding="utf-8", newline="\n")
    write_json(folder / METADATA, bundle_metadata(trained, settings, results))


def model_settings(trained: TrainedFold, digest: str) -> dict[str, Any]:
    """Returns the content of model.json: all that ``predict.py`` must know, and whence it comes.

    Args:
        trained: What is exported.
        digest: SHA-256 of the ONNX file.
    """
    data, predictor, network = trained.predictor.data, trained.predictor, trained.network
    frozen = predictor.encoder.info if predictor.encoder else None
    encoder = trained.encoder
    return {
        "vaclip": vaclip.__version__,
        "study": read_json(trained.run / keys.STUDY_FILE, keys.STUDY_FILE)["name"],
        "arm": trained.arm,
        "fold": trained.fold,
        "seed": trained.config["seed"],
        "classes": predictor.classes,
        "fps": data["fps"],
        "frames": data["frames"],
        "stride": data["stride"],
        "every": trained.every,
        "size": frozen.size if frozen else data["size"],
        "mean": [float(own) for own in frozen.mean] if frozen else [MEAN] * 3,
        "std": [float(own) for own in frozen.std] if frozen else [STD] * 3,
        "temperature": 1.0,
        "needs_map": network.reads_map and network.model.diagnosis_needs_map,
        "map": {
            "channels": predictor.channels,
            "size": data["size"],
        }
        if network.reads_map
        else None,
        "predicted_map": network.gives_map,
        "encoder": encoder
        and {"source": encoder.name, "licence": encoder.licence, "hash": encoder.weights},
        "licences": {"predict.py": "Apache-2.0", "encoder": encoder and encoder.licence},
        "onnx_sha256": digest,
    }


def _example(trained: TrainedFold) -> list[torch.Tensor]:
    """Returns two blank segments, as the network is called."""
    settings = model_settings(trained, "")
    pictures = settings["frames"] // settings["every"]
    inputs = [torch.zeros(2, 3, pictures, *settings["size"])]
    if shape := settings["map"]:
        inputs.append(torch.zeros(2, shape["channels"], settings["frames"], *shape["size"]))
    return inputs
