"""Simulated studies with a known truth, for ``report_statistics.py``.

A patient has a difficulty that all arms and seeds share, one that an arm's seeds share, and
noise of its own in each seed and clip; each training set and each trained model is better or
worse by chance. The **true value** of a metric is its expectation over patients *and* trained
models: what the training procedure reaches on patients of this population, not what these 15
models reach. It is computed on 60,000 patients. Class counts are fixed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import pandas as pd

from vaclip import keys
from vaclip.evaluation import scores

CLASSES = ("one", "two", "three")
POPULATION = 60_000


@dataclass(frozen=True)
class Scenario:
    """A population and a design; the spreads are standard deviations on the logit scale."""

    name: str
    counts: tuple[int, ...] = (20, 20, 20)
    value: float = 0.7
    seeds: int = 3
    folds: int = 5
    clips: int = 3
    patient_sd: float = 1.0
    arm_patient_sd: float = 0.6
    training_sd: float = 0.2
    """Of an arm and training set: a fold of a seed, each of which deals anew."""
    model_sd: float = 0.2
    """Of an arm, fold and seed."""
    noise_sd: float = 0.5


SCENARIOS = (Scenario("60 patients"), Scenario("30 patients", (10, 10, 10)))


def simulate(
    rng: np.random.Generator, scenario: Scenario, strengths: dict[str, float]
) -> pd.DataFrame:
    """Returns a prediction table with an arm for each strength (logit of the right class)."""
    logits, label, fold = draw_logits(rng, scenario, len(strengths))
    return _table(softmax(logits, label, [*strengths.values()]), label, fold, [*strengths])


def draw_logits(
    rng: np.random.Generator, scenario: Scenario, a: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns logits (arm, seed, patient, clip, class) at strength 0, labels, folds by seed."""
    label = np.repeat(np.arange(len(CLASSES)), scenario.counts)
    s, p, c, noise = scenario.seeds, len(label), scenario.clips, scenario.noise_sd
    fold = np.stack([_deal(rng, label, scenario.folds) for _ in range(s)])
    model = rng.normal(0, scenario.training_sd, (a, s, scenario.folds)) + rng.normal(
        0, scenario.model_sd, (a, s, scenario.folds)
    )
    right = (
        rng.normal(0, scenario.patient_sd, p)
        + rng.normal(0, scenario.arm_patient_sd, (a, 1, p))
        + np.take_along_axis(model, np.broadcast_to(fold, (a, s, p)), axis=2)
        + rng.normal(0, noise, (a, s, p))
    )
    right = right[..., None] + rng.normal(0, noise, (p, c)) + rng.normal(0, noise, (a, s, p, c))
    logits = rng.normal(0, 0.5, (p, 1, 3)) + rng.normal(0, 0.3, (a, s, p, c, 3))
    own = np.broadcast_to(label[:, None], right.shape)[..., None]
    np.put_along_axis(logits, own, right[..., None], axis=-1)
    return logits, label, fold


def softmax(logits: np.ndarray, label: np.ndarray, strengths: Sequence[float]) -> np.ndarray:
    """Adds each arm's strength to the right class and returns probabilities."""
    right = np.eye(len(CLASSES))[label][:, None]
    logits = logits + np.asarray(strengths)[:, None, None, None, None] * right
    probs = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return probs / probs.sum(axis=-1, keepdims=True)


def _deal(rng: np.random.Generator, label: np.ndarray, folds: int) -> np.ndarray:
    order = np.lexsort([rng.random(len(label)), label])
    fold = np.empty(len(label), int)
    fold[order] = np.arange(len(label)) % folds
    return fold


def _table(probs: np.ndarray, label: np.ndarray, fold: np.ndarray, arms: list[str]):
    arm, seed, patient, clip = np.indices(probs.shape[:-1]).reshape(4, -1)
    columns = {
        keys.PRED_STUDY: "simulated",
        keys.PRED_ARM: np.array(arms)[arm],
        keys.PRED_FOLD: fold[seed, patient],
        keys.PRED_SEED: seed,
        keys.PRED_SPLIT: "test",
        keys.PRED_PATIENT: patient,
        keys.PRED_CLIP: patient * probs.shape[3] + clip,
        keys.PRED_SEGMENT: 0,
        keys.PRED_LABEL: np.array(CLASSES)[label[patient]],
        keys.PRED_SIM: np.nan,
        keys.PRED_MAP_ID: 0,
    }
    for k, name in enumerate(CLASSES):
        columns[keys.PRED_PROB_PREFIX + name] = probs.reshape(-1, len(CLASSES))[:, k]
    return pd.DataFrame(columns)


@lru_cache
def _large(scenario: Scenario) -> tuple[np.ndarray, np.ndarray]:
    share = np.array(scenario.counts) / sum(scenario.counts)
    counts = tuple(int(n) for n in POPULATION * share)
    large = replace(scenario, counts=counts, seeds=1, folds=POPULATION // 10)
    return draw_logits(np.random.default_rng(0), large, 1)[:2]


def _population(scenario: Scenario, strength: float) -> tuple[np.ndarray, np.ndarray]:
    logits, label = _large(scenario)
    return softmax(logits, label, [strength])[0, 0].mean(axis=1), label


def truth(scenario: Scenario, strength: float) -> dict[str, float]:
    """The true values of an arm, in the class mix of the scenario."""
    return scores.row_metrics(*_population(scenario, strength))


@lru_cache
def strength_of(scenario: Scenario, value: float) -> float:
    """The strength whose true balanced accuracy is ``value``, by bisection."""
    low, high = -3.0, 9.0
    for _ in range(20):
        middle = (low + high) / 2
        probs, label = _population(scenario, middle)
        hits = np.bincount(label, probs.argmax(axis=1) == label) / np.bincount(label)
        low, high = (middle, high) if hits.mean() < value else (low, middle)
    return (low + high) / 2
