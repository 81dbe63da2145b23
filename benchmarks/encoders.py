"""What frozen features are worth: the verdict's arms on pixels, lite0's tokens and untrained ones.

    python benchmarks/encoders.py FOLDER [--cohorts locates leaks common null] [--study PATH]
        [--encoders lite0 random pixels] [--seeds 0 1 2] [--quick] [OVERRIDE ...]

Runs ``vaclip study study=quick`` for each cohort and encoder into a folder of its own (the same
command goes on where it was stopped), then prints for each arm balanced accuracy per patient with
its 95 % interval of the training procedure and the standard deviation over seeds, the verdict's
answers, and what the jobs took. ``--study`` adds a study folder of one's own to the cohorts.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from vaclip.ablation.job import seconds_taken
from vaclip.evaluation.evaluate import Evaluation, evaluate
from vaclip.evaluation.fusion import fusion_name
from vaclip.reports.gather import read_folder

ARMS = (
    "B0", "B2", "B3", "K_map_only", "K_shuffled", "P0", "P1", "P2", "P3", "P_shuffled", "P_prior",
)  # fmt: skip
SHOWN = ("B0", "B2", "B3", fusion_name("B0", "K_map_only"), *ARMS[3:])
ENCODERS: dict[str, list[str]] = {
    "lite0": ["backbone=lite0"],
    "random": ["backbone=lite0", "features.source='random:lite0'"],
    "pixels": [],
}
TRUTHS = ("locates", "leaks", "common", "null")


def study(folder: Path, words: list[str]) -> tuple[Evaluation, str]:
    """Runs a study, or goes on with it, and judges it; returns its plan too."""
    command = [sys.executable, "-m", "vaclip", "study", "study=quick", f"run_dir={folder}"]
    command += [f"study.arms=[{','.join(ARMS)}]", *words]
    print("$", " ".join(["vaclip", *command[3:]]), flush=True)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    source = read_folder(folder)
    plan = str(source.plans[-1]) if source.plans else "no plan"
    return evaluate(source.everything, roles=source.roles, arms=source.scored), plan


def minutes(folder: Path) -> float:
    """What the jobs of a study took, one after the other."""
    return sum(seconds_taken(job) for job in (folder / "jobs").iterdir()) / 60


def cell(found: Evaluation, arm: str) -> str:
    """Mean, interval and spread of an arm."""
    if arm not in found.scores["patient"]:
        return "-"
    score = found.scores["patient"][arm].scores["acc_macro"]
    ends = f"{score.interval.low:.2f} to {score.interval.high:.2f}"
    return f"{score.mean:.3f} ({ends}; ± {score.sd:.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cohorts", nargs="*", choices=TRUTHS, default=TRUTHS)
    parser.add_argument("--study", type=Path, action="append", default=[])
    parser.add_argument("--encoders", nargs="+", choices=ENCODERS, default=list(ENCODERS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--quick", action="store_true", help="two steps of training: does it run?")
    options, overrides = parser.parse_known_args()
    seeds = f"study.seeds=[{','.join(map(str, options.seeds))}]"
    quick = ["study=smoke"] if options.quick else []
    data = {truth: [f"data.synthetic.truth='{truth}'"] for truth in options.cohorts}
    data |= {own.name: ["data=folder", f"data.root={own}"] for own in options.study}
    for cohort, of_data in data.items():
        columns, answers = {}, {}
        for encoder in options.encoders:
            folder = options.folder / f"{cohort}-{encoder}"
            found, plan = study(folder, [*quick, *of_data, *ENCODERS[encoder], seeds, *overrides])
            columns[encoder] = [cell(found, arm) for arm in SHOWN]
            said = (f"{asked.name} {asked.answer.value}" for asked in found.verdict.questions)
            told = f"{', '.join(said)}; jobs {minutes(folder):.0f} min; {plan}"
            answers[encoder] = told
        print(f"\n### {cohort}\n\n| arm | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
        for row, arm in enumerate(SHOWN):
            print(f"| {arm} | {' | '.join(own[row] for own in columns.values())} |")
        print()
        for encoder, told in answers.items():
            print(f"- {encoder}: {told}")


if __name__ == "__main__":
    main()
