"""The figures of a report, each as PNG and SVG, the same bytes for the same numbers.

Black on white with one dark colour: what matters is told by markers, line styles, hatches and
labels, so that nothing is lost in greyscale.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

from vaclip.evaluation.axes import Curves
from vaclip.evaluation.compare import HEADLINE, ArmScores
from vaclip.evaluation.evaluate import Evaluation
from vaclip.evaluation.inference import ALPHA, Interval
from vaclip.evaluation.labels import SIDES
from vaclip.files import atomic_file
from vaclip.fonts import USUAL, shown_names
from vaclip.reports.gather import Source
from vaclip.reports.tables import contrast_name, family_title
from vaclip.reports.typeset import number, p_text

INK: Final = "#1b3a5c"
GREY: Final = "#595959"
PALE: Final = "#d9d9d9"
WIDTH: Final = 7.2  # inches
_STYLE: Final[dict[Any, Any]] = {
    "svg.hashsalt": "vaclip",
    "svg.fonttype": "path",
    "font.family": list(USUAL),
    "font.size": 11,
    "text.parse_math": False,
    "axes.unicode_minus": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "xtick.direction": "out",
    "figure.constrained_layout.use": True,
}
_LINES: Final = ("-", "--", "-.", ":")
_MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X", "*")
"""An arm keeps its line and marker within a figure."""


@dataclass(frozen=True)
class Figure:
    """A drawn figure."""

    name: str
    caption: str
    alt: str
    """What it shows, for those who do not see it."""
    svg: bytes


Drawing: TypeAlias = tuple[Callable[[Source, Evaluation], Canvas | None], str, str]
"""What draws it, or says that there is nothing to show; caption; alternative text."""


def draw_figures(
    source: Source,
    results: Evaluation,
    folder: Path,
    drawings: Mapping[str, Drawing],
) -> dict[str, Figure]:
    """Draws figures, such as `FIGURES`, as far as there is something to show.

    Args:
        source: As read.
        results: What is shown.
        folder: Gets NAME.png (200 dpi) and NAME.svg.
        drawings: By name.

    Returns:
        By name.
    """
    drawn = {}
    for name, (draw, caption, alt) in drawings.items():
        for kind in ("png", "svg"):  # of an earlier report, which may have had more to show
            (folder / f"{name}.{kind}").unlink(missing_ok=True)
        with mpl.rc_context():
            mpl.rcdefaults()
            mpl.rcParams.update(_STYLE)
            canvas = draw(source, results)
            if canvas is not None:
                drawn[name] = Figure(name, caption, alt, _save(canvas, folder / name))
    return drawn


def _save(canvas: Canvas, stem: Path) -> bytes:
    FigureCanvasAgg(canvas)
    nothing = {"svg": {"Date": None, "Creator": None}, "png": {"Software": None}}
    for kind, metadata in nothing.items():
        with atomic_file(stem.with_suffix(f".{kind}")) as temporary:
            canvas.savefig(temporary, format=kind, dpi=200, metadata=metadata)
    return stem.with_suffix(".svg").read_bytes()


def draw_interval(ax: Axes, interval: Interval, y: float, **style: Any) -> None:
    """An interval as a line; nothing where it is undefined."""
    if math.isfinite(interval.low):
        ax.plot([interval.low, interval.high], [y, y], lw=1.1, solid_capstyle="butt", **style)


def name_rows(ax: Axes, names: Sequence[str]) -> None:
    """Names the rows of a forest, from the top."""
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)


def write_beside(ax: Axes, y: float, text: str) -> None:
    """Writes to the right of a row."""
    ax.annotate(
        text, (1.02, y), xycoords=("axes fraction", "data"), va="center", fontsize=9.5,
        annotation_clip=False,
    )  # fmt: skip


def _forest(source: Source, results: Evaluation) -> Canvas:
    scores = results.scores["patient"]
    canvas = Canvas(figsize=(WIDTH, 0.9 + 0.3 * len(scores)))
    ax = canvas.add_subplot()
    chance = chance_level(source)
    ax.axvline(chance, color=GREY, lw=0.9, ls=(0, (4, 3)))
    for y, (arm, found) in enumerate(scores.items()):
        score = found.scores[HEADLINE]
        control = results.roles is not None and arm in results.roles.all_controls
        colour = GREY if control else INK
        draw_interval(ax, score.interval, y, color=colour)
        ax.plot(
            score.mean, y, "D" if control else "s", color=colour, ms=6,
            mfc="white" if control else colour, clip_on=False,
        )  # fmt: skip
        low, high = number(score.interval.low, 2), number(score.interval.high, 2)
        write_beside(ax, y, f"{number(score.mean, 2)}  ({low} to {high})")
    name_rows(ax, list(scores))
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
        for y, contrast in enumerate(family):
            if contrast.identical:
                ax.plot(0, y, "x", color=INK, ms=6)
                write_beside(ax, y, "same predictions")
                continue
            found = contrast.p_holm < ALPHA
            draw_interval(ax, contrast.interval, y, color=INK)
            ax.plot(contrast.difference, y, "o", color=INK, ms=6, mfc=INK if found else "white")
            p = p_text(contrast.p_holm)
            write_beside(ax, y, f"{number(contrast.difference, 2, sign=True)}  Holm p {p}")
        name_rows(ax, [contrast_name(c) for c in family])
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
        ax.plot(
            x, y, _LINES[style % len(_LINES)], marker=_MARKERS[style % len(_MARKERS)], color=colour,
            mfc="white" if style % 2 else colour, ms=5, lw=1.2, label=arm,
            clip_on=False,
        )  # fmt: skip
        ax.vlines(x, low, high, color=colour, lw=0.9)
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


def chance_level(source: Source) -> float:
    """Balanced accuracy of a guess."""
    return 1 / len(source.predictions.classes)


def _chance(ax: Axes, source: Source) -> None:
    ax.axhline(chance_level(source), color=GREY, lw=0.9, ls=(0, (1, 2)), zorder=0, label="chance")


def _noise(source: Source, results: Evaluation) -> Canvas | None:
    kinds = {kind: curves for kind, curves in results.noise.items() if curves}
    if not kinds:
        return None
    columns = min(2, len(kinds))
    rows = math.ceil(len(kinds) / columns)
    canvas = Canvas(figsize=(WIDTH * (1.0 if columns > 1 else 0.62), 0.3 + 2.5 * rows))
    axes = canvas.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    arms = sorted({arm for curves in kinds.values() for arm in curves})
    for ax, (kind, curves) in zip(axes, kinds.items(), strict=False):
        _curve(ax, curves, arms, _method(results))
        _chance(ax, source)
        ax.set_title(kind.capitalize())
    for ax in axes[len(kinds) :]:
        ax.set_visible(False)
    handles = {line.get_label(): line for ax in axes for line in ax.get_legend_handles_labels()[0]}
    canvas.legend(handles.values(), handles, loc="outside upper center", ncols=4, frameon=False)
    canvas.supxlabel("Strength of the noise", fontsize=11)
    canvas.supylabel("Balanced accuracy per patient", fontsize=11)
    return canvas


def _confusion(source: Source, results: Evaluation) -> Canvas:
    scores, classes = results.scores["patient"], source.predictions.classes
    mpl.rcParams["font.family"], shown = shown_names(classes, 10)
    columns = min(3, len(scores))
    rows = math.ceil(len(scores) / columns)
    canvas = Canvas(figsize=(WIDTH / 3 * columns, (WIDTH / 3 + 0.35) * rows))
    axes = canvas.subplots(rows, columns, squeeze=False).ravel()
    for ax, (arm, found) in zip(axes, scores.items(), strict=False):
        _matrix(ax, found, shown)
        ax.set_title(arm)
    for ax in axes[len(scores) :]:
        ax.set_visible(False)
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


def _reliability(source: Source, results: Evaluation) -> Canvas:
    scores = results.scores["patient"]
    canvas = Canvas(figsize=(WIDTH * 0.45 * len(results.shown), 4.1))
    axes = canvas.subplots(
        2, len(results.shown), squeeze=False, sharex=True, sharey="row", height_ratios=[3, 1]
    )
    for (curve, bars), arm in zip(axes.T, results.shown, strict=True):
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
    axes[0, 0].set_ylabel("Share right")
    axes[1, 0].set_ylabel("Cases")
    return canvas


def _retrieval(source: Source, results: Evaluation) -> Canvas | None:
    arms = [a for a in source.scored if "retrieval_r1_v2a" in results.retrieval.get(a, {})]
    if not arms:
        return None
    canvas = Canvas(figsize=(WIDTH, 1.1 + 0.36 * len(arms)))
    axes = canvas.subplots(1, 2, sharey=True)
    for ax, place in zip(axes, ("r1", "r5"), strict=True):
        for y, arm in enumerate(arms):
            own = results.retrieval[arm]
            for shift, side, marker in ((-0.14, "v2a", "o"), (0.14, "a2v", "s")):
                found = own.get(f"retrieval_{place}_{side}")
                if found:
                    said = SIDES[side]
                    draw_interval(ax, Interval(found.low, found.high), y + shift, color=INK)
                    ax.plot(
                        found.mean, y + shift, marker, color=INK, ms=5, ls="",
                        mfc=INK if side == "v2a" else "white", label=said if y == 0 else None,
                    )  # fmt: skip
            chance = own.get(f"retrieval_{place}_chance")
            if chance:
                ax.plot(
                    chance.mean, y, "|", color=GREY, ms=15, mew=1.6,
                    label="chance" if y == 0 else None,
                )  # fmt: skip
        name_rows(ax, arms)
        ax.set_title(f"R@{place[1]}")
        ax.set_xlim(0, 1)
    canvas.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3,
                  frameon=False)  # fmt: skip
    return canvas


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
    "confusion": (
        _confusion,
        "Confusion matrices per patient: share of each label (rows) that got each diagnosis "
        "(columns), below it the count, summed over seeds.",
        "Confusion matrix of each arm; the counts stand in the table of confusion.",
    ),
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
