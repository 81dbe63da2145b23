"""How often the intervals cover and the tests err, with really trained models.

    python benchmarks/inference.py [--quick] [--cohorts 300] [--only PART ...] [--rows TEXT ...]

Cohorts are drawn anew; on each one two arms are trained with scikit-learn as vaclip trains them:
five folds, one validated, three trained on, dealt anew with each seed. Both see ten features of a
patient, and each ten of its own that tell as much, so that the arms are exchangeable and their true
difference is 0 exactly, unless one's own features tell more (``gain``). The judged statistics are
the package's own.

The truth of the *procedure* is the mean over `TRAININGS` models of fresh training sets of the same
size, on `POPULATION` patients; that of *these trained models* is what the cohort's own models reach
there. After ± stands the Monte-Carlo standard error.
"""

from __future__ import annotations

import argparse
import math
import os
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import sklearn
from joblib import Parallel, delayed
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier

from vaclip.evaluation import inference as stats
from vaclip.evaluation import scores, spread
from vaclip.evaluation.cases import Cases

Array = NDArray[np.floating]
FOLDS = 5
TRAININGS = 300
POPULATION = 3000
SEED = 20_261_125
_FEATURES = 10
_ARMS = (np.arange(20), np.r_[:10, 20:30])
_WARM = {"assume_finite": True, "skip_parameter_validation": True}


@dataclass(frozen=True)
class Scenario:
    """A population and a design."""

    name: str
    patients: int = 60
    classes: int = 3
    odds: int = 1
    """How many patients of the commonest class there are to one of the rarest."""
    seeds: int = 3
    model: str = "ridge"
    signal: float = 1.0
    """Distance of a class from the middle, in standard deviations of a feature."""
    gain: float = 0.0
    """How much more the first arm's own features tell."""
    unstable: bool = False
    """Each trained model sees half of its features and is biased in its logits: strong folds."""
    redeal: bool = True
    """Whether each seed deals the patients to folds anew."""
    folds: tuple[int, ...] = tuple(range(FOLDS))
    """Those that were run."""

    def counts(self) -> NDArray[np.integer]:
        """Patients of each class."""
        weight = np.geomspace(self.odds, 1, self.classes)
        count = np.floor(self.patients * weight / weight.sum()).astype(int)
        count[0] += self.patients - count.sum()
        return count


NULL = (
    Scenario("60 patients, 1 seed", seeds=1),
    Scenario("60 patients"),
    Scenario("60, 5 seeds", seeds=5),
    Scenario("60, 10 seeds", seeds=10),
    Scenario("60, logistic regression, 5 seeds", model="logistic", seeds=5),
    Scenario("60, small net, 5 seeds", model="mlp", seeds=5),
    Scenario("60, 2 classes, 5 seeds", classes=2, seeds=5),
    Scenario("60, strong folds, 1 seed", unstable=True, seeds=1),
    Scenario("60, strong folds, 5 seeds", unstable=True, seeds=5),
    Scenario("60, strong folds, same in 5 seeds", unstable=True, redeal=False, seeds=5),
    Scenario("60, ceiling", signal=2.2),
    Scenario("40 patients, 5 seeds", patients=40, seeds=5),
    Scenario("40, 2 classes 37 : 3, 1 seed", patients=40, classes=2, odds=12, seeds=1),
    Scenario("40, 2 classes 37 : 3, 5 seeds", patients=40, classes=2, odds=12, seeds=5),
    Scenario("150 patients, 5 seeds", patients=150, seeds=5),
    Scenario("300, 3 classes 1 : 12", patients=300, odds=12),
    Scenario("300, 5 classes 1 : 12", patients=300, classes=5, odds=12),
    Scenario("60, fold 0 alone, 5 seeds", folds=(0,), seeds=5),
    Scenario("60, folds 0 and 2, 1 seed", folds=(0, 2), seeds=1),
)
POWER = tuple(
    replace(NULL[i], gain=gain)
    for i, gain in ((0, 0.8), (1, 0.8), (2, 0.8), (3, 0.8), (8, 0.8), (14, 0.4))
)


def draw(rng: np.random.Generator, scenario: Scenario, label: Array) -> Array:
    """Features of patients, (P, 30): what both arms see, then what each sees alone."""
    side = scenario.signal * np.eye(scenario.classes, _FEATURES)
    mean = np.hstack([side, (1 + scenario.gain) * side, side])
    return mean[label] + rng.normal(size=(len(label), 3 * _FEATURES))


def train(
    rng: np.random.Generator, scenario: Scenario, x: Array, y: Array, *others: Array
) -> list[Array]:
    """Trains a model and returns its probabilities of other patients."""
    k, seen = scenario.classes, np.arange(x.shape[1])
    if scenario.unstable:
        seen = rng.choice(seen, len(seen) // 2, replace=False)
    seed, bias = int(rng.integers(2**31)), rng.normal(0, 0.5 * scenario.unstable, k)
    x, weight = x[:, seen], (len(y) / np.bincount(y, minlength=k).clip(1) / k)[y]
    if scenario.model == "ridge":
        model = Ridge(alpha=5.0).fit(x, np.eye(k)[y], sample_weight=weight)
        logits = [4 * model.predict(other[:, seen]) for other in others]
    else:
        model = (
            LogisticRegression(C=0.1, tol=1e-3)
            if scenario.model == "logistic"
            else MLPClassifier((8,), solver="lbfgs", alpha=1.0, max_iter=30, random_state=seed)
        ).fit(x, y, sample_weight=weight)
        logits = []
        for other in others:
            known = np.log(model.predict_proba(other[:, seen]) + 1e-12)
            logits.append(np.full((len(other), k), -20.0))
            logits[-1][:, model.classes_] = known
    raised = [np.exp(own + bias - (own + bias).max(axis=1, keepdims=True)) for own in logits]
    return [own / own.sum(axis=1, keepdims=True) for own in raised]


def deal(rng: np.random.Generator, label: Array) -> NDArray[np.integer]:
    """Deals patients to folds, each class evenly."""
    fold = np.empty(len(label), int)
    fold[np.lexsort([rng.random(len(label)), label])] = np.arange(len(label)) % FOLDS
    return fold


def population(scenario: Scenario) -> tuple[Array, NDArray[np.integer]]:
    """Features and labels of new patients, in the class mix of the cohorts."""
    share = scenario.counts() / scenario.patients
    label = np.repeat(np.arange(scenario.classes), np.round(POPULATION * share).astype(int))
    return draw(np.random.default_rng(SEED), scenario, label), label


def reached(probs: Array, label: Array, names: Sequence[str]) -> Array:
    """The metrics of new patients, (names,)."""
    rows = scores.Rows(probs, label, np.zeros(len(label), int))
    found = scores.weighted_metrics(rows, np.ones((1, 1)), names)
    return np.array([found[name][0] for name in names])


def truth(stream: np.random.SeedSequence, scenario: Scenario, names: Sequence[str]) -> Array:
    """What one fresh training set reaches, (arm, names)."""
    rng = np.random.default_rng(stream)
    label = np.repeat(np.arange(scenario.classes), scenario.counts())
    x, fold = draw(rng, scenario, label), deal(rng, label)
    tested = int(rng.integers(FOLDS))  # small classes are not in every fold
    kept = (fold != tested) & (fold != (tested + 1) % FOLDS)
    new, of_new = population(scenario)
    return np.array([
        reached(
            train(rng, scenario, x[kept][:, arm], label[kept], new[:, arm])[0], of_new, names
        )
        for arm in _ARMS
    ])  # fmt: skip


def cohort(
    rng: np.random.Generator, scenario: Scenario, names: Sequence[str]
) -> tuple[list[Cases], Array]:
    """Trains on a new cohort.

    Returns:
        The cases of both arms, and what their models reach on new patients, (arm, names).
    """
    label = np.repeat(np.arange(scenario.classes), scenario.counts())
    x, fold = draw(rng, scenario, label), deal(rng, label)
    new, of_new = population(scenario)
    jobs, probs, on_new = [], ([], []), []
    for seed in range(scenario.seeds):
        fold = deal(rng, label) if seed and scenario.redeal else fold
        for number in scenario.folds:
            test = np.flatnonzero(fold == number)
            own = (fold != number) & (fold != (number + 1) % FOLDS)
            jobs.append((test, np.full(len(test), seed), np.full(len(test), number)))
            for side, arm in enumerate(_ARMS):
                seen = (x[own][:, arm], label[own], x[test][:, arm], new[:, arm])
                tested, fresh = train(rng, scenario, *seen)
                probs[side].append(tested)
                on_new.append(reached(fresh, of_new, names))
    patient, seeds, folds = map(np.concatenate, zip(*jobs, strict=True))
    number = np.unique(patient, return_inverse=True)[1]
    nothing = np.full(len(number), math.nan)
    cases = [
        Cases(number, label[patient], seeds, folds, np.concatenate(own), nothing) for own in probs
    ]
    return cases, np.mean(np.reshape(on_new, (-1, 2, len(names))), axis=0)


def one_cohort(
    stream: np.random.SeedSequence, scenario: Scenario, true: Array, names: Sequence[str]
) -> dict[str, float]:
    """Whether intervals cover and tests reject, in one cohort; ``true`` as of `truth`."""
    both, of_these = cohort(np.random.default_rng(stream), scenario, names)
    one, ratio = both[0], 1 / (FOLDS - 2)
    own = spread.standard_errors(both[:1], names, ratio)
    apart = spread.standard_errors(both, names, ratio)
    alone = rivals(both, names, ratio)
    everyone = np.ones((1, one.patients))
    values = [scores.resampled_metrics(cases, everyone, names) for cases in both]
    found = {}
    for n, name in enumerate(names):
        value = float(values[0][name][0])
        difference = value - float(values[1][name][0])
        error, models = apart[name].procedure, apart[name].trained
        kinds = {
            "value": (spread.value_interval(name, value, own[name].procedure, one), true[0, n]),
            "value, trained": (
                spread.value_interval(name, value, own[name].trained, one), of_these[0, n],
            ),
            "difference": (
                spread.difference_interval(name, difference, error, one), true[0, n] - true[1, n],
            ),
            "difference, trained": (
                spread.difference_interval(name, difference, models, one),
                of_these[0, n] - of_these[1, n],
            ),
        }  # fmt: skip
        for kind, (interval, goal) in kinds.items():
            known = math.isfinite(interval.low)
            covers = interval.low - 1e-12 <= goal <= interval.high + 1e-12
            found[f"{name}, {kind}"] = float(covers) if known else math.nan
            found[f"{name}, {kind}, width"] = interval.high - interval.low
        tests = {
            "p": stats.t_p(difference, error),
            "no overlap": stats.t_p(difference, alone[name][0]),
            "one seed": stats.t_p(difference, alone[name][1]),
            "Nadeau-Bengio": stats.corrected_resampled_t(by_job(both, name), ratio).p,
        }
        for test, p in tests.items():
            found[f"{name}, {test}"] = float(p < stats.ALPHA) if math.isfinite(p) else math.nan
    return found


def rivals(
    both: Sequence[Cases], names: Sequence[str], ratio: float
) -> dict[str, tuple[stats.StandardError, stats.StandardError]]:
    """Of a difference: without the overlap, V, and V + n_test / n_train V(one seed)."""
    whole = spread.independent_errors(both, names)
    seeds = np.unique(both[0].seed)
    parts = [
        spread.independent_errors([spread.of_seed(one, seed) for one in both], names)
        for seed in seeds
    ]
    found = {}
    for name in names:
        error = whole[name].procedure
        one_seed = np.mean([part[name].procedure.value ** 2 for part in parts])
        wide = math.sqrt(error.value**2 + ratio * one_seed)
        found[name] = (error, stats.StandardError(wide, error.df))
    return found


def by_job(both: Sequence[Cases], name: str) -> list[float]:
    """The difference in each fold and seed."""
    found, everyone = [], np.ones((1, both[0].patients))
    for fold, seed in both[0].models():
        own = (both[0].fold == fold) & (both[0].seed == seed)
        a, b = (scores.resampled_metrics(x.of(own), everyone, [name])[name][0] for x in both)
        found.append(float(a - b))
    return found


def study(
    scenario: Scenario, cohorts: int, jobs: int, names: Sequence[str]
) -> tuple[Array, pd.DataFrame]:
    """The truth (arm, names), and a row a cohort."""
    root = np.random.SeedSequence([SEED, *scenario.name.encode()])
    with Parallel(jobs, batch_size=5) as pool:
        fresh = np.array(
            pool(delayed(quiet)(truth, s, scenario, names) for s in root.spawn(TRAININGS))
        )
        true = fresh.mean(axis=0)
        if not scenario.gain:  # exchangeable
            true[:] = true.mean(axis=0)
        streams = root.spawn(cohorts)
        rows = pool(delayed(quiet)(one_cohort, s, scenario, true, names) for s in streams)
    return true, pd.DataFrame(rows)


def quiet(function, *arguments):
    """Calls it without scikit-learn's words on few iterations and its checks of arguments."""
    warnings.filterwarnings("ignore")
    with sklearn.config_context(**_WARM):
        return function(*arguments)


def rate(values: pd.Series) -> str:
    """A share in %, with its Monte-Carlo error."""
    known = values.dropna()
    if not len(known):
        return "-"
    share = float(known.mean())
    return f"{100 * share:.1f} ± {100 * math.sqrt(share * (1 - share) / len(known)):.1f}"


def print_table(title: str, rows: Iterable[Sequence[str]]) -> None:
    print(f"\n{title}\n\n| {' | '.join(HEADER)} |\n{'|---' * len(HEADER)}|", flush=True)
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)


def row_of(label: str, name: str, true: Array, found: pd.DataFrame) -> list[str]:
    kinds = ("value", "value, trained", "difference", "difference, trained")
    tests = ("p", "no overlap", "one seed", "Nadeau-Bengio")
    width = found[f"{name}, difference, width"].mean()
    return [
        label, f"{true[0]:.3f}", f"{true[0] - true[1]:.3f}",
        *(rate(found[f"{name}, {kind}"]) for kind in (*kinds, *tests)),
        f"{width:.3f}" if math.isfinite(width) else "-",
    ]  # fmt: skip


HEADER = (
    "", "true value", "true difference", "value covers", "value of these models covers",
    "difference covers", "difference of these models covers", "p rejects",
    "V rejects", "V + V(one seed) / 3 rejects", "Nadeau-Bengio rejects", "mean width",
)  # fmt: skip
METRICS = ("acc_macro", "acc_micro", "f1_macro", "auroc_macro", "auroc_micro", "log_loss", "brier")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cohorts", type=int, default=300, help="a row")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--only", nargs="+", choices=("null", "power", "metrics"))
    parser.add_argument("--rows", nargs="+", default=[""], help="whose name has one of these")
    parser.add_argument("--quick", action="store_true", help="40 cohorts of a few rows")
    options = parser.parse_args()
    cohorts = 40 if options.quick else options.cohorts
    start, chosen = time.monotonic(), options.only or ("null", "power", "metrics")

    def rows(scenarios: Sequence[Scenario]) -> Iterator[list[str]]:
        for scenario in scenarios[: 4 if options.quick else None]:
            if any(text in scenario.name for text in options.rows):
                true, found = study(scenario, cohorts, options.jobs, ["acc_macro"])
                yield row_of(scenario.name, "acc_macro", true[:, 0], found)

    for part, scenarios in (("null", NULL), ("power", POWER)):
        if part in chosen:
            title = f"Balanced accuracy, {part}, in %, {cohorts} cohorts a row"
            print_table(title, rows(scenarios))
    if "metrics" in chosen:
        true, found = study(NULL[1], cohorts, options.jobs, METRICS)
        table = [row_of(name, name, true[:, n], found) for n, name in enumerate(METRICS)]
        print_table(f"Other metrics, {NULL[1].name}, in %, {cohorts} cohorts", table)
    print(f"\n{time.monotonic() - start:.0f} s, {options.jobs} processes")


if __name__ == "__main__":
    main()
