"""Where an epoch's time goes on the default cohort, and what the loader adds to it.

    python benchmarks/throughput.py [KEY=VALUE ...]

Prints clips a second for decoding, reading from the cache, forward, forward + backward, and
the whole training epoch, each also relative to the epoch; then the share of the epoch that is
not model time. Model time is that of the same steps (forward, backward, optimiser) on batches
that already lie prepared in memory; rounds of both are interleaved.
"""

from __future__ import annotations

import statistics
import sys
import time

import torch
from hydra import compose, initialize_config_module

from vaclip import keys
from vaclip.config import typed_config
from vaclip.data.datamodule import FoldData, fold_datasets
from vaclip.data.transforms import prepare_batch
from vaclip.data.video import decode_clip
from vaclip.studies.run import (
    build_module,
    open_study,
    prepare_study,
    split_plan,
    training_augmentation,
)
from vaclip.training.memory import keep_freed_memory

ROUNDS = 5


def timed(function) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def main() -> None:
    keep_freed_memory()
    with initialize_config_module("vaclip.conf", version_base="1.3"):
        config = typed_config(compose("config", sys.argv[1:]))
    data = config.data
    prepared = prepare_study(data, open_study(data))
    datasets = fold_datasets(
        prepared.items,
        split_plan(config, prepared.study).folds[0],
        frames=data.frames,
        stride=data.stride,
        channels=prepared.channels,
        augmentation=training_augmentation(data),
    )
    train = datasets["train"]
    module = build_module(config, prepared)
    module.log_dict = lambda *_, **__: None
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-4)
    fold = FoldData(datasets, batch_size=data.batch_size, seed=0, num_workers=data.num_workers)
    loader = fold.train_dataloader()

    def step(prepared_batch) -> None:
        outputs = module._run(prepared_batch, embed=module.aligns)
        optimizer.zero_grad()
        module._loss_terms(outputs, prepared_batch)[keys.LOSS_TOTAL].backward()
        optimizer.step()

    def read() -> None:
        for _ in loader:
            pass

    def epoch() -> None:
        for number, batch in enumerate(loader):
            generator = torch.Generator().manual_seed(number)
            step(prepare_batch(batch, module.augmentation, generator))

    def forward() -> None:
        with torch.no_grad():
            for batch in in_memory:
                module._run(batch, embed=module.aligns)

    def model() -> None:
        for batch in in_memory:
            step(batch)

    def decode() -> None:
        for item in train.items[:24]:
            decode_clip(item.cached.clip.video, fps=data.fps, size=tuple(data.size))

    in_memory = [prepare_batch(batch) for batch in loader]
    parts = {
        "decode (24 clips, one process)": decode,
        "cached read with augmentation": read,
        "forward": forward,
        "forward + backward + optimiser": model,
        "end-to-end epoch": epoch,
    }
    times = {name: [] for name in parts}
    for part in parts.values():
        part()
    for _ in range(ROUNDS):
        for name, part in parts.items():
            times[name].append(timed(part))
    clips = len(train.items)
    medians = {name: statistics.median(values) for name, values in times.items()}
    rates = {
        name: (24 if part is decode else clips) / medians[name] for name, part in parts.items()
    }
    print(f"{clips} training clips, {len(train)} segments, {torch.get_num_threads()} threads\n")
    print("| part | clips a second | relative to the epoch |\n|---|---|---|")
    for name, rate in rates.items():
        print(f"| {name} | {rate:.1f} | {rate / rates['end-to-end epoch']:.2f} |")
    shares = sorted(
        1 - model_s / epoch_s
        for model_s, epoch_s in zip(
            times["forward + backward + optimiser"], times["end-to-end epoch"], strict=True
        )
    )
    middle = statistics.median(shares)
    print(
        f"\nShare of the epoch that is not model time: {middle:.1%} "
        f"(range over {ROUNDS} rounds {shares[0]:.1%} to {shares[-1]:.1%})"
    )


if __name__ == "__main__":
    main()
