"""Time and peak memory of the CLIP term, forward and backward, full against in row chunks.

    python benchmarks/contrastive.py [--sizes 1000 4000 16000 32000] [--chunk 1024] [--rounds 3]

Each measure runs in processes of its own, rounds interleaved; times are medians of CPU time. Where
open_clip is installed (it is no dependency) its `ClipLoss` runs on the same inputs, and the last
column is the time relative to it. A size that would need more memory than there is is not run,
and says so. Reads Linux's /proc.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from peak_memory import start_counting

EMBED_DIM = 256
MAPS, SEGMENTS_A_PATIENT = 50, 8
FULL_BUFFERS = 9  # N x N float32 matrices that the full form holds at once, for the refusal only


def open_clip_loss_class():
    """Returns open_clip's loss without importing the rest of it, which needs torchvision."""
    package = importlib.util.find_spec("open_clip")
    if package is None or package.origin is None:
        return None
    path = Path(package.origin).with_name("loss.py")
    spec = importlib.util.spec_from_file_location("open_clip_loss", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.ClipLoss


def measure(kind: str, n: int, chunk: int) -> tuple[float, float, float]:
    """Returns seconds, peak MiB above what was there before, and the loss."""
    import torch
    import torch.nn.functional as F

    from vaclip import keys
    from vaclip.losses.contrastive import ClipLoss
    from vaclip.losses.pairs import PairFacts
    from vaclip.training.memory import keep_freed_memory

    if "MALLOC_MMAP_THRESHOLD_" not in os.environ:
        keep_freed_memory()  # as training does
    generator = torch.Generator().manual_seed(0)
    video, attn = F.normalize(torch.randn(2, n, EMBED_DIM, generator=generator), dim=-1)
    video.requires_grad_()
    attn.requires_grad_()
    maps = torch.randint(MAPS, (n,), generator=generator)
    facts = PairFacts(torch.ones(n).bool(), maps, torch.arange(n) // SEGMENTS_A_PATIENT)
    rows = chunk if "chunked" in kind else n
    if kind == "open_clip":
        term = open_clip_loss_class()()
        scale = torch.tensor(1 / 0.07, requires_grad=True)

        def call(rows: slice):
            return term(video[rows], attn[rows], scale)
    else:
        positives = kind.split()[0]
        masked = positives != "paired"  # plain CLIP, as open_clip's
        term = ClipLoss(positives, mask_same_patient=masked, chunk=rows)

        def call(rows: slice):
            own = PairFacts(facts.valid[rows], facts.identity[rows], facts.patient[rows])
            return term(video[rows], attn[rows], own)[keys.LOSS_CLIP]

    call(slice(64)).backward()  # what is set up once
    peak = start_counting()
    started = time.process_time()
    loss = call(slice(None))
    loss.backward()
    seconds = time.process_time() - started
    return seconds, peak(), loss.item()


def measure_apart(kind: str, n: int, chunk: int) -> tuple[float, float, float]:
    """Measures time in one process, and memory in one that gives all it frees back at once."""
    words = [sys.executable, __file__, "--one", kind, "--sizes", str(n), "--chunk", str(chunk)]
    results = []
    for extra in ({}, {"MALLOC_MMAP_THRESHOLD_": "65536"}):
        done = subprocess.run(
            words, env=os.environ | extra, capture_output=True, text=True, check=True
        )
        results.append([float(word) for word in done.stdout.split()])
    (seconds, _, loss), (_, peak, _) = results
    return seconds, peak, loss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 4000, 16000, 32000])
    parser.add_argument("--chunk", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(*measure(options.one, options.sizes[0], options.chunk))
        return
    kinds = ["paired full", "paired chunked", "same_map full", "same_map chunked"]
    if open_clip_loss_class() is not None:
        kinds.insert(0, "open_clip")
    memory = Path("/proc/meminfo").read_text().split("MemAvailable:")[1].split()[0]
    print("| N | term | loss | peak MiB | CPU time, to the first row of N |\n|---|---|---|---|---|")
    for n in options.sizes:
        fits = FULL_BUFFERS * n * n * 4 / 1024 < int(memory)
        runs: dict[str, list[tuple[float, float, float]]] = {}
        for _, kind in itertools.product(range(options.rounds), kinds):
            if fits or "chunked" in kind:
                runs.setdefault(kind, []).append(measure_apart(kind, n, options.chunk))
        medians = {k: statistics.median(run[0] for run in own) for k, own in runs.items()}
        first = next(iter(medians.values()))
        for kind in kinds:
            if kind not in runs:
                print(f"| {n} | {kind} | not run: N x N does not fit in memory | | |")
                continue
            peak, loss = runs[kind][0][1:]
            print(f"| {n} | {kind} | {loss:.5f} | {peak:.0f} | {medians[kind] / first:.2f} |")


if __name__ == "__main__":
    main()
