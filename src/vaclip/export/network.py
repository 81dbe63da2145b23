"""The networks that leave: from normalised pictures, and a map where one is read, to logits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaclip import keys
from vaclip.errors import VaclipError
from vaclip.features import EncoderInfo, FrozenEncoder
from vaclip.features.finetune import FinetunedFeatures

if TYPE_CHECKING:
    from vaclip.runs.predict import Predictor

VIDEO, VIDEO_TOKENS, ATTN_MAP, PICTURES = "video", "video_tokens", "attn_map", "pictures"
"""Names of the inputs."""
LOGITS, PREDICTED_MAP, TOKENS = "logits", "predicted_map", "tokens"
"""Names of the outputs."""


class TokenEncoder(nn.Module):
    """A frozen encoder whose tokens are as `vaclip.features.cache` keeps them.

    Args:
        encoder: Which one; its weights are loaded.
        grid: (H', W') that tokens are averaged to.
    """

    def __init__(self, encoder: FrozenEncoder, grid: tuple[int, int]) -> None:
        super().__init__()
        self.network, self.window, self.grid = encoder.network(), encoder.info.window, grid
        self.training = False  # as the network is; an exported one cannot be asked to

    def forward(self, pictures: Tensor) -> Tensor:
        """Encodes pictures (N, 3, H, W), or windows (N, 3, window, H, W), normalised.

        Returns:
            (M, D, H', W') in the order of time, rounded to float16.
        """
        tokens = self.network(pictures)
        if self.window > 1:
            tokens = tokens.transpose(1, 2).flatten(0, 1)
        return F.adaptive_avg_pool2d(tokens, self.grid).half().float()


class ExportedNetwork(nn.Module):
    """Guidance and diagnosis, and before them the encoder, unless it stays apart.

    A mean map that the model was trained to be guided by is part of it.

    Args:
        predictor: The trained model.
        encoder: Frozen, of single pictures; None where the model reads pixels, or tokens that
            are made elsewhere.

    Raises:
        VaclipError: If it reads no video.
    """

    prior: Tensor | None

    def __init__(self, predictor: Predictor, encoder: TokenEncoder | None = None) -> None:
        super().__init__()
        self.model = predictor.model
        if self.model.classifier_source == "attn":
            raise VaclipError(
                f"{predictor.checkpoint} diagnoses from the clinician's map alone, which is a "
                "control of a study and reads no video; export an arm that does"
            )
        self.encoder = encoder
        prior = None
        if predictor.map_choices == ("prior",):
            assert predictor.prior is not None
            still = torch.tensor(predictor.prior)[None, :, None].float() / 255
            prior = still.repeat(1, 1, predictor.data["frames"], 1, 1)
        self.register_buffer("prior", prior)
        self.model.eval()
        self.training = False

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
            video: (S, 3, T, H, W), normalised; tokens (S, D, T', H', W') of an encoder apart.
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
        """Returns (S, D, T', H', W') of the encoder within."""
        assert self.encoder is not None
        tokens = self.encoder(video.transpose(1, 2).flatten(0, 1))
        return tokens.unflatten(0, (-1, video.shape[2])).transpose(1, 2)


def encoder_info(predictor: Predictor) -> EncoderInfo | None:
    """Returns whose weights a model takes over, frozen or trained along; None for nobody's."""
    if predictor.encoder is not None:
        return predictor.encoder.info
    own = predictor.model.video_encoder
    return own.info if isinstance(own, FinetunedFeatures) else None
