"""The training loss: named terms and their weighted sum."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaclip import keys
from vaclip.losses.contrastive import ClipLoss
from vaclip.losses.distill import distill_loss
from vaclip.losses.map import map_loss
from vaclip.losses.pairs import PairFacts
from vaclip.losses.processes import mean_over_processes
from vaclip.losses.token import token_loss


class CompositeLoss(nn.Module):
    """CE + ``clip_weight`` CLIP + ``lambda_token`` token + ``lambda_map`` map + distillation.

    A term of weight 0 is not computed. Each term is the mean over the rows of all processes.

    Args:
        clip_weight: Weight of the CLIP term.
        lambda_token: Weight of the token term.
        clip: The CLIP term; None for one with its defaults.
        class_weight: (K,) weight of the CE of each class, 1 on average over what is trained on;
            None: 1 for each.
        label_smoothing: Share of a label that CE spreads evenly over all classes.
        lambda_map: Weight of the map term.
        lambda_map_cc: Weight of the correlation within it, see `map_loss`.
        lambda_distill: Weight of the distillation term.
        distill_temperature: See `distill_loss`.
    """

    class_weight: Tensor | None

    def __init__(
        self,
        clip_weight: float = 1.0,
        lambda_token: float = 0.0,
        clip: ClipLoss | None = None,
        *,
        class_weight: Tensor | None = None,
        label_smoothing: float = 0.0,
        lambda_map: float = 0.0,
        lambda_map_cc: float = 1.0,
        lambda_distill: float = 0.0,
        distill_temperature: float = 2.0,
    ) -> None:
        super().__init__()
        self.clip_weight = clip_weight
        self.lambda_token = lambda_token
        self.label_smoothing = label_smoothing
        # Of training alone: a checkpoint needs none.
        self.register_buffer("class_weight", class_weight, persistent=False)
        self.lambda_map = lambda_map
        self.lambda_map_cc = lambda_map_cc
        self.lambda_distill = lambda_distill
        self.distill_temperature = distill_temperature
        self.clip = ClipLoss() if clip is None else clip
        if not clip_weight:
            self.clip.requires_grad_(False)

    def forward(
        self,
        outputs: dict[str, Tensor],
        label: Tensor,
        facts: PairFacts | None = None,
        token_map: tuple[Tensor, Tensor] | None = None,
        teacher: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Computes the terms.

        Args:
            outputs: Of the model.
            label: (B,) int64.
            facts: Which pairs belong together, see `ClipLoss.pair_facts`; needed where
                ``clip_weight`` is not 0.
            token_map: The map on the token grid and which segments it informs, as `token_loss`
                and `map_loss` take them; needed where ``lambda_token`` or ``lambda_map`` is not 0.
            teacher: (B, K) logits of a teacher; needed in training where ``lambda_distill`` is not
                0. A teacher speaks of training segments alone: else the term is left out.

        Returns:
            Scalars by the names of `vaclip.keys`; `keys.LOSS_TOTAL` is the one to minimise.
        """
        count = torch.tensor(len(label), device=label.device)
        errors = F.cross_entropy(
            outputs[keys.LOGITS],
            label,
            weight=self.class_weight,
            reduction="sum",
            label_smoothing=self.label_smoothing,
        )
        terms = {keys.LOSS_CE: mean_over_processes(errors, count)}
        total = terms[keys.LOSS_CE]
        if self.clip_weight:
            if facts is None:
                raise ValueError("the CLIP term needs facts")
            terms |= self.clip(outputs[keys.VIDEO_EMBED], outputs[keys.ATTN_EMBED], facts)
            total = total + self.clip_weight * terms[keys.LOSS_CLIP]
        if self.lambda_token:
            if token_map is None:
                raise ValueError("the token term needs token_map")
            terms[keys.LOSS_TOKEN] = token_loss(outputs[keys.VIDEO_TOKENS], *token_map)
            total = total + self.lambda_token * terms[keys.LOSS_TOKEN]
        if self.lambda_map:
            if token_map is None:
                raise ValueError("the map term needs token_map")
            predicted = outputs[keys.PREDICTED_MAP]
            terms[keys.LOSS_MAP] = map_loss(predicted, *token_map, self.lambda_map_cc)
            total = total + self.lambda_map * terms[keys.LOSS_MAP]
        if self.lambda_distill and (self.training or teacher is not None):
            if teacher is None:
                raise ValueError("the distillation term needs teacher")
            terms[keys.LOSS_DISTILL] = distill_loss(
                outputs[keys.LOGITS], teacher, self.distill_temperature
            )
            total = total + self.lambda_distill * terms[keys.LOSS_DISTILL]
        return {**terms, keys.LOSS_TOTAL: total}
