"""How fast an exported model answers: torch, ONNX Runtime and, where it is installed, OpenVINO.

    python benchmarks/serving.py FOLDER VIDEO... [--rounds 7] [--together 8] [--threads N]

FOLDER is what `vaclip export` wrote. Latency is that of one clip at a time, the median over videos
and rounds; throughput that of ``together`` clips in one call. A model that reads maps is shown
blank ones. Each round asks all runtimes, one after the other, so that the ratios are
of one run. Torch runs model.pt2 as it lies, without compiling it.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from vaclip.export.folder import load_runner

Ask = Callable[[list[np.ndarray]], np.ndarray]


def torch_program(folder: Path, threads: int) -> Ask:
    torch.set_num_threads(threads)
    program = torch.export.load(folder / "model.pt2").module()

    def ask(inputs):
        with torch.inference_mode():
            return program(*map(torch.from_numpy, inputs))[0].numpy()

    return ask


def onnx_runtime(folder: Path, threads: int) -> Ask:
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # else it reports its use
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options)
    names = [own.name for own in session.get_inputs()]
    return lambda inputs: session.run(None, dict(zip(names, inputs, strict=True)))[0]


def open_vino(folder: Path, threads: int) -> Ask:
    import openvino

    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
    }
    model = openvino.Core().compile_model(str(folder / "model.onnx"), "CPU", settings)
    return lambda inputs: np.array(model(inputs)[0])


def runtimes(folder: Path, threads: int) -> dict[str, Ask]:
    found = {"torch": torch_program, "ONNX Runtime": onnx_runtime}
    if importlib.util.find_spec("openvino"):
        found["OpenVINO"] = open_vino
    return {name: make(folder, threads) for name, make in found.items()}


def seconds(ask: Callable[[], object]) -> float:
    begun = time.perf_counter()
    ask()
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("videos", type=Path, nargs="+")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--together", type=int, default=8, help="clips of one call")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    runner = load_runner(options.folder)
    model = runner.load(options.folder)
    settings = model.settings

    def read(video):
        segments = model.read(video)
        if (shape := settings["map"]) is None:
            return [segments]
        blank = (len(segments), shape["channels"], settings["frames"], *shape["size"])
        return [segments, np.zeros(blank, np.float32)]

    asks = runtimes(options.folder, options.threads)
    clips = [read(video) for video in options.videos]
    many = [clips[n % len(clips)] for n in range(options.together)]
    together = [np.concatenate(column) for column in zip(*many, strict=True)]
    wrong = dict.fromkeys(asks, 0.0)
    for inputs in (*clips, together):  # the first call of each is not timed
        truth = asks["ONNX Runtime"](inputs)
        for name, ask in asks.items():
            wrong[name] = max(wrong[name], float(np.abs(ask(inputs) - truth).max()))
    alone, decoded, batch = ({name: [] for name in asks} for _ in range(3))
    for _ in range(options.rounds):
        for name, ask in asks.items():
            for video, inputs in zip(options.videos, clips, strict=True):
                alone[name].append(seconds(lambda ask=ask, inputs=inputs: ask(inputs)))
                decoded[name].append(seconds(lambda ask=ask, video=video: ask(read(video))))
            batch[name].append(seconds(lambda ask=ask: ask(together)))
    size = "x".join(map(str, clips[0][0].shape))
    print(f"{len(clips)} videos, the first as {size}; threads: {options.threads}\n")
    print("| runtime | one clip | of torch | with decoding | clips/s together | off ONNX Runtime |")
    print("|---|---|---|---|---|---|")
    for name in asks:
        one, film, all_of = (statistics.median(own[name]) for own in (alone, decoded, batch))
        times = f"{1000 * one:.1f} ms | {statistics.median(alone['torch']) / one:.2f} x"
        rate = options.together / all_of
        print(f"| {name} | {times} | {1000 * film:.1f} ms | {rate:.1f} | {wrong[name]:.1e} |")


if __name__ == "__main__":
    main()
