"""How far a frozen encoder explains that exported logits differ: its tokens are rounded.

A run on frozen features reads tokens from a cache of float16. Two programs that add the same
numbers in another order differ by about 1e-6 of the largest token, so that here and there one
rounds up and the other down: by 5e-4 of the token.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from vaclip.export.folder import ONNX
from vaclip.export.network import ATTN_MAP, LOGITS, VIDEO, ExportedNetwork

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # else ONNX Runtime reports its use
import onnxruntime

TOLERANCE: Final = 1e-4
"""Of logits."""
_NOISE: Final = 1e-5
"""Of a clip's largest token: what single precision may differ by."""
_HALF_STEP: Final = 2.0**-10
"""Of a number: the farthest neighbour in float16."""
_TOKENS: Final = "tokens"


@dataclass(frozen=True)
class Rounding:
    """What is left where rounding cannot differ.

    Attributes:
        on_tokens: The largest |difference of logits| on the tokens that the exported encoder gives.
        neighbours: Whether each of these is that of torch, or its neighbour in float16.
    """

    on_tokens: float
    neighbours: bool

    @property
    def alone(self) -> bool:
        """Whether rounding alone makes a difference."""
        return self.neighbours and self.on_tokens < TOLERANCE


class TokenCheck:
    """Compares the halves of an exported network with torch's, before and behind its tokens.

    Args:
        network: With a frozen encoder.
        folder: The exported folder.
    """

    def __init__(self, network: ExportedNetwork, folder: Path) -> None:
        self.network = network
        self.found = Rounding(0.0, neighbours=True)
        model = onnx.load(folder / ONNX)
        (rounded,) = (
            node.output[0]
            for node in model.graph.node
            if node.op_type == "Cast" and node.attribute[0].i == onnx.TensorProto.FLOAT16
        )
        model.graph.node.append(onnx.helper.make_node("Identity", [rounded], [_TOKENS]))
        model.graph.output.append(
            onnx.helper.make_tensor_value_info(_TOKENS, onnx.TensorProto.FLOAT16, None)
        )
        self._session = onnxruntime.InferenceSession(model.SerializeToString())

    @torch.inference_mode()
    def add(self, segments: NDArray[np.float32], maps: NDArray[np.float32] | None) -> None:
        """Compares a clip's segments, (S, 3, T, H, W) and maps (S, C, T, H, W)."""
        inputs = {VIDEO: segments} | ({} if maps is None else {ATTN_MAP: maps})
        logits, tokens = self._session.run([LOGITS, _TOKENS], inputs)
        each = torch.from_numpy(tokens).float()  # (S T', D, H', W')
        own = self.network.tokens(torch.from_numpy(segments))
        given = each.unflatten(0, (len(segments), -1)).transpose(1, 2)
        near = torch.allclose(given, own, rtol=_HALF_STEP, atol=_NOISE * float(own.abs().max()))
        drawn = None if maps is None else torch.from_numpy(maps)
        read = self.network.read(given, drawn)[0].numpy()
        apart = np.abs(read - logits).max()
        self.found = Rounding(
            float(np.maximum(self.found.on_tokens, apart)),  # NaN stays
            self.found.neighbours and near,
        )
