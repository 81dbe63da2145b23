"""Exact retrieval of many embeddings in bounded memory.

    python benchmarks/retrieval.py [--sizes 10000 100000]

Ranks N videos against N maps, both directions, per row and per distinct map, and prints the peak
memory above the embeddings themselves (Linux) and the time relative to a bare product of the
same matrices, made a block at a time.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from peak_memory import start_counting
from vaclip.metrics.retrieval import retrieval_metrics, unit_rows

EMBED_DIM, MAPS = 256, 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000])
    options = parser.parse_args()
    print("| N | R@1 video to map | chance | peak MiB | time, to the bare product |")
    print("|---|---|---|---|---|")
    for n in options.sizes:
        rng = np.random.default_rng(0)
        video = unit_rows(rng.standard_normal((n, EMBED_DIM), np.float32))
        attn = unit_rows(video + 0.2 * rng.standard_normal((n, EMBED_DIM), np.float32))
        maps = rng.integers(MAPS, size=n)
        peak_since = start_counting()
        started = time.perf_counter()
        metrics = retrieval_metrics(video, attn, maps)
        seconds, peak = time.perf_counter() - started, peak_since()
        started = time.perf_counter()
        for rows in np.array_split(video, max(1, n * n // 2**23)):
            rows @ attn.T
        bare = 2 * (time.perf_counter() - started)  # two directions
        print(
            f"| {n} | {metrics['retrieval_r1_v2a']:.4f} | {metrics['retrieval_r1_chance']:.5f} | "
            f"{peak:.0f} | {seconds / bare:.1f} |"
        )


if __name__ == "__main__":
    main()
