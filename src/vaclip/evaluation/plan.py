"""The plan of an ablation: what it is to show, written down before its first result."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from vaclip.errors import VaclipError, counted
from vaclip.evaluation.compare import HEADLINE
from vaclip.evaluation.roles import Roles
from vaclip.files import json_digest

_IN_FULL = ("seeds", "folds")
"""Lists whose old and new values are told, where of others what came and what went is."""


def plan_content(
    roles: Roles, arms: Iterable[str], seeds: Iterable[int], folds: Iterable[int]
) -> dict[str, Any]:
    """Returns what is planned, in one form whatever the order in which it was named."""
    parts = dataclasses.asdict(roles)
    margin = parts.pop("margin")
    arms = sorted(arms)
    content = {
        "metric": HEADLINE,
        "margin": margin,
        "primary": roles.primary(arms),
        "arms": arms,
        "seeds": sorted(seeds),
        "folds": sorted(folds),
        "roles": {
            part: sorted(value) if isinstance(value, tuple) else value
            for part, value in parts.items()
        },
    }
    return json.loads(json.dumps(content))  # lists in place of tuples, as the file gives them back


@dataclass(frozen=True)
class Plan:
    """A plan as it was written down.

    Attributes:
        content: From `plan_content`.
        written: When, in UTC, as ISO 8601 has it.
        results: How many jobs had been tested by then.
    """

    content: dict[str, Any]
    written: str
    results: int

    @property
    def digest(self) -> str:
        """The SHA-256 of the content: equal plans have one."""
        return json_digest(self.content)

    def __str__(self) -> str:
        return f"plan {self.digest[:8]} of {self.written[:10]}"

    def to_json(self) -> dict[str, Any]:
        """Returns the plan's entry in ``plan.json``."""
        about = {"hash": self.digest, "written": self.written, "results": self.results}
        return about | {"plan": self.content}


def read_plans(content: Any) -> tuple[Plan, ...]:
    """Reads the content of ``plan.json``: the plan, then each one that it was changed to.

    Raises:
        VaclipError: If it is something else, or a plan does not have its hash.
    """
    try:
        entries = [(entry["hash"], _plan(entry)) for entry in content["plans"]]
    except (KeyError, TypeError, ValueError) as error:
        raise VaclipError("it does not hold plans, each with hash, written, results") from error
    for digest, plan in entries:
        if digest != plan.digest:
            raise VaclipError(
                f"the plan of {plan.written} was changed after it was written: its hash is "
                "another. Restore the file"
            )
    return tuple(plan for _, plan in entries)


def _plan(entry: Mapping[str, Any]) -> Plan:
    return Plan(dict(entry["plan"]), str(entry["written"]), int(entry["results"]))


def plan_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Returns what differs between the contents of two plans, a phrase each."""
    old, new = map(_flat, (before, now))
    changes = []
    for name in dict.fromkeys((*old, *new)):
        one, other = old.get(name), new.get(name)
        if one == other:
            continue
        if isinstance(one, list) and isinstance(other, list) and name not in _IN_FULL:
            for sign, items in (("+", _without(other, one)), ("-", _without(one, other))):
                changes += [f"{name} {sign} {_said(items)}"] if items else []
        else:
            changes.append(f"{name} {_said(one)} -> {_said(other)}")
    return changes


def _flat(content: Mapping[str, Any]) -> dict[str, Any]:
    roles = {f"role {part}": value for part, value in content.get("roles", {}).items()}
    return {name: value for name, value in content.items() if name != "roles"} | roles


def _without(items: Sequence[Any], others: Sequence[Any]) -> list[Any]:
    return [item for item in items if item not in others]


def _said(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(" against ".join(v) if isinstance(v, list) else str(v) for v in value)
    return "none" if value is None else str(value)


def plan_sentences(plans: Sequence[Plan] | None, roles: Roles | None) -> tuple[str, ...]:
    """Says whether an ablation was judged as planned.

    Args:
        plans: From `read_plans`; None where there is no such file.
        roles: With which it was judged.
    """
    if not plans:
        return ("No plan was recorded.",)
    early = list(takewhile(lambda plan: not plan.results, plans))
    late = plans[len(early) :]
    if not early:
        first, *late = late
        said = [f"Not planned before the first result: {first} was written after {_after(first)}."]
    elif late:
        said = [f"Planned ({early[-1]}, before the first result), and changed since:"]
    else:
        said = [f"As planned ({early[-1]}, before the first result)."]
    previous = plans[len(plans) - len(late) - 1]
    for plan in late:
        changes = "; ".join(plan_changes(previous.content, plan.content))
        said.append(f"Changed after {_after(plan)} ({plan}): {changes}.")
        previous = plan
    if roles is not None:
        parts = ("arms", "seeds", "folds")
        judged = plan_content(roles, *(plans[-1].content[part] for part in parts))
        if changes := plan_changes(plans[-1].content, judged):
            said.append(f"This report was asked for otherwise than planned: {'; '.join(changes)}.")
    return tuple(said)


def _after(plan: Plan) -> str:
    return counted(plan.results, "result")
