"""Scores at each site, and intervals that know that patients of a site are alike.

A scanner, a protocol or a referral pattern that the patients of a site share makes every interval
over patients too narrow. Over sites, the sites are drawn: the delete-one-site jackknife, with
Student's t of at most (sites - 1) degrees of freedom, never narrower than over patients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from vaclip import keys
from vaclip.evaluation import inference as stats
from vaclip.evaluation import scores, spread
from vaclip.evaluation.cases import Cases
from vaclip.evaluation.compare import HEADLINE, Contrast, size_ratio
from vaclip.evaluation.inference import UNDEFINED, Interval, StandardError
from vaclip.evaluation.predictions import Predictions
from vaclip.metrics.functional import IntArray

FEW_PATIENTS: Final = 10
"""Patients below which a site is called small."""
FEW_SITES: Final = 8
"""Sites below which an interval over them is not to be relied on."""
LEAST_SITES: Final = 3
NO_SITE: Final = "no site"
SEVERAL: Final = "several sites"


@dataclass(frozen=True)
class Site:
    """A site, or the patients of whom none or several are named."""

    name: str
    patients: int
    classes: int
    """How many of the classes its patients have."""


@dataclass(frozen=True)
class SiteValues:
    """An arm's headline, or a difference between two arms, at each site and over all."""

    name: tuple[str, ...]
    """The arm, or the two arms of a contrast."""
    at: tuple[tuple[float, Interval], ...]
    """In the order of the sites: value and interval of these trained models on the site's new
    patients; NaN where the site has no row."""
    value: float
    interval: Interval
    """Over sites, of the training procedure; undefined for fewer than `LEAST_SITES` sites, and
    where a patient has none or several."""


@dataclass(frozen=True)
class Sites:
    """What is known by site."""

    sites: tuple[Site, ...]
    arms: tuple[SiteValues, ...]
    contrasts: tuple[SiteValues, ...]

    @property
    def nested(self) -> bool:
        """Whether every patient has one site."""
        return not {NO_SITE, SEVERAL} & {site.name for site in self.sites}


def by_site(
    predictions: Predictions, arms: Sequence[str], contrasts: Sequence[Contrast]
) -> Sites | None:
    """Scores arms and contrasts by site; None where fewer than two sites are named.

    Args:
        predictions: Of the arms.
        arms: Which to score.
        contrasts: Which to repeat by site.
    """
    clips = predictions.clips
    pairs = clips[[keys.PRED_PATIENT, keys.PRED_SITE]].drop_duplicates()
    several = pairs[keys.PRED_PATIENT].duplicated(keep=False)
    at = pairs[keys.PRED_SITE].replace("", NO_SITE).mask(several, SEVERAL)
    named = dict(zip(pairs[keys.PRED_PATIENT], at, strict=True))
    names = sorted(set(named.values()))
    if len(set(names) - {NO_SITE, SEVERAL}) < 2:
        return None
    counts = clips.groupby(clips[keys.PRED_PATIENT].map(named))
    size = counts[[keys.PRED_PATIENT, keys.PRED_LABEL]].nunique()
    whole = Sites(tuple(Site(name, *map(int, size.loc[name])) for name in names), (), ())
    number = {patient: names.index(site) for patient, site in named.items()}
    return replace(
        whole,
        arms=tuple(_values(predictions, (arm,), number, whole) for arm in arms),
        contrasts=tuple(
            _values(predictions, (own.first, own.second), number, whole) for own in contrasts
        ),
    )


def _values(
    predictions: Predictions, arms: tuple[str, ...], number: Mapping[str, int], sites: Sites
) -> SiteValues:
    both = predictions.paired(*arms) if len(arms) > 1 else (predictions.cases(arms[0]),)
    of_patient = np.array([number[patient] for patient in predictions.tested(arms)], np.int64)
    site = of_patient[both[0].patient]
    at = []
    for own in (site == n for n in range(len(sites.sites))):
        rows = [spread.subset(cases, own) for cases in both]
        value = _value(rows)
        error = spread.independent_errors(rows, [HEADLINE])[HEADLINE].trained if own.any() else None
        at.append((value, _interval(rows, value, error, rows[0].patients) if error else UNDEFINED))
    value, interval = _value(both), UNDEFINED
    present = spread.renumbered(site)
    drawn = int(present.max(initial=-1)) + 1
    if sites.nested and drawn >= LEAST_SITES:
        error = _over_sites(both, present, size_ratio(predictions, both[0], arms))
        interval = _interval(both, value, error, drawn)
    return SiteValues(arms, tuple(at), value, interval)


def _over_sites(both: Sequence[Cases], site: IntArray, ratio: float) -> StandardError:
    by_patient, by_site = (
        spread.standard_errors(both, [HEADLINE], ratio, unit)[HEADLINE].procedure
        for unit in (None, site)
    )
    df = min(by_patient.df, by_site.df, float(site.max()))
    return StandardError(max(by_patient.value, by_site.value), df)


def _value(both: Sequence[Cases]) -> float:
    everyone = np.ones((1, both[0].patients))
    first, *second = (
        float(scores.resampled_metrics(cases, everyone, [HEADLINE])[HEADLINE][0]) for cases in both
    )
    return first - sum(second)


def _interval(both: Sequence[Cases], value: float, error: StandardError, units: int) -> Interval:
    if len(both) > 1:
        return stats.difference_interval(value, error, units)
    return stats.fraction_interval(value, error, units, len(both[0].label))
