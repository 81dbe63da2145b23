"""Two real processes (gloo) give the numbers of one: losses, gradients and metrics."""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from itertools import product
from typing import NamedTuple

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DistributedSampler

from vaclip import keys
from vaclip.losses import ClipLoss, CompositeLoss
from vaclip.losses.contrastive import FORMS, POSITIVES
from vaclip.losses.processes import mean_over_processes, world
from vaclip.metrics.modules import SplitPredictions, split_metrics
from vaclip.models import VideoAttentionCLIP
from vaclip.models.guidance import token_weights
from vaclip.models.heads import AttentionEncoder
from vaclip.training.module import Optimisation, VaclipModule

PROCESSES = 2


# --- What runs on each process -------------------------------------------------------------------

SUMS = {"even": [(6.0, 2), (4.0, 2)], "uneven": [(1.5, 1), (7.0, 4)], "none": [(0.0, 0), (0.0, 0)]}
SUMS["one has none"] = [(0.0, 0), (7.0, 4)]


def average_all(rank):
    results = {}
    for name, parts in SUMS.items():
        total, count = parts[rank]
        total = torch.tensor(total, requires_grad=True)
        mean = mean_over_processes(total, torch.tensor(count))
        mean.backward()
        results[name] = mean.item(), total.grad.item()
    return results


class Case(NamedTuple):
    positives: str
    form: str
    mask: bool
    chunk: int
    split: str


SPLITS = {"even": 4, "uneven": 5, "nothing valid on one": 4}
CASES = [
    Case(*case, *chunk_and_split)
    for case in product(POSITIVES, FORMS, [True, False])
    for chunk_and_split in ((100, "even"), (2, "uneven"), (100, "nothing valid on one"))
]


def enlarge(pictures):
    return pictures.repeat_interleave(8, dim=-1).repeat_interleave(8, dim=-2)


def make_batch(split):
    """Eight segments; maps and patients repeat within and across the processes' shares."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(8, 3, 8, 32, 32, generator=generator) - 0.5
    video = noise + 3 * enlarge(torch.randn(8, 3, 1, 4, 4, generator=generator))
    maps = enlarge(torch.rand(4, 1, 1, 4, 4, generator=generator) ** 3)
    light = 0.5 + 0.5 * torch.rand(8, 1, 8, 1, 1, generator=generator)
    map_id = torch.tensor([2, 0, 1, 2, 3, 0, 1, 0])
    valid = torch.arange(8) < 4 if split == "nothing valid on one" else torch.arange(8) != 3
    return {
        keys.VIDEO: video,
        keys.ATTN_MAP: maps[map_id] * light,
        keys.ATTN_VALID: valid,
        keys.LABEL: torch.tensor([1, 2, 1, 1, 1, 2, 0, 1]),
        keys.PATIENT: torch.tensor([1, 0, 2, 0, 1, 3, 2, 1]),
        keys.MAP_ID: map_id,
        keys.TEACHER_LOGITS: 2 * torch.randn(8, 3, generator=generator),
    }


def spread_embeddings(model):
    """Makes the running statistics those of the data, and the projections without offset.

    A fresh model gives all segments nearly one embedding, and softmax gradients that are small
    differences of large numbers: too inexact in float32 to compare anything.
    """
    batch = make_batch("even")
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm3d):
            layer.momentum = 1.0
    for projection in (model.video_projection, model.attn_projection):
        nn.init.zeros_(projection.layers[0].bias)
        nn.init.zeros_(projection.layers[2].bias)
    with torch.no_grad():
        model(batch[keys.VIDEO], batch[keys.ATTN_MAP], batch[keys.ATTN_VALID])


class Step(nn.Module):
    """A training step up to the loss; batch normalisation uses its running statistics."""

    def __init__(self, case, dtype):
        super().__init__()
        torch.manual_seed(0)
        model = VideoAttentionCLIP(
            3,
            clip_feature_dim=16,
            clip_embed_dim=8,
            map_guided=True,
            map_source="mixed",
            backbone_width=2,
        )
        model.attn_encoder = AttentionEncoder(1, 16, width=2)
        spread_embeddings(model)
        clip = ClipLoss(
            case.positives,
            case.form,
            temperature=0.5,
            bias=-1.0,
            mask_same_patient=case.mask,
            chunk=case.chunk,
        )
        loss = CompositeLoss(0.7, 0.3, clip, lambda_map=0.2, lambda_distill=0.4)
        self.module = VaclipModule(model, loss, Optimisation())
        self.eval().to(dtype)

    def forward(self, batch):
        """Through the module in float32; in float64, which it does not keep, without it."""
        inputs = batch[keys.VIDEO], batch[keys.ATTN_MAP], batch[keys.ATTN_VALID]
        outputs = self.module.model(*inputs)
        if batch[keys.VIDEO].dtype == torch.float32:
            return self.module._loss_terms(outputs, batch)
        grid = outputs[keys.VIDEO_TOKENS].shape[2:]
        numbers = batch[keys.ATTN_VALID], batch[keys.MAP_ID], batch[keys.PATIENT]
        facts = self.module.loss.clip.pair_facts(*numbers, batch[keys.ATTN_MAP])
        on_tokens = token_weights(batch[keys.ATTN_MAP], batch[keys.ATTN_VALID], grid)
        teacher = batch[keys.TEACHER_LOGITS]
        return self.module.loss(outputs, batch[keys.LABEL], facts, on_tokens, teacher)


def loss_and_gradients(case, dtype, rank=None):
    """The terms, and every learned parameter's gradient; ``rank`` None is the whole batch."""
    batch = make_batch(case.split)
    step = Step(case, dtype)
    run = step
    if rank is not None:
        share = slice(0, SPLITS[case.split]) if rank == 0 else slice(SPLITS[case.split], None)
        batch = {name: rows[share] for name, rows in batch.items()}
        run = DistributedDataParallel(step)
    batch = {k: v.to(dtype) if v.is_floating_point() else v for k, v in batch.items()}
    terms = run(batch)
    terms[keys.LOSS_TOTAL].backward()
    grads = {name: p.grad for name, p in step.named_parameters() if p.requires_grad}
    return {name: value.item() for name, value in terms.items()}, grads


def train_all(rank):
    return {
        (case, dtype): loss_and_gradients(case, dtype, rank)
        for case in CASES
        for dtype in (torch.float32, torch.float64)
    }


SEGMENTS = 13


def make_split():
    """An odd number of segments of six clips, as a batch and what the model made of it."""
    generator = torch.Generator().manual_seed(1)
    clip = torch.tensor([0, 0, 0, 1, 1, 2, 3, 3, 3, 4, 4, 5, 5])
    embeds = torch.randn(2, SEGMENTS, 4, generator=generator)
    video, attn = embeds / embeds.norm(dim=-1, keepdim=True)
    batch = {
        keys.CLIP_ROW: clip,
        keys.SEGMENT: torch.arange(SEGMENTS),
        keys.PATIENT: torch.tensor([0, 0, 1, 2, 2, 3])[clip],
        keys.LABEL: torch.tensor([0, 0, 1, 2, 2, 1])[clip],
        keys.SESSION: torch.zeros(SEGMENTS, dtype=torch.int64),
        keys.MAP_ID: torch.tensor([0, 1, 0, 2, 1, 2])[clip],
        keys.ATTN_VALID: torch.arange(SEGMENTS) % 5 != 3,
    }
    logits = torch.randn(SEGMENTS, 3, generator=generator)
    return batch, {keys.LOGITS: logits, keys.VIDEO_EMBED: video, keys.ATTN_EMBED: attn}


def collect(indices):
    batch, outputs = make_split()
    predictions = SplitPredictions()
    for start in range(0, len(indices), 3):
        rows = indices[start : start + 3]
        predictions.update(
            {name: value[rows] for name, value in batch.items()},
            {name: value[rows] for name, value in outputs.items()},
        )
    return predictions


def measure_all(rank):
    indices = list(DistributedSampler(range(SEGMENTS), PROCESSES, rank, shuffle=False))
    assert len(indices) == 7, "one segment is doubled"
    table = collect(indices).compute()
    return table, split_metrics(table)


def work(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meet",
        rank=rank,
        world_size=PROCESSES,
        timeout=timedelta(seconds=60),
    )
    results = {"world": world()}
    for job in (average_all, train_all, measure_all):
        results[job.__name__] = job(rank)
    torch.save(results, folder / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What each process found, by job; with one thread here as well, for tiny models."""
    folder = tmp_path_factory.mktemp("processes")
    multiprocessing.spawn(work, (folder,), nprocs=PROCESSES)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(PROCESSES)]
    torch.set_num_threads(threads)


# --- What it must be -----------------------------------------------------------------------------


def test_there_are_two(results):
    assert [result["world"] for result in results] == [(2, 0), (2, 1)]
    assert world() == (1, 0)


@pytest.mark.parametrize("name", list(SUMS))
def test_means_average_to_the_mean_over_all(results, name):
    total, count = map(sum, zip(*SUMS[name], strict=True))
    means, grads = zip(*(result["average_all"][name] for result in results), strict=True)
    assert np.mean(means) == pytest.approx(total / max(count, 1))
    assert grads == pytest.approx([PROCESSES / max(count, 1)] * PROCESSES)


def test_the_mean_alone():
    assert mean_over_processes(torch.tensor(6.0), torch.tensor(4)).item() == 1.5
    assert mean_over_processes(torch.tensor(0.0), torch.tensor(0)).item() == 0


def name_case(case):
    mask = "masked" if case.mask else "unmasked"
    return f"{case.positives}-{case.form}-{mask}-{case.chunk}-{case.split}"


@cache
def alone(case, dtype):
    return loss_and_gradients(case, dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", CASES, ids=name_case)
def test_losses_and_gradients_of_two_processes_are_those_of_one(results, case, dtype):
    """The one process computes all similarities at a time, in any case."""
    terms, grads = alone(case._replace(chunk=100), dtype)
    shares = [result["train_all"][case, dtype] for result in results]
    averaged = {name: np.mean([share[name] for share, _ in shares]) for name in terms}
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    assert averaged == pytest.approx(terms, rel=tolerance)
    assert terms[keys.CLIP_SKIPPED] < 1
    learned = {"module.loss.clip.log_scale"} | (
        {"module.loss.clip.bias"} if case.form == "sigmoid" else set()
    )
    assert {name for name in grads if "loss" in name} == learned
    whole = torch.stack([grad.norm() for grad in grads.values()]).norm()
    for _, ours in shares:
        assert set(ours) == set(grads)
        for name, grad in grads.items():
            assert grad.norm() > 1e-6 * whole, f"{name} is not tested"
            # In float32 a gradient that is a small difference is no more exact than its terms.
            size = whole if dtype == torch.float32 else grad.norm()
            assert (ours[name] - grad).norm() <= tolerance * size, name


def test_two_processes_give_the_table_and_metrics_of_one(results):
    expected = collect(list(range(SEGMENTS))).compute()
    metrics = split_metrics(expected)
    assert any(name.startswith("retrieval_unique") for name in metrics)
    for result in results:
        table, ours = result["measure_all"]
        np.testing.assert_equal(table, expected)
        np.testing.assert_equal(ours, metrics)
