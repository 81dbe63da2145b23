"""Which jobs a study has."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from functools import cache

import pytest

from composed import make_study
from vaclip import VaclipError, keys
from vaclip.ablation.plan import Job, folder_name, plan_jobs, training_hash
from vaclip.config import ArmAbout, Config, StudyConfig
from vaclip.runs.folder import compared_settings

ANNOTATORS = ("md1", "md2")
FOLDS = 5


@cache
def settings_of(arm: str, seed: int) -> Config:
    composed = make_study(f"experiment={arm}", f"seed={seed}")
    return Config(**{f.name: getattr(composed, f.name) for f in dataclasses.fields(Config)})


def study_of(*overrides: str) -> StudyConfig:
    return make_study(*overrides).study


def jobs_of(*overrides: str, annotators=ANNOTATORS) -> list[Job]:
    return plan_jobs(study_of(*overrides), settings_of, annotators, FOLDS)


@pytest.fixture(scope="module")
def default() -> list[Job]:
    return jobs_of()


def test_the_default_study_has_every_arm_and_variant_on_every_fold_once(default):
    found = Counter((arm, job.fold, job.seed) for job in default for arm in job.arms)
    assert set(found.values()) == {1}
    study = study_of()
    noise = [
        keys.variant_name(arm, f"noise_{kind}", strength)
        for arm in ("B3", "C3_sigmoid", "P2")
        for kind, strengths in dataclasses.asdict(study.noise).items()
        for strength in strengths
    ]
    low_data = [f"{arm}@train_fraction={f}" for arm in ("B0", "B3", "P2") for f in (0.25, 0.5)]
    across = [f"B3@annotators={a}>{b}" for a in ANNOTATORS for b in ANNOTATORS]
    wanted = {*study.arms, *noise, *low_data, *across}
    assert set(found) == {(arm, fold, 0) for arm in wanted for fold in range(FOLDS)}
    assert len(study.arms) == 24


def test_no_model_is_trained_twice(default):
    hashes = [(training_hash(job.config), job.fold) for job in default]
    assert len(set(hashes)) == len(hashes)
    assert len(default) == 29 * FOLDS  # 21 arms, 6 shares of patients, 2 annotators


def test_arms_that_differ_at_test_alone_share_a_training(default):
    full = next(job for job in default if job.config.arm == "B3")
    assert {"C3_linear", "K_withheld"} <= set(full.arms)
    assert {arm for arm in full.arms if arm.startswith("B3@noise")} == {
        arm for job in default for arm in job.arms if arm.startswith("B3@noise")
    }
    for test in full.tests:
        assert training_hash(test) == training_hash(full.config)
    by_arm = {arm: job for job in default for arm in job.arms}
    assert "K_shuffled" not in full.arms
    crossed = by_arm["B3@annotators=md1>md2"]
    assert crossed.arms == ("B3@annotators=md1>md1", "B3@annotators=md1>md2")


def test_a_variant_changes_what_it_says_and_nothing_else(default):
    configs = {c.arm: c for job in default for c in (job.config, *job.tests) if job.fold == 0}
    for name, config in configs.items():
        arm, axis, value = keys.split_variant(name)
        undone = dataclasses.replace(config, arm=arm)
        data = undone.data
        if axis == keys.AXIS_TRAIN_FRACTION:
            assert config.split.train_fraction == float(value)
            undone.split = dataclasses.replace(undone.split, train_fraction=1.0)
        elif axis == keys.AXIS_ANNOTATORS:
            assert (data.train_annotators, data.test_annotators) == tuple(
                [one] for one in value.split(">")
            )
            undone.data = dataclasses.replace(data, train_annotators=None, test_annotators=None)
        elif axis:
            assert (data.test_noise, data.test_noise_strength) == (
                axis.removeprefix(keys.AXIS_NOISE_PREFIX),
                float(value),
            )
            undone.data = dataclasses.replace(data, test_noise=None, test_noise_strength=0.0)
        assert undone == settings_of(arm, 0)


def test_what_an_arm_says_of_itself_makes_no_other_training(default):
    config = default[0].config
    told = dataclasses.replace(config, about=ArmAbout("other", "words", "cost"))
    assert training_hash(told) == training_hash(config)
    one, other = (compared_settings(dataclasses.asdict(c)) for c in (config, told))
    assert one == other


def test_folds_come_first_and_arms_before_axes():
    jobs = jobs_of("study.seeds=[0,1]")
    order = [(job.seed, job.fold) for job in jobs]
    assert order == sorted(order)
    first = [job.config.arm for job in jobs if (job.seed, job.fold) == (0, 0)]
    axes = ["@" in arm for arm in first]
    assert axes == sorted(axes)


def test_each_seed_deals_the_patients_anew():
    jobs = jobs_of("study.arms=[B0]", "study.seeds=[3,7]", "study=quick")
    assert {(job.seed, job.config.split.seed) for job in jobs} == {(3, 3), (7, 7)}


def test_names_of_jobs_are_different_and_need_no_quoting(default):
    names = [job.name for job in default]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+", name) for name in names)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a-b>c", "a>b-c"),
        ("a b>c", "a_b>c"),
        ("../x>y", "x>y"),
        ("a,b>c", "a>b,c"),
        ("ä>b", "a>b"),
        ("MD>x", "md>x"),
        ("a" * 300 + ">x", "a" * 301 + ">x"),
    ],
)
def test_annotators_may_be_called_anything(one, other):
    names = {folder_name(f"B3@annotators={value}").lower() for value in (one, other)}
    assert len(names) == 2
    for name in names:
        assert re.fullmatch(r"[A-Za-z0-9_.-]{1,80}", name)


def test_fewer_folds_seeds_and_arms():
    jobs = jobs_of("study=quick", "study.folds=[2]", "study.seeds=[5]", "study.noise_arms=[]")
    assert {job.fold for job in jobs} == {2}
    assert {job.seed for job in jobs} == {5}
    arms = {arm for job in jobs for arm in job.arms}
    bedside = {"P1", "P2", "P_shuffled", "P_prior"}
    controls = {"K_shuffled", "K_map_only", "K_withheld", "K_swapped"}
    assert arms == {"B0", "B1", "B3"} | controls | bedside


def test_one_annotator_cannot_be_crossed():
    arms = {arm for job in jobs_of(annotators=("md1",)) for arm in job.arms}
    assert not any(keys.AXIS_ANNOTATORS in arm for arm in arms)


def test_an_axis_is_of_the_arms_that_the_study_has():
    jobs = jobs_of("study.arms=[B0]", "study.folds=[0]")
    assert [job.arms for job in jobs] == [
        ("B0",),
        ("B0@train_fraction=0.25",),
        ("B0@train_fraction=0.5",),
    ]


def test_the_order_of_arms_changes_no_job():
    orders = (["B3", "K_withheld", "C3_linear"], ["C3_linear", "K_withheld", "B3"])
    names = [
        [job.name for job in jobs_of(f"study.arms=[{','.join(arms)}]", "study.folds=[0]")]
        for arms in orders
    ]
    assert names[0] == names[1]
    assert names[0][0] == "B3-fold0-seed0"


@pytest.mark.parametrize("axis", ["noise", "annotator"])
def test_an_axis_of_maps_for_an_arm_without_them_is_refused(axis):
    with pytest.raises(VaclipError, match=f"study.{axis}_arms names B0, which uses no map"):
        jobs_of("study.arms=[B0]", f"study.{axis}_arms=[B0]")


def test_an_annotator_whose_name_would_be_misread_is_refused():
    with pytest.raises(VaclipError, match="'>'"):
        jobs_of(annotators=("a>b", "c"))


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("study.folds=[5]", "study.folds"),
        ("study.folds=[]", "study.folds"),
        ("study.folds=[0,0]", "twice"),
        ("study.seeds=[]", "study.seeds"),
        ("study.seeds=[-1]", "study.seeds"),
        ("study.roles.controls=[K_random,K_random]", "study.roles.controls"),
        ("study.roles.pairs=[[B3]]", "study.roles.pairs"),
        ("study.roles.pairs=[[B3,B3]]", "study.roles.pairs"),
        ("study.seeds=[1,1]", "twice"),
        ("study.arms=[]", "study.arms"),
        ("study.arms=[B0,B0]", "twice"),
        ("study.train_fraction=[0]", "study.train_fraction"),
        ("study.train_fraction=[1.5]", "study.train_fraction"),
        ("study.noise.dropout=[1.5]", "study.noise.dropout"),
        ("study.noise.blur=[-1]", "study.noise.blur"),
        ("study.jobs=0", "study.jobs"),
        ("study.margin=0", "study.margin is 0.* above 0 and below 1"),
        ("study.margin=1", "study.margin"),
        ("study.noise.blur=[0.1,0.1]", "study.noise.blur is .* names nothing twice"),
        ("study.noise_arms=[B3,B3]", "study.noise_arms is .* names nothing twice"),
    ],
)
def test_mistakes_are_named(override, said):
    with pytest.raises(VaclipError, match=said):
        jobs_of(override)
