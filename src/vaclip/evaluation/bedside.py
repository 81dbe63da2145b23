"""The verdict's first question: a model for the bedside, where nobody has drawn a map.

Is a model that was trained with maps, and gets none at test, better than one that was
not? Primary contrast: taught - untaught, two arms that are pooled by a map which they predict.

1. *No*: the untaught arm is better, or both are equal. Undecided: neither is better.
2. The taught arm is equal to one that another patient's maps taught or to one pooled by the mean
   map of the training patients, or worse; or it is worse than the baseline: *no*.
3. It is not better than each of these controls, one of them is missing, or the 90 % interval of
   its difference from the baseline reaches below -`Roles.margin`: undecided.
4. *Yes*. (All of 2 and 3 have to hold, so that their p need no correction.)

Beside it is said how much of the method's gain the taught arm has, and whether its map tells more
of where clinicians look than the mean map of the training patients does; nothing is decided by
either.

In an ablation without these two arms: is the bedside arm better than the baseline? *Yes*: better.
*No*: the baseline is better, or both are equal. Else undecided.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from vaclip.evaluation.answers import (
    Answer,
    Question,
    defined,
    equal,
    ninety_interval,
    not_asked,
    numbers,
    plain_answer,
)
from vaclip.evaluation.closure import Closure
from vaclip.evaluation.compare import Contrast
from vaclip.evaluation.inference import ALPHA
from vaclip.evaluation.look import LookScore, gain_sentence
from vaclip.evaluation.roles import Pair, Roles

_ASKS = (
    "At the bedside, where nobody has drawn a map: is a model that was trained with "
    "clinicians' maps better than one that was not?"
)


def aligned_question(roles: Roles, primary: Contrast | None) -> Question:
    """Answers by the arm that is trained with maps, and is taught no attention."""
    if primary is None:
        needed = f"{roles.bedside} and {roles.baseline}" if roles.bedside else (
            "an arm that is trained with maps and tested without"
        )  # fmt: skip
        return Question("bedside", _ASKS, Answer.NOT_ASKED, (f"It needs {needed}.",))
    answer, why = plain_answer(primary, roles.margin)
    used = f"{roles.bedside} is trained with maps and tested without; its attention is not taught."
    return Question("bedside", _ASKS, answer, (why, used), primary)


def taught_question(
    roles: Roles,
    contrasts: Mapping[Pair, Contrast],
    closure: Closure | None,
    map_gain: LookScore | None = None,
) -> Question:
    """Answers by the taught arm and its controls."""
    primary = defined(contrasts, roles.taught, roles.untaught)
    if primary is None:
        return not_asked("bedside", _ASKS, roles.taught, roles.untaught)
    answer, why = plain_answer(primary, roles.margin)
    if answer is Answer.YES:
        answer, why = _beyond_controls(roles, why, contrasts)
    used = f"{roles.taught} is given no map at test: it looks where it has learned to."
    beside = [str(closure)] if closure else []
    beside += [gain_sentence(map_gain)] if map_gain else []
    return Question("bedside", _ASKS, answer, (why, used, *beside), primary)


def _beyond_controls(
    roles: Roles, gain: str, contrasts: Mapping[Pair, Contrast]
) -> tuple[Answer, str]:
    """Rules 2 to 4 of the bedside: what a gain over attention that nobody taught is worth."""
    against, open_, better = [], [], []
    controls = (
        (roles.taught_shuffled, "another patient's maps teach as much"),
        (roles.prior, "the place where everybody looks is as good"),
    )
    for control, alike in controls:
        found = defined(contrasts, roles.taught, control)
        if found is None:
            open_.append(f"it was not compared with a control by which {alike}")
            continue
        found = replace(found, p_holm=math.nan)
        if equal(found, roles.margin) or (found.difference < 0 and found.p < ALPHA):
            against.append(f"{alike}: {numbers(found)}")
        elif found.p >= ALPHA:
            open_.append(f"it is not excluded that {alike}: {numbers(found)}")
        else:
            better.append(f"than {control}: {numbers(found)}")
    usual = defined(contrasts, roles.taught, roles.baseline)
    if usual is None:
        open_.append("it was not compared with the baseline")
    else:
        usual = replace(usual, p_holm=math.nan)
        if usual.difference < 0 and usual.p < ALPHA:
            against.append(f"it is worse than {roles.baseline}: {numbers(usual)}")
        elif not (usual.identical or ninety_interval(usual).low > -roles.margin):
            open_.append(f"it may be worse than {roles.baseline}: {numbers(usual)}")
        else:
            better.append(f"and not worse than {roles.baseline}: {numbers(usual)}")
    if against:
        return Answer.NO, f"{gain} But {'; and '.join(against)}."
    if open_:
        return Answer.UNDECIDED, f"{gain} But {'; and '.join(open_)}."
    return Answer.YES, f"{gain} It is also better {'; '.join(better)}."
