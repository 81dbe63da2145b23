"""What all figures of a report share: how they look, are kept, and are marked for the page.

Black on white with one dark colour: what matters is told by markers, line styles, hatches and
labels, so that nothing is lost in greyscale.
"""

from __future__ import annotations

import inspect
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas

from vaclip.evaluation.evaluate import Evaluation
from vaclip.evaluation.inference import Interval
from vaclip.files import atomic_file
from vaclip.fonts import USUAL
from vaclip.reports.gather import Source
from vaclip.reports.svg import inline_svg, mark, plain_svg
from vaclip.reports.typeset import interval_text, number

INK: Final = "#1b3a5c"
GREY: Final = "#595959"
PALE: Final = "#d9d9d9"
WIDTH: Final = 7.2  # inches
NARROW: Final = 3.5  # on a phone
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


@dataclass(frozen=True)
class Figure:
    """A drawn figure."""

    name: str
    caption: str
    alt: str
    """What it shows, for those who do not see it."""
    svg: str
    """The element of the page."""
    narrow: str = ""
    """The one of a phone; empty where that is the same."""


Alt: TypeAlias = str | Callable[[Evaluation], str]
Drawing: TypeAlias = tuple[Callable[..., Canvas | None], str, Alt]
"""What draws it from source and results, or says that there is nothing to show; caption;
alternative text, or what says it of the results. What takes ``narrow`` too draws it for a phone:
its panels one under the other."""


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
            if canvas is None:
                continue
            told = alt if isinstance(alt, str) else alt(results)
            svg, narrow = inline_svg(_save(canvas, folder / name), name, told), ""
            stacks = "narrow" in inspect.signature(draw).parameters
            if stacks and (stacked := draw(source, results, narrow=True)):
                narrow = inline_svg(_svg(stacked), f"{name}-narrow", told)
            drawn[name] = Figure(name, caption, told, svg, narrow)
    return drawn


def _save(canvas: Canvas, stem: Path) -> bytes:
    """Writes a figure's files; returns its SVG with the marks."""
    FigureCanvasAgg(canvas)
    with atomic_file(stem.with_suffix(".png")) as temporary:
        canvas.savefig(temporary, format="png", dpi=200, metadata={"Software": None})
    svg = _svg(canvas)
    with atomic_file(stem.with_suffix(".svg")) as temporary:
        temporary.write_bytes(plain_svg(svg))
    return svg


def _svg(canvas: Canvas) -> bytes:
    svg = io.BytesIO()
    canvas.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    return svg.getvalue()


def panels(
    count: int, most: int, height: float, *, narrow: bool, **how: Any
) -> tuple[Canvas, list[Axes]]:
    """Lays out panels side by side, or on a phone one under the other.

    Args:
        count: Of panels.
        most: In a row.
        height: Of a row, in inches.
        narrow: Whether for a phone.
        **how: As `matplotlib.figure.Figure.subplots` takes it.
    """
    columns = 1 if narrow else min(most, count)
    rows = math.ceil(count / columns)
    share = max(columns, most / 2) / most
    canvas = Canvas(figsize=(NARROW if narrow else WIDTH * share, height * rows + 0.5))
    axes = canvas.subplots(rows, columns, squeeze=False, **how).ravel()
    for ax in axes[count:]:
        ax.set_visible(False)
    return canvas, list(axes[:count])


def draw_score(
    ax: Axes, y: float, value: float, interval: Interval, marker: str, arm: str, **style: Any
) -> None:
    """A value with its interval, which is left out where it is undefined, as a row of a forest.

    Args:
        ax: Where.
        y: The row.
        value: Of the marker.
        interval: A line.
        marker: As matplotlib names it.
        arm: What it is of, for `mark`.
        **style: Of the marker; its ``color`` is the line's too.
    """
    hint = f"{arm.replace(' ', ' against ')}: {number(value)}"
    if math.isfinite(interval.low):
        hint += f" ({interval_text(interval)})"
        ends, colour = [interval.low, interval.high], style["color"]
        (drawn,) = ax.plot(ends, [y, y], color=colour, lw=1.1, solid_capstyle="butt")
        mark(drawn, arm, hint)
    look: dict[str, Any] = {"ms": 6, "ls": "", **style}
    (drawn,) = ax.plot(value, y, marker, **look)
    mark(drawn, arm, hint)


def name_rows(ax: Axes, names: Sequence[str], arms: Sequence[str]) -> None:
    """Names the rows of a forest, from the top, each of an arm."""
    ax.set_yticks(range(len(names)), names)
    for tick, arm in zip(ax.yaxis.get_major_ticks(), arms, strict=True):
        mark(tick.label1, arm)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)


def write_beside(ax: Axes, y: float, text: str, arm: str) -> None:
    """Writes to the right of a row, which is of an arm."""
    written = ax.annotate(
        text, (1.02, y), xycoords=("axes fraction", "data"), va="center", fontsize=9.5,
        annotation_clip=False,
    )  # fmt: skip
    mark(written, arm)


def chance_level(source: Source) -> float:
    """Balanced accuracy of a guess."""
    return 1 / len(source.predictions.classes)
