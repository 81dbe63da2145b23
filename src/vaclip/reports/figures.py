"""The figures of a report: arms, contrasts, curves, confusion, reliability, retrieval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

from vaclip.evaluation.axes import Curves
from vaclip.evaluation.compare import HEADLINE, ArmScores
from vaclip.evaluation.evaluate import Evaluation
from vaclip.evaluation.inference import ALPHA, Interval
from vaclip.evaluation.labels import SIDES
from vaclip.fonts import shown_names
from vaclip.reports.drawing import (
    GREY,
    INK,
    NARROW,
    PALE,
    WIDTH,
    Drawing,
    chance_level,
    draw_score,
    name_rows,
    panels,
    write_beside,
)
from vaclip.reports.gather import Source
from vaclip.reports.svg import mark
from vaclip.reports.tables import contrast_name, family_title
from vaclip.reports.typeset import interval_text, number, p_text

_LINES: Final = ("-", "--", "-.", ":")
_MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X", "*")
"""An arm keeps its line and marker within a figure."""


def _forest(source: Source, results: Evaluation) -> Canvas:
    scores = results.scores["patient"]
    canvas = Canvas(figsize=(WIDTH, 0.9 + 0.3 * len(scores)))
    ax = canvas.add_subplot()
    chance = chance_level(source)
    ax.axvline(chance, color=GREY, lw=0.9, ls=(0, (4, 3)))
    for y, (arm, found) in enumerate(scores.items()):
        score = found.scores[HEADLINE]
        control = results.roles is not None and results.roles.is_control(arm)
        colour = GREY if control else INK
        draw_score(
            ax, y, score.mean, score.interval, "D" if control else "s", arm,
            color=colour, mfc="white" if control else colour, clip_on=False,
        )  # fmt: skip
        low, high = number(score.interval.low, 2), number(score.interval.high, 2)
        write_beside(ax, y, f"{number(score.mean, 2)}  ({low} to {high})", arm)
    name_rows(ax, list(scores), list(scores))
    ax.set_xlim(0, 1)
    ax.set_xlabel("Balanced accuracy per patient")
    ax.annotate(
        f"chance {chance:.2f}", (chance, 1.0), xycoords=("data", "axes fraction"), ha="center",
        va="bottom", fontsize=9.5, color=GREY,
    )  # fmt: skip
    return canvas


def _contrasts(source: Source, results: Evaluation) -> Canvas | None:
    families = {name: own for name, own in results.families.items() if own}
    if not families:
        return None
    sizes = [len(own) for own in families.values()]
    canvas = Canvas(figsize=(WIDTH, 0.6 + sum(0.75 + 0.28 * n for n in sizes)))
    axes = canvas.subplots(
        len(sizes), 1, squeeze=False, sharex=True, height_ratios=[n + 1 for n in sizes]
    )
    for ax, (name, family) in zip(axes[:, 0], families.items(), strict=True):
        ax.axvline(0, color=GREY, lw=0.9)
        pairs = [f"{contrast.first} {contrast.second}" for contrast in family]
        for y, (contrast, pair) in enumerate(zip(family, pairs, strict=True)):
            if contrast.identical:
                draw_score(ax, y, 0.0, Interval(math.nan, math.nan), "x", pair, color=INK)
                write_beside(ax, y, "same predictions", pair)
                continue
            found = contrast.p_holm < ALPHA
            draw_score(
                ax, y, contrast.difference, contrast.interval, "o", pair,
                color=INK, mfc=INK if found else "white",
            )  # fmt: skip
            said = f"{number(contrast.difference, 2, sign=True)}  Holm p {p_text(contrast.p_holm)}"
            write_beside(ax, y, said, pair)
        name_rows(ax, [contrast_name(c) for c in family], pairs)
        ax.set_title(family_title(results, name))
    axes[-1, 0].set_xlabel("Difference in balanced accuracy per patient")
    return canvas


def _curve(ax: Axes, curves: Curves, everyone: Sequence[str], method: str | None) -> None:
    """One line an arm with intervals; the arms are moved apart a little, and named in a legend."""
    values = sorted({value for points in curves.values() for value, _ in points})
    step = 0.012 * (values[-1] - values[0] or 1)
    for n, (arm, points) in enumerate(curves.items()):
        style = everyone.index(arm)
        x = np.array([value for value, _ in points]) + step * (n - (len(curves) - 1) / 2)
        scores = [found.scores[HEADLINE] for _, found in points]
        y = np.array([score.mean for score in scores])
        low, high = (
            np.array([getattr(s.interval, end) for s in scores]) for end in ("low", "high")
        )
        colour = INK if arm == method else GREY
        own: dict[str, Any] = {
            "marker": _MARKERS[style % len(_MARKERS)], "color": colour, "ms": 5,
            "mfc": "white" if style % 2 else colour, "clip_on": False,
        }  # fmt: skip
        (line,) = ax.plot(x, y, _LINES[style % len(_LINES)], lw=1.2, label=arm, **own)
        mark(line, arm, arm)
        mark(ax.vlines(x, low, high, color=colour, lw=0.9), arm, arm)
        for (value, _), at, score in zip(points, x, scores, strict=True):
            (point,) = ax.plot(at, score.mean, **own)
            said = f"{number(score.mean)} ({interval_text(score.interval)})"
            mark(point, arm, f"{arm} at {value:g}: {said}")
    ax.set_xticks(values, [f"{value:g}" for value in values])
    ax.set_ylim(0, 1)


def _method(results: Evaluation) -> str | None:
    return results.roles.method if results.roles else None


def _learning(source: Source, results: Evaluation) -> Canvas | None:
    if not results.learning:
        return None
    canvas = Canvas(figsize=(WIDTH * 0.72, 3.2))
    ax = canvas.add_subplot()
    _curve(ax, results.learning, list(results.learning), _method(results))
    _chance(ax, source)
    ax.set_xlabel("Share of the training patients")
    ax.set_ylabel("Balanced accuracy per patient")
    canvas.legend(loc="outside right upper", frameon=False)
    return canvas


def _chance(ax: Axes, source: Source) -> None:
    ax.axhline(chance_level(source), color=GREY, lw=0.9, ls=(0, (1, 2)), zorder=0, label="chance")


def _noise(source: Source, results: Evaluation, *, narrow: bool = False) -> Canvas | None:
    kinds = {kind: curves for kind, curves in results.noise.items() if curves}
    if not kinds:
        return None
    canvas, axes = panels(len(kinds), 2, 2.5, narrow=narrow, sharey=True)
    arms = sorted({arm for curves in kinds.values() for arm in curves})
    for ax, (kind, curves) in zip(axes, kinds.items(), strict=True):
        _curve(ax, curves, arms, _method(results))
        _chance(ax, source)
        ax.set_title(kind.capitalize())
    drawn = [line for ax in axes for line in ax.get_legend_handles_labels()[0]]
    lines = {str(line.get_label()): line for line in drawn}
    above, columns = "outside upper center", 2 if narrow else 4
    canvas.legend(lines.values(), lines, loc=above, ncols=columns, frameon=False)
    canvas.supxlabel("Strength of the noise", fontsize=11)
    canvas.supylabel("Balanced accuracy per patient", fontsize=11)
    return canvas


def _confusion(source: Source, results: Evaluation, *, narrow: bool = False) -> Canvas:
    return _matrices(source, results, results.shown, narrow=narrow)


def _confusion_others(source: Source, results: Evaluation) -> Canvas | None:
    others = [arm for arm in results.scores["patient"] if arm not in results.shown]
    return _matrices(source, results, others) if others else None


def _matrices(
    source: Source, results: Evaluation, arms: Sequence[str], *, narrow: bool = False
) -> Canvas:
    classes = source.predictions.classes
    mpl.rcParams["font.family"], shown = shown_names(classes, 10)
    height = NARROW if narrow else WIDTH / 3 + 0.35
    canvas, axes = panels(len(arms), 3, height, narrow=narrow)
    for ax, arm in zip(axes, arms, strict=True):
        _matrix(ax, results.scores["patient"][arm], shown)
        ax.set_title(arm)
        mark(ax, arm)
    canvas.supxlabel("Diagnosis", fontsize=11)
    canvas.supylabel("Label", fontsize=11)
    return canvas


def _matrix(ax: Axes, found: ArmScores, classes: Sequence[str]) -> None:
    counts = found.confusion
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    ax.imshow(share, cmap="Greys", vmin=0, vmax=1.9)  # black text stays readable on all of it
    size = 9.5 if len(classes) < 5 else 40 / len(classes)
    for (row, column), count in np.ndenumerate(counts):
        shown = f"{share[row, column]:.0%}\n{count}"
        ax.text(column, row, shown, ha="center", va="center", fontsize=size)
    ax.set_xticks(range(len(classes)), classes, fontsize=9)
    ax.set_yticks(range(len(classes)), classes, fontsize=9, rotation=90, va="center")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)


def _reliability(source: Source, results: Evaluation, *, narrow: bool = False) -> Canvas:
    scores, count = results.scores["patient"], len(results.shown)
    rows, columns = (count, 1) if narrow else (1, count)
    canvas = Canvas(figsize=(NARROW if narrow else WIDTH * 0.45 * columns, 4.1 * rows))
    axes = canvas.subplots(
        2 * rows, columns, squeeze=False, sharex=True, sharey="row", height_ratios=[3, 1] * rows
    )
    pairs = axes.reshape(count, 2) if narrow else axes.T
    for (curve, bars), arm in zip(pairs, results.shown, strict=True):
        found = scores[arm].reliability
        curve.plot([0, 1], [0, 1], color=GREY, lw=0.9, ls=(0, (4, 3)))
        there = found.count > 0
        curve.plot(
            found.confidence[there],
            found.accuracy[there],
            "o-",
            color=INK,
            ms=5,
            lw=1.2,
            clip_on=False,
        )
        mark(curve, arm)
        mark(bars, arm)
        ece = number(scores[arm].scores["ece"].mean)
        curve.set_title(f"{arm}, ECE {ece}")
        curve.set(xlim=(0, 1), ylim=(0, 1.02))
        edges = np.linspace(0, 1, len(found.count) + 1)
        bars.bar(
            edges[:-1], found.count, np.diff(edges), align="edge", facecolor=PALE, edgecolor=INK,
            hatch="///", lw=0.6,
        )  # fmt: skip
        bars.yaxis.set_major_locator(MaxNLocator(3, integer=True))
        bars.set_xlabel("Top probability")
    for curve, bars in pairs if narrow else pairs[:1]:
        curve.set_ylabel("Share right")
        bars.set_ylabel("Cases")
    return canvas


def _retrieval(source: Source, results: Evaluation, *, narrow: bool = False) -> Canvas | None:
    arms = [a for a in source.scored if "retrieval_r1_v2a" in results.retrieval.get(a, {})]
    if not arms:
        return None
    canvas, axes = panels(2, 2, 0.6 + 0.36 * len(arms), narrow=narrow, sharey=True)
    for ax, place in zip(axes, ("r1", "r5"), strict=True):
        for y, arm in enumerate(arms):
            own = results.retrieval[arm]
            for shift, side, marker in ((-0.14, "v2a", "o"), (0.14, "a2v", "s")):
                found = own.get(f"retrieval_{place}_{side}")
                if found:
                    draw_score(
                        ax, y + shift, found.mean, Interval(found.low, found.high), marker, arm,
                        color=INK, mfc=INK if side == "v2a" else "white", ms=5,
                        label=SIDES[side] if y == 0 else None,
                    )  # fmt: skip
            chance = own.get(f"retrieval_{place}_chance")
            if chance:
                draw_score(
                    ax, y, chance.mean, Interval(math.nan, math.nan), "|", arm,
                    color=GREY, ms=15, mew=1.6, label="chance" if y == 0 else None,
                )  # fmt: skip
        name_rows(ax, arms, arms)
        ax.set_title(f"R@{place[1]}")
        ax.set_xlim(0, 1)
    handles, below = axes[0].get_legend_handles_labels(), "outside lower center"
    canvas.legend(*handles, loc=below, ncols=2 if narrow else 3, frameon=False)
    return canvas


_CONFUSION: Final = (
    "Confusion matrices per patient: share of each label (rows) that got each diagnosis "
    "(columns), below it the count, summed over seeds."
)
_COUNTS: Final = "A confusion matrix an arm; the counts stand in the table of confusion."
FIGURES: Final[dict[str, Drawing]] = {
    "forest": (
        _forest,
        "Balanced accuracy per patient with its 95% interval over patients and trained models. "
        "Open diamonds are control arms; the dashed line is chance.",
        "Forest plot of balanced accuracy per patient, a row an arm; the values stand in the "
        "table of arms.",
    ),
    "contrasts": (
        _contrasts,
        "Differences in balanced accuracy per patient with 95% intervals. A filled circle: "
        "Holm-corrected p below 0.05. A cross: the two arms predict exactly the same.",
        "Forest plot of the differences between arms in three families; the values stand in the "
        "tables of contrasts.",
    ),
    "learning": (
        _learning,
        "Learning curve: balanced accuracy per patient over the share of the training patients, "
        "with 95% intervals.",
        "Learning curve with a line an arm; the values stand in the table of the curves.",
    ),
    "noise": (
        _noise,
        "Noise of the maps at test: balanced accuracy per patient with 95% intervals, a panel a "
        "kind of noise. At strength 0, and at gain 1, the maps are as they are.",
        "Noise curves with a line an arm; the values stand in the table of the curves.",
    ),
    "confusion": (_confusion, _CONFUSION, _COUNTS),
    "confusion_others": (_confusion_others, _CONFUSION, _COUNTS),
    "reliability": (
        _reliability,
        "Reliability per patient over all seeds: how often a diagnosis is right, by its "
        "probability; on the dashed line the two are equal. Below, how many cases are in each bin.",
        "Reliability curves with histograms of the top probability; ECE and Brier score stand in "
        "the table of calibration.",
    ),
    "retrieval": (
        _retrieval,
        "Retrieval among all clips of the test split: mean over trained models, the line is their "
        "range, the upright stroke is chance.",
        "Recall at 1 and at 5 of each arm beside chance; the values stand in the table of "
        "retrieval.",
    ),
}
