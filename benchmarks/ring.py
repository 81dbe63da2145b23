"""What the CLIP term holds and sends on each of several processes: rows in a ring, or gathered.

    python benchmarks/ring.py [--processes 1 2 4] [--rows 2048] [--chunk 64] [--rounds 3]

Processes of this machine (gloo), each with as many rows; forward and backward. ``gathered`` is CLIP
as it is mostly written for several processes: all embeddings sent to all, own rows against all
columns (here a chunk of them at a time, without a mask). Memory is the most that a process took
above what it had before (Linux's /proc), in a group of processes that gives all it frees back at
once. Sent is what a process sends: in a ring the tensors that it passes on, counted; gathered what
the rings within the two collectives pass on, by formula. Times are medians of another group, its
rounds interleaved. Every number is the largest of the processes'.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
import torch.nn.functional as F

from peak_memory import start_counting
from vaclip import keys
from vaclip.losses.contrastive import ClipLoss
from vaclip.losses.pairs import PairFacts

EMBED_DIM = 256
KINDS = ("gathered", "softmax", "sigmoid")
MIB = 2**20


def contrast(kind: str, video: torch.Tensor, attn: torch.Tensor, chunk: int) -> float:
    """Computes the term and the gradients; returns the term."""
    if kind == "gathered":
        return gathered(video, attn, chunk)
    video, attn = video.clone().requires_grad_(), attn.clone().requires_grad_()
    rows = torch.arange(len(video))
    loss = ClipLoss("paired", kind, mask_same_patient=False, chunk=chunk)
    term = loss(video, attn, PairFacts(rows >= 0, rows, rows))[keys.LOSS_CLIP]
    term.backward()
    return term.item()


def gathered(video: torch.Tensor, attn: torch.Tensor, chunk: int) -> float:
    """CLIP, its embeddings gathered and their gradients reduced."""
    size, first = len(video), dist.get_rank() * len(video)
    shares = [torch.empty(size, 2 * EMBED_DIM) for _ in range(dist.get_world_size())]
    dist.all_gather(shares, torch.cat([video, attn], dim=1))
    sides = torch.cat(shares).chunk(2, dim=1)
    del shares
    grads, total = torch.zeros(2, len(sides[0]), EMBED_DIM), 0.0
    for way, start in itertools.product((0, 1), range(first, first + size, chunk)):
        rows = torch.arange(start, min(start + chunk, first + size))
        leaves = sides[way][rows], sides[1 - way]
        queries, columns = (leaf.detach().requires_grad_() for leaf in leaves)
        term = F.cross_entropy(queries @ columns.T / 0.07, rows, reduction="sum") / (2 * size)
        slopes = torch.autograd.grad(term, (queries, columns))
        grads[way, rows] += slopes[0]
        grads[1 - way] += slopes[1]
        total += term.item()
    dist.all_reduce(grads)
    return total


@contextmanager
def counted_bytes() -> Iterator[list[int]]:
    """Counts the bytes that this process passes on."""
    counts, send = [0], dist.batch_isend_irecv

    def count(exchanges: list[dist.P2POp]) -> list[dist.Work]:
        counts[0] += sum(own.tensor.nbytes for own in exchanges if own.op is dist.isend)
        return send(exchanges)

    dist.batch_isend_irecv = count
    yield counts
    dist.batch_isend_irecv = send


def sent_gathered(rows: int, processes: int) -> int:
    """What a process sends in an all-gather of the rows, and an all-reduce of all gradients."""
    share = rows * 2 * EMBED_DIM * 4
    return (processes - 1) * share + 2 * (processes - 1) * share


def work(rank: int, options: argparse.Namespace, processes: int, path: str, memory: bool) -> None:
    torch.set_num_threads(1)
    meet, patience = f"file://{path}.meet", timedelta(minutes=10)
    dist.init_process_group(
        "gloo", init_method=meet, rank=rank, world_size=processes, timeout=patience
    )
    generator = torch.Generator().manual_seed(rank)
    draws = torch.randn(2, options.rows, EMBED_DIM, generator=generator)
    video, attn = F.normalize(draws, dim=-1)
    found = {kind: {"seconds": []} for kind in KINDS}
    for kind in KINDS:
        contrast(kind, video[:8], attn[:8], 8)  # what is set up once
    for kind in KINDS * (1 if memory else options.rounds):
        dist.barrier()
        began, peak = time.perf_counter(), start_counting()
        with counted_bytes() as counts:
            term = contrast(kind, video, attn, options.chunk)
        found[kind] |= {"mib": peak(), "sent": counts[0], "term": term}
        found[kind]["seconds"].append(time.perf_counter() - began)
    everyone = [None] * processes
    dist.all_gather_object(everyone, found)
    if rank == 0:
        torch.save(everyone, path)
    dist.destroy_process_group()


def measure(options: argparse.Namespace, processes: int, *, memory: bool) -> list[dict]:
    """Returns what each process found, by kind."""
    threshold = {"MALLOC_MMAP_THRESHOLD_": "65536"} if memory else {}
    os.environ |= threshold
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/found.pt"
        words = options, processes, path, memory
        torch.multiprocessing.spawn(work, words, nprocs=processes)
        for name in threshold:
            del os.environ[name]
        return torch.load(path, weights_only=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--rows", type=int, default=2048, help="of a process")
    parser.add_argument("--chunk", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    block = options.rows * EMBED_DIM * 4 / MIB
    print(f"{options.rows} rows a process, embeddings of {EMBED_DIM}: {block:.2f} MiB a side\n")
    print("| processes | | term | peak MiB | sent MiB | time, to gathered |")
    print("|---|---|---|---|---|---|")
    for processes in options.processes:
        remembered = measure(options, processes, memory=True)
        timed = measure(options, processes, memory=False)
        seconds = {
            kind: max(statistics.median(own[kind]["seconds"]) for own in timed) for kind in KINDS
        }
        for kind in KINDS:
            mean = statistics.mean(own[kind]["term"] for own in timed)
            peak = max(own[kind]["mib"] for own in remembered)
            sent = max(own[kind]["sent"] for own in timed)
            if kind == "gathered":
                sent = sent_gathered(options.rows, processes)
            ratio = seconds[kind] / seconds["gathered"]
            print(
                f"| {processes} | {kind} | {mean:.5f} | {peak:.1f} | {sent / MIB:.2f} | "
                f"{ratio:.2f} |"
            )


if __name__ == "__main__":
    main()
