"""Training on this machine's accelerator: segments a second, share of the step, peak memory.

    python benchmarks/gpu.py [--epochs 4] [--rounds 3] [KEY=VALUE ...]

B3 from pixels and P2 on lite0's tokens, in float32 and bfloat16, on a GPU where there is one and
else on the CPU, by the very loader, module and Lightning loop of ``vaclip train``, without
validation. The rest of the time goes to loading, moving and logging. Each measure has a process of
its own, rounds are interleaved, the first epoch is not counted. Rates are medians over rounds (with
their range); memory is what the process's tensors take on a GPU, and all that it takes on a CPU,
above what it had before. KEY=VALUE goes to both: ``data.batch_size=64 data.num_workers=8``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import lightning as L
import torch

from peak_memory import start_counting

ARMS = {
    "B3 from pixels": ["experiment=B3"],
    "P2 on features": ["experiment=P2", "backbone=lite0"],
}
PRECISIONS = ["32-true", "bf16-mixed"]
MIB = 2**20


class Clock(L.Callback):
    """Adds up the seconds and segments of all epochs but the first, and those of their steps."""

    def __init__(self) -> None:
        self.seconds = self.in_steps = 0.0
        self.segments = 0

    def on_train_epoch_start(self, trainer, pl_module) -> None:
        self.began = now()

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        self.step_began = now()

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        if trainer.current_epoch:
            self.in_steps += now() - self.step_began
            self.segments += len(batch["label"])

    def on_train_epoch_end(self, trainer, pl_module) -> None:
        if trainer.current_epoch:
            self.seconds += now() - self.began


def now() -> float:
    """Returns the time at which all that was begun is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def measure(overrides: list[str], epochs: int) -> dict[str, float]:
    """Trains, and returns segments a second, the share of the time in steps, and peak MiB."""
    from vaclip.compose import compose_settings
    from vaclip.runs.prepare import open_study, prepare_fold, prepare_study, split_plan
    from vaclip.runs.run import build_module, fold_data
    from vaclip.runs.tokens import with_tokens
    from vaclip.runs.trainer import silent_trainer
    from vaclip.training.memory import keep_freed_memory

    keep_freed_memory()
    config = compose_settings(overrides)
    prepared = with_tokens(config, prepare_study(config.data, open_study(config.data)))
    datasets = prepare_fold(config, prepared, split_plan(config, prepared.study).folds[0])
    module, clock = build_module(config, prepared), Clock()
    trainer = silent_trainer(
        config,
        max_epochs=epochs,
        limit_val_batches=0,
        enable_checkpointing=False,
        callbacks=[clock],
    )
    peak = start_counting()
    trainer.fit(module, fold_data(config, datasets))
    on_gpu = torch.cuda.is_available()
    return {
        "rate": clock.segments / clock.seconds,
        "share": clock.in_steps / clock.seconds,
        "memory": torch.cuda.max_memory_allocated() / MIB if on_gpu else peak(),
        "batch": config.data.batch_size,
    }


def device_name() -> str:
    """Returns what trains here, as its maker names it."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    about = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.split(":")[1].strip() for line in about if line.startswith("model name")]
    return f"{models[0] if models else 'a CPU'}, {torch.get_num_threads()} threads"


def measure_apart(overrides: list[str], epochs: int) -> dict[str, float]:
    words = [sys.executable, __file__, "--one", "--epochs", str(epochs), *overrides]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(overrides)} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=4, help="the first is not counted")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options, overrides = parser.parse_known_args()
    if options.epochs < 2:
        parser.error("--epochs must be at least 2, for the first is not counted")
    if options.one:
        print(json.dumps(measure(overrides, options.epochs)))
        return
    runs = {(arm, precision): [] for arm in ARMS for precision in PRECISIONS}
    for _ in range(options.rounds):
        for (arm, precision), found in runs.items():
            words = [*ARMS[arm], f"trainer.precision={precision}", *overrides]
            found.append(measure_apart(words, options.epochs))
    batch = next(iter(runs.values()))[0]["batch"]
    print(f"{device_name()}; torch {torch.__version__}; batches of {batch:.0f}\n")
    print("| arm | precision | segments a second | share in the step | peak MiB |")
    print("|---|---|---|---|---|")
    for (arm, precision), found in runs.items():
        rates = sorted(run["rate"] for run in found)
        rate = f"{statistics.median(rates):.1f} ({rates[0]:.1f} to {rates[-1]:.1f})"
        share = statistics.median(run["share"] for run in found)
        memory = max(run["memory"] for run in found)
        print(f"| {arm} | {precision} | {rate} | {share:.2f} | {memory:.0f} |")


if __name__ == "__main__":
    main()
