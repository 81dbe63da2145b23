"""What a study records beside its scores: its data, its annotators, what is missing."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

import pandas as pd

from vaclip.evaluation.data_card import DataCard, Reader
from vaclip.evaluation.inference import Interval
from vaclip.reports.gather import Source
from vaclip.reports.pseudonyms import Pseudonyms
from vaclip.reports.typeset import NONE, Table, interval_text, number

_SHOWN: Final = 12
"""Pairs of fold and seed that are listed for a hole; the rest is counted."""


def class_table(card: DataCard) -> Table:
    """Patients and clips of each class."""
    rows = [(c.class_, str(c.patients), str(c.clips)) for c in card.per_class]
    rows.append(("All", str(card.patients), str(card.clips)))
    caption = "Patients and clips by class. A patient with clips of two classes counts in both."
    return Table("classes", caption, ("Class", "Patients", "Clips"), tuple(rows))


def annotator_table(card: DataCard) -> Table | None:
    """Clips that each annotator annotated."""
    rows = tuple((a.annotator, str(a.clips)) for a in card.annotators)
    caption = "Clips that each annotator annotated."
    return Table("annotators", caption, ("Annotator", "Clips"), rows) if rows else None


def card_facts(card: DataCard) -> list[tuple[str, str]]:
    """The data card's single facts, as (name, value)."""
    return [
        ("Study", card.name),
        ("Patients", str(card.patients)),
        ("Clips", str(card.clips)),
        ("Classes", str(len(card.classes))),
        ("Length of a clip", str(card.clip_seconds)),
        ("Distinct maps", str(card.distinct_maps)),
        ("Clips without a map", str(card.clips_without_map)),
        *_under_map(card),
        ("Annotators blinded to the diagnosis", str(card.blinding)),
        ("Clips excluded", str(len(card.excluded))),
        ("Hash of the content", card.content_hash),
    ]


def _under_map(card: DataCard) -> list[tuple[str, str]]:
    if math.isnan(card.samples_under_map):
        return []
    return [("Samples under a map, of clips with one", f"{card.samples_under_map:.0%}")]


def excluded_table(card: DataCard, names: Pseudonyms) -> Table | None:
    """Each excluded clip and why."""
    rows = tuple(
        (names.clip(clip.clip_id), names.message(clip.reason, clip.clip_id))
        for clip in card.excluded
    )
    caption = "Excluded clips and why."
    prose = frozenset({"Reason"})
    return Table("excluded", caption, ("Clip", "Reason"), rows, prose) if rows else None


def findings_table(card: DataCard, names: Pseudonyms) -> Table | None:
    """What may mislead, and what to do about it."""
    rows = tuple(
        (
            found.subject,
            found.severity,
            found.what,
            found.advice,
            _listed([*map(names.patient, found.patients), *map(names.clip, found.clips)]) or NONE,
        )
        for found in card.findings
    )
    caption = "What may mislead in these data. An error, a warning or a note, the gravest first."
    columns = ("About", "Severity", "What", "What to do", "Patients and clips")
    return Table("findings", caption, columns, rows, frozenset(columns[2:])) if rows else None


def agreement_table(card: DataCard) -> Table | None:
    """How far each two annotators agree."""
    rows = tuple(
        (
            f"{pair.first} and {pair.second}",
            str(pair.clips),
            number(pair.exact),
            number(pair.kappa),
            number(pair.cc_mean) + _spread(pair.cc_sd),
            number(pair.cc_chance),
            number(pair.sim_mean) + _spread(pair.sim_sd),
            number(pair.sim_chance),
        )
        for pair in card.agreement
    )
    joint = card.joint_agreement
    if not math.isnan(joint.fleiss_kappa):
        row = ("All of them", str(joint.clips), NONE, number(joint.fleiss_kappa))
        rows += ((*row, NONE, NONE, NONE, NONE),)
    return Table(
        "agreement",
        "Agreement of the annotators on the clips that both annotated: share with exactly the same "
        "annotations, kappa of the set of annotations (Cohen's; Fleiss' for all of them, on the "
        "clips that everyone annotated; of named regions alone, drawings and gaze have none), and "
        "Pearson correlation (CC) and histogram intersection (SIM) of the two maps (mean ± "
        "standard deviation over clips). By chance: the mean of one's map and the other's maps of "
        "other patients, which is what looking at the same place on everyone gives.",
        (
            "Annotators", "Clips", "Same annotations", "Kappa",
            "CC", "CC by chance", "SIM", "SIM by chance",
        ),
        rows,
    ) if rows else None  # fmt: skip


def reader_table(card: DataCard) -> Table | None:
    """How annotators worked on the page of `vaclip annotate`, and how well they diagnosed."""
    rows = tuple(
        (
            reader.annotator,
            str(reader.clips),
            NONE if math.isnan(reader.seconds) else f"{reader.seconds:.0f}",
            str(reader.again.clips),
            number(reader.again.cc_mean) + _spread(reader.again.cc_sd),
            number(reader.again.cc_chance),
            number(reader.again.sim_mean) + _spread(reader.again.sim_sd),
            number(reader.again.sim_chance),
            str(reader.patients),
            reader_accuracy(reader, " ({})"),
        )
        for reader in card.readers
    )
    return Table(
        "readers",
        "What the annotators said, of those who marked the clips with vaclip annotate. Median "
        "time to look at a clip; on the clips that they marked twice at a distance, agreement with "
        "themself (mean ± standard deviation over clips), and that of their maps of different "
        "patients (by chance). Balanced accuracy per patient of their own diagnoses, with its "
        "95% interval on new patients like these: what a model is to be compared with, where the "
        "readers saw no more than it did.",
        (
            "Annotator", "Clips", "Seconds a clip", "Marked twice", "CC", "CC by chance", "SIM",
            "SIM by chance", "Patients diagnosed", "Balanced accuracy",
        ),
        rows,
    ) if rows else None  # fmt: skip


def reader_accuracy(reader: Reader, beside: str) -> str:
    """Balanced accuracy of a reader, and where it is defined its interval, as ``beside`` says."""
    interval = interval_text(Interval(reader.low, reader.high))
    return number(reader.accuracy) + ("" if interval == NONE else beside.format(interval))


def _spread(sd: float) -> str:
    return "" if math.isnan(sd) else f" ± {number(sd)}"


def tuning_note(trials: pd.DataFrame | None, arm: str) -> str:
    """Says what the search chose for an arm, with how often each; empty where there was none."""
    own = trials[trials["arm"] == arm] if trials is not None else pd.DataFrame()
    if own.empty:
        return ""
    chosen = own[own["chosen"]]
    told = [
        f"{name} " + ", ".join(f"{value:g} ({n})" for value, n in sorted(counts.items()))
        for name in own
        if "." in name and len(counts := chosen[name].value_counts())
    ]
    each = len(own) // len(chosen)
    return f"Chosen on validation, from {each} trials a model: {'; '.join(told)}."


def holes_table(source: Source, *, reasons: bool) -> Table | None:
    """Jobs that were planned and are not done, a row an arm and state; None if there are none.

    Args:
        source: With its jobs.
        reasons: Whether to show why; a reason may name a patient.
    """
    jobs = source.jobs if source.jobs is not None else pd.DataFrame({"state": [], "arm": []})
    rows = []
    for (arm, state), own in jobs[jobs["state"] != "done"].groupby(["arm", "state"], sort=False):
        pairs = [f"{int(fold)}/{int(seed)}" for fold, seed in zip(own.fold, own.seed, strict=True)]
        told = sorted(set(own["reason"].dropna()))
        why = "; ".join(told) if reasons else "see jobs.csv" if told else ""
        rows.append((arm, state, str(len(own)), _listed(pairs), why or NONE))
    caption = "Jobs that were planned and are not done. No number of this report rests on them."
    columns = ("Arm", "State", "Jobs", "Fold/seed", "Reason")
    prose = frozenset({"Fold/seed", "Reason"})
    return Table("holes", caption, columns, tuple(rows), prose) if rows else None


def _listed(items: Iterable[str]) -> str:
    items = list(items)
    more = len(items) - _SHOWN
    return ", ".join(items[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
