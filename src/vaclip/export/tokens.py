"""How far a frozen encoder explains that exported logits differ: its tokens are rounded.

A run on frozen features reads tokens from a cache of float16. Two programs that add the same
numbers in another order differ by about 1e-6 of the largest token, so that here and there one
rounds up and the other down: by 5e-4 of the token.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray

from vaclip.export.network import TOKENS

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # else ONNX Runtime reports its use
import onnxruntime

TOLERANCE: Final = 1e-4
"""Of logits."""
_NOISE: Final = 1e-5
"""Of a clip's largest token: what single precision may differ by."""
_HALF_STEP: Final = 2.0**-10
"""Of a number: the farthest neighbour in float16."""


@dataclass(frozen=True)
class Rounding:
    """What is left where rounding cannot differ.

    Attributes:
        on_tokens: The largest |difference of logits| on the tokens that the exported encoder gives.
        neighbours: Whether each of these is that of torch, or its neighbour in float16.
    """

    on_tokens: float = 0.0
    neighbours: bool = True

    @property
    def alone(self) -> bool:
        """Whether rounding alone makes a difference."""
        return self.neighbours and self.on_tokens < TOLERANCE

    def and_of(
        self,
        tokens: NDArray[np.float32],
        by_torch: NDArray[np.float32],
        logits: NDArray[np.float32],
        read_by_torch: NDArray[np.float32],
    ) -> Rounding:
        """Returns what is left with a further clip.

        Args:
            tokens: (S, D, T', H', W') of the exported encoder.
            by_torch: The same of torch's.
            logits: (S, K) that the exported network gives of ``tokens``.
            read_by_torch: The same of torch's.
        """
        apart = np.abs(read_by_torch - logits).max()
        return Rounding(
            float(np.maximum(self.on_tokens, apart)),  # NaN stays
            self.neighbours and neighbours(tokens, by_torch),
        )


def neighbours(found: NDArray[np.float32], own: NDArray[np.float32]) -> bool:
    """Whether tokens are others', or their neighbours in float16."""
    return np.allclose(found, own, rtol=_HALF_STEP, atol=_NOISE * float(np.abs(own).max()))


def onnx_session(path: Path) -> Any:
    """Opens an ONNX file."""
    return onnxruntime.InferenceSession(str(path))


def session_with_tokens(path: Path) -> Any:
    """Opens a network that holds its encoder; the tokens (S T', D, H', W') are its last output."""
    model = onnx.load(path)
    (rounded,) = (
        node.output[0]
        for node in model.graph.node
        if node.op_type == "Cast" and node.attribute[0].i == onnx.TensorProto.FLOAT16
    )
    to_float = onnx.helper.make_node("Cast", [rounded], [TOKENS], to=onnx.TensorProto.FLOAT)
    model.graph.node.append(to_float)
    model.graph.output.append(
        onnx.helper.make_tensor_value_info(TOKENS, onnx.TensorProto.FLOAT, None)
    )
    return onnxruntime.InferenceSession(model.SerializeToString())
