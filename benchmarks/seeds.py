"""How far an arm gets on held-out patients, over seeds and folds.

    python benchmarks/seeds.py [--seeds 3] [KEY=VALUE ...]
    python benchmarks/seeds.py --seeds 3 experiment=B3 split.fold=all

The seed sets initialisation, shuffling, augmentation and the dealing of patients. Prints a
row a seed, then the mean and standard deviation over seeds.
"""

from __future__ import annotations

import argparse
import tempfile

import pandas as pd

from vaclip.compose import compose_settings
from vaclip.console import setup_logging
from vaclip.runs.results import fold_summary
from vaclip.runs.run import run

SHOWN = {
    "test/patient/acc_macro": "accuracy (macro), patient",
    "test/patient/auroc_macro": "AUROC (macro), patient",
    "test/clip/acc_macro": "accuracy (macro), clip",
    "test/retrieval_r1_v2a": "R@1 video to map",
    "test/retrieval_r1_chance": "its chance",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    setup_logging()
    rows = {}
    with tempfile.TemporaryDirectory() as scratch:
        for seed in range(options.seeds):
            words = [f"runs_dir={scratch}", f"seed={seed}", f"split.seed={seed}"]
            words += ["trainer.enable_progress_bar=false", *options.overrides]
            summary = fold_summary(run(compose_settings(words)).metrics)
            rows[f"seed {seed}"] = {SHOWN[key]: summary[key]["mean"] for key in SHOWN}
            print(f"seed {seed} done", flush=True)
    table = pd.DataFrame(rows).T
    table.loc["mean"], table.loc["sd"] = table.mean(), table.std(ddof=1)
    print("| |", " | ".join(table.columns), "|\n" + "|---" * (len(table.columns) + 1) + "|")
    for name, values in table.iterrows():
        print(f"| {name} |", " | ".join(f"{value:.3f}" for value in values), "|")


if __name__ == "__main__":
    main()
