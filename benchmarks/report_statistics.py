"""Whether the report's intervals cover and its tests err as often as they say.

    python benchmarks/report_statistics.py [--studies 1000] [--jobs 2] [--only values ...]

Simulated studies (``simulated_studies.py``, which says what a true value is) go through the
report's own functions as prediction tables. After each rate stands its Monte-Carlo standard
error.
"""

from __future__ import annotations

import argparse
import functools
import math
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from joblib import Parallel, delayed

from simulated_studies import SCENARIOS, Scenario, simulate, strength_of, truth
from vaclip.evaluation import compare as judge
from vaclip.evaluation import inference as stats
from vaclip.evaluation import scores
from vaclip.evaluation.evaluate import reach_verdict
from vaclip.evaluation.fusion import with_late_fusion
from vaclip.evaluation.predictions import Predictions
from vaclip.evaluation.roles import Roles
from vaclip.evaluation.verdict import Answer

N_RESAMPLES = 1000
SIZE = {"n_resamples": N_RESAMPLES, "n_permutations": 999}
FEW = SIZE | {"n_resamples": 2}
ROLES = Roles("B0", "B3", "K_shuffled", "K_map_only")
METRICS = ("acc_macro", "f1_macro", "auroc_macro", "acc_micro", "brier", "log_loss", "ece")


def repeat(
    function: Callable[..., dict], studies: int, jobs: int, scenario: Scenario, *rest: object
) -> pd.DataFrame:
    """Runs ``function(rng, scenario, *rest)`` once a study."""
    streams = np.random.SeedSequence(20_240_731).spawn(studies)
    work = (delayed(function)(np.random.default_rng(s), scenario, *rest) for s in streams)
    return pd.DataFrame(Parallel(jobs, batch_size=20)(work))


def covers(interval: stats.Interval, true: float) -> bool:
    return interval.low - 1e-12 <= true <= interval.high + 1e-12


def one_value(
    rng: np.random.Generator,
    scenario: Scenario,
    strength: float,
    true: dict[str, float],
    metrics: Sequence[str],
) -> dict[str, float]:
    """Whether the intervals of an arm's values cover, in one study."""
    predictions = Predictions.of(simulate(rng, scenario, {"A": strength}))
    arm = judge.score_arm(predictions, "A", metrics=metrics, n_resamples=N_RESAMPLES)
    cases = predictions.cases("A")
    loose = stats.bootstrap_weights(np.zeros(cases.patients, int), N_RESAMPLES, rng)
    drawn = scores.resampled_metrics(cases, loose, metrics)
    found = {}
    for name in metrics:
        score = arm.scores[name]
        found |= {
            name: covers(score.interval, true[name]),
            f"{name}, percentile": covers(score.percentile, true[name]),
            f"{name}, loose": covers(stats.percentile_interval(drawn[name]), true[name]),
            f"{name}, width": score.interval.high - score.interval.low,
        }
    return found


def one_difference(
    rng: np.random.Generator,
    scenario: Scenario,
    strengths: dict[str, float],
    true: dict[str, float],
    metrics: Sequence[str],
) -> dict[str, float]:
    """Whether the intervals of a difference cover, in one study, and what its tests say."""
    predictions = Predictions.of(simulate(rng, scenario, strengths))
    found = {}
    for name in metrics:
        contrast = judge.compare(predictions, "A", "B", name, **SIZE)
        found |= {
            name: covers(contrast.interval, true[name]),
            f"{name}, percentile": covers(contrast.percentile, true[name]),
            f"{name}, width": contrast.interval.high - contrast.interval.low,
            f"{name}, rejected": contrast.p < stats.ALPHA,
            f"{name}, rejected by patients": contrast.p_patients < stats.ALPHA,
            f"{name}, rejected by folds": contrast.resampled_t.p < stats.ALPHA,
            f"{name}, detectable": contrast.detectable,
        }
    return found


HEADLINE = (judge.HEADLINE,)


def values(studies: int, jobs: int, scenario: Scenario, metrics: Sequence[str] = HEADLINE):
    """Studies of one arm at the scenario's true value."""
    strength = strength_of(scenario, scenario.value)
    true = truth(scenario, strength)
    return repeat(one_value, studies, jobs, scenario, strength, true, metrics)


def differences(
    studies: int,
    jobs: int,
    scenario: Scenario,
    difference: float,
    metrics: Sequence[str] = HEADLINE,
) -> pd.DataFrame:
    """Studies of two arms, A better than B by ``difference`` in balanced accuracy."""
    strengths = {
        "A": strength_of(scenario, scenario.value),
        "B": strength_of(scenario, round(scenario.value - difference, 4)),
    }
    one, two = (truth(scenario, strength) for strength in strengths.values())
    true = {name: one[name] - two[name] for name in metrics}
    return repeat(one_difference, studies, jobs, scenario, strengths, true, metrics)


def one_family(
    rng: np.random.Generator, scenario: Scenario, strengths: dict[str, float]
) -> dict[str, bool]:
    """Whether a family of true nulls has a rejection, raw and after Holm."""
    predictions = Predictions.of(simulate(rng, scenario, strengths))
    family = judge.compare_families(predictions, ROLES, **FEW)["baseline"]
    return {
        "raw": min(contrast.p for contrast in family) < stats.ALPHA,
        "Holm": min(contrast.p_holm for contrast in family) < stats.ALPHA,
    }


def one_verdict(
    rng: np.random.Generator, scenario: Scenario, strengths: dict[str, float], *, product: bool
) -> dict[str, str]:
    """What the verdict says in one study.

    Args:
        rng: Source of the study.
        scenario: The population.
        strengths: Of the arms that are drawn.
        product: Whether B3 is the late fusion of B0 and K_map_only, and nothing more.
    """
    table = simulate(rng, scenario, strengths)
    if product:
        fused = with_late_fusion(Predictions.of(table), "B0", "K_map_only").frame
        b3 = fused[fused["arm"] == ROLES.fusion].assign(arm="B3")
        table = pd.concat([table, b3])
    predictions = with_late_fusion(Predictions.of(table), "B0", "K_map_only")
    families = judge.compare_families(predictions, ROLES, **FEW)
    said = reach_verdict(predictions, ROLES, families, **FEW)
    return {question.name: question.answer.value for question in said.questions}


def rate(values: pd.Series) -> str:
    share = float(values.mean())
    return f"{100 * share:.1f} ± {100 * math.sqrt(share * (1 - share) / len(values)):.1f}"


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    print(f"\n{title}\n\n| {' | '.join(header)} |\n" + "|---" * len(header) + "|")
    for row in rows:
        print(f"| {' | '.join(row)} |")


def show_values(studies: int, jobs: int) -> None:
    rows = []
    for scenario in SCENARIOS:
        found = values(studies, jobs, scenario)
        kinds = ("acc_macro", "acc_macro, percentile", "acc_macro, loose")
        width = found["acc_macro, width"].mean()
        shown = [rate(found[kind]) for kind in kinds]
        rows.append([scenario.name, f"{scenario.value:.2f}", *shown, f"{width:.3f}"])
    print_table(
        f"Balanced accuracy of an arm: coverage of 95 % intervals in % ({studies:,} studies a row)",
        ["patients", "true value", "interval", "percentile bootstrap",
         "percentile bootstrap, not stratified", "mean width"],
        rows,
    )  # fmt: skip


def show_differences(studies: int, jobs: int) -> None:
    rows = []
    for scenario in SCENARIOS:
        for difference in (0.0, 0.15) if scenario in SCENARIOS[:6] else (0.0,):
            found = differences(studies, jobs, scenario, difference)
            kinds = ("", ", percentile", ", rejected", ", rejected by patients")
            kinds += (", rejected by folds",)
            shown = [rate(found[f"acc_macro{kind}"]) for kind in kinds]
            width = found["acc_macro, width"].mean()
            rows.append([scenario.name, f"{difference:.2f}", *shown, f"{width:.3f}"])
    print_table(
        f"Difference of two arms in balanced accuracy, in % ({studies:,} studies a row)",
        ["patients", "true difference", "interval covers", "percentile bootstrap covers",
         "p rejects", "permutation of patients alone rejects", "Nadeau-Bengio rejects",
         "mean width"],
        rows,
    )  # fmt: skip


def show_metrics(studies: int, jobs: int) -> None:
    for scenario in SCENARIOS[:1]:
        value = values(studies, jobs, scenario, METRICS)
        difference = differences(studies, jobs, scenario, 0.15, METRICS)
        null = differences(studies, jobs, scenario, 0.0, METRICS)
        rows = [
            [name, rate(value[name]), rate(value[f"{name}, percentile"]), rate(difference[name]),
             rate(difference[f"{name}, percentile"]), rate(null[f"{name}, rejected"])]
            for name in METRICS
        ]  # fmt: skip
        print_table(
            f"Other metrics, {scenario.name}, true balanced accuracy 0.70 and 0.55, in % "
            f"({studies:,} studies)",
            ["metric", "interval of value covers", "percentile", "interval of difference covers",
             "percentile", "p rejects a true null"],
            rows,
        )  # fmt: skip


def show_family(studies: int, jobs: int) -> None:
    rows = []
    for scenario in SCENARIOS[:2]:
        strength = strength_of(scenario, scenario.value)
        # Names that stand in no other family, whose contrasts would be made for nothing.
        strengths = dict.fromkeys(("B0", "D1", "D2", "D3", "D4", "D5"), strength)
        found = repeat(one_family, studies, jobs, scenario, strengths)
        rows.append([scenario.name, rate(found["raw"]), rate(found["Holm"])])
    print_table(
        f"Five true nulls against B0: any rejected, in % ({studies:,} studies a row)",
        ["patients", "uncorrected", "Holm"],
        rows,
    )


def show_power(studies: int, jobs: int) -> None:
    rows = []
    for scenario in (*SCENARIOS[:3], SCENARIOS[5]):
        stated = differences(200, jobs, scenario, 0.15)["acc_macro, detectable"].mean()
        for times in (0.5, 1.0, 1.25):
            difference = round(times * stated, 3)
            found = differences(studies, jobs, scenario, difference)
            detectable = found["acc_macro, detectable"]
            rows.append([
                scenario.name, f"{difference:.3f}", rate(found["acc_macro, rejected"]),
                rate(found["acc_macro, rejected by patients"]),
                rate(found["acc_macro, rejected by folds"]),
                f"{detectable.mean():.3f} ({detectable.std():.3f})",
            ])  # fmt: skip
    print_table(
        f"Power: true difference found at 5 %, in % ({studies:,} studies a row)",
        ["patients", "true difference", "p", "permutation of patients alone", "Nadeau-Bengio",
         "stated as detectable at 80 %, mean (sd)"],
        rows,
    )  # fmt: skip


TRUTHS = {
    "guidance does nothing": {"B3": 0.65, "K_shuffled": 0.65, "K_map_only": 1 / 3},
    "any map helps by 0.2": {"B3": 0.85, "K_shuffled": 0.85, "K_map_only": 1 / 3},
    "only the right map helps, by 0.2": {"B3": 0.85, "K_shuffled": 0.65, "K_map_only": 1 / 3},
    "guidance harms by 0.2": {"B3": 0.45, "K_shuffled": 0.45, "K_map_only": 1 / 3},
    "the map holds the diagnosis": {"K_shuffled": 0.65, "K_map_only": 0.65},
}
"""True values by arm, beside B0 at 0.65; without one, B3 is the late fusion."""


def verdicts(studies: int, jobs: int, scenario: Scenario, name: str) -> pd.DataFrame:
    """The answers in studies of one truth, a row a study and a column a question."""
    values = {"B0": 0.65, **TRUTHS[name]}
    strengths = {arm: strength_of(scenario, round(v, 3)) for arm, v in values.items()}
    work = functools.partial(one_verdict, product="B3" not in values)
    return repeat(work, studies, jobs, scenario, strengths)


def show_verdict(studies: int, jobs: int) -> None:
    scenario = SCENARIOS[0]
    answers = {name: verdicts(studies, jobs, scenario, name) for name in TRUTHS}
    for question in ("map_at_hand", "whose_map"):
        rows = []
        for name, own in answers.items():
            said = Counter(own[question])
            rows.append([name, *(f"{100 * said[answer] / studies:.1f}" for answer in Answer)])
        print_table(
            f"What the verdict says, in %, {question}, {scenario.name}, B0 at 0.65 "
            f"({studies:,} studies a row)",
            ["truth", *(answer.value for answer in Answer)],
            rows,
        )


PARTS = {
    "values": show_values,
    "differences": show_differences,
    "metrics": show_metrics,
    "family": show_family,
    "power": show_power,
    "verdict": show_verdict,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=[*PARTS])
    options = parser.parse_args()
    for name in options.only:
        PARTS[name](options.studies, options.jobs)


if __name__ == "__main__":
    main()
