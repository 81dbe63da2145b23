"""The CLIP objective between videos and attention maps, for cohorts where maps repeat.

Two choices make it. *Which pairs belong together* (`POSITIVES`) gives each pair an affinity y in
[0, 1] and says which pairs are compared at all; *the form* (`FORMS`) turns similarities and
affinities into a loss. Both are computed a few rows at a time and over all processes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from vaclip import keys
from vaclip.errors import VaclipError, did_you_mean
from vaclip.losses.processes import gather_rows, mean_over_processes

POSITIVES = ("paired", "same_map", "soft_map")
FORMS = ("softmax", "sigmoid")
SCALE_RANGE = (1.0, 100.0)
"""Of 1 / temperature; the upper end is CLIP's."""
_GRID = 8

Unit = tuple[bool, slice]
Sums = tuple[Tensor, Tensor, Tensor]


class PairFacts(NamedTuple):
    """What decides about pairs, for M rows.

    Attributes:
        valid: (M,) bool; a row without a valid map takes part in no pair.
        identity: (M,) int64; equal for rows that are each other's positives.
        patient: (M,) int64.
        place: (M, P) of unit length: where each map is, see `map_place`; for ``soft_map``.
    """

    valid: Tensor
    identity: Tensor
    patient: Tensor
    place: Tensor | None = None


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
        embeds, own = gather_rows(torch.cat([video_embed, attn_embed], dim=1))
        video, attn = embeds.chunk(2, dim=1)
        facts = _gather_facts(facts)
        if self.positives == "paired":
            facts = facts._replace(identity=torch.arange(len(embeds), device=embeds.device))

        # (video to map?, rows), a unit of work each.
        ways = (True,) if self.form == "sigmoid" else (True, False)
        starts = range(own.start, own.stop, self.chunk)
        units = [
            (way, slice(start, min(start + self.chunk, own.stop)))
            for way in ways
            for start in starts
        ]

        def term(unit: Unit, video: Tensor, attn: Tensor, scale: Tensor, bias: Tensor) -> Sums:
            queries, columns = (video, attn) if unit[0] else (attn, video)
            return self._rows(unit[1], queries, columns, scale, bias, facts)

        # Each counts every direction, and so does `size`: the ratios below are those of rows.
        learning = torch.is_grad_enabled()  # which is off within the function itself
        total, negatives, counted = _ChunkedSum.apply(
            term, units, learning, video, attn, scale, self.bias
        )
        size = torch.full_like(counted, len(ways) * len(video_embed))
        logged = {
            keys.CLIP_NEGATIVES: mean_over_processes(negatives, counted),
            keys.CLIP_SKIPPED: mean_over_processes(size - counted, size),
            keys.CLIP_TEMPERATURE: 1 / scale.detach(),
        }
        if self.form == "sigmoid":
            logged[keys.CLIP_BIAS] = self.bias.detach()
        return {keys.LOSS_CLIP: mean_over_processes(total, counted), **logged}

    def _rows(
        self,
        rows: slice,
        queries: Tensor,
        columns: Tensor,
        scale: Tensor,
        bias: Tensor,
        facts: PairFacts,
    ) -> Sums:
        """Returns sums over some rows of one direction: the term, negatives, rows that count."""
        candidate, positive = self._pairs(rows, facts)
        negatives = (candidate & ~positive).sum(dim=1)
        keep = negatives > 0
        candidate = candidate[keep]
        affinity = self._affinity(rows, keep, positive[keep], facts).to(queries.dtype) * candidate
        similarity = scale * queries[rows][keep] @ columns.T
        if self.form == "sigmoid":
            errors = F.binary_cross_entropy_with_logits(
                similarity + bias, affinity, weight=candidate.to(queries.dtype), reduction="sum"
            )
        else:
            normaliser = similarity.masked_fill(~candidate, -torch.inf).logsumexp(dim=1)
            attracted = (affinity * similarity).sum(dim=1) / affinity.sum(dim=1)
            errors = (normaliser - attracted).sum()
        return errors, negatives.sum(), keep.sum()

    def _pairs(self, rows: slice, facts: PairFacts) -> tuple[Tensor, Tensor]:
        """Returns which pairs of (some rows, all rows) are compared, and which belong together."""
        positive = facts.identity[rows, None] == facts.identity
        candidate = facts.valid[rows, None] & facts.valid
        if self.mask_same_patient:
            candidate &= positive | (facts.patient[rows, None] != facts.patient)
        return candidate, positive

    def _affinity(self, rows: slice, keep: Tensor, positive: Tensor, facts: PairFacts) -> Tensor:
        if facts.place is None:
            return positive
        cosine = facts.place[rows][keep] @ facts.place.T
        affinity = ((cosine - 1) / self.soft_temperature).exp().clamp_max(1.0)
        own = torch.arange(len(facts.place), device=cosine.device)[rows][keep]
        return affinity.scatter(1, own[:, None], 1.0)  # also where a map is empty


def map_place(attn_map: Tensor) -> Tensor:
    """Returns where maps are: their mean over time on an 8 x 8 grid, of unit length.

    Args:
        attn_map: (B, C, T, H, W) in [0, 1].

    Returns:
        (B, C * 64); the product of two rows is the cosine of their maps, in [0, 1].
    """
    return F.normalize(F.adaptive_avg_pool3d(attn_map, (1, _GRID, _GRID)).flatten(1), dim=1)


def _gather_facts(facts: PairFacts) -> PairFacts:
    numbers = torch.stack([facts.valid.long(), facts.identity, facts.patient], dim=1)
    valid, identity, patient = gather_rows(numbers)[0].unbind(dim=1)
    place = None if facts.place is None else gather_rows(facts.place)[0]
    return PairFacts(valid.bool(), identity, patient, place)


class _ChunkedSum(torch.autograd.Function):
    """Adds up a term over units of work, and its gradient unit by unit while it is at it.

    The gradient with respect to the embeddings is small, the graph of all similarities is not:
    so the graph of each unit is taken down before the next, and the backward pass only scales.
    """

    @staticmethod
    def forward(
        ctx: Any, term: Callable[..., Sums], units: Sequence[Unit], learning: bool, *inputs: Tensor
    ) -> tuple[Tensor, ...]:
        needed = [learning and wanted for wanted in ctx.needs_input_grad[3:]]
        grads = [torch.zeros_like(value) for value in inputs]
        sums = inputs[0].new_zeros(3)
        for unit in units:
            with torch.set_grad_enabled(any(needed)):
                leaves = [
                    value.detach().requires_grad_(wanted)
                    for value, wanted in zip(inputs, needed, strict=True)
                ]
                parts = term(unit, *leaves)
            sums += torch.stack([part.detach().to(sums.dtype) for part in parts])
            if any(needed):
                learned = [leaf for leaf in leaves if leaf.requires_grad]
                found = iter(torch.autograd.grad(parts[0], learned, allow_unused=True))
                for leaf, grad in zip(leaves, grads, strict=True):
                    own = next(found) if leaf.requires_grad else None
                    if own is not None:
                        grad += own
        ctx.save_for_backward(*grads)
        total, negatives, counted = sums.unbind()
        ctx.mark_non_differentiable(negatives, counted)
        return total, negatives, counted

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_total: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, None, *(grad_total * grad for grad in ctx.saved_tensors)
