"""What will mislead a study: too few patients, and maps that give the diagnosis away."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from vaclip.errors import VaclipError
from vaclip.evaluation.data_card import Finding

if TYPE_CHECKING:  # slow to load, and `vaclip data check` needs none of it
    from vaclip.data.splits import SplitPlan

FEW_PATIENTS = 10
UNEQUAL = 3.0
"""How many times the smallest class the largest may be."""
ALPHA = 0.05
"""Chance below which a tie between an annotation, or metadata, and a class is told."""


def no_split(
    labels: Mapping[str, Sequence[str]],
    folds: int,
    sites: Mapping[str, Sequence[str]] | None = None,
) -> list[Finding]:
    """Tells of patients that cannot be dealt into folds.

    Args:
        labels: The labels of each patient's clips.
        folds: How many.
        sites: The sites of each patient's clips, where one is left out at a time.
    """
    try:
        _plan(labels, folds, sites)
    except VaclipError as error:
        advice = "add patients to the class, leave it out, or use fewer folds (split.folds)"
        return [Finding("error", "split", str(error), advice)]
    return []


def _plan(
    labels: Mapping[str, Sequence[str]], folds: int, sites: Mapping[str, Sequence[str]] | None
) -> SplitPlan:
    from vaclip.data.splits import make_plan, make_site_plan

    if sites is None:
        return make_plan(labels, folds, seed=0)
    return make_site_plan(labels, sites, folds, seed=0)


def no_shuffle(
    labels: Mapping[str, Sequence[str]],
    annotated: Collection[tuple[str, str]],
    folds: int,
    sites: Mapping[str, Sequence[str]] | None = None,
) -> list[Finding]:
    """Tells of parts of the split whose maps cannot be shuffled between patients.

    That is where one patient has all maps of the part, or of a class in it.

    Args:
        labels: The labels of each patient's clips.
        annotated: (patient, label) of the clips with a map.
        folds: How many.
        sites: As of `no_split`.
    """
    from vaclip.data.splits import SPLITS

    try:
        plan = _plan(labels, folds, sites)
    except VaclipError:  # told by `no_split`
        return []
    parts = [
        {(patient, label) for patient, label in annotated if patient in fold[part]}
        for fold in plan.folds
        for part in SPLITS
    ]
    lost = {
        "of the": sum(len({patient for patient, _ in own}) == 1 for own in parts),
        "of a class in the": sum(1 in Counter(label for _, label in own).values() for own in parts),
    }
    advice = "use fewer folds (split.folds), have more clips annotated, or leave the arm out"
    return [
        Finding(
            "warning",
            "control maps",
            f"in {lost[of]} of {len(parts)} parts of the split one patient has all maps {of} part, "
            f"which cannot be shuffled between patients there: {arm} will fail",
            advice,
        )
        for of, arm in zip(lost, ("K_shuffled", "K_shuffled_within_class"), strict=True)
        if lost[of]
    ]


def small_classes(labels: Mapping[str, Sequence[str]]) -> list[Finding]:
    """Tells of classes with fewer than `FEW_PATIENTS` patients, and how sure a recall would be.

    Args:
        labels: The labels of each patient's clips.
    """
    from statsmodels.stats.proportion import proportion_confint

    found = []
    for name, count in _patients_by_class(labels).items():
        if count < FEW_PATIENTS:
            right = round(0.8 * count)
            low, high = proportion_confint(right, count, method="wilson")
            what = (
                f"{_count(count, 'patient')}: if {right} of {count} were recognised, the Wilson "
                f"95 % interval of the recall would be {low:.2f} to {high:.2f}, "
                f"{high - low:.2f} wide"
            )
            advice = "read intervals, not means; add patients rather than clips or seeds"
            found.append(Finding("warning", f"class {name}", what, advice))
    return found


def unequal_classes(labels: Mapping[str, Sequence[str]]) -> list[Finding]:
    """Tells of a largest class with more than `UNEQUAL` times the patients of the smallest.

    Args:
        labels: The labels of each patient's clips.
    """
    ranked = _patients_by_class(labels).most_common()
    (most, many), (least, few) = ranked[0], ranked[-1]
    if many <= UNEQUAL * few:
        return []
    what = (
        f"'{most}' has {_count(many, 'patient')}, '{least}' {few}: to call everyone '{most}' is "
        f"right for {many / sum(count for _, count in ranked):.0%}"
    )
    return [Finding("warning", "balance", what, "judge by balanced accuracy and AUROC (macro)")]


def mixed_patients(clips: Iterable[tuple[str, str, str]]) -> list[Finding]:
    """Tells of patients with clips of several classes, and what is done with them.

    Args:
        clips: (patient, session, label) of every clip; the session is empty where none is named.
    """
    by_session, by_patient = defaultdict(set), defaultdict(set)
    for patient, session, label in clips:
        by_session[patient, session].add(label)
        by_patient[patient].add(label)
    mixed = sorted({patient for (patient, _), own in by_session.items() if len(own) > 1})
    apart = sorted(p for p, own in by_patient.items() if len(own) > 1 and p not in mixed)
    found = []
    if mixed:
        inside = " in one session" if any(session for _, session in by_session) else ""
        what = (
            f"{_count(len(mixed), 'patient')} with clips of several classes{inside}: each of "
            "these clips is scored by itself, because only the true class could say which of them "
            "belong together"
        )
        advice = (
            "see whether it is a mistake; if they were made on different visits, say which in the "
            "column session of clips.csv"
        )
        found.append(Finding("warning", "labels", what, advice, patients=tuple(mixed)))
    if apart:
        what = f"{_count(len(apart), 'patient')} with sessions of different classes"
        advice = "a session is a case; such a patient counts in each of these classes"
        found.append(Finding("note", "labels", what, advice, patients=tuple(apart)))
    return found


def unannotated_classes(
    clips: Iterable[tuple[str, str]], annotated: Iterable[str]
) -> list[Finding]:
    """Tells of classes of which no clip has a map, where clips of others have.

    Args:
        clips: (clip id, label) of every clip.
        annotated: Ids of the clips that anybody annotated.
    """
    annotated = set(annotated)
    by_class = defaultdict(list)
    for clip_id, label in clips:
        by_class[label].append(clip_id in annotated)
    if not annotated:
        return [
            Finding(
                "note", "maps", "no clip has a map",
                "add attention.csv, or train on video alone (experiment=B0)",
            )
        ]  # fmt: skip
    advice = "have some of them annotated: whether there is a map must not tell the class"
    return [
        Finding("warning", f"class {name}", f"none of its {len(own)} clips has a map", advice)
        for name, own in by_class.items()
        if not any(own)
    ]


def one_class_annotators(annotations: Mapping[str, Iterable[str]], classes: int) -> list[Finding]:
    """Tells of annotators all of whose clips have one label.

    Args:
        annotations: The labels of the clips that each annotator annotated.
        classes: How many classes the study has.
    """
    found = []
    for annotator, labels in annotations.items():
        counts = Counter(labels)
        if classes > 1 and len(counts) == 1:
            ((label, clips),) = counts.items()
            what = f"annotated clips of '{label}' only ({clips})"
            advice = "let everyone annotate clips of every class, or leave the annotator out"
            found.append(
                Finding("warning", f"annotator {annotator}", what, f"{advice} (data.annotators)")
            )
    return found


def one_class_annotations(
    annotations: Mapping[str, Iterable[tuple[str, str]]], labels: Mapping[str, Sequence[str]]
) -> list[Finding]:
    """Tells of annotations that are used for one class only, more often than by chance.

    Chance: that as many patients, drawn without regard to their class, all have it, is below
    `ALPHA`.

    Args:
        annotations: For each annotation, such as a region's name, (patient, label) of every
            clip that has it.
        labels: The labels of each patient's clips.
    """
    per_class = _patients_by_class(labels)
    found = []
    for annotation, uses in annotations.items():
        uses = list(uses)
        patients = len({patient for patient, _ in uses})
        if len({label for _, label in uses}) != 1:
            continue
        label = uses[0][1]
        if _chance(per_class[label], len(labels), patients) < ALPHA:
            clips, people = _count(len(uses), "clip"), _count(patients, "patient")
            what = f"used for '{label}' only ({clips} of {people}): such a map gives the class away"
            advice = "compare with the map alone (experiment=K_map_only)"
            found.append(Finding("warning", f"annotation {annotation}", what, advice))
    return found


def sites(clips: Iterable[tuple[str, str, str]]) -> list[Finding]:
    """Tells of sites that go with one class, of patients at several, and of clips without one.

    Args:
        clips: (patient, site, label) of every clip; where no site is named nothing is told.
    """
    clips = list(clips)
    at, labels = defaultdict(set), defaultdict(set)
    for patient, site, label in clips:
        at[patient].add(site)
        labels[patient].add(label)
    found = []
    if not any(site for _, site, _ in clips):
        return found
    per_class = Counter(name for own in labels.values() for name in own)
    for site in sorted({site for _, site, _ in clips} - {""}):
        own = [patient for patient in labels if site in at[patient]]
        seen = {name for patient in own for name in labels[patient]}
        if len(seen) == 1 and _chance(per_class[min(seen)], len(labels), len(own)) < ALPHA:
            what = f"{_count(len(own), 'patient')}, all of class '{min(seen)}': the site tells it"
            advice = "add patients of other classes there, or judge with split.by=site"
            found.append(Finding("warning", f"site {site}", what, advice))
    several = tuple(sorted(p for p, own in at.items() if len(own - {""}) > 1))
    if several:
        what = f"{_count(len(several), 'patient')} with clips of several sites"
        advice = "such a study has no split by site, and no interval over sites"
        found.append(Finding("warning", "sites", what, advice, patients=several))
    if without := sum(not site for _, site, _ in clips):
        what = f"{_count(without, 'clip')} without a site"
        found.append(Finding("note", "sites", what, "fill the column site of clips.csv"))
    return found


def site_sizes(clips: Iterable[tuple[str, str]]) -> list[str]:
    """Says which sites there are, and how many patients each has, where any is named.

    Args:
        clips: (patient, site) of every clip.
    """
    patients = Counter(site for _, site in set(clips) if site)
    each = (f"{site} ({_count(n, 'patient')})" for site, n in sorted(patients.items()))
    return [f"{_count(len(patients), 'site')}: {', '.join(each)}"] if patients else []


def _chance(of_class: int, everyone: int, drawn: int) -> float:
    """That as many patients, drawn without regard to their class, are all of one."""
    return math.comb(of_class, drawn) / math.comb(everyone, drawn)


def _patients_by_class(labels: Mapping[str, Sequence[str]]) -> Counter[str]:
    return Counter(name for own in labels.values() for name in dict.fromkeys(own))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
