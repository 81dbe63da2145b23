"""How often the verdict is right on repeated cohorts whose truth is known.

    python benchmarks/verdicts.py [--repeats 20] [--jobs 2] [--patients 30] [--rows FILE.csv]
        [--quick] [OVERRIDE ...]

Each repeat is a cohort of its own, generated from another seed (1000 and on: none that was looked
at before), small enough that the verdict's arms are trained on it in a few minutes. `EXPECTED` says
what each truth (`data.synthetic.truth`) makes of each question: the right answer, and the wrong
ones. Undecided is never wrong. Of the 95 % intervals of the training procedure it is said how often
one covers the mean over the other cohorts of its truth, which is what it is of. That mean is of
few cohorts, and errs too: the true share is a little higher. Cohorts that stand in `--rows` already
are not made again.
`--quick` is one tiny cohort of each truth: does it run?
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import warnings
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from joblib import Parallel, delayed

from vaclip import keys
from vaclip.compose import compose_settings
from vaclip.console import setup_logging
from vaclip.evaluation.evaluate import evaluate
from vaclip.evaluation.inference import ALPHA
from vaclip.evaluation.predictions import Predictions
from vaclip.evaluation.roles import Roles
from vaclip.files import atomic_file
from vaclip.runs.run import finish_run, open_run

ARMS = ("B0", "B3", "K_shuffled", "K_map_only", "P1", "P2", "P_shuffled", "P_prior")
ROLES = Roles(
    "B0", "B3", "K_shuffled", "K_map_only",
    taught="P2", untaught="P1", taught_shuffled="P_shuffled", prior="P_prior",
)  # fmt: skip
QUESTIONS = ("bedside", "map_at_hand", "whose_map")
EXPECTED = {  # by truth and question: (right, wrong); not here: either answer may be true
    "locates": {"map_at_hand": ("yes", "no"), "whose_map": ("yes", "no")},
    "leaks": {"map_at_hand": ("no", "yes"), "whose_map": ("yes", "no")},
    "common": {"bedside": ("no", "yes"), "map_at_hand": ("yes", "no"), "whose_map": ("no", "yes")},
    "null": dict.fromkeys(QUESTIONS, ("no", "yes")),
}
FIRST_SEED = 1000
SMALL = (
    "data.size=[64,64]", "data.synthetic.clips_per_patient=2", "data.frames=8", "data.stride=8",
    "trainer.enable_progress_bar=false", "trainer.accelerator=cpu", "split.fold=all",
)  # fmt: skip
TINY = ("debug=smoke", "split.folds=3")


def one_cohort(truth: str, seed: int, overrides: list[str]) -> dict[str, object]:
    """Trains the verdict's arms on a cohort and returns its answers and scores."""
    torch.set_num_threads(1)
    setup_logging()
    warnings.filterwarnings("ignore")  # Lightning's, of few batches
    logging.getLogger("vaclip").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as scratch:
        tables = []
        for arm in ARMS:
            config = compose_settings([
                *SMALL, f"experiment={arm}", f"seed={seed}", f"split.seed={seed}",
                f"data.synthetic.seed={seed}", f"data.synthetic.truth='{truth}'",
                f"data.cache_dir={scratch}/cache", f"run_dir={scratch}/{arm}", *overrides,
            ])  # fmt: skip
            with open_run(config, workers=1) as opened:
                folder = finish_run(opened).folder
            tables.append(pd.read_parquet(Path(folder) / keys.PREDICTIONS_FILE))
    judged = evaluate(Predictions.of(pd.concat(tables)), roles=ROLES)
    row: dict[str, object] = {"truth": truth, "seed": seed}
    for arm in ARMS:
        score = judged.scores["patient"][arm].scores["acc_macro"]
        row |= {
            arm: score.mean,
            f"{arm}_low": score.interval.low,
            f"{arm}_high": score.interval.high,
        }
    for asked in judged.verdict.questions:
        row[asked.name], found = asked.answer.value, asked.contrast
        if found is not None:  # else the arms predict the very same
            ends = {"low": found.interval.low, "high": found.interval.high, "p": found.p}
            row |= {f"{asked.name}_{name}": value for name, value in ends.items()}
            row[f"{asked.name}_difference"] = found.difference
    return row


def answered(said: Counter[str], expected: tuple[str, str] | None) -> list[str]:
    """Returns how often the answer was right, wrong and undecided, as shares; else each count."""
    count = sum(said.values())
    if expected is None:
        return [", ".join(f"{name} {n}" for name, n in sorted(said.items())), "-", "-"]
    shares = [said[name] / count for name in (*expected, "undecided")]
    return [f"{share:.2f} ± {(share * (1 - share) / count) ** 0.5:.2f}" for share in shares]


def covered(table: pd.DataFrame, values: Mapping[str, str]) -> list[str]:
    """Returns how often intervals cover the mean over the other cohorts, and their width.

    Args:
        table: The cohorts of one truth.
        values: Where a value stands, by what its interval's columns begin with.
    """
    columns = [[column, f"{name}_low", f"{name}_high"] for name, column in values.items()]
    value, low, high = np.stack([table[own].to_numpy(float).T for own in columns], axis=1)
    known = np.isfinite(value)
    others = (np.nansum(value, axis=1, keepdims=True) - value) / (known.sum(1, keepdims=True) - 1)
    hits = np.where(known, (low <= others) & (others <= high), np.nan)
    # The intervals of one cohort go together: the error is one of cohorts.
    error = np.nanstd(np.nanmean(hits, axis=0), ddof=1) / len(table) ** 0.5
    return [f"{np.nanmean(hits):.2f} ± {error:.2f}", f"{np.nanmean(high - low):.2f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--patients", type=int, default=30)
    parser.add_argument("--truths", nargs="+", choices=EXPECTED, default=list(EXPECTED))
    parser.add_argument("--rows", type=Path, help="where each cohort's result is kept")
    parser.add_argument("--quick", action="store_true")
    options, overrides = parser.parse_known_args()
    overrides.insert(0, f"data.synthetic.patients={options.patients}")
    if options.quick:
        options.repeats, overrides = 1, [*TINY, *overrides[1:]]
    seeds = range(FIRST_SEED, FIRST_SEED + options.repeats)
    done = options.rows is not None and options.rows.exists()
    table = (
        pd.read_csv(options.rows, keep_default_na=False)
        if done
        else pd.DataFrame(columns=["truth", "seed"])
    )
    known = set(zip(table["truth"], table["seed"], strict=True))
    left = [(truth, seed) for seed in seeds for truth in options.truths]  # balanced if cut off
    left = [cohort for cohort in left if cohort not in known]
    workers = Parallel(options.jobs, verbose=10, return_as="generator_unordered")
    for row in workers(delayed(one_cohort)(*cohort, overrides) for cohort in left):
        table = pd.DataFrame([*table.to_dict("records"), row])
        if options.rows is not None:
            with atomic_file(options.rows) as temporary:
                table.to_csv(temporary, index=False)
    chosen = table["truth"].isin(options.truths) & table["seed"].isin(seeds)
    table = table[chosen].sort_values(["truth", "seed"])
    print(f"\nCohorts of {options.patients} patients, seeds from {FIRST_SEED}; share ± Monte-Carlo "
          "error")  # fmt: skip
    print("\n| truth | cohorts | question | right | wrong | undecided |\n|---|---|---|---|---|---|")
    for truth, own in table.groupby("truth", sort=False):
        for name in QUESTIONS:
            cells = answered(Counter(own[name]), EXPECTED[str(truth)].get(name))
            print(f"| {truth} | {len(own)} | {name} | " + " | ".join(cells) + " |")
    print(f"\n| truth | {' | '.join(ARMS)} |\n|---|{'---|' * len(ARMS)}")
    for truth, own in table.groupby("truth", sort=False):
        cells = (f"{own[arm].mean():.3f} ± {own[arm].std():.3f}" for arm in ARMS)
        print(f"| {truth} | " + " | ".join(cells) + " |")
    if len(seeds) > 2:
        print("\n| truth | intervals of | cover | width | rejected at 5 % |\n|---|---|---|---|---|")
        for truth, own in table.groupby("truth", sort=False):
            print(
                f"| {truth} | values | {' | '.join(covered(own, {arm: arm for arm in ARMS}))} | - |"
            )
            for name in QUESTIONS:
                cells = covered(own, {name: f"{name}_difference"})
                rejected = (own[f"{name}_p"].astype(float) < ALPHA).mean()
                print(f"| {truth} | {name} | {' | '.join(cells)} | {rejected:.2f} |")


if __name__ == "__main__":
    main()
