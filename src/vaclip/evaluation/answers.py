"""What the verdict's questions are answered with, and how a contrast is put into words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from vaclip.evaluation.compare import Contrast
from vaclip.evaluation.inference import ALPHA, LEVEL, Interval, difference_interval
from vaclip.evaluation.roles import Pair


class Answer(StrEnum):
    """What the rules say to a question."""

    YES = "yes"
    NO = "no"
    UNDECIDED = "undecided"
    NOT_ASKED = "not asked"


@dataclass(frozen=True)
class Question:
    """A question and its answer."""

    name: str
    asks: str
    answer: Answer
    sentences: tuple[str, ...]
    """The reason first, then what to know beside it."""
    contrast: Contrast | None = None
    """The primary one."""

    @property
    def needs_patients(self) -> bool:
        """Whether it is undecided because its primary contrast is."""
        undecided = self.answer is Answer.UNDECIDED and self.contrast is not None
        return undecided and not self.contrast.p_holm < ALPHA

    def __str__(self) -> str:
        return " ".join([self.asks, f"{self.answer.capitalize()}.", *self.sentences])


def defined(
    contrasts: Mapping[Pair, Contrast], first: str | None, second: str | None
) -> Contrast | None:
    """Returns a contrast that is there and defined."""
    contrast = contrasts.get((first, second)) if first and second else None
    known = contrast and math.isfinite(contrast.p) and math.isfinite(contrast.difference)
    return contrast if known else None


def not_asked(name: str, asks: str, first: str | None, second: str | None) -> Question:
    """Says what a question needs whose primary contrast is missing or undefined."""
    needed = (
        f"It needs {first} and {second}, each with more than one patient and more than one trained "
        "model."
    )
    return Question(name, asks, Answer.NOT_ASKED, (needed,))


def plain_answer(primary: Contrast, margin: float) -> tuple[Answer, str]:
    """Answers by a contrast alone."""
    found = numbers(primary)
    if primary.p_holm < ALPHA:
        better = primary.difference > 0
        return (Answer.YES if better else Answer.NO), (
            f"{primary.first} is {'better' if better else 'worse'} than {primary.second}: {found}."
        )
    if equal(primary, margin):
        return Answer.NO, f"The two differ by less than {margin:g}: {found}."
    return (
        Answer.UNDECIDED,
        f"Neither is shown to be better, and a difference is not excluded: {found}.",
    )


def equal(contrast: Contrast, margin: float) -> bool:
    """Whether two arms are equal, as the verdict uses the word."""
    if contrast.identical:
        return True
    interval = ninety_interval(contrast)
    return interval.low > -margin and interval.high < margin


def ninety_interval(contrast: Contrast) -> Interval:
    """The 90 % interval, each end of which is a one-sided test at 5 %."""
    return difference_interval(
        contrast.difference, contrast.error, contrast.patients, level=1 - 2 * ALPHA
    )


def numbers(contrast: Contrast) -> str:
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
