"""The tables of what more patients would give."""

from __future__ import annotations

from typing import Final

from vaclip.evaluation.evaluate import Evaluation
from vaclip.evaluation.learning import GROWTH, Projection, about
from vaclip.reports.typeset import NONE, Table, interval_text, number

_WHY: Final = "Why there is none"


def outlook_tables(results: Evaluation) -> list[Table]:
    """Those of the two that there are."""
    both = (extrapolation_table(results), needed_table(results))
    return [table for table in both if table is not None]


def extrapolation_table(results: Evaluation) -> Table | None:
    """The learning curves, read where there are no points."""
    rows = [
        (arm, *(_score(found[factor]) for factor in GROWTH), _reasons(*found.values()))
        for arm, found in results.extrapolated.items()
    ]
    if not rows:
        return None
    return Table(
        "extrapolation",
        "Learning curves, extrapolated: balanced accuracy per patient as an inverse power law of "
        "the number of training patients, fitted to the points of the curve; 95% interval from "
        "points that are drawn anew within their errors. That the law goes on is assumed.",
        ("Arm", *(f"With {factor:g} times the patients" for factor in GROWTH), _WHY),
        tuple(rows),
        frozenset({_WHY}),
    )


def needed_table(results: Evaluation) -> Table | None:
    """How many patients would settle the primary contrasts that are undecided."""
    rows = [
        (
            f"{one.contrast.first} against {one.contrast.second}",
            number(one.contrast.difference, sign=True),
            str(one.patients),
            _patients(one.held),
            _patients(one.extrapolated),
            _reasons(one.held, one.extrapolated),
        )
        for one in results.needed
    ]
    if not rows:
        return None
    return Table(
        "needed",
        "About how many patients a study would need to settle, with a chance of 80%, what is "
        "undecided: that two arms differ, or that they do so by less than the margin of the "
        "verdict. The standard error is taken to shrink as 1 / sqrt(patients), in a study that is "
        "else as this one. 95% interval: from what the most telling difference in the interval of "
        "the contrast needs to what settles any difference in it.",
        (
            "Undecided", "Difference", "Patients now", "Needed if it stays as it is",
            "Needed if it goes on as the learning curves do", _WHY,
        ),
        tuple(rows),
        frozenset({_WHY}),
    )  # fmt: skip


def _score(found: Projection) -> str:
    return NONE if found.why_not else f"{number(found.value)}\n{interval_text(found.interval)}"


def _patients(found: Projection) -> str:
    if found.why_not:
        return NONE
    ends = f"{about(found.interval.low)} to {about(found.interval.high)}"
    return f"{about(found.value)}\n{ends}"


def _reasons(*found: Projection) -> str:
    return "; ".join(dict.fromkeys(one.why_not for one in found if one.why_not)) or NONE
