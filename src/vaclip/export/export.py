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
from vaclip.export.encoder import write_encoder
from vaclip.export.folder import CARD, ENCODER, METADATA, ONNX, RUNNER, SETTINGS
from vaclip.export.metadata import bundle_metadata
from vaclip.export.network import ATTN_MAP, LOGITS, PREDICTED_MAP, VIDEO, VIDEO_TOKENS
from vaclip.export.programs import write_programs
from vaclip.export.trained import TrainedFold, open_fold
from vaclip.features import EncoderInfo
from vaclip.files import atomic_folder, content_digest, read_json, write_json


@dataclass(frozen=True)
class Exported:
    """What was exported.

    Attributes:
        folder: Where it lies.
        difference: How far its logits are from those of the run's test table.
        lacks: The encoder that is not in it, for its licence, in words; None for none.
    """

    folder: Path
    difference: Difference
    lacks: str | None = None


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
        outputs = [LOGITS, PREDICTED_MAP][: 1 + trained.network.gives_map]
        write_programs(trained.network, _example(trained), outputs, folder)
        if trained.apart is not None:
            assert trained.encoder is not None
            write_encoder(trained.apart, trained.encoder, folder / ENCODER)
        settings = model_settings(trained, content_digest(folder / ONNX))
        write_json(folder / SETTINGS, settings)
        shutil.copyfile(Path(__file__).with_name(RUNNER), folder / RUNNER)
        difference = table_difference(trained, folder, root, progress)
        if trained.withheld:
            (folder / ENCODER).unlink()
        write_papers(trained, settings, difference, folder, study)
    lacks = trained.encoder.told if trained.encoder and trained.withheld else None
    return Exported(to, difference, lacks)


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
        "step": trained.step,
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
        "encoder": trained.encoder and _encoder_settings(trained, trained.encoder),
        "licences": {
            "predict.py": "Apache-2.0",
            "encoder": trained.encoder and trained.encoder.licence,
        },
        "onnx_sha256": digest,
    }


def _encoder_settings(trained: TrainedFold, encoder: EncoderInfo) -> dict[str, Any]:
    apart = trained.apart
    return {
        "source": encoder.name,
        "licence": encoder.licence,
        "hash": encoder.weights,
        "file": apart and ENCODER,
        "included": not trained.withheld,
        "window": encoder.window,
        "channels": encoder.channels,
        "grid": apart and list(apart.grid),
    }


def _example(trained: TrainedFold) -> dict[str, torch.Tensor]:
    """Returns two blank segments, as the network is called."""
    settings = model_settings(trained, "")
    length = settings["frames"] // settings["step"]
    if trained.apart is None:
        inputs = {VIDEO: torch.zeros(2, 3, length, *settings["size"])}
    else:
        channels = settings["encoder"]["channels"]
        inputs = {VIDEO_TOKENS: torch.zeros(2, channels, length, *trained.apart.grid)}
    if shape := settings["map"]:
        inputs[ATTN_MAP] = torch.zeros(2, shape["channels"], settings["frames"], *shape["size"])
    return inputs
