"""What each CPU measure gains: ratios of medians, all variants side by side in one run.

    python benchmarks/cpu_step.py [--rounds 3] [--batch 16] [--size 96]

Each variant takes one measure away from the default training step (each in processes of its
own, because the allocator is set once a process; rounds are interleaved, so that a slow minute
hits all). The last row decodes a generated clip with a new reformatter for every frame.

The achieved rate of the default step is that of its convolutions and matrix products, forward and
backward (`torch.utils.flop_counter`), over all of its time; it is told as a share of what a large
float32 matrix product reaches on the same threads, in the same process and by turns with it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

_SIDE = 1536  # of the matrices
VARIANTS = {
    "default": {},
    "without the allocator setting": {"allocator": False},
    "without channels_last_3d": {"layout": False},
    "without both": {"allocator": False, "layout": False},
    "stem strided in space alone": {"stem": False},
    "map encoder at full resolution": {"small_map": False},
}


def measure_step(
    batch: int, size: int, *, allocator=True, layout=True, stem=True, small_map=True
) -> dict[str, float]:
    """Returns a training step's median seconds, its FLOPs, and the share of a product's rate."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from vaclip import keys
    from vaclip.losses import CompositeLoss
    from vaclip.losses.pairs import PairFacts
    from vaclip.models import VideoAttentionCLIP, heads
    from vaclip.models.encoders.cnn3d import conv_block_3d
    from vaclip.training.memory import keep_freed_memory

    if allocator:
        keep_freed_memory()
    torch.manual_seed(0)
    model = VideoAttentionCLIP(3, map_guided=True, backbone_width=16)
    if not stem:
        layers = model.video_encoder.layers
        layers[0] = conv_block_3d(3, 16, (3, 5, 5), (1, 2, 2))
        layers[1] = conv_block_3d(16, 32, (3, 3, 3), (2, 2, 2))
    if not small_map:
        heads._MAP_SIDE, heads._MAP_TIME_STEP = size, 1
        model.attn_encoder.layers.append(torch.nn.AdaptiveAvgPool3d((None, 4, 4)))
    video = torch.randn(batch, 16, size, size, 3).permute(0, 4, 1, 2, 3)
    if layout:
        model.to(memory_format=torch.channels_last_3d)
    else:
        video = video.contiguous()
    attn = torch.rand(batch, 1, 16, size, size)
    valid, label = torch.ones(batch, dtype=torch.bool), torch.arange(batch) % 3
    rows = torch.arange(batch)
    facts = PairFacts(valid, rows, rows)
    loss, optimizer = CompositeLoss(), torch.optim.AdamW(model.parameters())

    def step() -> None:
        optimizer.zero_grad()
        loss(model(video, attn, valid), label, facts)[keys.LOSS_TOTAL].backward()
        optimizer.step()

    with FlopCounterMode(display=False) as counter:
        step()
    one, other = torch.rand(2, _SIDE, _SIDE)
    steps, shares = [], []
    for _ in range(8):  # by turns, so that a slow moment hits both
        steps.append(seconds_of(step))
        product = 2 * _SIDE**3 / seconds_of(lambda: torch.mm(one, other))
        shares.append(counter.get_total_flops() / steps[-1] / product)
    return {
        "seconds": statistics.median(steps[2:]),
        "flops": counter.get_total_flops(),
        "share": statistics.median(shares[2:]),
    }


def seconds_of(work: Callable[[], object]) -> float:
    """Returns the time of some work."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure_decode(path: Path, *, one_reformatter: bool) -> float:
    """Returns the seconds to decode and shrink every frame of a video."""
    import av
    from av.video.reformatter import Interpolation, VideoReformatter

    kept = VideoReformatter()
    start = time.perf_counter()
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            reformatter = kept if one_reformatter else VideoReformatter()
            reformatter.reformat(
                frame, 96, 96, format="rgb24", interpolation=Interpolation.AREA
            ).to_ndarray()
    return time.perf_counter() - start


def decode_ratio(rounds: int) -> float:
    import av
    import numpy as np

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        random = np.random.default_rng(0)
        picture = random.integers(0, 256, (512, 512, 3), dtype=np.uint8)
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=30)
            stream.width = stream.height = 512
            stream.pix_fmt = "yuv420p"
            for step in range(120):
                moved = np.ascontiguousarray(np.roll(picture // 4, 3 * step, axis=1))
                container.mux(stream.encode(av.VideoFrame.from_ndarray(moved)))
            container.mux(stream.encode())
        times = {
            kind: [measure_decode(path, one_reformatter=kind) for _ in range(rounds + 1)]
            for kind in (True, False)
        }
    return statistics.median(times[False][1:]) / statistics.median(times[True][1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure_step(options.batch, options.size, **VARIANTS[options.child])))
        return
    measured = {name: [] for name in VARIANTS}
    sizes = ["--batch", str(options.batch), "--size", str(options.size)]
    for _ in range(options.rounds):
        for name in VARIANTS:
            child = [sys.executable, __file__, *sizes, "--child", name]
            done = subprocess.run(child, capture_output=True, text=True, check=True)
            measured[name].append(json.loads(done.stdout))
    medians = {
        name: statistics.median(one["seconds"] for one in found) for name, found in measured.items()
    }
    print("| variant | time of a step, relative to the default |\n|---|---|")
    for name, value in medians.items():
        print(f"| {name} | {value / medians['default']:.2f} |")
    default = measured["default"]
    flops, shares = default[0]["flops"], [one["share"] for one in default]
    print(
        f"\nThe default step: {flops / 1e9:.1f} GFLOP, {flops / medians['default'] / 1e9:.0f} "
        f"GFLOP/s, {statistics.median(shares):.2f} of this CPU's rate in a matrix product (rounds: "
        f"{min(shares):.2f} to {max(shares):.2f})."
    )
    print(f"\nDecoding with a reformatter a frame: {decode_ratio(options.rounds):.2f} x the time.")


if __name__ == "__main__":
    main()
