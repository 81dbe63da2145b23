"""What a study of many clips costs before its first step: rows and shards are generated.

    python benchmarks/many_clips.py                       # 10^4, 10^5, 10^6 clips
    python benchmarks/many_clips.py --sizes 2000 4000

Ten clips a patient, one segment a clip, 500 clips a shard, tokens of 8 numbers. Each size runs in
a process of its own, with the settings of `vaclip train experiment=B0`; what is imported before is
not counted.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

CLASSES = ["a", "b", "c"]
PER_PATIENT, PER_SHARD, SAMPLES, CHANNELS = 10, 500, 16, 8
MIB = 1024  # of what the system counts in KiB
STEPS = (
    "index",
    "split plan",
    "plan kept",
    "datasets of a fold",
    "first batch",
    "order of an epoch",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10**4, 10**5, 10**6])
    for step in _ONE_SIZE:
        parser.add_argument(f"--{step}", nargs=2, metavar=("FOLDER", "CLIPS"), help="of one size")
    options = parser.parse_args()
    for step, do in _ONE_SIZE.items():
        if words := getattr(options, step):
            print(json.dumps(do(Path(words[0]), int(words[1]))))
            return
    with tempfile.TemporaryDirectory(prefix="vaclip-") as folder:
        for size in options.sizes:
            _in_a_process("write", Path(folder), size)
        found = {size: _in_a_process("measure", Path(folder), size) for size in options.sizes}
    _print_table(found)


def _in_a_process(step: str, folder: Path, size: int) -> dict[str, float]:
    command = [sys.executable, __file__, f"--{step}", str(folder), str(size)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def _print_table(found: dict[int, dict[str, float]]) -> None:
    first = next(iter(found.values()))
    sizes = [f"{size:,} clips" for size in found]
    print("| |", " | ".join(sizes), "| cost a clip, last / first |")
    print("|---|" + "---:|" * (len(found) + 1))
    growth = max(found) / min(found)
    last = [*found.values()][-1]
    for step in (*STEPS, "all", "all, by the clock"):
        shown = " | ".join(f"{own[step]:.2f} s" for own in found.values())
        print(f"| {step} | {shown} | {last[step] / first[step] / growth:.2f} |")
    for name in ("memory before", "memory at most"):
        shown = " | ".join(f"{own[name]:,.0f} MiB" for own in found.values())
        print(f"| {name} | {shown} | |")


def measure(root: Path, clips: int) -> dict[str, float]:
    """Returns the CPU seconds of each step, and MiB of memory before and at most."""
    from vaclip.runs.prepare import describe_study, open_study, prepare_fold, split_plan
    from vaclip.runs.run import fold_data
    from vaclip.runs.shards import prepare_shards

    config = _config(root, clips)
    before, clock = _memory(), time.perf_counter()
    spent: dict[str, float] = {}

    def timed(step: str, do: Callable[[], Any]) -> Any:
        begun = time.process_time()
        result = do()
        spent[step] = time.process_time() - begun
        return result

    study, prepared = timed(
        "index", lambda: (open_study(config.data), prepare_shards(config))
    )  # a run reads it twice
    plan = timed("split plan", lambda: split_plan(config, study))
    timed("plan kept", lambda: (plan.save(root / "plan.json"), describe_study(prepared)))
    datasets = timed("datasets of a fold", lambda: prepare_fold(config, prepared, plan.folds[0]))

    def first_batch() -> Any:
        loader = fold_data(config, datasets).train_dataloader()
        next(iter(loader))
        return loader.batch_sampler

    batches = timed("first batch", first_batch)
    timed("order of an epoch", lambda: sum(map(len, batches)))
    return spent | {
        "all": sum(spent.values()),
        "all, by the clock": time.perf_counter() - clock,
        "memory before": before,
        "memory at most": _memory(),
    }


def _memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MIB


def _config(root: Path, clips: int) -> Any:
    import torch

    from vaclip.compose import compose_settings

    class Mean(torch.nn.Module):
        def forward(self, pictures: torch.Tensor) -> torch.Tensor:
            return pictures.mean(dim=(1, 2, 3), keepdim=True).expand(-1, CHANNELS, 1, 1)

    program = root / "mean.pt2"
    if not program.exists():
        batch = torch.export.Dim("batch", min=1, max=64)
        shown = torch.export.export(
            Mean(), (torch.rand(2, 3, 16, 16),), dynamic_shapes=({0: batch},)
        )
        about = json.dumps({"size": [16, 16], "channels": CHANNELS, "grid": [1, 1]})
        torch.export.save(shown, program, extra_files={"vaclip.json": about})
    return compose_settings(
        [
            "experiment=B0", "model.clip_backbone=features", f"features.source=export:{program}",
            f"features.every={SAMPLES}", "data.size=[16,16]", f"data.shards={_shards(root, clips)}",
            f"data.cache_dir={root / 'cache'}",
        ]
    )  # fmt: skip


def _shards(root: Path, clips: int) -> Path:
    return root / f"shards_{clips}"


def write_generated(root: Path, clips: int) -> None:
    """Writes shards of clips that nobody filmed, without maps and without the JSON of each."""
    import pyarrow as pa

    from vaclip.data.shards import ShardFacts
    from vaclip.data.write_shards import write_index
    from vaclip.runs.shards import encoder_facts, sampling_settings
    from vaclip.runs.tokens import frozen_encoder
    from vaclip.store import open_store

    config, folder = _config(root, clips), _shards(root, clips)
    folder.mkdir()
    store, encoder = open_store(folder), frozen_encoder(config)
    assert encoder is not None
    shards, places = [], []
    for begin in range(0, clips, PER_SHARD):
        name = f"{len(shards):05}.tar"
        content, own = _shard(begin, min(begin + PER_SHARD, clips))
        (folder / name).write_bytes(content)
        shards.append([name, hashlib.sha256(content).hexdigest()])
        places += own
    row = np.arange(clips)
    patient = row // PER_PATIENT
    names = {
        "clip_id": pa.array([f"clip {number}" for number in row]),
        "patient_id": _coded(patient, [f"patient {n:07}" for n in range(patient[-1] + 1)]),
        "label": _coded(patient % len(CLASSES), CLASSES),
        "session": _coded(0 * row, [""]),
        "site": _coded(0 * row, [""]),
    }
    numbers = {"map_id": 0 * row - 1, "samples": 0 * row + SAMPLES, "shard": row // PER_SHARD}
    numbers |= {"tokens_at": np.array(places), "attn_at": 0 * row - 1}
    index = write_index(store, pa.table(names | {n: pa.array(v) for n, v in numbers.items()}))
    ShardFacts(
        study="generated", classes=CLASSES, annotators=[], settings=sampling_settings(config),
        encoder=encoder_facts(encoder.info), step=SAMPLES, token_shape=[1, 1, CHANNELS],
        map_shape=[1, 16, 16], shards=shards, index=index, made_from="generated",
    ).save(store)  # fmt: skip


def _coded(codes: np.ndarray, values: list[str]) -> Any:
    import pyarrow as pa

    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), pa.array(values))


def _shard(begin: int, end: int) -> tuple[bytes, list[int]]:
    """Returns a tar of the tokens of clips, and where the numbers of each begin."""
    content, places = bytearray(), []
    array = io.BytesIO()
    shape = (1, 1, 1, CHANNELS)
    np.lib.format.write_array(array, np.zeros(shape, np.float16), version=(1, 0))
    header = array.getvalue()[: -2 * CHANNELS]
    tokens = np.random.default_rng(begin).normal(size=(end - begin, CHANNELS)).astype(np.float16)
    for number, own in zip(range(begin, end), tokens, strict=True):
        about = tarfile.TarInfo(f"{number:09}.tokens.npy")
        about.size = len(header) + own.nbytes
        content += about.tobuf(tarfile.USTAR_FORMAT) + header
        places.append(len(content))
        content += own.tobytes()
        content += bytes(-len(content) % tarfile.BLOCKSIZE)
    return bytes(content + bytes(2 * tarfile.BLOCKSIZE)), places


_ONE_SIZE = {"write": write_generated, "measure": measure}


if __name__ == "__main__":
    main()
