"""How much a clip-level split flatters: the same model on the same cohort, split both ways.

    python benchmarks/leakage.py [--seeds 3] [KEY=VALUE ...]

Video only (no map), so that nothing but the patient's look can leak. The careless split is
made by calling every clip a patient of its own; nothing in vaclip splits patients otherwise.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import statistics
import tempfile
from pathlib import Path

from vaclip.compose import compose_settings
from vaclip.console import setup_logging
from vaclip.files import cache_root
from vaclip.runs.prepare import study_folder
from vaclip.runs.run import run

VIDEO_ONLY = ["experiment=B0"]


def call_every_clip_a_patient(study: Path) -> None:
    path = study / "clips.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows({**row, "patient_id": row["clip_id"]} for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    setup_logging()
    quiet = ["trainer.enable_progress_bar=false"]
    with tempfile.TemporaryDirectory() as scratch:
        default = compose_settings(options.overrides)
        cohort = study_folder(default.data, cache_root(default.data.cache_dir))
        careless = Path(scratch) / "careless"
        shutil.copytree(cohort, careless)
        call_every_clip_a_patient(careless)
        scores: dict[str, list[float]] = {"by patient": [], "by clip": []}
        for seed in range(options.seeds):
            for name, study in (("by patient", cohort), ("by clip", careless)):
                words = [
                    "data=folder", f"data.root={study}", f"runs_dir={scratch}/runs",
                    f"seed={seed}", f"split.seed={seed}",
                ]  # fmt: skip
                config = compose_settings([*words, *VIDEO_ONLY, *quiet, *options.overrides])
                score = run(config).metrics[0]["test"]["test/clip/acc_macro"]
                scores[name].append(score)
                print(f"seed {seed}, split {name}: {score:.3f}", flush=True)
    print("\n| split | balanced accuracy per clip, mean ± sd | each seed |\n|---|---|---|")
    for name, values in scores.items():
        spread = statistics.stdev(values) if len(values) > 1 else float("nan")
        each = ", ".join(f"{value:.3f}" for value in values)
        print(f"| {name} | {statistics.mean(values):.3f} ± {spread:.3f} | {each} |")


if __name__ == "__main__":
    main()
