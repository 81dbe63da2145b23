"""Where an epoch's time goes on the default cohort, and what the loader adds to it.

    python benchmarks/throughput.py [KEY=VALUE ...]

Prints clips a second for decoding, reading from the cache, forward, forward + backward, and
the whole training epoch (loader, light, step), each also relative to the epoch; then the share
of the epoch that is not model time. Lightning's own loop and logging are not in it. Model time
is that of the same steps (forward, backward, optimiser) on batches that already lie prepared
in memory; rounds of both are interleaved.
"""

from __future__ import annotations

import statistics
import sys
import time

import torch

from vaclip import keys
from vaclip.compose import compose_settings
from vaclip.data.datamodule import FoldData
from vaclip.data.transforms import prepare_batch
from vaclip.data.video import decode_clip
from vaclip.runs.prepare import open_study, prepare_fold, prepare_study, split_plan
from vaclip.runs.run import build_module
from vaclip.training.memory import keep_freed_memory

ROUNDS = 5
DECODED = 24


class Bench:
    """The parts of an epoch on the default cohort, each as a method without arguments."""

    def __init__(self, overrides: list[str]) -> None:
        config = compose_settings(overrides)
        self.data = config.data
        prepared = prepare_study(self.data, open_study(self.data))
        plan = split_plan(config, prepared.study)
        datasets = prepare_fold(config, prepared, plan.folds[0])
        self.train = datasets["train"]
        self.module = build_module(config, prepared)
        self.optimizer = torch.optim.AdamW(self.module.parameters(), lr=1e-4)
        fold = FoldData(
            datasets,
            batch_size=self.data.batch_size,
            seed=0,
            num_workers=self.data.num_workers,
        )
        self.loader = fold.train_dataloader()
        self.in_memory = [prepare_batch(batch) for batch in self.loader]

    def decode(self) -> None:
        for item in self.train.items[:DECODED]:
            decode_clip(item.cached.clip.video, fps=self.data.fps, size=tuple(self.data.size))

    def read(self) -> None:
        for _ in self.loader:
            pass

    def forward(self) -> None:
        with torch.no_grad():
            for batch in self.in_memory:
                self.module._run(batch, embed=self.module.aligns)

    def model(self) -> None:
        for batch in self.in_memory:
            self.step(batch)

    def epoch(self) -> None:
        for number, batch in enumerate(self.loader):
            generator = torch.Generator().manual_seed(number)
            self.step(prepare_batch(batch, self.module.augmentation, generator))

    def step(self, batch) -> None:
        outputs = self.module._run(batch, embed=self.module.aligns)
        self.optimizer.zero_grad()
        self.module._loss_terms(outputs, batch)[keys.LOSS_TOTAL].backward()
        self.optimizer.step()


def timed(function) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def main() -> None:
    keep_freed_memory()
    bench = Bench(sys.argv[1:])
    parts = {
        f"decode ({DECODED} clips, one process)": bench.decode,
        "cached read with augmentation": bench.read,
        "forward": bench.forward,
        "forward + backward + optimiser": bench.model,
        "training epoch from the cache": bench.epoch,
    }
    for part in parts.values():  # warm up
        part()
    rounds = [{name: timed(part) for name, part in parts.items()} for _ in range(ROUNDS)]
    medians = {name: statistics.median(times[name] for times in rounds) for name in parts}
    clips = len(bench.train.items)
    rates = {
        name: (DECODED if part == bench.decode else clips) / medians[name]
        for name, part in parts.items()
    }
    print(
        f"{clips} training clips, {len(bench.train)} segments, {torch.get_num_threads()} threads\n"
    )
    print("| part | clips a second | relative to the epoch |\n|---|---|---|")
    for name, rate in rates.items():
        print(f"| {name} | {rate:.1f} | {rate / rates[list(parts)[-1]]:.2f} |")
    model, epoch = list(parts)[-2:]
    shares = sorted(1 - times[model] / times[epoch] for times in rounds)
    print(
        f"\nShare of the epoch that is not model time: {statistics.median(shares):.1%} "
        f"(range over {ROUNDS} rounds {shares[0]:.1%} to {shares[-1]:.1%})"
    )


if __name__ == "__main__":
    main()
