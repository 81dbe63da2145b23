"""What the verdict says of simulated studies whose truth is known.

    python benchmarks/report_statistics.py [--studies 1000] [--jobs 2]

Simulated studies (``simulated_studies.py``, which says what a true value is) go through the
report's own functions as prediction tables. `values` and `differences`, whether intervals cover
and tests err as they say, are a fast check for the tests; the rates to quote are of
``inference.py``, whose models are really trained.
"""

from __future__ import annotations

import argparse
import functools
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from joblib import Parallel, delayed

from simulated_studies import SCENARIOS, Scenario, simulate, strength_of, truth
from vaclip.evaluation import compare as judge
from vaclip.evaluation import inference as stats
from vaclip.evaluation.answers import Answer
from vaclip.evaluation.compare import HEADLINE
from vaclip.evaluation.evaluate import reach_verdict
from vaclip.evaluation.fusion import with_late_fusion
from vaclip.evaluation.predictions import Predictions
from vaclip.evaluation.roles import Roles

N_RESAMPLES = 1000
SIZE = {"n_resamples": N_RESAMPLES, "n_permutations": 999}
FEW = SIZE | {"n_resamples": 2}
ROLES = Roles("B0", "B3", "K_shuffled", "K_map_only")


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
    rng: np.random.Generator, scenario: Scenario, strength: float, true: float
) -> dict[str, float]:
    """Whether the interval of an arm's value covers, in one study."""
    predictions = Predictions.of(simulate(rng, scenario, {"A": strength}))
    arm = judge.score_arm(predictions, "A", metrics=(HEADLINE,), n_resamples=N_RESAMPLES)
    interval = arm.scores[HEADLINE].interval
    return {"covers": covers(interval, true), "width": interval.high - interval.low}


def one_difference(
    rng: np.random.Generator, scenario: Scenario, strengths: dict[str, float], true: float
) -> dict[str, float]:
    """Whether the interval of a difference covers, in one study, and what its test says."""
    contrast = judge.compare(Predictions.of(simulate(rng, scenario, strengths)), "A", "B", **SIZE)
    return {
        "covers": covers(contrast.interval, true),
        "width": contrast.interval.high - contrast.interval.low,
        "rejected": contrast.p < stats.ALPHA,
    }


def values(studies: int, jobs: int, scenario: Scenario) -> pd.DataFrame:
    """Studies of one arm at the scenario's true value."""
    strength = strength_of(scenario, scenario.value)
    true = truth(scenario, strength)[HEADLINE]
    return repeat(one_value, studies, jobs, scenario, strength, true)


def differences(studies: int, jobs: int, scenario: Scenario, difference: float) -> pd.DataFrame:
    """Studies of two arms, A better than B by ``difference`` in balanced accuracy."""
    strengths = {
        "A": strength_of(scenario, scenario.value),
        "B": strength_of(scenario, round(scenario.value - difference, 4)),
    }
    one, two = (truth(scenario, strength)[HEADLINE] for strength in strengths.values())
    return repeat(one_difference, studies, jobs, scenario, strengths, one - two)


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
    said = reach_verdict(predictions, ROLES, families, {})
    return {question.name: question.answer.value for question in said.questions}


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    print(f"\n{title}\n\n| {' | '.join(header)} |\n" + "|---" * len(header) + "|")
    for row in rows:
        print(f"| {' | '.join(row)} |")


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    show_verdict(options.studies, options.jobs)


if __name__ == "__main__":
    main()
