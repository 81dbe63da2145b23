"""The CLIP objective between videos and attention maps, for cohorts where maps repeat.

Two choices make it. *Which pairs belong together* (`POSITIVES`) gives each pair an affinity y in
[0, 1] and says which pairs are compared at all; *the form* (`FORMS`) turns similarities and
affinities into a loss. Both are computed a few rows at a time, and over all processes without
ever holding all embeddings: the maps' go around in a ring.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from vaclip import keys
from vaclip.errors import VaclipError, did_you_mean
from vaclip.losses.pairs import (
    Block,
    PairFacts,
    compare_pairs,
    make_block,
    map_place,
    pad_rows,
    pair_affinities,
)
from vaclip.losses.processes import go_around, largest_over_processes, mean_over_processes

POSITIVES = ("paired", "same_map", "soft_map")
FORMS = ("softmax", "sigmoid")
SCALE_RANGE = (1.0, 100.0)
"""Of 1 / temperature; the upper end is CLIP's."""

Sums = tuple[Tensor, Tensor, Tensor]


class ClipLoss(nn.Module):
    """Contrasts every video with every map of the batch, on all processes.

    With similarities s_ij = <v_i, a_j> / temperature, affinities y_ij and the candidates C_i
    (the valid rows j, without other rows of i's patient that are not its positives):

    - ``softmax``: CE_i = -sum_j q_ij log softmax_{j in C_i}(s_ij), q_ij = y_ij / sum_{C_i} y_ij;
      the mean over rows i, and over both directions (video to map, map to video).
      With ``paired`` it is CLIP (Radford et al. 2021, figure 3), with ``same_map`` the mean
      over positives of the log-likelihood (SupCon, Khosla et al. 2020, eq. 2; UniCL, Yang et
      al. 2022), with ``soft_map`` it has soft targets as SoftCLIP (Gao et al. 2024), here from
      the maps alone.
    - ``sigmoid``: B_i = sum_{j in C_i} BCE(sigmoid(s_ij + bias), y_ij); the mean over rows i.
      With ``paired`` it is SigLIP (Zhai et al. 2023, algorithm 1).

    The affinities: ``paired`` y_ij = [i = j]; ``same_map`` y_ij = [map_i = map_j];
    ``soft_map`` y_ij = exp((cos(map_i, map_j) - 1) / soft_temperature).

    A row with no negative among its candidates (a candidate of another identity) is left out.

    Args:
        positives: One of `POSITIVES`.
        form: One of `FORMS`.
        temperature: Where it starts; 1 / temperature is kept within `SCALE_RANGE`.
        learn_temperature: Whether it is learned.
        bias: Where the learned bias of ``sigmoid`` starts.
        soft_temperature: Of ``soft_map``.
        mask_same_patient: Whether rows of one patient are no negatives of each other; they stay
            positives where they have the same map, unless ``paired``.
        chunk: Rows whose similarities exist at a time, so that memory grows with chunk x M.

    Raises:
        VaclipError: If a name is unknown or the temperature out of range.

    Examples:
        >>> import torch
        >>> embed = torch.eye(3)
        >>> facts = PairFacts(torch.ones(3).bool(), torch.tensor([0, 0, 1]), torch.arange(3))
        >>> terms = ClipLoss("same_map")(embed, embed, facts)
        >>> {name: round(value.item(), 3) for name, value in terms.items()}
        {'clip': 4.762, 'clip_negatives': 1.333, 'clip_rows_skipped': 0.0, 'clip_temperature': 0.07}
    """

    def __init__(
        self,
        positives: str = "paired",
        form: str = "softmax",
        *,
        temperature: float = 0.07,
        learn_temperature: bool = True,
        bias: float = -10.0,
        soft_temperature: float = 0.1,
        mask_same_patient: bool = True,
        chunk: int = 1024,
    ) -> None:
        super().__init__()
        for key, name, known in (
            ("loss.clip_positives", positives, POSITIVES),
            ("loss.clip_loss", form, FORMS),
        ):
            if name not in known:
                raise VaclipError(
                    f"{key} is '{name}'; use one of {', '.join(known)}.{did_you_mean(name, known)}"
                )
        lowest, highest = (1 / scale for scale in reversed(SCALE_RANGE))
        if not lowest <= temperature <= highest:
            raise VaclipError(
                f"loss.clip_temperature is {temperature}; use {lowest:g} to {highest:g}"
            )
        self.positives = positives
        self.form = form
        self.soft_temperature = soft_temperature
        self.mask_same_patient = mask_same_patient
        self.chunk = chunk
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)), learn_temperature)
        self.bias = nn.Parameter(torch.tensor(float(bias)), form == "sigmoid")

    def pair_facts(
        self, valid: Tensor, map_id: Tensor, patient: Tensor, attn_map: Tensor
    ) -> PairFacts:
        """Returns what this loss needs to know of the rows of a batch, each (B, ...)."""
        place = map_place(attn_map) if self.positives == "soft_map" else None
        return PairFacts(valid, map_id, patient, place)

    def forward(
        self, video_embed: Tensor, attn_embed: Tensor, facts: PairFacts
    ) -> dict[str, Tensor]:
        """Computes the term.

        Args:
            video_embed: (B, E), unit length.
            attn_embed: (B, E), unit length.
            facts: Of these B rows, ``identity`` being the map's.

        Returns:
            Scalars: `keys.LOSS_CLIP`, and to be logged `keys.CLIP_NEGATIVES` (a row),
            `keys.CLIP_SKIPPED` (share of rows), `keys.CLIP_TEMPERATURE`, `keys.CLIP_BIAS`. On
            several processes each but the last two averages over them to the value for all.
        """
        with torch.no_grad():
            self.log_scale.clamp_(*map(math.log, SCALE_RANGE))
        scale = self.log_scale.exp()
        learning = torch.is_grad_enabled()  # which is off within the function itself
        total, negatives, counted = _RingSum.apply(
            self._sums, facts, learning, video_embed, attn_embed, scale, self.bias
        )
        size = torch.full_like(counted, len(video_embed))
        logged = {
            keys.CLIP_NEGATIVES: mean_over_processes(negatives, counted),
            keys.CLIP_SKIPPED: mean_over_processes(size - counted, size),
            keys.CLIP_TEMPERATURE: 1 / scale.detach(),
        }
        if self.form == "sigmoid":
            logged[keys.CLIP_BIAS] = self.bias.detach()
        return {keys.LOSS_CLIP: mean_over_processes(total, counted), **logged}

    def _sums(
        self,
        facts: PairFacts,
        learning: bool,
        video: Tensor,
        attn: Tensor,
        scale: Tensor,
        bias: Tensor,
    ) -> tuple[Sums, list[Tensor]]:
        """Returns sums over the own rows (the term, negatives, rows that count), and gradients.

        The gradients are everyone's with respect to the own embeddings, and the own rows' with
        respect to scale and bias; none unless ``learning``.
        """
        rows = len(video)
        size = largest_over_processes(rows, video.device)
        own = make_block(attn, facts, size, paired=self.positives == "paired")
        queries = scale * pad_rows(video, size)
        negatives, norms = self._normalise(queries, own)
        total, grads = self._contrast(queries, own, norms, bias, learning)
        counted = norms.weight > 0
        if self.form == "softmax":  # the mean of both directions
            total = (total + (norms.row + norms.column)[counted].sum()) / 2
            for grad in grads:
                grad.div_(2)
        if grads:
            grad_queries, grad_attn, grad_bias = grads
            grad_scale = (grad_queries * queries).sum() / scale
            grads = [grad_queries[:rows].mul_(scale), grad_attn[:rows], grad_scale, grad_bias]
        return (total, negatives.sum().to(total.dtype), counted.sum().to(total.dtype)), grads

    def _normalise(self, queries: Tensor, own: Block) -> tuple[Tensor, _Norms]:
        """Goes around once, for the negatives of each own row, and what its errors need of all."""
        negatives = torch.zeros_like(own.number)
        affinities = queries.new_zeros(len(queries))
        row = queries.new_full((len(queries),), -torch.inf)

        def visit(block: Sequence[Tensor], carried: Sequence[Tensor]) -> None:
            other = Block(*block)
            for rows, candidate, positive in self._compare(own, other):
                negatives[rows] += (candidate & ~positive).sum(dim=1)
                if self.form == "softmax":
                    affinity = self._affinity(own.take(rows), other, candidate, positive)
                    affinities[rows] += affinity.sum(dim=1)
                    similarity = queries[rows] @ other.attn.T
                    similarity.masked_fill_(~candidate, -torch.inf)
                    row[rows] = row[rows].logaddexp(similarity.logsumexp(dim=1))
                    carried[0].copy_(carried[0].logaddexp(similarity.logsumexp(dim=0)))

        (column,) = go_around(own.tensors(), [row.clone()], visit)
        counted = negatives > 0
        weight = counted / affinities if self.form == "softmax" else counted.to(queries.dtype)
        # Without a probability and a weight, a row that is left out has no error and no slope.
        return negatives, _Norms(
            weight.masked_fill(~counted, 0.0),
            row.masked_fill(~counted, torch.inf),
            column.masked_fill(~counted, torch.inf),
        )

    def _contrast(
        self, queries: Tensor, own: Block, norms: _Norms, bias: Tensor, learning: bool
    ) -> tuple[Tensor, list[Tensor]]:
        """Goes around once more, for the errors and their slopes to queries, maps and bias."""
        total, grad_bias = queries.new_zeros(()), torch.zeros_like(bias)
        grad_queries = torch.zeros_like(queries)

        def visit(block: Sequence[Tensor], carried: Sequence[Tensor]) -> None:
            theirs, other = _Norms(*block[:3]), Block(*block[3:])
            for rows, candidate, positive in self._compare(own, other):
                affinity = self._affinity(own.take(rows), other, candidate, positive)
                similarity = queries[rows] @ other.attn.T
                if self.form == "softmax":
                    error, slope = _softmax(
                        similarity, candidate, affinity, norms.take(rows), theirs
                    )
                else:
                    weight = candidate * norms.weight[rows, None]
                    error, slope = _sigmoid(similarity + bias, affinity, weight)
                total.add_(error)
                if learning:
                    grad_queries[rows] += slope @ other.attn
                    carried[0].addmm_(slope.T, queries[rows])
                    grad_bias.add_(slope.sum())

        carried = [torch.zeros_like(own.attn)] if learning else []
        carried = go_around([*norms, *own.tensors()], carried, visit)
        return total, [grad_queries, *carried, grad_bias] if learning else []

    def _compare(self, own: Block, other: Block) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Yields some own rows at a time, with `compare_pairs` of theirs."""
        for start in range(0, len(own.attn), self.chunk):
            rows = slice(start, start + self.chunk)
            yield rows, *compare_pairs(own.take(rows), other, self.mask_same_patient)

    def _affinity(self, own: Block, other: Block, *pairs: Tensor) -> Tensor:
        return pair_affinities(own, other, *pairs, self.soft_temperature)


class _Norms(NamedTuple):
    """What the errors of N rows are divided by.

    Attributes:
        weight: (N,) 1 / sum of affinities, for ``sigmoid`` 1; 0 for a row that is left out.
        row: (N,) log of the softmax's denominator, of each video over all maps.
        column: (N,) the same of each map over all videos.
    """

    weight: Tensor
    row: Tensor
    column: Tensor

    def take(self, rows: slice) -> _Norms:
        return _Norms(*(tensor[rows] for tensor in self))


def _softmax(
    similarity: Tensor, candidate: Tensor, affinity: Tensor, rows: _Norms, columns: _Norms
) -> tuple[Tensor, Tensor]:
    """Returns the cross-entropies of both directions, and their slope to each similarity.

    The logs of the denominators are missing from the sum, for each is of a whole row. The
    similarities are used up.
    """
    target = affinity * (rows.weight[:, None] + columns.weight)
    error = -(target * similarity).sum()
    similarity.masked_fill_(~candidate, -torch.inf)
    slope = (similarity - rows.row[:, None]).exp_()
    slope += similarity.sub_(columns.column).exp_()
    return error, slope.sub_(target)


def _sigmoid(logits: Tensor, affinity: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the weighted binary cross-entropy and its slope to each logit."""
    error = F.binary_cross_entropy_with_logits(logits, affinity, weight=weight, reduction="sum")
    return error, logits.sigmoid().sub_(affinity).mul_(weight)


class _RingSum(torch.autograd.Function):
    """Takes the gradient as the sum is computed: the backward pass only scales.

    The gradient with respect to the embeddings is small and the graph of all similarities is not,
    and by then the rows of other processes have gone on.
    """

    @staticmethod
    def forward(
        ctx: Any,
        compute: Callable[..., tuple[Sums, list[Tensor]]],
        facts: PairFacts,
        learning: bool,
        *inputs: Tensor,
    ) -> Sums:
        sums, grads = compute(facts, learning and any(ctx.needs_input_grad[3:]), *inputs)
        ctx.save_for_backward(*grads)
        ctx.mark_non_differentiable(*sums[1:])
        return sums

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_total: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, None, *(grad_total * grad for grad in ctx.saved_tensors)
