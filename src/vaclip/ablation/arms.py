"""The arms of a study: whether there are such, and what each is, for tables."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from typing import Any

from vaclip.compose import unknown_arm
from vaclip.config import ABOUT, Config, StudyConfig
from vaclip.errors import VaclipError, did_you_mean
from vaclip.settings import flat_settings

OF_JOBS = frozenset({"arm", "seed", "split.fold", "split.seed"})
"""Settings that each job of a study has its own value of, whatever its arm."""
_LOG = logging.getLogger(__name__)


def check_arms(study: StudyConfig, known: Sequence[str]) -> None:
    """Checks that a study and its roles name arms that there are.

    Roles of arms that the study leaves out are no matter, but for baseline and method: a warning
    says that without them its report has no verdict.

    Args:
        study: What it runs.
        known: All arms that there are.

    Raises:
        VaclipError: If an arm or a role names one that there is not.
    """
    for arm in study.arms:
        if arm not in known:
            raise unknown_arm(arm, known)
    roles = study.roles
    for role, arm in roles.named():
        if arm not in known:
            raise VaclipError(
                f"study.roles.{role} names '{arm}', and there is no such arm."
                f"{did_you_mean(arm, known)}"
            )
    if roles.baseline == roles.method:
        raise VaclipError(f"study.roles.baseline and study.roles.method are both {roles.method}")
    for role in ("baseline", "method"):
        if getattr(roles, role) not in study.arms:
            _LOG.warning(
                "study.roles.%s is %s, which study.arms leaves out: the report will give no "
                "verdict. Add it, or name another with study.roles.%s=ARM",
                *(role, getattr(roles, role), role),
            )


def arm_switches(config: Config, reference: Config) -> dict[str, Any]:
    """Returns what an arm sets, by dotted key: where it differs from the reference."""
    own, usual = (flat_settings(dataclasses.asdict(one)) for one in (config, reference))
    return {k: v for k, v in own.items() if v != usual[k] and k not in OF_JOBS | ABOUT}


def describe_arm(config: Config, reference: Config) -> dict[str, Any]:
    """Returns an arm's entry in ``arms.json``.

    Args:
        config: Its settings.
        reference: The same without an arm.
    """
    terms = ["CE"]
    if config.loss.clip_weight:
        terms.append(f"{config.loss.clip_weight:g} CLIP")
    if config.model.lambda_token:
        terms.append(f"{config.model.lambda_token:g} token")
    if config.model.lambda_map:
        terms.append(f"{config.model.lambda_map:g} map")
    if config.model.lambda_distill:
        terms.append(f"{config.model.lambda_distill:g} distill")
    about = config.about
    return {
        "arm": config.arm,
        "method": about.method,
        "question": about.question,
        "switches": arm_switches(config, reference),
        "loss": " + ".join(terms),
        "notes": f"Cost: {about.cost}" if about.cost else "",
    }
