"""What large study tables cost: time and memory of each step before the first training.

    python benchmarks/tables.py [--sizes 1000 10000 100000] [--uncached] [--calls]

Makes studies of so many clips, four a patient, two annotators with boxes, videos of a few bytes,
which are taken to have been decoded: what is left is what vaclip itself does. Each size runs in a
process of its own. Seconds are of the processor, beside them those of the clock, which a busy
machine or disk makes more; ratios are of the processor's, of one size to the size before.
``--uncached`` leaves out the steps that look at each clip's entries of the cache. ``--calls``
counts the calls of functions, thousands of them in place of seconds: they are the same on a quiet
machine and a busy one, and however much of the study's files the system holds in memory.
"""

from __future__ import annotations

import argparse
import cProfile
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import yaml
from numpy.typing import NDArray

from peak_memory import start_counting

SAMPLES, SIDE, FPS = 4, 16, 2.0  # of a clip
HASHED = 16  # frames of a clip that are compared
CLASSES = ("steady", "limping", "shuffling")


def write_study(root: Path, clips: int) -> None:
    """Writes a study whose videos hold their own names."""
    head = {"classes": list(CLASSES), "regions": {"top": {"box": [0, 0, 1, 0.5]},
                                                  "left": {"box": [0, 0, 0.5, 1]}}}  # fmt: skip
    root.mkdir(parents=True)
    (root / "study.yaml").write_text(yaml.safe_dump(head))
    rows, said = [], []
    random = np.random.default_rng(0)
    for number in range(clips):
        patient, folder = number // 4, f"videos/{number // 1000:03}"
        clip_id, video = f"clip{number:06}", f"{folder}/{number:06}.avi"
        (root / folder).mkdir(parents=True, exist_ok=True)
        (root / video).write_text(clip_id)
        rows.append((clip_id, video, f"p{patient:05}", CLASSES[patient % 3], f"site{patient % 7}"))
        said += [(clip_id, who, "region", random.choice(("top", "left"))) for who in ("ann", "bob")]
    for name, header, table in (
        ("clips", ("clip_id", "video", "patient_id", "label", "site"), rows),
        ("attention", ("clip_id", "annotator", "kind", "value"), said),
        ("excluded", ("clip_id", "reason"), [(row[0], "blurred") for row in rows[:: clips // 50]]),
    ):
        with (root / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([header, *table])


def misspell(root: Path) -> None:
    """Gives a tenth of attention.csv ids that clips.csv lacks."""
    lines = (root / "attention.csv").read_text().splitlines(keepends=True)
    lines[1::10] = [line.replace("clip", "clip_") for line in lines[1::10]]
    (root / "attention.csv").write_text("".join(lines))


def fake_decode(path: Path, *_: Any, **__: Any) -> Any:
    from vaclip.data.video import DecodedClip

    random = np.random.default_rng(int(path.stem))
    frames = random.integers(0, 256, (SAMPLES, SIDE, SIDE, 3), np.uint8)
    times = np.arange(SAMPLES) / FPS
    size = SIDE, SIDE
    yield 0, DecodedClip(frames, np.arange(SAMPLES), times, 1 / FPS, SAMPLES, True, size)


def fake_facts(*_: Any) -> Any:
    from vaclip.audit.inspect import VideoFacts

    ends = np.arange(1, SAMPLES + 1) / FPS
    return VideoFacts("avi", "mjpeg", "yuvj420p", (SIDE, SIDE), 0, ends - 1 / FPS, ends, ends[:1])


def noise_hashes(clips: int) -> list[NDArray[np.uint64]]:
    """Frames that are like each other within a clip; every thousandth clip is shown twice."""
    from vaclip.audit.duplicates import BITS, _packed

    random = np.random.default_rng(0)
    made: list[NDArray[np.uint64]] = []
    for number in range(clips):
        if number % 1000 == 999:
            made.append(made[number - 999])
            continue
        flipped = random.random((HASHED, BITS), np.float32) < 0.05
        made.append(_packed((random.random(BITS) < 0.5) ^ flipped))
    return made


def steps(
    root: Path, cache: Path, clips: int, *, uncached: bool, calls: bool
) -> dict[str, tuple[float, float, float]]:
    """Returns seconds of the processor and of the clock, and MiB, of each step.

    With ``calls`` thousands of calls are in place of the processor's seconds.
    """
    from vaclip.ablation.ablation import open_study_folder, plain_config, plan_study
    from vaclip.audit import duplicates
    from vaclip.audit.check import check
    from vaclip.audit.data_card import data_card
    from vaclip.compose import compose_settings
    from vaclip.config import StudyRunConfig
    from vaclip.runs.prepare import open_study, prepare_study
    from vaclip.study.load import read_study

    words = [
        f"data.cache_dir={cache}", f"data.size=[{SIDE},{SIDE}]", f"data.fps={FPS}", "data.frames=4",
        f"runs_dir={cache}", "study.arms=[B0,B3]", "study.annotator_arms=[]",
    ]  # fmt: skip
    settings = compose_settings(words, "study", root=root)
    assert isinstance(settings, StudyRunConfig)

    def compose(arm: str, seed: int) -> Any:
        more = [*words, f"experiment={arm}", f"seed={seed}"]
        return plain_config(compose_settings(more, "study", root=root))

    found: dict[str, tuple[float, float, float]] = {}

    def measure(what: str, step: Callable[[], Any]) -> Any:
        peak, profile = start_counting(), cProfile.Profile()
        clock, begin = time.perf_counter(), time.process_time()
        result = profile.runcall(step) if calls else step()
        seconds, wall = time.process_time() - begin, time.perf_counter() - clock
        if calls:
            seconds = sum(entry.callcount for entry in profile.getstats()) / 1000
        found[what] = seconds, wall, peak()
        shown = f"{seconds:8.2f} s {wall:8.2f} s {found[what][2]:8.0f} MiB"
        print(f"{clips:>7} {what:32} {shown}", file=sys.stderr)
        return result

    measure("load", lambda: read_study(root))
    with patch("vaclip.audit.check.inspect_video", fake_facts):
        measure("check, videos known", lambda: check(root, workers=1))
    with (
        patch("vaclip.data.cache.decode_spans", fake_decode),
        patch(
            "vaclip.audit.findings.file_facts", lambda path, *_: {"bytes": float(len(path.name))}
        ),
    ):
        if not uncached:
            study = open_study(settings.data)
            measure("first preparation", lambda: prepare_study(settings.data, study, workers=1))
            ablation = measure("plan", lambda: plan_study(settings, compose))
            measure("describe", lambda: data_card(settings.data, ablation.prepared, folds=5))
            measure("start of the study", lambda: open_study_folder(ablation))
    hashes = noise_hashes(clips)
    near = measure("near duplicates", lambda: duplicates.near_pairs(hashes, range(clips)))
    assert len(near) == clips // 1000
    misspell(root)
    measure("load, a tenth of the ids unknown", lambda: read_study(root))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--uncached", action="store_true")
    parser.add_argument("--calls", action="store_true")
    parser.add_argument("--only", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        with tempfile.TemporaryDirectory() as scratch:
            root = Path(scratch, "study")
            write_study(root, options.only)
            cache = Path(scratch, "cache")
            how = {"uncached": options.uncached, "calls": options.calls}
            print(json.dumps(steps(root, cache, options.only, **how)))
        return
    results = []
    for size in options.sizes:
        command = [sys.executable, __file__, "--only", str(size)]
        command += ["--uncached"] * options.uncached + ["--calls"] * options.calls
        alone = os.environ | {"LOKY_MAX_CPU_COUNT": "1"}  # all in the process that is measured
        done = subprocess.run(command, env=alone, check=True, stdout=subprocess.PIPE, text=True)
        results.append(json.loads(done.stdout.splitlines()[-1]))
    unit = "1000 calls" if options.calls else "CPU s"
    columns = [f"{size:,} clips: {unit} (s; MiB)" for size in options.sizes]
    ratios = [f"{size:,}: x {size / few:g}" for few, size in pairwise(options.sizes)]
    print(f"| step | {' | '.join([*columns, *ratios])} |")
    print("|---" * (1 + len(columns) + len(ratios)) + "|")
    for step in results[0]:
        cells = [
            f"{cpu:.2f} ({wall:.2f}; {peak:.0f})"
            for cpu, wall, peak in (one[step] for one in results)
        ]
        cells += [f"{many[step][0] / few[step][0]:.1f}" for few, many in pairwise(results)]
        print(f"| {step} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
