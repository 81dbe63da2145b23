"""What the report says of repeated cohorts whose truth is known.

    python benchmarks/verdicts.py [--repeats 20] [--jobs 2] [--patients 30]

Each repeat is a cohort of its own, generated from another seed, small enough that the verdict's
arms are trained on it in a minute or two. In the **null** cohorts
(`data.synthetic.informative=false`) the annotators point at random, so "guidance helps" must be
rare. In the **informative** ones they point at the sign; how often that must be found follows from
the difference that the report says it would find with a chance of 80 %.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import warnings
from collections import Counter
from pathlib import Path

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
from vaclip.runs.run import finish_run, open_run

ARMS = ("B0", "B3", "K_shuffled", "K_map_only")
ROLES = Roles("B0", "B3", "K_shuffled", "K_map_only")
SMALL = (
    "data.size=[48,48]", "data.synthetic.clips_per_patient=2", "model.backbone_width=8",
    "trainer.max_epochs=12", "trainer.enable_progress_bar=false", "trainer.accelerator=cpu",
    "split.fold=all",
)  # fmt: skip


def one_cohort(seed: int, informative: bool, patients: int) -> dict[str, object]:
    """Trains the verdict's arms on a cohort and returns what the report would say."""
    torch.set_num_threads(1)
    setup_logging()
    warnings.filterwarnings("ignore")  # Lightning's, of few batches
    logging.getLogger("vaclip").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as scratch:
        tables = []
        for arm in ARMS:
            overrides = [
                *SMALL, f"experiment={arm}", f"seed={seed}", f"split.seed={seed}",
                f"data.synthetic.seed={seed}", f"data.synthetic.patients={patients}",
                f"data.synthetic.informative={informative}",
                f"data.cache_dir={scratch}/cache", f"run_dir={scratch}/{arm}",
            ]  # fmt: skip
            config = compose_settings(overrides)
            folder = finish_run(open_run(config, workers=1)).folder
            tables.append(pd.read_parquet(Path(folder) / keys.PREDICTIONS_FILE))
        predictions = Predictions.of(pd.concat(tables))
    judged = evaluate(predictions, roles=ROLES)
    questions = judged.verdict.questions
    row: dict[str, object] = {question.name: question.answer.value for question in questions}
    contrasts = {(c.first, c.second): c for family in judged.families.values() for c in family}
    for other in (arm for arm in ARMS if arm != "B3"):
        found = contrasts["B3", other]
        row |= {
            f"over {other}": found.difference,
            f"detectable over {other}": found.detectable,
            f"beats {other}": found.difference > 0 and found.p < ALPHA,
        }
    return row


def spread(values: pd.Series) -> str:
    return f"{values.mean():+.3f} ± {values.std():.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--patients", type=int, default=30)
    options = parser.parse_args()
    work = [(seed, informative) for informative in (False, True) for seed in range(options.repeats)]
    rows = Parallel(options.jobs, verbose=10)(
        delayed(one_cohort)(seed, informative, options.patients) for seed, informative in work
    )
    table = pd.DataFrame(rows).assign(informative=[informative for _, informative in work])
    for informative, own in table.groupby("informative"):
        print(f"\n{'informative' if informative else 'null'}: {len(own)} cohorts of "
              f"{options.patients} patients, seeds 0 to {options.repeats - 1}")  # fmt: skip
        for question in ("map_at_hand", "whose_map"):
            print(f"  {question}: {dict(Counter(own[question]))}")
        for other in (arm for arm in ARMS if arm != "B3"):
            print(
                f"  B3 - {other}: {spread(own[f'over {other}'])} (mean ± sd over cohorts); said to "
                f"be found with a chance of 80 %: {own[f'detectable over {other}'].mean():.3f}; "
                f"found (p < {ALPHA}): {own[f'beats {other}'].mean():.2f}"
            )


if __name__ == "__main__":
    main()
