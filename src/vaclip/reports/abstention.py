"""The table and the figure of abstention: what withholding unsure diagnoses gains."""

from __future__ import annotations

import math
from typing import Any, Final

from matplotlib.figure import Figure as Canvas

from vaclip.evaluation.abstention import COVERAGE, COVERAGES, Selective
from vaclip.evaluation.estimates import Estimate
from vaclip.evaluation.evaluate import Evaluation
from vaclip.reports.drawing import GREY, INK, Drawing, panels
from vaclip.reports.gather import Source
from vaclip.reports.svg import mark
from vaclip.reports.tables import interval_or_trained
from vaclip.reports.typeset import NONE, Table, number

_NAMES: Final = {
    "confidence": "probability of the diagnosis",
    "entropy": "entropy of the probabilities",
    "agreement": "agreement of the seeds",
    "map_information": "information of the predicted map",
}
_LINES: Final = dict(zip(_NAMES, ("-", "--", "-.", ":"), strict=True))


def abstention_arms(results: Evaluation) -> list[str]:
    """The baseline, the method and the arm that is taught to predict the map."""
    taught = results.roles.taught if results.roles else None
    arms = dict.fromkeys((*results.shown, taught))
    return [arm for arm in arms if arm in results.clinical]


def estimate_text(found: Estimate, *, sign: bool = False) -> str:
    """Value, and its interval below."""
    interval = interval_or_trained(found.interval, found.trained, sign=sign)
    value = number(found.value, sign=sign)
    return value if interval == NONE else f"{value}\n{interval}"


def abstention_table(results: Evaluation) -> Table:
    """A row an arm and score."""
    rows = []
    for arm in abstention_arms(results):
        use = results.clinical[arm].abstention
        rows += [(arm, *_row(use.risk, name, own)) for name, own in use.scores.items()]
    return Table(
        "abstention",
        "Withholding unsure diagnoses, per patient, below each the 95% interval. Area under the "
        "risk-coverage curve: the share of wrong diagnoses among those that are given, averaged "
        "over all shares of patients who get one (Geifman and El-Yaniv 2017), within a model, then "
        "over models; smaller is better, and a score that tells nothing has about the share of "
        "wrong ones where all are given. Each score is held against the plainest, the probability "
        f"of the diagnosis. Last: where each model's threshold is the one at which {COVERAGE:.0%} "
        "of its own validation patients get a diagnosis. No validation patient is new to several "
        "seeds, so their agreement has none.",
        (
            "Arm", "Score", "Wrong, all given", "Area", "Less that of the probability",
            "Than the probability", "Given, cut on validation", "Wrong among these",
        ),
        tuple(rows),
    )  # fmt: skip


def _row(risk: Estimate, name: str, own: Selective) -> tuple[str, ...]:
    given = f"{own.coverage:.2f}" if math.isfinite(own.coverage) else NONE
    return (
        _NAMES[name],
        estimate_text(risk),
        estimate_text(own.aurc),
        estimate_text(own.gain, sign=True),
        own.verdict or NONE,
        given,
        estimate_text(own.answered),
    )


def _risk_coverage(source: Source, results: Evaluation, *, narrow: bool = False) -> Canvas:
    arms = abstention_arms(results)
    canvas, axes = panels(len(arms), len(arms), 2.6, narrow=narrow, sharey=True)
    for ax, arm in zip(axes, arms, strict=True):
        use = results.clinical[arm].abstention
        ax.axhline(use.risk.value, color=GREY, lw=0.8)
        for name, own in use.scores.items():
            plain = name == "confidence"
            style: dict[str, Any] = {"color": INK if plain else GREY, "lw": 1.5 if plain else 1.1}
            ax.plot(COVERAGES, own.risk, ls=_LINES[name], label=_NAMES[name], **style)
        mark(ax, arm)
        ax.set(xlim=(0, 1), ylim=(0, None))
        ax.set_title(arm)
    lines = {
        label: line
        for ax in axes
        for line, label in zip(*ax.get_legend_handles_labels(), strict=True)
    }
    canvas.supxlabel("Share of patients who get a diagnosis", fontsize=11)
    canvas.supylabel("Share of wrong ones", fontsize=11)
    canvas.legend(
        lines.values(),
        lines.keys(),
        loc="outside upper center",
        ncols=1 if narrow else 2,
        frameon=False,
    )
    return canvas


ABSTENTION_FIGURES: Final[dict[str, Drawing]] = {
    "risk_coverage": (
        _risk_coverage,
        "Risk over coverage per patient, an arm a panel: the share of wrong diagnoses where only "
        "the surest are given, by several scores of how sure a model is, mean over models. The "
        "horizontal line is the share where all are given.",
        "Risk-coverage curves of the arms in the titles; the areas stand in the table of "
        "abstention.",
    ),
}
