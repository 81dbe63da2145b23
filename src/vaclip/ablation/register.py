"""``plan.json``: the plan of a study, written before its first job, and what it was changed to."""

from __future__ import annotations

import dataclasses
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vaclip import keys
from vaclip.ablation.worker import job_folder
from vaclip.config import StudyConfig
from vaclip.errors import VaclipError, counted
from vaclip.evaluation.plan import Plan, plan_changes, plan_content, read_plans
from vaclip.evaluation.roles import Roles
from vaclip.files import read_json, write_json

_LOG = logging.getLogger(__name__)


def study_roles(study: StudyConfig) -> Roles:
    """Returns the roles of a study, with its margin."""
    return Roles.from_json(dataclasses.asdict(study.roles) | {"margin": study.margin})


def study_plan(study: StudyConfig, folds: int) -> dict[str, Any]:
    """Returns what a study plans, for folds of that number where it names none."""
    chosen = range(folds) if study.folds is None else study.folds
    return plan_content(study_roles(study), study.arms, study.seeds, chosen)


def register_plan(folder: Path, content: dict[str, Any]) -> None:
    """Writes the plan of a study to its folder, or adds it there where it is another than before.

    Where there are results already, a warning says what was changed.

    Raises:
        VaclipError: If the plans of the folder were damaged.
    """
    path = folder / keys.STUDY_PLAN_FILE
    plans = _recorded(path) if path.exists() else ()
    # Of jobs that run again, too: what was seen was seen.
    results = len(list(job_folder(folder, "").glob(f"*/fold_*/{keys.PREDICTIONS_FILE}")))
    plan = Plan(content, datetime.now(UTC).isoformat(timespec="seconds"), results)
    if plans and plans[-1].digest == plan.digest:
        return
    if results:
        _LOG.warning("%s", _said(plans, plan))
    write_json(path, {"plans": [each.to_json() for each in (*plans, plan)]})


def _recorded(path: Path) -> tuple[Plan, ...]:
    try:
        return read_plans(read_json(path, path.name))
    except VaclipError as error:
        raise VaclipError(f"{path}: {error}") from error


def _said(plans: tuple[Plan, ...], plan: Plan) -> str:
    results = counted(plan.results, "result")
    if not plans:
        return f"no plan was written before the {results} of this study; the report will say so"
    changes = "; ".join(plan_changes(plans[-1].content, plan.content))
    return f"the plan is changed after {results}, and the report will say so: {changes}"
