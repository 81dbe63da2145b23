"""The network that leaves: from normalised pictures, and a map where one is read, to logits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaclip import keys
from vaclip.errors import VaclipError
from vaclip.features import EncoderInfo
from vaclip.features.finetune import FinetunedFeatures

if TYPE_CHECKING:
    from vaclip.runs.predict import Predictor

VIDEO, ATTN_MAP = "video", "attn_map"
"""Names of the inputs."""
LOGITS, PREDICTED_MAP = "logits", "predicted_map"
"""Names of the outputs."""


class ExportedNetwork(nn.Module):
    """Encoder, guidance and diagnosis in one.

    A mean map that the model was trained to be guided by is part of it.

    Args:
        predictor: The trained model.

    Raises:
        VaclipError: If it reads no video, or tokens that no segment's pictures alone make.
    """

    prior: Tensor | None

    def __init__(self, predictor: Predictor) -> None:
        super().__init__()
        self.model = predictor.model
        if self.model.classifier_source == "attn":
            raise VaclipError(
                f"{predictor.checkpoint} diagnoses from the clinician's map alone, which is a "
                "control of a study and reads no video; export an arm that does"
            )
        self.encoder: nn.Module | None = None
        self.grid: tuple[int, int] | None = None
        if predictor.encoder is not None and predictor.tokens is not None:
            info = predictor.encoder.info
            if info.window > 1:
                raise VaclipError(
                    f"{info.name} sees {info.window} samples at a time, counted from the start of "
                    "a clip and not of a segment, so that no network of a segment gives the same; "
                    "export a run on an encoder of single pictures, such as lite0"
                )
            self.encoder = predictor.encoder.network()
            self.grid = predictor.tokens.grid or info.grid
        prior = None
        if predictor.map_choices == ("prior",):
            assert predictor.prior is not None
            still = torch.tensor(predictor.prior)[None, :, None].float() / 255
            prior = still.repeat(1, 1, predictor.data["frames"], 1, 1)
        self.register_buffer("prior", prior)
        self.eval()

    @property
    def reads_map(self) -> bool:
        """Whether a clinician's map is an input."""
        mixed = self.model.map_source == "mixed"
        return self.prior is None and (self.model.diagnosis_needs_map or mixed)

    @property
    def gives_map(self) -> bool:
        """Whether a predicted map is an output."""
        return self.model.map_head is not None

    def forward(self, video: Tensor, attn_map: Tensor | None = None) -> tuple[Tensor, ...]:
        """Runs segments.

        Args:
            video: (S, 3, T, H, W), normalised.
            attn_map: (S, C, T, H, W) in [0, 1]; blank where a segment has none.

        Returns:
            (S, K) logits, and (S, T', H', W') predicted maps where the model predicts them.
        """
        return self.read(video if self.encoder is None else self.tokens(video), attn_map)

    def read(self, seen: Tensor, attn_map: Tensor | None = None) -> tuple[Tensor, ...]:
        """Runs what comes behind a frozen encoder, or all where there is none; see `forward`."""
        if attn_map is None:
            blank = seen.new_zeros(1, 1, 1, 1, 1) if self.prior is None else self.prior
            attn_map = blank.expand(seen.shape[0], -1, -1, -1, -1)  # len() would fix the number
        valid = attn_map.amax(dim=(1, 2, 3, 4)) > 0
        outputs = self.model(seen, attn_map, valid, embed=False)
        if not self.gives_map:
            return (outputs[keys.LOGITS],)
        return outputs[keys.LOGITS], outputs[keys.PREDICTED_MAP][:, 0]

    def tokens(self, video: Tensor) -> Tensor:
        """Returns (S, D, T', H', W'), as `vaclip.features.cache` makes them and rounds them."""
        assert self.encoder is not None
        assert self.grid is not None
        tokens = self.encoder(video.transpose(1, 2).flatten(0, 1))
        kept = F.adaptive_avg_pool2d(tokens, self.grid).half().float()
        return kept.unflatten(0, (-1, video.shape[2])).transpose(1, 2)


def encoder_info(predictor: Predictor) -> EncoderInfo | None:
    """Returns whose weights a model takes over, frozen or trained along; None for nobody's."""
    if predictor.encoder is not None:
        return predictor.encoder.info
    own = predictor.model.video_encoder
    return own.info if isinstance(own, FinetunedFeatures) else None
