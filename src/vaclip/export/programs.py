"""The files that hold a network: ONNX, `torch.export`, and the weights as safetensors."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx_ir
import torch
from onnxscript import opset18
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from vaclip.errors import VaclipError
from vaclip.export.folder import ONNX, PROGRAM, WEIGHTS
from vaclip.metrics.functional import FloatArray

_OP: Any = opset18  # its types know no tensor of onnx_ir


def write_programs(
    network: nn.Module, inputs: Mapping[str, Tensor], outputs: Sequence[str], folder: Path
) -> None:
    """Writes the three files; the programs take any number of segments.

    Args:
        network: What is written.
        inputs: By name, in the order in which the network takes them; two segments or more.
        outputs: Names of what it gives.
        folder: Where to.

    Raises:
        VaclipError: If torch cannot export the network, as it may one of a package.
    """
    program = write_onnx(network, inputs, outputs, folder / ONNX)
    with _quiet():
        torch.export.save(program, folder / PROGRAM)
    weights = {name: value.contiguous() for name, value in network.state_dict().items()}
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    (folder / WEIGHTS).chmod(0o644)  # it is written for its owner alone


@torch.no_grad()
def write_onnx(
    network: nn.Module, inputs: Mapping[str, Tensor], outputs: Sequence[str], path: Path
) -> ExportedProgram:
    """Writes a network as ONNX alone; see `write_programs`.

    Returns:
        What `torch.export` made of it on the way.
    """
    try:
        with _quiet():
            program = torch.export.export(
                network,
                tuple(inputs.values()),
                dynamic_shapes=tuple({0: Dim.DYNAMIC} for _ in inputs),
            )
            written = torch.onnx.export(
                program,
                dynamo=True,
                input_names=list(inputs),
                output_names=list(outputs),
                custom_translation_table=_TRANSLATED,
                verbose=False,
            )
    except RuntimeError as error:  # also of Dynamo and of the translation to ONNX
        reason = " ".join(str(error).split("\n")[:2])
        raise VaclipError(
            f"torch cannot export this network for any number of segments: {reason} (In a network "
            "of your own, tensor.shape[0] stays open, and len(tensor) does not.)"
        ) from error
    assert written is not None
    written.save(path, external_data=False)
    return program


@contextmanager
def _quiet() -> Generator[None]:
    """Keeps what torch and onnxscript say of their own inner works from the user."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def cell_shares(size: int, cells: int) -> FloatArray:
    """Returns (size, cells): how much each place counts in the mean of each cell.

    As `torch.nn.functional.adaptive_avg_pool1d` lays the cells, which may overlap.

    Examples:
        >>> cell_shares(3, 2)
        array([[0.5, 0. ],
               [0.5, 0.5],
               [0. , 0.5]], dtype=float32)
    """
    shares = np.zeros((size, cells), np.float32)
    for cell in range(cells):
        first, end = cell * size // cells, -(-(cell + 1) * size // cells)
        shares[first:end, cell] = 1 / (end - first)
    return shares


def _averaged(pictures: Any, output_size: Sequence[int], equation: str) -> Any:
    sizes = pictures.shape[2:]
    shares = [
        _OP.Constant(value=onnx_ir.tensor(cell_shares(size, int(cells))))
        for size, cells in zip(sizes, output_size, strict=True)
    ]
    return _OP.Einsum(pictures, *shares, equation=equation)


def _averaged_2d(pictures: Any, output_size: Sequence[int]) -> Any:
    return _averaged(pictures, output_size, "scyx,yh,xw->schw")


def _averaged_3d(pictures: Any, output_size: Sequence[int]) -> Any:
    return _averaged(pictures, output_size, "sctyx,td,yh,xw->scdhw")


# ONNX has no such layer, and torch translates it only where it averages everything.
_TRANSLATED: Final[dict[Any, Any]] = {
    torch.ops.aten.adaptive_avg_pool2d.default: _averaged_2d,
    torch.ops.aten.adaptive_avg_pool3d.default: _averaged_3d,
}
