"""The CLIP term whose rows go around four processes (gloo), against all rows in one place."""

from __future__ import annotations

from datetime import timedelta
from itertools import product
from typing import NamedTuple

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import multiprocessing

from conftest import LiveBytes
from vaclip import keys
from vaclip.losses import ClipLoss
from vaclip.losses.contrastive import FORMS, POSITIVES
from vaclip.losses.pairs import map_place
from vaclip.losses.processes import go_around, largest_over_processes, world

PROCESSES = 4


class Case(NamedTuple):
    positives: str
    form: str
    mask: bool
    split: str
    chunk: int
    dtype: torch.dtype = torch.float64


ROWS = {
    "even": (4, 4, 4, 4),
    "uneven": (7, 1, 3, 5),
    "one has none": (6, 0, 6, 4),
    "one has none valid": (4, 4, 4, 4),
}
CASES = [
    Case(*rule, split, chunk)
    for rule in product(POSITIVES, FORMS, [True, False])
    for split, chunk in zip(ROWS, (100, 2, 3, 100), strict=True)
] + [Case(rule, form, True, "uneven", 2, torch.float32) for rule in POSITIVES for form in FORMS]
WEIGHT = 3.0
"""Of the term in what is minimised."""
SIZES = (40, 80)


def draw(case):
    """Sixteen rows, with maps and patients that repeat within and across the shares."""
    generator = torch.Generator().manual_seed(0)
    random = torch.randn(2, 16, 6, generator=generator, dtype=torch.float64)
    video, attn = F.normalize(random, dim=-1).to(case.dtype)
    maps = torch.rand(6, 1, 2, 16, 16, generator=generator, dtype=torch.float64) ** 4
    map_id = torch.randint(6, (16,), generator=generator)
    valid = torch.arange(16) % 5 != 2
    if case.split == "one has none valid":
        valid[4:8] = False
    patient = torch.randint(5, (16,), generator=generator)
    return video, attn, valid, map_id, patient, maps[map_id].to(case.dtype)


def build(case):
    settings = {"temperature": 0.3, "bias": -1.0, "mask_same_patient": case.mask}
    return ClipLoss(case.positives, case.form, chunk=case.chunk, **settings).to(case.dtype)


def ring(case, share=slice(None)):
    """The terms of a share of the rows, and the gradients that its process has."""
    video, attn, *rest = (rows[share] for rows in draw(case))
    embeds = video.clone().requires_grad_(), attn.clone().requires_grad_()
    loss = build(case)
    terms = loss(*embeds, loss.pair_facts(*rest))
    (WEIGHT * terms[keys.LOSS_CLIP]).backward()
    with torch.no_grad():
        again = loss(*embeds, loss.pair_facts(*rest))
    assert not again[keys.LOSS_CLIP].requires_grad
    torch.testing.assert_close(again[keys.LOSS_CLIP], terms[keys.LOSS_CLIP].detach())
    grads = {"video": embeds[0].grad, "attn": embeds[1].grad}
    grads |= {name: p.grad for name, p in loss.named_parameters() if p.requires_grad}
    return {name: value.detach() for name, value in terms.items()}, grads


def gathered(case, shares):
    """The same, every process's rows sent to all: all pairs at a time, gradients by autograd."""
    video, attn, valid, map_id, patient, attn_map = map(torch.cat, zip(*shares, strict=True))
    video.requires_grad_()
    attn.requires_grad_()
    loss = build(case)
    own = torch.eye(len(video)).bool()
    same = own if case.positives == "paired" else map_id[:, None] == map_id
    candidate = valid[:, None] & valid
    if case.mask:
        candidate = candidate & (same | (patient[:, None] != patient))
    affinity = same.to(case.dtype)
    if case.positives == "soft_map":
        place = map_place(attn_map)
        affinity = ((place @ place.T - 1) / loss.soft_temperature).exp()
    negatives = (candidate & ~same).sum(dim=1)
    affinity, kept = affinity * candidate, negatives > 0
    similarity = video @ attn.T * loss.log_scale.exp()
    if case.form == "sigmoid":
        errors = F.binary_cross_entropy_with_logits(
            similarity + loss.bias, affinity, reduction="none"
        )
        value = (errors * candidate)[kept].sum() / kept.sum()
    else:
        value = 0.0
        target = affinity[kept] / affinity[kept].sum(dim=1, keepdim=True)
        for logits in (similarity, similarity.T):
            logs = logits.masked_fill(~candidate, -torch.inf)[kept].log_softmax(dim=1)
            value = value - (target * logs.masked_fill(target == 0, 0.0)).sum() / (2 * kept.sum())
    (WEIGHT * value).backward()
    terms = {
        keys.LOSS_CLIP: value.detach(),
        keys.CLIP_NEGATIVES: negatives.sum() / kept.sum(),
        keys.CLIP_SKIPPED: 1 - kept.sum() / len(kept),
    }
    grads = {"video": video.grad, "attn": attn.grad, "log_scale": loss.log_scale.grad}
    return terms, grads | ({"bias": loss.bias.grad} if case.form == "sigmoid" else {})


def share_of(case, rank):
    start = sum(ROWS[case.split][:rank])
    return slice(start, start + ROWS[case.split][rank])


# --- What runs on each process -------------------------------------------------------------------


def contrast_all(rank):
    results = {}
    for case in CASES:
        shares = [None] * PROCESSES
        dist.all_gather_object(shares, [rows[share_of(case, rank)] for rows in draw(case)])
        results[case] = ring(case, share_of(case, rank)), gathered(case, shares)
    return results


def visit_all(rank):
    """Each process writes down whose block it sees, and adds its own number to what it carries."""
    seen = []

    def visit(block, carried):
        seen.append([tensor.tolist() for tensor in block])
        carried[0] += rank
        carried[1][rank] += 1

    block = torch.tensor([10 * rank]), torch.full((2, 3), float(rank)).T
    home = go_around(block, [torch.tensor(100 * rank), torch.zeros(PROCESSES)], visit)
    nothing = go_around(block, [], lambda block, carried: None)
    largest = largest_over_processes([3, 7, 0, 2][rank], torch.device("cpu"))
    return {"seen": seen, "home": home, "nothing": nothing, "largest": largest}


def live_peaks(_rank):
    """The most memory of the term, by how many rows each process has."""
    peaks = {}
    for rows in SIZES:
        generator = torch.Generator().manual_seed(0)
        video, attn = F.normalize(torch.randn(2, rows, 64, generator=generator), dim=-1)
        facts = torch.ones(rows).bool(), torch.arange(rows), torch.arange(rows)
        loss = ClipLoss(chunk=4)
        inputs = video.requires_grad_(), attn.requires_grad_()
        with LiveBytes() as memory:
            terms = loss(*inputs, loss.pair_facts(*facts, torch.zeros(rows, 1, 1, 8, 8)))
            terms[keys.LOSS_CLIP].backward()
        peaks[rows] = memory.peak
    return peaks


def work(rank, folder):
    torch.set_num_threads(1)
    meet = f"file://{folder}/meet"
    patience = timedelta(seconds=60)
    dist.init_process_group(
        "gloo", init_method=meet, rank=rank, world_size=PROCESSES, timeout=patience
    )
    jobs = (contrast_all, visit_all, live_peaks)
    torch.save({job.__name__: job(rank) for job in jobs}, folder / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What each process found, by job."""
    folder = tmp_path_factory.mktemp("ring")
    multiprocessing.spawn(work, (folder,), nprocs=PROCESSES)
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(PROCESSES)]


# --- What it must be -----------------------------------------------------------------------------


def name_case(case):
    mask = "masked" if case.mask else "unmasked"
    number = str(case.dtype).removeprefix("torch.float")
    return f"{case.positives}-{case.form}-{mask}-{case.split}-{case.chunk}-{number}"


def assert_equal(case, found, wanted):
    """In float32 a gradient that is a small difference is no more exact than its terms."""
    terms, grads = found
    assert set(grads) == set(wanted[1])
    for name, value in wanted[0].items():
        torch.testing.assert_close(terms[name], value.to(terms[name].dtype))
    tolerance = 1e-5 if case.dtype == torch.float32 else 1e-12
    for name, grad in wanted[1].items():
        assert grad.norm() > 1e-3, f"{name} is not tested"
        assert (grads[name] - grad).norm() <= tolerance * grad.norm(), name


def together(parts):
    """What DistributedDataParallel makes of it: means over processes; of embeddings all rows."""
    terms, grads = zip(*parts, strict=True)
    return (
        {name: torch.stack([own[name] for own in terms]).mean(0) for name in terms[0]},
        {
            name: torch.cat([own[name] for own in grads]) / PROCESSES
            if name in ("video", "attn")
            else torch.stack([own[name] for own in grads]).mean(0)
            for name in grads[0]
        },
    )


@pytest.mark.parametrize("case", CASES, ids=name_case)
def test_the_ring_gives_what_gathering_all_rows_gives(results, case):
    parts, wholes = zip(*(result["contrast_all"][case] for result in results), strict=True)
    for whole in wholes:
        assert_equal(case, together(parts), whole)


@pytest.mark.parametrize("case", CASES, ids=name_case)
def test_the_ring_gives_what_one_process_gives(results, case):
    parts = [result["contrast_all"][case][0] for result in results]
    assert_equal(case, together(parts), ring(case))


def test_every_block_is_seen_once_by_all_and_what_it_carries_comes_home(results):
    for rank, result in enumerate(results):
        found = result["visit_all"]
        order = [(rank - hop) % PROCESSES for hop in range(PROCESSES)]
        assert found["seen"] == [[[10 * owner], [[owner, owner]] * 3] for owner in order]
        assert found["home"][0] == 100 * rank + sum(range(PROCESSES))
        assert found["home"][1].tolist() == [1] * PROCESSES
        assert found["nothing"] == []
        assert found["largest"] == 7


def test_alone_one_sees_ones_own_block():
    seen = []

    def visit(block, carried):
        seen.append(block[0].item())
        carried[0] += 1

    assert go_around([torch.tensor(5)], [torch.tensor(1)], visit) == [torch.tensor(2)]
    assert seen == [5]
    assert largest_over_processes(3, torch.device("cpu")) == 3
    assert world() == (1, 0)


def test_memory_grows_with_the_own_rows_and_not_with_the_processes(results):
    """One block more is held, and its gradient, than by a process that is alone."""
    alone = live_peaks(0)
    for result in results:
        peaks = result["live_peaks"]
        for rows in SIZES:
            block = 2 * rows * 64 * 4
            assert alone[rows] < peaks[rows] < alone[rows] + 2.5 * block
