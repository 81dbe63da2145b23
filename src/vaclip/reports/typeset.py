"""Tables of text in Markdown and LaTeX, and how numbers are written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from vaclip.evaluation.inference import Interval

NONE: Final = "\N{EN DASH}"
MINUS: Final = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Table:
    """A table of plain text; a cell's later lines are of less weight than its first."""

    name: str
    """Letters, digits and ``_``."""
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    """The first cell of a row names it."""
    prose: frozenset[str] = frozenset()
    """Columns that hold sentences; the others are short."""

    @property
    def note(self) -> str:
        """What a dash means, where there is one."""
        dashes = any(cell == NONE for row in self.rows for cell in row)
        return f"{NONE}: undefined or not recorded." if dashes else ""


def number(value: float, digits: int = 3, *, sign: bool = False) -> str:
    """Formats a number; a dash where it is undefined."""
    if not math.isfinite(value):
        return NONE
    shown = f"{value:{'+' if sign else ''}.{digits}f}"
    if not float(shown):
        shown = shown.lstrip("+-")
    return shown.replace("-", MINUS)


def interval_text(interval: Interval, *, sign: bool = False) -> str:
    """Formats an interval; a dash where it is undefined."""
    if not math.isfinite(interval.low):
        return NONE
    return f"{number(interval.low, sign=sign)} to {number(interval.high, sign=sign)}"


def p_text(p: float) -> str:
    """Formats a p value."""
    return "< 0.001" if p < 0.001 else number(p)


def markdown(tables: Sequence[Table]) -> str:
    """All tables as Markdown."""
    return "\n\n".join(_markdown(table) for table in tables) + "\n"


def _markdown(table: Table) -> str:
    lines = [table.columns, ("---",) * len(table.columns), *table.rows]
    body = "\n".join(f"| {' | '.join(map(markdown_text, line))} |" for line in lines)
    return "\n\n".join(filter(None, [f"**{markdown_text(table.caption)}**", body, table.note]))


def markdown_text(text: str) -> str:
    """Escapes text for Markdown; its lines are told apart as in a cell."""
    for sign in "\\|<>*_`[]":
        text = text.replace(sign, f"\\{sign}" if sign not in "<>" else f"&{'lg'[sign == '>']}t;")
    return text.replace("\r", " ").replace("\n", "<br>")


_LATEX: Final = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "%": r"\%", "_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", MINUS: "$-$", "±": r"$\pm$", NONE: "--",
    "…": r"\ldots{}",
    "[": "{[}", "]": "{]}", "*": "{*}", "|": r"\textbar{}",
}  # fmt: skip


def latex_text(text: str) -> str:
    """Escapes text for LaTeX."""
    return "".join(_LATEX.get(sign, sign) for sign in text)


def latex(tables: Sequence[Table]) -> str:
    r"""All tables as LaTeX; the preamble needs ``\usepackage{booktabs}``."""
    return "\n\n".join(_latex(table) for table in tables) + "\n"


def _latex(table: Table) -> str:
    prose = [name in table.prose for name in table.columns]
    kinds = " ".join(r"p{0.2\linewidth}" if wide else "l" for wide in prose)

    def row(cells: Sequence[str]) -> str:
        return " & ".join(map(_latex_cell, cells, prose)) + r" \\"

    return "\n".join(
        [
            r"\begin{table}",
            r"\footnotesize",
            rf"\caption{{{latex_text(' '.join(filter(None, [table.caption, table.note])))}}}",
            rf"\label{{tab:{table.name}}}",
            rf"\begin{{tabular}}{{@{{}}{kinds}@{{}}}}",
            r"\toprule",
            row(table.columns),
            r"\midrule",
            *map(row, table.rows),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def _latex_cell(text: str, wide: bool) -> str:
    lines = [latex_text(line) for line in text.splitlines()]
    if len(lines) < 2 or wide:
        return r"\newline ".join(lines)
    return r"\begin{tabular}[t]{@{}l@{}}" + r" \\ ".join(lines) + r"\end{tabular}"
