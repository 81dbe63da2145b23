"""A data card as tables for the terminal: what ``vaclip data describe`` prints."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from rich.markup import escape
from rich.table import Table

from vaclip.audit.findings import ANNOTATIONS
from vaclip.audit.map_features import MAP
from vaclip.evaluation.data_card import DataCard

_SHOWN = 8
_COLOURS = {"error": "red", "warning": "yellow", "note": "cyan"}


def description_tables(card: DataCard) -> list[Table]:
    """Returns a data card as tables for the terminal."""
    tables = [_classes(card), _facts(card), _annotators(card), _agreement(card)]
    tables += [_readers(card), _shortcuts(card)]
    return [table for table in tables if table.row_count] + [_findings(card)]


def _classes(card: DataCard) -> Table:
    table = _table(card.name, ("class", "patients", "clips"))
    for row in card.per_class:
        _add(table, (row.class_, row.patients, row.clips))
    table.add_section()
    _add(table, ("all", card.patients, card.clips))
    return table


def _facts(card: DataCard) -> Table:
    table = _table("Clips and maps", ("", ""))
    without, clips = card.clips_without_map, card.clips
    _add(table, ("length", card.clip_seconds))
    _add(table, ("distinct maps", card.distinct_maps))
    _add(table, ("clips without a map", f"{without} ({without / clips:.0%})"))
    if not math.isnan(card.samples_under_map):
        _add(table, ("samples under a map, where a clip has one", f"{card.samples_under_map:.0%}"))
    _add(table, ("annotators blinded to the diagnosis", card.blinding))
    _add(table, ("excluded clips", len(card.excluded)))
    for reason, count in Counter(clip.reason for clip in card.excluded).most_common(_SHOWN):
        _add(table, (f"  {reason}", count))
    return table


def _annotators(card: DataCard) -> Table:
    table = _table("Annotators", ("annotator", "clips annotated"))
    for row in card.annotators:
        _add(table, (row.annotator, row.clips))
    return table


def _agreement(card: DataCard) -> Table:
    scores = ("kappa", "CC", "by chance", "SIM", "by chance")
    names = ("annotators", "clips", "same annotations", *scores)
    table = _table("Agreement on the clips that both annotated", names)
    for pair in card.agreement:
        cells = (
            _spread(pair.cc_mean, pair.cc_sd), _number(pair.cc_chance),
            _spread(pair.sim_mean, pair.sim_sd), _number(pair.sim_chance),
        )  # fmt: skip
        who = f"{pair.first} and {pair.second}"
        _add(table, (who, pair.clips, *map(_number, (pair.exact, pair.kappa)), *cells))
    joint = card.joint_agreement
    if not math.isnan(joint.fleiss_kappa):
        table.add_section()
        _add(table, ("all (Fleiss' kappa)", joint.clips, "", _number(joint.fleiss_kappa)))
    return table


def _readers(card: DataCard) -> Table:
    table = _table(
        "On the page of vaclip annotate",
        (
            "annotator", "clips", "seconds a clip", "marked twice", "CC with themself", "by chance",
            "patients diagnosed", "balanced accuracy",
        ),
    )  # fmt: skip
    for row in card.readers:
        again = _spread(row.again.cc_mean, row.again.cc_sd), _number(row.again.cc_chance)
        interval = "" if math.isnan(row.low) else f" ({row.low:.2f} to {row.high:.2f})"
        seconds = "-" if math.isnan(row.seconds) else f"{row.seconds:.0f}"
        said = row.patients, _number(row.accuracy) + interval
        _add(table, (row.annotator, row.clips, seconds, row.again.clips, *again, *said))
    return table


def _shortcuts(card: DataCard) -> Table:
    about = card.shortcuts
    left_out = ", ".join(about.left_out)
    table = _table(
        "What tells the class without the video",
        ("alone", "balanced accuracy", "p", "p, all tried"),
        f"By patient, cross-validated; chance is {about.chance:.3f}. p: share of "
        f"{about.permutations} permutations of the labels between patients that do as well; "
        "in the last column, with the best of all features (of metadata, or of maps)."
        + (f" Left out, because nearly all values differ: {escape(left_out)}." if left_out else ""),
    )
    sections = {
        ANNOTATIONS,
        next((s.feature for s in about.scores if s.feature.startswith(MAP)), ""),
    }
    for row in about.scores:
        if row.feature in sections:
            table.add_section()
        _add(table, (row.feature, *map(_number, (row.score, row.p, row.p_adjusted))))
    return table


def _findings(card: DataCard) -> Table:
    found = card.findings
    title = "What will mislead" if found else "Nothing was found that will mislead"
    table = Table(title=title, show_lines=True, show_header=bool(found))
    for name in ("", "about", "what", "what to do"):
        table.add_column(name)
    for row in found:
        about = {"patients": row.patients, "clips": row.clips}
        who = [_listed(name, ids) for name, ids in about.items() if ids]
        severity = f"[{_COLOURS[row.severity]}]{row.severity}[/]"
        what = "\n".join([row.what, *who])
        table.add_row(severity, *map(escape, (row.subject, what, row.advice)))
    return table


def _table(title: str, names: Sequence[str], caption: str | None = None) -> Table:
    table = Table(title=escape(title), caption=caption, show_header=any(names))
    for number, name in enumerate(names):
        table.add_column(name, justify="right" if number else "left")
    return table


def _add(table: Table, cells: Iterable[object]) -> None:
    table.add_row(*(escape(str(cell)) for cell in cells))


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def _spread(mean: float, deviation: float) -> str:
    return _number(mean) + ("" if math.isnan(deviation) else f" ± {deviation:.3f}")


def _listed(name: str, ids: Sequence[str]) -> str:
    more = len(ids) - _SHOWN
    return f"{name}: {', '.join(ids[:_SHOWN])}" + (f" and {more} more" if more > 0 else "")
