"""Leaving clips out: excluded.csv, by `vaclip data check --quarantine` and `vaclip view`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from vaclip.errors import VaclipError
from vaclip.study.study import EXCLUSION_COLUMNS, EXCLUSIONS, Exclusion, Problem, Study
from vaclip.study.tables import read_table, write_table


def quarantine(study: Study, problems: Sequence[Problem]) -> tuple[Exclusion, ...]:
    """Adds every clip that has an error to the study's excluded.csv; nothing is moved.

    Rows that are there already stay as they are, with all their columns.

    Args:
        study: The study, as far as it could be read.
        problems: What `read_study` or `vaclip.audit.check.check` found.

    Returns:
        The new rows.

    Raises:
        VaclipError: If excluded.csv is there and has errors itself.
    """
    if any(p.severity == "error" and p.where.startswith(EXCLUSIONS) for p in problems):
        raise VaclipError(f"{EXCLUSIONS} has errors; mend it before clips are added to it")
    new = _exclusions(study, problems)
    if new:
        exclude(study, new)
    return new


def exclude(study: Study, new: Sequence[Exclusion]) -> None:
    """Adds rows to the study's excluded.csv; what is there already stays as it is."""
    path = study.root / EXCLUSIONS
    header, rows = read_table(path) if path.exists() else (EXCLUSION_COLUMNS, ())
    write_table(path, header, [*(row for _, row in rows), *map(asdict, new)])


def _exclusions(study: Study, problems: Sequence[Problem]) -> tuple[Exclusion, ...]:
    """Returns one row a clip: its errors in one line.

    Reports show reasons under a pseudonym, so names of files are left out where they can be.
    """
    names = {clip.clip_id: [clip.video.name] for clip in study.clips}
    for clip in study.clips:
        if clip.keypoints is not None:
            names[clip.clip_id].append(clip.keypoints.name)
    reasons: dict[str, list[str]] = {}
    for problem in problems:
        if problem.severity == "error" and problem.clip_id is not None:
            what = " ".join(problem.what.split())
            for name in names.get(problem.clip_id, ()):
                what = what.removeprefix(f"{name}: ").removeprefix(f"{name} ")
            reasons.setdefault(problem.clip_id, []).append(what)
    return tuple(Exclusion(clip, "; ".join(whats)) for clip, whats in reasons.items())
