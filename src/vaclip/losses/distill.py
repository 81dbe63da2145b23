"""The distillation loss: the diagnosis should be that of a teacher who knows more."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vaclip.losses.processes import mean_over_processes


def distill_loss(logits: Tensor, teacher: Tensor, temperature: float = 2.0) -> Tensor:
    """T^2 KL(softmax(t / T) || softmax(s / T)), with s the logits and t the teacher's.

    After Hinton, Vinyals & Dean (2015), who let labels and such soft targets teach together. T^2
    keeps the size of the gradient whatever T is. A teacher that is shown what the model never is
    has privileged information (Lopez-Paz et al. 2016).

    Args:
        logits: (B, K).
        teacher: (B, K); no gradient reaches it.
        temperature: T.

    Returns:
        The mean over the segments (of all processes), not negative.
    """
    told = (teacher.detach() / temperature).log_softmax(dim=1)
    own = (logits / temperature).log_softmax(dim=1)
    divergence = F.kl_div(own, told, reduction="sum", log_target=True)
    count = torch.tensor(len(logits), device=logits.device)
    return temperature**2 * mean_over_processes(divergence, count)
