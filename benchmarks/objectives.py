"""The forms of the CLIP term side by side, on a cohort of many maps and two of few.

    python benchmarks/objectives.py [--seeds 5] [--jobs 2] [--out objectives.csv]
        [--cohorts NAME ...] [--objectives NAME ...] [-- KEY=VALUE ...]

Trains B1 (the diagnosis and the video embedding never see a map), fold 0. The seed sets
initialisation, batches, augmentation and the dealing of patients. A row is appended to --out as
each run ends, and runs that have their row are not repeated. The choice between objectives is to
be made on the validation columns; the test columns say what it is worth.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import pandas as pd
import yaml

COHORTS = ("default", "few maps", "few pictures")
"""15 annotations in 240 clips; 3, each drawn at the patient's own joints; 3, each drawn as one
band across the frame, so that clips of one annotation have the very same picture."""
BANDS = {
    "head": (0.0, 0.25),
    "shoulder": (0.2, 0.4),
    "arm_hand": (0.35, 0.6),
    "lumbar_pelvis": (0.45, 0.65),
    "knee": (0.6, 0.8),
    "foot": (0.75, 1.0),
}
VARIANTS = {
    "paired": ["loss.clip_positives=paired"],
    "same_map": ["loss.clip_positives=same_map"],
    "soft_map": ["loss.clip_positives=soft_map"],
    "sigmoid": ["loss.clip_positives=same_map", "loss.clip_loss=sigmoid"],
    "plain CLIP": [
        "loss.clip_positives=paired",
        "loss.mask_same_patient=false",
        "loss.learn_temperature=false",
    ],
    "no CLIP term": ["loss.clip_weight=0"],
}
METRICS = {
    "F1 (macro), patient": "{}/patient/f1_macro",
    "unique R@1 video to map": "{}/retrieval_unique_r1_v2a",
    "unique R@1 map to video": "{}/retrieval_unique_r1_a2v",
    "chance": "{}/retrieval_unique_r1_chance",
}
SHOWN = [f"{split} {name}" for split in ("val", "test") for name in METRICS if name != "chance"]
RUN = ["cohort", "objective", "seed"]


def cohort_words(cohort: str, scratch: Path) -> list[str]:
    """Returns the settings that choose a cohort, making it if need be."""
    from vaclip.cohort.synthetic_gait import GaitCohort
    from vaclip.cohort.write_gait import cohort_folder
    from vaclip.files import cache_root

    if cohort == "default":
        return ["data.synthetic.truth=leaks"]
    if cohort == "few maps":
        return ["data.synthetic.truth=leaks", "data.synthetic.agreement=1.0"]
    folder = scratch / "few_pictures"
    shutil.copytree(cohort_folder(GaitCohort(truth="leaks", agreement=1.0), cache_root()), folder)
    study = yaml.safe_load((folder / "study.yaml").read_text())
    study["regions"] = {name: {"box": [0.0, top, 1.0, low]} for name, (top, low) in BANDS.items()}
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    return ["data=folder", f"data.root={folder}"]


def train(cohort: str, objective: str, seed: int, overrides: list[str]) -> dict:
    """Returns one row: what a run scored, and its seconds an epoch."""
    from vaclip.compose import compose_settings
    from vaclip.runs.run import run

    words = ["experiment=B1", f"seed={seed}", f"split.seed={seed}"]
    words += ["trainer.enable_progress_bar=false", *VARIANTS[objective], *overrides]
    with tempfile.TemporaryDirectory() as scratch:
        words += [f"runs_dir={scratch}", *cohort_words(cohort, Path(scratch))]
        config = compose_settings(words)
        result = run(config).metrics[0]
    row = {"cohort": cohort, "objective": objective, "seed": seed}
    for split in ("val", "test"):
        for name, key in METRICS.items():
            row[f"{split} {name}"] = result[split][key.format(split)]
    return row | {"seconds an epoch": result["seconds"] / config.trainer.max_epochs}


def train_apart(job: tuple[str, str, int], threads: int, overrides: list[str]) -> dict:
    """Returns `train`'s row from a process of its own."""
    words = [sys.executable, __file__, "--one", json.dumps(job), *overrides]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{job} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def table(rows: pd.DataFrame) -> str:
    """Returns the markdown table: mean ± sd over seeds, and the time as a ratio to paired."""
    paired = rows[rows["objective"] == "paired"].set_index(["cohort", "seed"])["seconds an epoch"]
    own = rows.set_index(["cohort", "seed"])["seconds an epoch"]
    rows = rows.assign(ratio=(own / paired.reindex(own.index)).to_numpy())
    lines = ["| cohort | objective | seeds | " + " | ".join(SHOWN) + " | chance | time |"]
    lines.append("|---" * (len(SHOWN) + 5) + "|")
    for cohort, objective in itertools.product(COHORTS, VARIANTS):
        own = rows[(rows["cohort"] == cohort) & (rows["objective"] == objective)]
        if own.empty:
            continue
        cells = [f"{own[name].mean():.3f} ± {own[name].std():.3f}" for name in SHOWN]
        cells += [f"{own['test chance'].mean():.3f}", f"{own['ratio'].median():.2f}"]
        cells = ["-" if "nan" in cell else cell for cell in cells]
        lines.append(f"| {cohort} | {objective} | {len(own)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1, help="of each job")
    parser.add_argument("--out", type=Path, default=Path("objectives.csv"))
    parser.add_argument("--cohorts", nargs="+", choices=COHORTS, default=list(COHORTS))
    parser.add_argument("--objectives", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--one", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(train(*options.one, options.overrides)))
        return
    rows = pd.read_csv(options.out) if options.out.exists() else pd.DataFrame(columns=RUN)
    done = set(rows[RUN].itertuples(index=False, name=None))
    wanted = [
        (cohort, objective, seed)
        for seed in range(options.seeds)
        for objective in options.objectives
        for cohort in options.cohorts
    ]
    left = [job for job in wanted if job not in done]
    with ThreadPoolExecutor(options.jobs) as pool:
        jobs = [pool.submit(train_apart, job, options.threads, options.overrides) for job in left]
        for number, job in enumerate(as_completed(jobs), 1):
            row = pd.DataFrame([job.result()])
            row.to_csv(options.out, mode="a", header=not options.out.exists(), index=False)
            print(f"{number} of {len(left)} done", flush=True)
    print(table(pd.read_csv(options.out)))


if __name__ == "__main__":
    main()
