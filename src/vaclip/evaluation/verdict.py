"""The verdict: three questions, each answered *yes*, *no* or *undecided* by fixed rules.

Scores are balanced accuracy per patient. Each question has one primary contrast, with one effect,
one interval and one p, Holm-corrected over the primary contrasts that the ablation has. Arms are
named by their roles (`vaclip.evaluation.roles`). "Better" means: the difference is above 0 and that
p is below 0.05. "Equal" means: the 90 % interval of the difference lies within +-`Roles.margin`
(two one-sided tests at 5 %, Schuirmann 1987), or both predict the very same. A *no* is never said
because a p is large.

**Bedside**: is a model that was trained with maps, and gets none at test, better than one that was
not? `vaclip.evaluation.bedside` has the rules.

**Map at hand**: does the map add to the video? Primary contrast: method - baseline.

1. *No*: the baseline is better, or both are equal. Undecided: neither is better.
2. The method is better, but there is no late fusion of the baseline and the map alone to compare
   with: undecided.
3. The late fusion is equal to the method or better than it: *no*, the gain is the diagnosis that
   the map holds. The method is not better than the fusion: undecided.
4. The macro AUROCs of method and baseline are equal: undecided, the gain is a shift of the cut. So
   it is where it shrinks (p < 0.05) when each model's thresholds are chosen on its validation
   patients, and the method is then no longer better.
5. *Yes*.

**Whose map**: does it matter whose map it is? Primary contrast: method - shuffled control.
*Yes*: the method is better. *No*: the control is better, or both are equal; but undecided where in
half of the clips or more the other patient's annotation is the very same. Else undecided.

Beside them it is said whether the map alone tells the diagnosis, only if its interval lies above
chance; whether the method follows the map of another patient (`vaclip.evaluation.follow`), only if
the interval of rate less base rate lies above 0; how the method stands against the controls; and
that there may be a leak where the method, trained on permuted labels, lies above chance.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from vaclip.evaluation.answers import (
    Answer,
    Question,
    defined,
    equal,
    not_asked,
    numbers,
    plain_answer,
)
from vaclip.evaluation.bedside import aligned_question, taught_question
from vaclip.evaluation.closure import Closure
from vaclip.evaluation.compare import Contrast, Score
from vaclip.evaluation.follow import Following
from vaclip.evaluation.inference import ALPHA, LEVEL
from vaclip.evaluation.learning import Needed, Projection, about
from vaclip.evaluation.look import LookScore
from vaclip.evaluation.roles import Pair, Roles
from vaclip.evaluation.thresholds import AtThresholds
from vaclip.keys import NOT_RECORDED, Blinding

_SAME_MAPS = 0.5


@dataclass(frozen=True)
class Evidence:
    """What the rules read beside contrasts of balanced accuracy.

    Attributes:
        chance: Balanced accuracy of a guess.
        map_alone: The score of the map alone; None without such an arm.
        auroc: Method against baseline in macro AUROC; None where it was not compared.
        same_maps: Share of the test clips whose map in the shuffled control is of the very same
            annotation; NaN where unknown.
        blinding: What the annotators knew.
        cut: Method against baseline at thresholds from validation; None where there are none.
        following: How often the method follows another patient's map; None where it was not tested.
        closure: How much of the method's gain the taught arm has; None without such an arm.
        permuted: The score of the method trained on labels dealt anew; None without such an arm.
        map_gain: What the taught arm's map tells more than a prior map; None where nobody looked.
    """

    chance: float
    map_alone: Score | None = None
    auroc: Contrast | None = None
    same_maps: float = math.nan
    blinding: Blinding = NOT_RECORDED
    cut: AtThresholds | None = None
    following: Following | None = None
    closure: Closure | None = None
    map_gain: LookScore | None = None
    permuted: Score | None = None


@dataclass(frozen=True)
class Verdict:
    """The three questions, or why they cannot be asked."""

    questions: tuple[Question, ...]
    caveats: tuple[str, ...] = ()
    annotators: str = ""
    """What to know of them first; empty where they were blinded, or nothing rests on them."""

    @property
    def sentences(self) -> tuple[str, ...]:
        """All of it in words: the annotators, a question each, then the caveats."""
        first = (self.annotators,) if self.annotators else ()
        return (*first, *map(str, self.questions), *self.caveats)


def verdict(contrasts: Mapping[Pair, Contrast], roles: Roles | None, evidence: Evidence) -> Verdict:
    """Applies the rules above.

    Args:
        contrasts: By (first, second), in balanced accuracy; primary ones with their ``p_holm``.
        roles: Which arms play which part; None where nobody said it.
        evidence: What else the rules read.
    """
    if roles is None:
        return Verdict(
            (), ("No verdict: nothing says which arm is the baseline and which the method.",)
        )
    taught = (roles.taught or "", roles.untaught or "")
    bedside = defined(contrasts, *taught) or defined(contrasts, roles.bedside, roles.baseline)
    gain = defined(contrasts, roles.method, roles.baseline)
    fusion = defined(contrasts, roles.method, roles.fusion)
    if fusion is not None:
        fusion = replace(fusion, p_holm=math.nan)  # asked only after a yes: nothing to correct for
    whose = defined(contrasts, roles.method, roles.shuffled)
    questions = (
        taught_question(roles, contrasts, evidence.closure, evidence.map_gain)
        if taught in contrasts
        else aligned_question(roles, bedside),
        _map_at_hand(roles, gain, fusion, evidence),
        _whose_map(roles, whose, evidence.same_maps),
    )
    beside = ((), (roles.withheld,), roles.trained_controls)
    questions = tuple(
        replace(question, sentences=(*question.sentences, *_beside(contrasts, roles, controls)))
        for question, controls in zip(questions, beside, strict=True)
    )
    used = [contrast for contrast in (bedside, gain, fusion, whose) if contrast]
    caveats = (
        *(_hole(c) for c in used if c.jobs < c.jobs_of_either),
        *_learned_from_nothing(roles, evidence),
    )
    return Verdict(questions, caveats, _annotators(evidence.blinding) if used else "")


def _annotators(blinding: Blinding) -> str:
    """Says that the annotators knew the diagnosis, or may have; nothing where they did not."""
    if blinding.blinded:
        return ""
    known = "The annotators knew the diagnosis" if blinding.blinded is False else (
        "Nobody recorded whether the annotators were blinded to the diagnosis"
    )  # fmt: skip
    more = "".join(f" {said[:1].upper()}{said[1:]}." for said in blinding.circumstances)
    return f"{known}: their maps may hold it.{more}"


def with_needed(found: Verdict, needed: Sequence[Needed]) -> Verdict:
    """Says beside undecided questions how many patients would settle them.

    Args:
        found: The verdict.
        needed: Of the primary contrasts of its undecided questions.
    """
    by_pair = {(one.contrast.first, one.contrast.second): one for one in needed}
    questions = []
    for question in found.questions:
        contrast = question.contrast
        own = by_pair.get((contrast.first, contrast.second)) if contrast else None
        if own is not None and question.needs_patients and not own.held.why_not:
            said = f"With the {own.patients} patients that there are it is undecided: about "
            said += f"{_patients(own.held)} would settle it if the difference stays as it is"
            if not own.extrapolated.why_not:
                said += f", {_patients(own.extrapolated)} if it goes on as the learning curves do"
            question = replace(question, sentences=(*question.sentences, f"{said}."))
        questions.append(question)
    return replace(found, questions=tuple(questions))


def _patients(found: Projection) -> str:
    ends = f"{about(found.interval.low)} to {about(found.interval.high)}"
    return f"{about(found.value)} ({LEVEL:.0%} interval {ends})"


def _beside(
    contrasts: Mapping[Pair, Contrast], roles: Roles, controls: Iterable[str | None]
) -> list[str]:
    """Names the controls that stand beside a question; nothing is decided by them."""
    found = [c for name in controls if (c := defined(contrasts, roles.method, name))]
    if not found:
        return []
    each = "; ".join(
        f"{c.second} {c.difference:+.3f} ({c.interval.low:+.3f} to {c.interval.high:+.3f})"
        for c in found
    )
    return [f"Beside it, {roles.method} less a control, with the {LEVEL:.0%} interval: {each}."]


def _map_at_hand(
    roles: Roles, primary: Contrast | None, fusion: Contrast | None, evidence: Evidence
) -> Question:
    asks = "With a clinician's map at hand: does the map add to the video?"
    if primary is None:
        return not_asked("map_at_hand", asks, roles.method, roles.baseline)
    answer, why = plain_answer(primary, roles.margin)
    if answer is Answer.YES:
        answer, why = _beyond_the_map(roles, why, fusion, evidence)
    told = (*_map_alone(roles, evidence), *_follows(roles, evidence.following))
    return Question("map_at_hand", asks, answer, (why, *told), primary)


def _beyond_the_map(
    roles: Roles, gain: str, fusion: Contrast | None, evidence: Evidence
) -> tuple[Answer, str]:
    """Rules 2 to 5: what a gain over the baseline is worth."""
    if fusion is None:
        return Answer.UNDECIDED, (
            f"{gain} But without an arm that sees the map alone it cannot be told whether the map "
            "holds the diagnosis."
        )
    against = (
        f"the late fusion of {roles.baseline} and {roles.map_only}, which needs no guidance: "
        f"{numbers(fusion)}."
    )
    if equal(fusion, roles.margin) or (fusion.difference < 0 and fusion.p < ALPHA):
        why = "The gain is the diagnosis that the map holds:"
        return Answer.NO, f"{why} {gain} But it is no better than {against}"
    if fusion.p >= ALPHA:
        return Answer.UNDECIDED, f"{gain} But it is not shown to be better than {against}"
    if (moved := _moved_cut(roles, evidence)) is not None:
        return Answer.UNDECIDED, f"The gain is a shift of the cut: {gain} But {moved}"
    return Answer.YES, f"{gain} It is also better than {against}"


def _moved_cut(roles: Roles, evidence: Evidence) -> str | None:
    """Why a gain is a shift of the cut; None where it is not shown to be one."""
    if evidence.auroc is not None and equal(evidence.auroc, roles.margin):
        return f"the patients are ranked alike, by macro AUROC: {numbers(evidence.auroc)}."
    if evidence.cut is not None and evidence.cut.gone:
        cut, low, high = evidence.cut, evidence.cut.interval.low, evidence.cut.interval.high
        return (
            "it is gone where each model's thresholds are chosen on its validation patients: "
            f"{roles.method} {cut.first:.3f}, {roles.baseline} {cut.second:.3f}, difference "
            f"{cut.difference:+.3f}, {LEVEL:.0%} interval {low:+.3f} to {high:+.3f}."
        )
    return None


def _map_alone(roles: Roles, evidence: Evidence) -> list[str]:
    score = evidence.map_alone
    if score is None or not score.interval.low > evidence.chance:
        return []
    return [
        f"The map alone tells the diagnosis: {roles.map_only} {score.mean:.3f} ({score.interval}), "
        f"chance {evidence.chance:.3f}."
    ]


def _learned_from_nothing(roles: Roles, evidence: Evidence) -> list[str]:
    score = evidence.permuted
    if score is None or not score.interval.low > evidence.chance:
        return []
    return [
        f"Look for a leak: {roles.permuted}, which was trained on other patients' diagnoses, is "
        f"above chance, as one of 40 honest ones is: {score.mean:.3f} ({score.interval}), chance "
        f"{evidence.chance:.3f}."
    ]


def _follows(roles: Roles, found: Following | None) -> list[str]:
    if found is None or not found.interval.low > 0:
        return []
    return [
        f"{roles.method} follows the map: shown the map of a patient of another class, it gives "
        f"that class in {found.rate:.0%} of {found.clips} clips, with the own map in "
        f"{found.base:.0%}, difference {found.difference:+.3f}, {LEVEL:.0%} interval "
        f"{found.interval.low:+.3f} to {found.interval.high:+.3f}."
    ]


def _whose_map(roles: Roles, primary: Contrast | None, same_maps: float) -> Question:
    asks = "Whose knowledge is it: does it matter that the map is this patient's?"
    if primary is None:
        control = roles.shuffled or "an arm that gets another patient's map"
        needed = f"It needs {roles.method} and {control}."
        return Question("whose_map", asks, Answer.NOT_ASKED, (needed,))
    answer, why = plain_answer(primary, roles.margin)
    alike = []
    if same_maps >= _SAME_MAPS:
        alike = [
            f"In {same_maps:.0%} of the clips the other patient's map is the very same annotation."
        ]
        answer = answer if answer is Answer.YES else Answer.UNDECIDED
    return Question("whose_map", asks, answer, (why, *alike), primary)


def _hole(contrast: Contrast) -> str:
    return (
        f"{contrast.first} against {contrast.second} rests on the {contrast.jobs} of "
        f"{contrast.jobs_of_either} pairs of fold and seed that both arms have."
    )
