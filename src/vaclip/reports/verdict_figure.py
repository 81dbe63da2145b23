"""The figure beside the verdict: the arms that decide each question, in a clinician's words."""

from __future__ import annotations

from typing import Final

from matplotlib.figure import Figure as Canvas

from vaclip.evaluation.compare import HEADLINE
from vaclip.evaluation.evaluate import Evaluation
from vaclip.reports.drawing import (
    GREY,
    INK,
    NARROW,
    WIDTH,
    Drawing,
    chance_level,
    draw_score,
    name_rows,
    write_beside,
)
from vaclip.reports.gather import Source
from vaclip.reports.svg import mark
from vaclip.reports.typeset import number

_TITLES: Final = {
    "bedside": "At the bedside",
    "map_at_hand": "With a clinician's map at hand",
    "whose_map": "Whose knowledge it is",
}
_DECIDE: Final = {
    "bedside": {
        "taught": "taught by clinicians where to look",
        "untaught": "taught by nobody",
        "taught_shuffled": "taught with other patients' maps",
        "prior": "looks where everybody was looked at",
        "bedside": "trained with maps, used without",
        "baseline": "video only",
    },
    "map_at_hand": {
        "method": "video under the patient's map",
        "baseline": "video only",
        "fusion": "answers of video and map combined",
        "map_only": "map only",
    },
    "whose_map": {
        "method": "video under the patient's map",
        "shuffled": "video under another patient's map",
    },
}
"""By question, the roles whose arms decide it, in words."""


def _decisive(results: Evaluation) -> dict[str, list[tuple[str, str]]]:
    """Returns (words, arm) by question, of the arms that are there."""
    roles, there = results.roles, results.scores["patient"]
    if roles is None:
        return {}
    found = {}
    for question, parts in _DECIDE.items():
        if roles.taught in there and roles.untaught in there:
            parts = {role: words for role, words in parts.items() if role != "bedside"}
        arms = [
            (words, arm) for role, words in parts.items() if (arm := getattr(roles, role)) in there
        ]
        if len(arms) > 1:
            found[question] = arms
    return found


def _verdict(source: Source, results: Evaluation, *, narrow: bool = False) -> Canvas | None:
    """Draws a panel a question; narrow, for a phone, with the words over the rows."""
    panels = _decisive(results)
    if not panels:
        return None
    answers = {question.name: question.answer.value for question in results.verdict.questions}
    sizes = [len(arms) for arms in panels.values()]
    width, row = (NARROW, 0.4) if narrow else (WIDTH, 0.27)
    canvas = Canvas(figsize=(width, 0.6 + sum(0.5 + row * n for n in sizes)))
    axes = canvas.subplots(
        len(sizes), 1, squeeze=False, sharex=True, height_ratios=[n + 0.8 for n in sizes]
    )[:, 0]
    for ax, (question, arms) in zip(axes, panels.items(), strict=True):
        ax.axvline(chance_level(source), color=GREY, lw=0.9, ls=(0, (4, 3)))
        for y, (_, arm) in enumerate(arms):
            score = results.scores["patient"][arm].scores[HEADLINE]
            first = y == 0
            draw_score(
                ax, y, score.mean, score.interval, "s", arm,
                color=INK if first else GREY, mfc=INK if first else "white", clip_on=False,
            )  # fmt: skip
            write_beside(ax, y, number(score.mean, 2), arm)
        named = [f"{words} ({arm})" for words, arm in arms]
        name_rows(ax, [""] * len(arms) if narrow else named, [arm for _, arm in arms])
        for y, (_, arm) in enumerate(arms if narrow else ()):
            over = ax.text(0, y - 0.28, named[y], fontsize=10, va="bottom", clip_on=False)
            mark(over, arm)
        ax.set_title(f"{_TITLES[question]}: {answers[question]}")
    axes[-1].set_xlim(0, 1)
    axes[-1].set_xlabel("Balanced accuracy per patient; dashed: chance", fontsize=10)
    return canvas


def _answers_told(results: Evaluation) -> str:
    answers = (
        f"{_TITLES[question.name].lower()}: {question.answer.value}"
        for question in results.verdict.questions
    )
    return f"Forest plot of the arms that decide the three questions: {', '.join(answers)}."


VERDICT_FIGURES: Final[dict[str, Drawing]] = {
    "verdict": (
        _verdict,
        "The arms that decide each question: balanced accuracy per patient with its 95% interval "
        "over patients and trained models. The filled square is what the question asks about.",
        _answers_told,
    ),
}
