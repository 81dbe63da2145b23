"""Where models look, against where clinicians look: the look table, judged over patients.

A score is the mean over patients of the mean over their clips and seeds. Its interval is Student's
over patients: of these trained models. Relative to floor and ceiling a score is (score - prior) /
(ceiling - prior), of the patients that have all three: 0 is the mean map of the training
patients, 1 is as near to the clinicians as they are to each other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from vaclip import keys
from vaclip.evaluation.inference import LEVEL, UNDEFINED, Interval, jackknife_variance

_LIMITS: Final = {
    "cc": (-1.0, 1.0),
    "sim": (0.0, 1.0),
    "kl": (0.0, math.inf),
    "auc_judd": (0.0, 1.0),
    "energy": (0.0, 1.0),
    "auc_shuffled": (0.0, 1.0),
    keys.LOOK_RANDOMISED: (-1.0, 1.0),
    keys.LOOK_PERMUTED: (-1.0, 1.0),
}
"""What a measure cannot leave; an interval of few patients would."""
_ANYTHING: Final = (-math.inf, math.inf)
_BESIDE = (*keys.LOOK_FLOORS, keys.LOOK_CEILING)
Values = NDArray[np.float64]


@dataclass(frozen=True)
class LookScore:
    """A measure of a map.

    Attributes:
        value: Mean over patients.
        interval: Over patients; undefined for one.
        patients: How many there are.
        relative: See above; NaN where there is no ceiling, or it is not clearly apart from the
            prior.
        relative_interval: Over patients.
    """

    value: float
    interval: Interval
    patients: int
    relative: float = math.nan
    relative_interval: Interval = UNDEFINED


@dataclass(frozen=True)
class Looks:
    """What the look audit found.

    Attributes:
        scores: By arm, map of the model (or `keys.LOOK_CLINICIANS`) and measure.
        beside: By floor or ceiling, and measure of `keys.LOOK_AGREEMENT`.
        clips: Of one model, at most.
        models: Trained models that were audited, of all arms.
    """

    scores: Mapping[str, Mapping[str, Mapping[str, LookScore]]]
    beside: Mapping[str, Mapping[str, LookScore]]
    clips: int
    models: int

    def gain(self, arm: str | None) -> LookScore | None:
        """What the map that an arm predicts tells more than the prior; None where undefined."""
        found = self.scores.get(arm or "", {}).get("predicted", {}).get("information_gain")
        return found if found is not None and math.isfinite(found.interval.low) else None


def judge_looks(table: pd.DataFrame) -> Looks:
    """Judges a look table (`keys.LOOK_COLUMNS`)."""
    beside = table[keys.LOOK_MAP].isin(_BESIDE)
    # The same of every arm, which is shown the same segments.
    once = table[beside].drop_duplicates(list(keys.LOOK_COLUMNS[1:-1]))
    around = _of_patients(once)
    floors = {
        which: {measure: _score(measure, values) for measure, values in own.items()}
        for which, own in around.items()
    }
    ends = _ends(around)
    scores = {}
    for arm, rows in table[~beside].groupby(keys.PRED_ARM, sort=False):
        scores[str(arm)] = {
            which: {
                measure: _score(measure, values, ends.get(measure))
                for measure, values in own.items()
            }
            for which, own in _of_patients(rows).items()
        }
    models = table.groupby([keys.PRED_ARM, keys.PRED_FOLD, keys.PRED_SEED])[keys.PRED_CLIP]
    return Looks(scores, floors, int(np.max(models.nunique().to_numpy())), models.ngroups)


def _of_patients(table: pd.DataFrame) -> dict[str, dict[str, pd.Series]]:
    """By map and measure the values of the patients."""
    names = [keys.LOOK_MAP, keys.LOOK_MEASURE, keys.PRED_PATIENT]
    of_seed = table.groupby([*names, keys.PRED_SEED], sort=False)[keys.LOOK_VALUE].mean()
    found: dict[str, dict[str, pd.Series]] = {}
    values = of_seed.groupby(names, sort=False).mean()
    for (which, measure), own in values.groupby(names[:2], sort=False):
        found.setdefault(which, {})[measure] = own.droplevel([0, 1])
    return found


def _ends(around: Mapping[str, Mapping[str, pd.Series]]) -> dict[str, pd.DataFrame]:
    """By measure prior and ceiling of the patients that have both, where they are clearly apart."""
    found = {}
    for measure, prior in around.get("prior", {}).items():
        ceiling = around.get(keys.LOOK_CEILING, {}).get(measure)
        if ceiling is None:
            continue
        both = pd.concat([prior, ceiling], axis=1, join="inner")
        if len(both) < 2:
            continue
        _, apart = _mean((both.iloc[:, 1] - both.iloc[:, 0]).to_numpy(), _ANYTHING)
        if apart.low > 0 or apart.high < 0:
            found[measure] = both
    return found


def _score(measure: str, values: pd.Series, ends: pd.DataFrame | None = None) -> LookScore:
    value, interval = _mean(values.to_numpy(), _LIMITS.get(measure, _ANYTHING))
    relative, around = math.nan, UNDEFINED
    if ends is not None:
        three = pd.concat([values, ends], axis=1, join="inner").to_numpy()
        relative, around = _relative(three)
    return LookScore(value, interval, len(values), relative, around)


def _mean(values: Values, limits: tuple[float, float]) -> tuple[float, Interval]:
    mean, count = float(np.mean(values)), len(values)
    if count < 2:
        return mean, UNDEFINED
    around = _interval(mean, float(np.var(values, ddof=1)) / count, count)
    return mean, Interval(max(around.low, limits[0]), min(around.high, limits[1]))


def _interval(value: float, variance: float, patients: int) -> Interval:
    half = float(stats.t.ppf((1 + LEVEL) / 2, patients - 1)) * math.sqrt(variance)
    return Interval(value - half, value + half)


def _relative(three: Values) -> tuple[float, Interval]:
    """From (P, 3) scores, priors and ceilings; the interval is the jackknife's."""
    patients = len(three)
    if patients < 2:
        return math.nan, UNDEFINED
    score, prior, ceiling = three.sum(axis=0)
    left = three.sum(axis=0) - three
    without = (left[:, 0] - left[:, 1]) / (left[:, 2] - left[:, 1])
    value = (score - prior) / (ceiling - prior)
    variance, _ = jackknife_variance(without, np.zeros(patients, np.int64))
    return float(value), _interval(float(value), variance, patients)


def gain_sentence(gain: LookScore) -> str:
    """Says whether a predicted map tells more than the mean map of the training patients does."""
    found = (
        f"information gain {gain.value:+.2f} bits, {LEVEL:.0%} interval {gain.interval.low:+.2f} "
        f"to {gain.interval.high:+.2f} over {gain.patients} patients"
    )
    if gain.interval.low > 0:
        return (
            "Its map tells better where clinicians look than the mean map of the training "
            f"patients does: {found}."
        )
    if gain.interval.high < 0:
        return (
            "Its map tells worse where clinicians look than the mean map of the training "
            f"patients does: {found}."
        )
    return (
        "Its map is not shown to tell better where clinicians look than the mean map of the "
        f"training patients does: {found}."
    )
