"""Whether a probability is worth what it says: recalibration of one class against the rest.

Intercept, slope and a smoothed curve (Van Calster et al. 2016, 2019), each class against the rest
where there are more than two (Van Hoorde et al. 2014). Letters: N rows, D weightings, Q columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from statsmodels.nonparametric.smoothers_lowess import lowess

from vaclip.evaluation.inference import LEVEL, bootstrap_weights
from vaclip.metrics.functional import FloatArray, IntArray

_CLOSEST: Final = 1e-8  # to 0 and 1, where a logit is infinite
_STEPS, _LONGEST, _CONVERGED = 100, 1.0, 1e-9
_RIDGE: Final = 1e-12  # keeps what weights leave no information on invertible
_GRID, _DRAWS, _SPAN = 33, 200, 0.75


@dataclass(frozen=True)
class SmoothedCurve:
    """How often a class is there, by the probability that it was given; each (G,)."""

    probability: FloatArray
    observed: FloatArray
    low: FloatArray
    high: FloatArray
    """The band at `LEVEL`, of these trained models on new patients, point by point."""


def calibration_intercept(
    probs: FloatArray, positive: NDArray[np.bool_], weights: FloatArray
) -> FloatArray:
    """Calibration in the large: a in logit P(class) = a + logit(p); 0 is right.

    Above 0 the class is commoner than its probabilities say.

    Args:
        probs: (N,) of the class.
        positive: (N,) whether it is there.
        weights: (D, N).

    Returns:
        (D,); NaN where all rows are of the class, or none.
    """
    if positive.all() or not positive.any():
        return np.full(len(weights), np.nan)
    return _firth(np.ones((len(probs), 1)), _logit(probs), positive, weights)[:, 0]


def calibration_slope(
    probs: FloatArray, positive: NDArray[np.bool_], weights: FloatArray
) -> FloatArray:
    """The slope b in logit P(class) = a + b logit(p); 1 is right.

    Below 1 the probabilities are too extreme, above 1 too cautious.

    Args:
        probs: (N,) of the class.
        positive: (N,) whether it is there.
        weights: (D, N).

    Returns:
        (D,); NaN where a cut parts the two without an error, and any greater slope fits better.
    """
    x = _logit(probs)
    own, rest = x[positive], x[~positive]
    if not len(own) or not len(rest) or own.min() >= rest.max() or own.max() <= rest.min():
        return np.full(len(weights), np.nan)
    spread = x.std()
    design = np.stack([np.ones(len(x)), (x - x.mean()) / spread], axis=1)
    return _firth(design, np.zeros(len(x)), positive, weights)[:, 1] / spread


def _logit(probs: FloatArray) -> FloatArray:
    return logit(np.clip(probs, _CLOSEST, 1 - _CLOSEST))


def _firth(
    design: FloatArray, offset: FloatArray, outcome: NDArray[np.bool_], weights: FloatArray
) -> FloatArray:
    """Logistic regression under D weightings, with Firth's (1993) penalty, by Newton's method.

    It is less biased than maximum likelihood in small samples and finite wherever the weights
    leave a class out or part the two, as the jackknife's may (Heinze & Schemper 2002).

    Args:
        design: (N, Q).
        offset: (N,).
        outcome: (N,).
        weights: (D, N).

    Returns:
        (D, Q) coefficients; NaN where the steps do not end.
    """
    beta = np.zeros((len(weights), design.shape[1]))
    step = np.full_like(beta, np.inf)
    for _ in range(_STEPS):
        fitted = expit(offset + beta @ design.T)
        information = weights * fitted * (1 - fitted)
        curvature = np.einsum("dn,nq,nr->dqr", information, design, design)
        covariance = np.linalg.inv(curvature + _RIDGE * np.eye(design.shape[1]))
        leverage = information * np.einsum("nq,dqr,nr->dn", design, covariance, design)
        score = (weights * (outcome - fitted) + leverage * (0.5 - fitted)) @ design
        step = np.clip(np.einsum("dqr,dr->dq", covariance, score), -_LONGEST, _LONGEST)
        beta += step
        if np.abs(step).max() < _CONVERGED:
            break
    return np.where((np.abs(step) < 1e-4).all(axis=1, keepdims=True), beta, np.nan)


def smoothed_curve(
    probs: FloatArray,
    positive: NDArray[np.bool_],
    patient: IntArray,
    strata: IntArray,
    rng: np.random.Generator,
) -> SmoothedCurve:
    """Loess of being there on the probability (Austin & Steyerberg 2014), with a band.

    The band is the percentile interval of patients drawn with replacement within their strata.

    Args:
        probs: (N,) of the class.
        positive: (N,) whether it is there.
        patient: (N,) in [0, P).
        strata: (P,) stratum of each patient.
        rng: Source of the draws.
    """
    grid = np.linspace(probs.min(), probs.max(), _GRID)
    ends = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    drawn = [
        _loess(np.repeat(probs, times), np.repeat(positive, times), grid)
        for times in bootstrap_weights(strata, _DRAWS, rng)[:, patient].astype(int)
    ]
    # In a draw that has no spread around a point, such as one of equal rows, it has no value.
    low, high = np.where(
        np.isfinite(drawn).all(axis=0), np.quantile(np.nan_to_num(drawn), ends, axis=0), np.nan
    )
    return SmoothedCurve(grid, _loess(probs, positive, grid), low, high)


def _loess(probs: FloatArray, positive: NDArray[np.bool_], grid: FloatArray) -> FloatArray:
    with np.errstate(divide="ignore", invalid="ignore"):
        found = lowess(positive.astype(float), probs, frac=_SPAN, it=0, xvals=grid)
    return np.clip(found, 0, 1)
