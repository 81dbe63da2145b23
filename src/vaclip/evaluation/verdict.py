"""The plain-language verdict: does guidance help, and is it the clinicians' knowledge?

Fixed rules, on balanced accuracy per patient. The arms are named by their roles: in the presets
the method is B3, the baseline B0, the shuffled control K_shuffled, and the map alone K_map_only.
"Beats" means: the difference is above 0 and its p, Holm-corrected in the verdict's own family
{method - baseline, method - shuffled}, is below 0.05.

1. The method or the baseline is missing, or their contrast undefined: no verdict.
2. The baseline beats the method: guidance harms.
3. The method does not beat the baseline: no help is shown; the detectable difference is stated.
4. The method beats the baseline, and the shuffled control is missing or undefined: there is a
   gain, of unknown source.
5. The method beats the baseline and the shuffled control: guidance helps.
6. The method beats the baseline but not the shuffled control: the gain does not come from the
   clinicians' knowledge, as far as this cohort can tell; the detectable difference is stated.

Beside it, a word on whether the map alone tells the diagnosis, from the contrast of method and map
alone with an uncorrected p, a family of its own: what is to be shown here is that the map does
*not* explain the gain.

a. The contrast is missing or undefined: unknown.
b. The map alone scores as well as the method or better: the map alone tells the diagnosis.
c. The method scores higher, but p is not below 0.05: it cannot be told from the map alone.
d. Else the map alone does not explain the method.

The detectable difference in a sentence is at 5 % divided by the size of the family, so that
it holds after the correction.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from vaclip.evaluation.compare import Contrast, corrected
from vaclip.evaluation.inference import ALPHA, LEVEL, POWER, detectable_difference
from vaclip.evaluation.roles import Pair, Roles


class Finding(StrEnum):
    """What rules 1 to 6 find."""

    NO_VERDICT = "no_verdict"
    HARMS = "harms"
    NO_HELP_SHOWN = "no_help_shown"
    SOURCE_UNKNOWN = "source_unknown"
    HELPS = "helps"
    NOT_FROM_KNOWLEDGE = "not_from_knowledge"


class MapAlone(StrEnum):
    """What rules a to d find."""

    UNKNOWN = "unknown"
    TELLS = "tells"
    NOT_TOLD_APART = "not_told_apart"
    DOES_NOT_EXPLAIN = "does_not_explain"


@dataclass(frozen=True)
class Verdict:
    """A finding and how to say it."""

    finding: Finding
    map_alone: MapAlone
    sentences: tuple[str, ...]
    """The verdict first, then the caveats."""
    family: tuple[Contrast, ...]
    """The contrasts that rules 1 to 6 used, with ``p_holm`` of the verdict's family."""


def verdict(contrasts: Mapping[Pair, Contrast], roles: Roles | None) -> Verdict:
    """Applies the rules above.

    Args:
        contrasts: By (first, second); only the method against the baseline, the shuffled control
            and the map alone are read.
        roles: Which arms these are; None where nobody said it.
    """
    if roles is None:
        said = "No verdict: nothing says which arm is the baseline and which the method."
        return Verdict(Finding.NO_VERDICT, MapAlone.UNKNOWN, (said,), ())

    def against(other: str | None) -> Contrast | None:
        contrast = contrasts.get((roles.method, other)) if other else None
        return contrast if contrast and _defined(contrast) else None

    pairs = {other: against(other) for other in (roles.baseline, roles.shuffled)}
    family = corrected([contrast for contrast in pairs.values() if contrast])
    by_other = {contrast.second: contrast for contrast in family}
    baseline, shuffled = by_other.get(roles.baseline), by_other.get(roles.shuffled or "")
    finding, sentences = _finding(roles, baseline, shuffled, len(family))
    alone = against(roles.map_only)
    map_alone, said = _map_alone(roles, alone, finding)
    used = [*family, *([alone] if alone else [])]
    holes = [_hole(c) for c in used if c.jobs < c.jobs_of_either]
    return Verdict(finding, map_alone, (*sentences, said, *holes), tuple(family))


def _finding(
    roles: Roles, baseline: Contrast | None, shuffled: Contrast | None, tests: int
) -> tuple[Finding, list[str]]:
    if baseline is None:
        return Finding.NO_VERDICT, [
            f"No verdict: it needs the arms {roles.method} and {roles.baseline}, each with more "
            "than one patient in the folds and seeds that both have."
        ]
    found = _numbers(baseline)
    if _beats(baseline):
        return _source(roles, shuffled, tests, found)
    if baseline.difference < 0 and baseline.p_holm < ALPHA:
        return Finding.HARMS, [f"Guidance harms on this data: {found}."]
    return Finding.NO_HELP_SHOWN, [
        f"No help of guidance is shown: {found}.",
        "That is not to say that there is none. " + _detectable(baseline, tests),
    ]


def _source(
    roles: Roles, shuffled: Contrast | None, tests: int, gain: str
) -> tuple[Finding, list[str]]:
    if shuffled is None:
        control = roles.shuffled or "an arm"
        return Finding.SOURCE_UNKNOWN, [
            f"{roles.method} is better than {roles.baseline}: {gain}.",
            f"Whether that is the clinicians' knowledge cannot be said without {control}, "
            "which gets another patient's map.",
        ]
    control = _numbers(shuffled)
    if _beats(shuffled):
        return Finding.HELPS, [
            f"Guidance helps on this data: {gain}.",
            f"The clinicians' knowledge is part of it: another patient's map does less, {control}.",
        ]
    return Finding.NOT_FROM_KNOWLEDGE, [
        f"The gain does not come from the clinicians' knowledge, as far as this cohort can tell. "
        f"{roles.method} is better than {roles.baseline} ({gain}), but not shown to be better than "
        f"with another patient's map: {control}.",
        _detectable(shuffled, tests),
    ]


def _map_alone(roles: Roles, contrast: Contrast | None, finding: Finding) -> tuple[MapAlone, str]:
    method = roles.method
    gain = finding in (Finding.HELPS, Finding.SOURCE_UNKNOWN, Finding.NOT_FROM_KNOWLEDGE)
    lead = f"lead over {roles.baseline} may be the map being shown"
    if contrast is None:
        needed = roles.map_only or "an arm that sees nothing else"
        return MapAlone.UNKNOWN, f"Without {needed} it is unknown how much the map alone says."
    found = _numbers(replace(contrast, p_holm=math.nan))  # a family of its own
    if contrast.difference <= 0:
        so = f", so that {method}'s {lead}" if gain else ""
        return MapAlone.TELLS, (
            f"The map alone tells the diagnosis as well as {method} does, or better{so}: {found}."
        )
    if contrast.p >= ALPHA:
        so = f"; its {lead}" if gain else ""
        return MapAlone.NOT_TOLD_APART, (
            f"{method} cannot be told from a model that sees the map alone{so}: {found}."
        )
    return MapAlone.DOES_NOT_EXPLAIN, f"The map alone does not explain {method}: {found}."


def _defined(contrast: Contrast) -> bool:
    return math.isfinite(contrast.p) and math.isfinite(contrast.difference)


def _beats(contrast: Contrast) -> bool:
    return contrast.difference > 0 and contrast.p_holm < ALPHA


def _numbers(contrast: Contrast) -> str:
    """Values, difference, interval and p; the corrected p where there is one."""
    single = math.isnan(contrast.p_holm)
    p = contrast.p if single else contrast.p_holm
    said = "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
    return (
        f"{contrast.first} {contrast.value_first:.3f}, {contrast.second} "
        f"{contrast.value_second:.3f}, difference {contrast.difference:+.3f}, "
        f"{LEVEL:.0%} interval {contrast.interval.low:+.3f} to {contrast.interval.high:+.3f}, "
        f"{'' if single else 'corrected '}{said}"
    )


def _detectable(contrast: Contrast, tests: int) -> str:
    found = detectable_difference(contrast.error, ALPHA / tests)
    if math.isnan(found):
        return "How large a difference could have been found cannot be estimated."
    return (
        f"With these {contrast.patients} patients a true difference of {found:.3f} or more "
        f"would have been found with a chance of at least {POWER:.0%}; a smaller one cannot be "
        "excluded."
    )


def _hole(contrast: Contrast) -> str:
    return (
        f"{contrast.first} against {contrast.second} rests on the {contrast.jobs} of "
        f"{contrast.jobs_of_either} pairs of fold and seed that both arms have."
    )
