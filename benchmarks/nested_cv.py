"""Nested cross-validation beside the package's own intervals, with really trained models.

    python benchmarks/nested_cv.py [--cohorts 200] [--deals 10]

Bates, Hastie & Tibshirani (2024) estimate how far a cross-validated mean is from the truth by
comparing each fold with the folds that its models did not train on, over many deals. It needs a
model for every pair of folds left out, 10 of each arm in a deal where vaclip trains 5, and is for
plain means: here the difference in accuracy of the two arms of `inference.py`, whose models
train on three folds of five in both. After ± stands the Monte-Carlo standard error.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from numpy.typing import NDArray
from scipy import stats

from inference import (
    _ARMS,
    FOLDS,
    NULL,
    POWER,
    SEED,
    Scenario,
    deal,
    draw,
    quiet,
    rate,
    train,
    truth,
)
from vaclip.evaluation.inference import LEVEL

Z = float(stats.norm.ppf((1 + LEVEL) / 2))
ROWS = {
    scenario.name + (", one arm better" if scenario.gain else ""): scenario
    for scenario in (NULL[2], NULL[8], NULL[11], NULL[14], POWER[2], POWER[4], POWER[5])
}


def differences(
    rng: np.random.Generator, scenario: Scenario, x: NDArray, y: NDArray, fold: NDArray
) -> NDArray:
    """Right by the first arm less right by the second, (tested, left out too, patient).

    Entry (k, j, i) is of a patient i of fold k, by models that saw neither fold k nor fold j.
    """
    found = np.full((FOLDS, FOLDS, len(y)), math.nan)
    for one, other in combinations(range(FOLDS), 2):
        kept = (fold != one) & (fold != other)
        right = []
        for arm in _ARMS:
            probs = train(rng, scenario, x[kept][:, arm], y[kept], x[~kept][:, arm])[0]
            right.append((probs.argmax(axis=1) == y[~kept]).astype(float))
        pair = np.full(len(y), math.nan)
        pair[~kept] = right[0] - right[1]
        found[one, other] = np.where(fold == one, pair, math.nan)
        found[other, one] = np.where(fold == other, pair, math.nan)
    return found


def nested(deals: Sequence[NDArray]) -> tuple[float, float]:
    """The estimate and its standard error, from `differences` of each deal.

    The paper's algorithm 1, but that inner and outer models train on equally many patients, so that
    there is no bias to take off. The error is kept between the naive one and sqrt(K) of it.
    """
    inner, squares, variances, outer = [], [], [], []
    for found in deals:
        for k in range(FOLDS):
            own = found[k, (k + 1) % FOLDS]
            own = own[np.isfinite(own)]
            others = found[[j for j in range(FOLDS) if j != k], k]
            others = others[np.isfinite(others)]
            squares.append((others.mean() - own.mean()) ** 2)
            variances.append(own.var(ddof=1) / len(own))
            inner.append(others.mean())
            outer.append(own)
    flat = np.concatenate(outer)
    naive = math.sqrt(flat.var(ddof=1) / (len(flat) / len(deals)))
    mse = max(float(np.mean(squares) - np.mean(variances)), 0.0)
    error = math.sqrt((FOLDS - 1) / FOLDS * mse)
    return float(np.mean(inner)), min(max(error, naive), math.sqrt(FOLDS) * naive)


def one_cohort(
    stream: np.random.SeedSequence, scenario: Scenario, true: float, deals: int
) -> dict[str, float]:
    """Whether the interval covers and excludes 0, and its width."""
    rng = np.random.default_rng(stream)
    label = np.repeat(np.arange(scenario.classes), scenario.counts())
    x = draw(rng, scenario, label)
    found = [differences(rng, scenario, x, label, deal(rng, label)) for _ in range(deals)]
    estimate, error = nested(found)
    return {
        "covers": float(abs(estimate - true) <= Z * error),
        "rejects": float(abs(estimate) > Z * error),
        "width": 2 * Z * error,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cohorts", type=int, default=200, help="a row")
    parser.add_argument("--deals", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    options = parser.parse_args()
    print("| | difference covers | rejects | mean width |\n|---|---|---|---|")
    for name, scenario in ROWS.items():
        root = np.random.SeedSequence([SEED, *name.encode()])
        with Parallel(options.jobs, batch_size=5) as pool:
            true = 0.0
            if scenario.gain:
                fresh = pool(
                    delayed(quiet)(truth, s, scenario, ["acc_micro"]) for s in root.spawn(300)
                )
                reached = np.mean(fresh, axis=0)[:, 0]
                true = float(reached[0] - reached[1])
            rows = pool(
                delayed(quiet)(one_cohort, s, scenario, true, options.deals)
                for s in root.spawn(options.cohorts)
            )
        table = pd.DataFrame(rows)
        cells = (rate(table["covers"]), rate(table["rejects"]), f"{table['width'].mean():.3f}")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
