"""The jobs of a study: which trainings it needs, and which tests each of them answers.

An **arm** or a point on an axis of it (a *variant*, `vaclip.keys.variant_name`) is one
configuration. Two that differ in name and in what concerns the test patients' maps alone share
a training: it is one **job**, with a test for each of them. So K_withheld and the noise axis
re-test the model of B3, and C3_linear, which is B3 by another name, is not trained again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from vaclip import keys
from vaclip.config import Config, StudyConfig, uses_maps
from vaclip.errors import VaclipError
from vaclip.files import json_digest
from vaclip.maps import NOISE_NEUTRAL

Compose = Callable[[str, int], Config]
"""From the names of an arm and a seed to the settings of its runs."""


@dataclass(frozen=True)
class Job:
    """One training on one fold with one seed, and its tests.

    Attributes:
        name: Of its folder.
        config: What is trained, and tested first.
        tests: What else the same model is tested as.
    """

    name: str
    config: Config
    tests: tuple[Config, ...] = ()

    @property
    def fold(self) -> int:
        """The fold."""
        return int(self.config.split.fold)

    @property
    def seed(self) -> int:
        """The seed."""
        return self.config.seed

    @property
    def cost(self) -> float:
        """As a share of a job without cross-fitting on all patients of a fold."""
        own, added = 1 + self.config.tune.trials, sum(k - 1 for k in _crossfits(self.config))
        return self.config.split.train_fraction * (own + added) / own

    @property
    def trainings(self) -> int:
        """How many models it trains: its own, and those that a search and cross-fitting add."""
        return 1 + self.config.tune.trials + sum(_crossfits(self.config))

    @property
    def arms(self) -> tuple[str, ...]:
        """Names of the arms and variants that it answers."""
        return (self.config.arm, *(test.arm for test in self.tests))


def _crossfits(config: Config) -> list[int]:
    """Returns the K of each cross-fitting that trains K models, each on K - 1 of K parts."""
    model = config.model
    trained = model.map_crossfit > 0 and model.map_head == "trained"
    maps = [model.map_crossfit] if trained else []
    return maps + ([model.distill_crossfit] if model.lambda_distill > 0 else [])


def plan_jobs(
    study: StudyConfig, compose: Compose, annotators: Sequence[str], folds: int
) -> list[Job]:
    """Expands a study into jobs, in the order in which they should run.

    All arms of a fold come before the next fold, so that every arm has a first answer early,
    and the axes of a fold after its arms.

    Args:
        study: What to run.
        compose: Gives the settings of an arm.
        annotators: Who annotated the study.
        folds: How many folds the split has.

    Raises:
        VaclipError: If a fold, an arm or a strength does not exist.
    """
    check_study(study, annotators, folds)
    chosen = range(folds) if study.folds is None else study.folds
    jobs = []
    for seed in study.seeds:
        configs = {arm: compose(arm, seed) for arm in study.arms}
        variants = [configs[arm] for arm in study.arms]
        variants += _axes(study, configs, annotators)
        for fold in chosen:
            jobs += _shared(
                [replace(c, split=replace(c.split, fold=fold)) for c in variants], fold, seed
            )
    return jobs


def _axes(
    study: StudyConfig, configs: dict[str, Config], annotators: Sequence[str]
) -> Iterator[Config]:
    for kind, strengths in dataclasses.asdict(study.noise).items():
        for arm in _with_maps(study.noise_arms, configs, "noise"):
            for strength in strengths:
                if strength != NOISE_NEUTRAL[kind]:  # that is the arm itself
                    changed = {"test_noise": kind, "test_noise_strength": strength}
                    yield _variant(
                        configs[arm], f"{keys.AXIS_NOISE_PREFIX}{kind}", strength, changed
                    )
    for arm in [arm for arm in study.train_fraction_arms if arm in configs]:
        for fraction in study.train_fraction:
            if fraction < 1:
                config = _variant(configs[arm], keys.AXIS_TRAIN_FRACTION, fraction)
                yield replace(config, split=replace(config.split, train_fraction=fraction))
    crossed = study.annotator_arms if len(annotators) > 1 else []
    for arm in _with_maps(crossed, configs, "annotator"):
        for trained in annotators:
            for tested in annotators:
                changed = {"train_annotators": [trained], "test_annotators": [tested]}
                value = f"{trained}>{tested}"
                yield _variant(configs[arm], keys.AXIS_ANNOTATORS, value, changed)


def _with_maps(arms: Sequence[str], configs: dict[str, Config], axis: str) -> list[str]:
    """Those of an axis's arms that the study has.

    Raises:
        VaclipError: If one of them never looks at a map.
    """
    for arm in arms:
        if arm in configs and not uses_maps(configs[arm]):
            raise VaclipError(
                f"study.{axis}_arms names {arm}, which uses no map: it would be the same throughout"
            )
    return [arm for arm in arms if arm in configs]


def _variant(
    config: Config, axis: str, value: object, data: dict[str, Any] | None = None
) -> Config:
    name = keys.variant_name(config.arm, axis, value)
    return replace(config, arm=name, data=replace(config.data, **(data or {})))


def _shared(configs: Sequence[Config], fold: int, seed: int) -> list[Job]:
    """Puts configurations that train the same model in one job.

    It is named by the one that is plainest at test, so that the order of the arms is no matter.
    """
    groups: dict[str, list[Config]] = {}
    for config in configs:
        groups.setdefault(training_hash(config), []).append(config)
    jobs = []
    for group in groups.values():
        first = min(group, key=_plainness)
        others = tuple(config for config in group if config is not first)
        jobs.append(Job(f"{folder_name(first.arm)}-fold{fold}-seed{seed}", first, others))
    return jobs


def _plainness(config: Config) -> tuple[bool, bool, str]:
    data = config.data
    return data.test_control is not None, data.test_noise is not None, config.arm


def training_hash(config: Config) -> str:
    """Hashes all that a trained model depends on: equal for equal trainings."""
    content = dataclasses.asdict(config)
    del content["arm"], content["about"]
    for key in ("test_control", "test_annotators", "test_noise", "test_noise_strength"):
        del content["data"][key]
    return json_digest(content)


def folder_name(arm: str) -> str:
    """A name for a folder that needs no quoting: annotators may be called anything."""
    plain = re.sub(r"[^A-Za-z0-9_.]+", "-", arm)
    if keys.split_variant(arm)[1] != keys.AXIS_ANNOTATORS and "-" not in arm:
        return plain
    return f"{plain[:60]}-{hashlib.sha256(arm.encode()).hexdigest()[:8]}"


def check_study(study: StudyConfig, annotators: Sequence[str], folds: int) -> None:
    """Checks what depends on the data and the split; `check_config` has checked each field.

    Raises:
        VaclipError: Naming the key, the value and what is allowed.
    """
    wrong = [fold for fold in study.folds or [] if fold >= folds]
    if wrong:
        raise VaclipError(f"study.folds is {study.folds}; use folds from 0 to {folds - 1}, or null")
    if study.annotator_arms and any(">" in name for name in annotators):
        raise VaclipError(
            "an annotator's name has a '>', which parts training from test in names of arms; "
            "rename the annotator in attention.csv, or use study.annotator_arms=[]"
        )
