"""The training loss: named terms and their weighted sum."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from vaclip import keys
from vaclip.losses.contrastive import clip_loss
from vaclip.losses.token import token_loss


class CompositeLoss(nn.Module):
    """CE + ``clip_weight`` * CLIP + ``lambda_token`` * token.

    A term of weight 0 is not computed.

    Args:
        clip_weight: Weight of the CLIP term.
        lambda_token: Weight of the token term.
        clip_temperature: Temperature of the CLIP term.
    """

    def __init__(
        self, clip_weight: float = 1.0, lambda_token: float = 0.0, clip_temperature: float = 0.07
    ) -> None:
        super().__init__()
        self.clip_weight = clip_weight
        self.lambda_token = lambda_token
        self.clip_temperature = clip_temperature

    def forward(
        self,
        outputs: dict[str, Tensor],
        label: Tensor,
        attn_valid: Tensor,
        token_map: tuple[Tensor, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Computes the terms.

        Args:
            outputs: Of the model.
            label: (B,) int64.
            attn_valid: (B,) bool.
            token_map: The map on the token grid and which segments it informs, as
                `token_loss` takes them; needed where ``lambda_token`` is not 0.

        Returns:
            Scalars by the names of `vaclip.keys`; `keys.LOSS_TOTAL` is the one to minimise.
        """
        terms = {keys.LOSS_CE: F.cross_entropy(outputs[keys.LOGITS], label)}
        total = terms[keys.LOSS_CE]
        if self.clip_weight:
            terms[keys.LOSS_CLIP] = clip_loss(
                outputs[keys.VIDEO_EMBED],
                outputs[keys.ATTN_EMBED],
                attn_valid,
                self.clip_temperature,
            )
            total = total + self.clip_weight * terms[keys.LOSS_CLIP]
        if self.lambda_token:
            if token_map is None:
                raise ValueError("the token term needs token_map")
            terms[keys.LOSS_TOKEN] = token_loss(outputs[keys.VIDEO_TOKENS], *token_map)
            total = total + self.lambda_token * terms[keys.LOSS_TOKEN]
        return {**terms, keys.LOSS_TOTAL: total}
