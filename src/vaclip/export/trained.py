"""The fold of a run whose model leaves, and whether it may."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from vaclip import keys
from vaclip.errors import VaclipError
from vaclip.export.network import ExportedNetwork, TokenEncoder, encoder_info
from vaclip.features import EncoderInfo
from vaclip.features.base import UNTRAINED
from vaclip.runs.folder import checkpoint_path, fold_folder, read_config
from vaclip.runs.predict import Predictor, load_predictor

PASSED_ON: Final = (
    "Apache-2.0", "MIT", "BSD-2-Clause", "BSD-3-Clause", "ISC", "CC0-1.0", "CC-BY-4.0", UNTRAINED,
)  # fmt: skip
"""Licences under which weights of others are copied into an exported folder."""


@dataclass(frozen=True)
class TrainedFold:
    """A finished fold of a run.

    Attributes:
        run: The run folder.
        fold: Which fold.
        config: The settings of the run.
        predictor: Its chosen checkpoint.
        network: What is exported of it.
        encoder: Whose weights it takes over; None for nobody's.
        apart: The frozen encoder, where it is a file of its own; None where there is none, or
            the network holds it.
    """

    run: Path
    fold: int
    config: dict[str, Any]
    predictor: Predictor
    network: ExportedNetwork
    encoder: EncoderInfo | None
    apart: TokenEncoder | None = None

    @property
    def withheld(self) -> bool:
        """Whether the weights of the frozen encoder must not be passed on."""
        return self.encoder is not None and not may_be_passed_on(self.encoder)

    @property
    def folder(self) -> Path:
        """The folder of the fold."""
        return fold_folder(self.run, self.fold)

    @property
    def arm(self) -> str:
        """The name of the arm."""
        return str(self.config["arm"])

    @property
    def every(self) -> int:
        """The network sees every so many samples."""
        return self.predictor.tokens.every if self.predictor.tokens else 1

    @property
    def step(self) -> int:
        """What the network sees first covers so many samples: a picture, or a token."""
        tokens, frozen = self.predictor.tokens, self.predictor.encoder
        return tokens.step(frozen.info) if tokens and frozen else 1


def open_fold(run: Path, fold: int | None = None) -> TrainedFold:
    """Opens a finished fold.

    Args:
        run: The run folder.
        fold: Which; None where it has one.

    Raises:
        VaclipError: If there is no such fold, or its model cannot leave: it was trained or tested
            with control maps, reads no video, or trained along the weights of an encoder that
            may not be passed on.
    """
    config, fold = read_config(run), chosen_fold(run, fold)
    data = config["data"]
    if data["test_control"] not in (None, data["control"]) or data["test_noise"]:
        raise VaclipError(
            f"{run} was tested with other maps than it would get in use (data.test_control, "
            "data.test_noise), so its test table says nothing of an exported model; export the arm "
            "itself"
        )
    predictor = load_predictor(checkpoint_path(fold_folder(run, fold), "best"))
    encoder = encoder_info(predictor)
    if encoder is None or predictor.encoder is None:
        if encoder is not None and not may_be_passed_on(encoder):
            raise VaclipError(
                f"the model trained the weights of {encoder.name} (hash {encoder.weights}) along, "
                f"whose licence is '{encoder.licence}': they are passed on only under one of "
                f"{', '.join(PASSED_ON)}. State the licence where the encoder says it "
                "(docs/features.md), or export a run with features.finetune=0, whose encoder "
                "stays apart"
            )
        return TrainedFold(run, fold, config, predictor, ExportedNetwork(predictor), encoder)
    assert predictor.tokens is not None
    tokens = TokenEncoder(predictor.encoder, predictor.tokens.grid or encoder.grid)
    # Windows of several samples count from the start of a clip, and a segment may begin in one.
    if may_be_passed_on(encoder) and encoder.window == 1:
        return TrainedFold(
            run, fold, config, predictor, ExportedNetwork(predictor, tokens), encoder
        )
    return TrainedFold(run, fold, config, predictor, ExportedNetwork(predictor), encoder, tokens)


def chosen_fold(run: Path, fold: int | None) -> int:
    """Returns the fold of a run that is asked for; None asks for its only one.

    Raises:
        VaclipError: If there is no such fold, or several where none is named.
    """
    finished = sorted(
        int(done.parent.name.removeprefix("fold_"))
        for done in run.glob(f"fold_*/{keys.FOLD_METRICS_FILE}")
        if checkpoint_path(done.parent, "best").is_file()
    )
    if not finished:
        raise VaclipError(
            f"{run} holds no finished fold; give the folder that `vaclip train` wrote, or a "
            "study's with --arm"
        )
    if fold is None and len(finished) > 1:
        raise VaclipError(f"{run} has a model of each fold; name one of {finished} with --fold")
    if fold is not None and fold not in finished:
        raise VaclipError(f"{run} has no finished fold {fold}; it has {finished}")
    return finished[0] if fold is None else fold


def may_be_passed_on(encoder: EncoderInfo) -> bool:
    """Whether the weights of an encoder are copied into an exported folder, see `PASSED_ON`."""
    return encoder.licence.lower() in {name.lower() for name in PASSED_ON}
