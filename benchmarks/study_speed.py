"""How much faster a study is on frozen tokens than on pixels, and where its time goes.

    python benchmarks/study_speed.py [--folds 0] [--preset quick] [OVERRIDE ...]

Runs ``vaclip study`` on the default cohort from pixels and on lite0's tokens, by turns, on this
machine. Clips are decoded and encoded before (what that takes is said apart). Absolute times are
of this machine; the ratio is what counts.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from vaclip.ablation.job import seconds_taken

KINDS: dict[str, list[str]] = {"pixels": [], "lite0": ["backbone=lite0"]}


def seconds(*words: str) -> float:
    """What a command of vaclip takes."""
    started = time.monotonic()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run([sys.executable, "-m", "vaclip", *words], check=True, **quiet)
    return time.monotonic() - started


def jobs(folder: Path) -> pd.Series:
    """The seconds of each training, with its tests."""
    return pd.Series([seconds_taken(job) for job in sorted((folder / "jobs").iterdir())])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folds", default="0")
    parser.add_argument("--preset", default="quick")
    options, overrides = parser.parse_known_args()
    words = [f"study={options.preset}", f"study.folds=[{options.folds}]", *overrides]
    rows = {}
    with tempfile.TemporaryDirectory() as scratch:
        for kind, own in KINDS.items():
            ahead = seconds("study", *words, *own, "--dry-run")
            folder = Path(scratch) / kind
            total = seconds("study", *words, *own, f"run_dir={folder}")
            trained = jobs(folder)
            rows[kind] = {
                "decoding and encoding ahead, and the plan": ahead,
                "the study": total,
                "its jobs, one after the other": trained.sum(),
                "a job (median)": trained.median(),
            }
        empty = seconds("--help")
    table = pd.DataFrame(rows)
    print(f"\n{len(trained)} trainings; vaclip --help takes {empty:.1f} s\n")
    print("| s | pixels | lite0 | pixels / lite0 |\n|---|---|---|---|")
    for name, row in table.iterrows():
        print(f"| {name} | {row.pixels:.1f} | {row.lite0:.1f} | {row.pixels / row.lite0:.1f} |")


if __name__ == "__main__":
    main()
